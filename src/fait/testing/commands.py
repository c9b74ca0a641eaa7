"""The commands of an aggregate or a decider with the types of their arguments, to generate histories."""

import typing
from collections.abc import Callable, Iterable, Mapping
from inspect import Parameter, signature
from typing import Any, cast

import msgspec
from msgspec import UNSET, Struct

from fait._app import App
from fait._clock import ManualClock
from fait._decisions.aggregate import Aggregate, Command
from fait._decisions.decider import Decider
from fait._errors import DeclarationError, InvalidValue
from fait._events.annotation import annotated_events
from fait._events.event import describe
from fait._events.record import fields_of
from fait.testing.decisions import AggregateCase, DeciderCase
from fait.testing.given import given
from fait.testing.in_memory import START

__all__ = ["Call", "CommandType", "SubjectCommands"]


class CommandType(Struct, frozen=True):
    """A command that can be generated.

    Attributes:
        name: name of the method of an aggregate, or of the class of a decider's command.
        command: the method of the aggregate, accessed through its class; the class of a decider's command.
        arguments: an event class whose fields are the arguments; of a decider's command, one field with the command.
    """

    name: str
    command: Any
    arguments: type


class Call(Struct, frozen=True):
    """A generated command.

    Attributes:
        name: name of its type.
        arguments: the arguments by name, or by number if they are positional.
        hours: time that passes before it.
    """

    name: str
    arguments: Mapping[Any, Any]
    hours: float = 0

    def __repr__(self) -> str:
        arguments = (
            f"{each!r}" if isinstance(name, int) else f"{name}={each!r}" for name, each in self.arguments.items()
        )
        after = f"  # {self.hours:g} hours later" if self.hours else ""
        return f"{self.name}({', '.join(arguments)}){after}"


class SubjectCommands:
    """The commands of an aggregate or a decider.

    Attributes:
        types: the commands.
    """

    def __init__(self, subject: type[Aggregate] | Decider[Any, Any, Any]) -> None:
        self._subject: Any = subject
        self.types: list[CommandType] = list(_commands_of(subject))
        self._commands = {each.name: each.command for each in self.types}

    def arguments(self, event: Any) -> dict[str, Any]:
        """Return generated arguments by name."""
        values: dict[str, Any] = {each.name: getattr(event, each.name) for each in fields_of(type(event))}
        return {name: value for name, value in values.items() if value is not UNSET}

    def start(self, app: App | None, events: Iterable[object] = ()) -> AggregateCase[Any] | DeciderCase[Any, Any]:
        """Return a case without a command, with a clock of its own."""
        return cast("Any", given)(self._subject, *events, app=app, clock=ManualClock(START))

    def run(self, case: Any, call: Call) -> str | None:
        """Run a command. Returns why it was rejected, or its events cannot be stored; None if it was accepted."""
        case.after(hours=call.hours)
        positional = [each for name, each in call.arguments.items() if isinstance(name, int)]
        named = {name: each for name, each in call.arguments.items() if not isinstance(name, int)}
        try:
            if isinstance(case, DeciderCase):
                cast("DeciderCase[Any, Any]", case).when(*positional, *named.values())
            else:
                case.when(self._commands[call.name], *positional, **named)
        except InvalidValue as error:
            return str(error)
        return case.take_rejection()

    def history(self, calls: Iterable[Call], app: App | None = None) -> list[Any]:
        """Return the events that commands decide one after another."""
        case: Any = self.start(app)
        for each in calls:
            self.run(case, each)
        return case.history()


def _commands_of(subject: Any) -> Iterable[CommandType]:
    if type(subject) is Decider:
        for cls in annotated_events(cast("Any", subject).decide, ("event", "state"), {}):
            yield CommandType(cls.__name__, cls, _argument_class(cls.__name__, [("command", cls)]))
        return
    for name in dir(subject):
        if isinstance(getattr(subject, name), Command):
            yield CommandType(name, getattr(subject, name), _argument_class(name, list(_parameters(subject, name))))


def _parameters(subject: type, name: str) -> Iterable[tuple[Any, ...]]:
    """Yield the parameters of a command as fields; one with a default may be absent."""
    function: Callable[..., Any] = getattr(subject, name).function
    hints = typing.get_type_hints(function, include_extras=True)
    for each in [*signature(function).parameters.values()][1:]:
        if each.kind in (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD):
            continue
        if each.name not in hints:
            raise DeclarationError(
                f"{subject.__name__}.{name}: annotate {each.name!r} with its type, to generate values"
            )
        if each.default is Parameter.empty:
            yield each.name, hints[each.name]
        else:
            yield each.name, hints[each.name] | msgspec.UnsetType, UNSET


def _argument_class(name: str, fields: list[Any]) -> type:
    return describe(f"arguments of {name}")(msgspec.defstruct("Arguments", fields, frozen=True, kw_only=True))
