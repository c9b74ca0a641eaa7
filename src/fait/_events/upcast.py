"""Upcasters: steps that convert the data of an event from one schema version to the next.

    @fait.upcast("shop.order-placed", 1)                      # reads version 1 as version 2
    def with_currency(data: dict[str, Any]) -> dict[str, Any]:
        return {**data, "currency": "USD"}

    to_customer = fait.upcast("shop.order-placed", 2, fait.renamed("customer_name", "customer"))

They run when events are decoded; stored events never change. A schema version without an upcaster is decoded as it is,
which is sufficient if the next version only added fields with defaults. `registry` connects the steps.
"""

import inspect
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, TypeVar, cast, overload

from fait._errors import DeclarationError
from fait._events.changes import Change, Data
from fait._events.envelope import Envelope, Untyped

__all__ = [
    "Downcaster",
    "Upcaster",
    "declared_in_module",
    "declared_in_package",
    "downcast",
    "drop_event",
    "upcast",
]

U = TypeVar("U", bound="Upcaster")

Target = tuple[str, int]
"""A type, as its stored name, and a schema version."""

_DECLARED: Final[dict[tuple[str, str, int, type], "Upcaster"]] = {}
"""Upcasters declared at the top level of modules, by module, type, version and class.

A module may lose its only reference to one: a second function `_`, or a statement without an assignment."""


class Upcaster:
    """A conversion of an event type's data from one schema version to the next, made by `upcast`.

    Calling it converts data.

    Attributes:
        name: stored name of the event type.
        from_version: the schema version it reads.
        function: the decorated function, or a sequence of changes.
        target: the type and the schema version that it makes; None for a split.
        into: the types that a split makes; empty: the event is dropped. None if it is no split.
        takes_envelope: whether it needs the stored event's envelope.
        source_location: file and line of the declaration.
    """

    def __init__(
        self,
        name: str,
        from_version: int,
        function: Callable[..., Any] | tuple[Change, ...],
        target: Target | None,
        into: tuple[str, ...] | None,
        source_location: str,
    ) -> None:
        self.name = name
        self.from_version = from_version
        self.function = function
        self.target = target
        self.into = into
        self.source_location = source_location
        self.takes_envelope: bool = callable(function) and _takes_envelope(function, source_location)
        self.__doc__ = function.__doc__ if callable(function) else None

    @property
    def steps(self) -> tuple[Callable[..., Any], ...]:
        """The functions that convert the data, one after another."""
        return (self.function,) if callable(self.function) else self.function

    def __call__(self, data: Data, envelope: Envelope[Untyped] | None = None) -> Data:
        """Return the data converted to the next schema version.

        Args:
            data: the event's JSON object.
            envelope: the stored event; only an upcaster that `takes_envelope` needs it.
        """
        if self.takes_envelope:
            return self.steps[0](data, envelope)
        for step in self.steps:
            data = step(data)
        return data

    def split(self, data: Data, envelope: Envelope[Untyped] | None = None) -> list[Untyped]:
        """Return the events that a split makes of one event, in order.

        Raises:
            DeclarationError: an event has a type that `into` does not name, or is not an `Untyped`.
        """
        parts: list[Any] = list(cast("Iterable[Any]", self(data, envelope))) if self.into else []
        for part in parts:
            if not isinstance(part, Untyped) or part.type not in (self.into or ()):
                given = repr(part.type) if isinstance(part, Untyped) else type(part).__name__
                raise DeclarationError(
                    f"the upcaster at {self.source_location} returned {given} for version {self.from_version} of "
                    f"{self.name!r}. Return fait.Untyped(type, data, schema_version) of the types in into={self.into}."
                )
        return parts


class Downcaster(Upcaster):
    """A conversion of an event type's data to the schema version before, made by `downcast`."""


@overload
def upcast(
    name: str, from_version: int, /, *, to: Target | None = ..., into: Sequence[str] | None = ...
) -> Callable[[Callable[..., Any]], Upcaster]: ...
@overload
def upcast(name: str, from_version: int, first: Change, /, *changes: Change, to: Target | None = ...) -> Upcaster: ...
def upcast(
    name: str,
    from_version: int,
    /,
    *changes: Change,
    to: Target | None = None,
    into: Sequence[str] | None = None,
) -> Any:
    """Declare how schema version `from_version` of an event type is converted to the next one.

    With `changes`, they are applied in order: `upcast("shop.order-placed", 2, renamed("name", "customer"))`. Without,
    this is a decorator. The decorated function gets the event's JSON object as a dict, and returns the object of the
    next version in a new dict. It must depend on nothing but its arguments. A function with a second parameter gets
    the envelope of the stored event, whose event is `Untyped`: with stream, position, times, tags and metadata.
    Reading such events takes an additional query when a state is loaded.

    Include it in the app: `app.include(function)`, or `app.include(module)`.

    Args:
        name: stored name of the event type.
        from_version: the schema version that is read, from 1.
        *changes: `renamed`, `dropped`, `defaulted`, or functions from data to data.
        to: the type and the schema version that the data becomes; None: the next version of the same type.
        into: the types that the event is split into; the function returns an iterable of
            `Untyped(type, data, schema_version)`, in order. They are read as events of their own, with the position and
            the version of the stored event, and the ids "<id>/0", "<id>/1" and so on. `drop_event` makes none.

    Raises:
        DeclarationError: `from_version` is not a number >= 1, or the arguments contradict each other.
    """
    location, module = _call_site()
    _check_version("upcast", name, from_version)
    if into is not None and (changes or to is not None or isinstance(into, str) or not into):
        raise DeclarationError(
            f"@upcast({name!r}, {from_version}, into=...) takes the names of one or more types, and neither changes "
            "nor to=. Without any event, use fait.drop_event."
        )
    parts = None if into is None else tuple(into)
    target = None if parts is not None else to or (name, from_version + 1)

    def declare(function: Any) -> Upcaster:
        return _remember(Upcaster(name, from_version, function, target, parts, location), module)

    return declare(changes) if changes else declare


def drop_event(name: str, from_version: int, /) -> Upcaster:
    """Declare that events of this schema version are not read any more. They remain in the log.

    Args:
        name: stored name of the event type, which needs no class.
        from_version: the schema version, from 1.

    Raises:
        DeclarationError: `from_version` is not a number >= 1.
    """
    location, module = _call_site()
    _check_version("drop_event", name, from_version)
    return _remember(Upcaster(name, from_version, (), None, (), location), module)


@overload
def downcast(name: str, from_version: int, /) -> Callable[[Callable[..., Any]], Downcaster]: ...
@overload
def downcast(name: str, from_version: int, first: Change, /, *changes: Change) -> Downcaster: ...
def downcast(name: str, from_version: int, /, *changes: Change) -> Any:
    """Declare how schema version `from_version` of an event type is converted to the version before.

    A program whose class has an older version then reads events that newer programs wrote: deploy it with the
    downcaster before the newer program is deployed.

    Args:
        name: stored name of the event type.
        from_version: the schema version that is read, from 2.
        *changes: as for `upcast`; without them, this is a decorator of a function.

    Raises:
        DeclarationError: `from_version` is not a number >= 2.
    """
    location, module = _call_site()
    _check_version("downcast", name, from_version, minimum=2)

    def declare(function: Any) -> Downcaster:
        return _remember(Downcaster(name, from_version, function, (name, from_version - 1), None, location), module)

    return declare(changes) if changes else declare


def declared_in_module(module: str) -> list[Upcaster]:
    """Return the upcasters and downcasters that a module declares at its top level."""
    return [each for (declared_in, *_), each in _DECLARED.items() if declared_in == module]


def declared_in_package(package: str) -> Mapping[str, list[Upcaster]]:
    """Return the upcasters that the modules of a top-level package declare at their top level, by event type."""
    found: dict[str, list[Upcaster]] = {}
    for (module, name, *_), each in tuple(_DECLARED.items()):
        if module.partition(".")[0] == package and not isinstance(each, Downcaster):
            found.setdefault(name, []).append(each)
    return found


def _remember(upcaster: U, module: str | None) -> U:
    if module is not None:
        _DECLARED[module, upcaster.name, upcaster.from_version, type(upcaster)] = upcaster
    return upcaster


def _call_site() -> tuple[str, str | None]:
    """Return file and line of the caller of this module, and its module if that is its top level."""
    frame = sys._getframe(2)  # pyright: ignore[reportPrivateUsage] - the only way to the caller's line
    module = frame.f_globals.get("__name__") if frame.f_locals is frame.f_globals else None
    return f"{frame.f_code.co_filename}:{frame.f_lineno}", module


def _check_version(declared_with: str, name: str, from_version: object, minimum: int = 1) -> None:
    if isinstance(from_version, bool) or not isinstance(from_version, int) or from_version < minimum:
        raise DeclarationError(
            f"@{declared_with}({name!r}, ...) needs the schema version to convert from, an int >= {minimum}, not "
            f"{from_version!r}"
        )


def _takes_envelope(function: Callable[..., Any], source_location: str) -> bool:
    """Return whether a function has a second parameter, for the envelope."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except ValueError:  # a built-in without a signature
        return False
    required = [each for each in parameters if each.default is each.empty and each.kind not in _VARIADIC]
    if len(required) > 2 or any(each.kind is each.KEYWORD_ONLY for each in required):
        raise DeclarationError(
            f"the upcaster at {source_location} must take one argument, the data, or two, the data and the envelope"
        )
    return len(required) == 2


_VARIADIC: Final = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
