"""Tests of decisions: the objects that `given` returns for aggregates, deciders and boundaries."""

import re
from collections.abc import Callable, Coroutine, Iterable, Sequence
from functools import wraps
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar, cast

from msgspec.structs import replace

from fait._app import App
from fait._clock import ManualClock
from fait._decisions.aggregate import Aggregate, Command, command_of, fold_definition_of
from fait._decisions.boundary import Boundary
from fait._decisions.calls import WriteResult
from fait._decisions.decider import Decider, FoldDefinition, fold_definition_of_decider
from fait._decisions.new_events import NewEvents
from fait._errors import Rejected, UsageError
from fait._events.envelope import Envelope
from fait._events.stream import stream_name
from fait.testing.differences import different_fields, different_items
from fait.testing.in_memory import START, GivenEvents, codec_for, complete

__all__ = ["AggregateCase", "BoundaryCase", "DeciderCase", "DecisionCase", "check_events", "new_events"]

A = TypeVar("A", bound=Aggregate)
C = TypeVar("C")
S = TypeVar("S")
P = ParamSpec("P")
CaseT = TypeVar("CaseT", bound="DecisionCase[Any]")

_NOTHING = WriteResult(None, "", 0, 0)


class DecisionCase(Generic[S]):
    """A decision under test. After `when`, it holds the decided events, or why the command was rejected.

    All methods but `when` check something and return the case, so that checks and further commands can follow.
    """

    def __init__(
        self,
        subject: Any,
        types: Sequence[type],
        events: Sequence[object],
        stream: str,
        app: App | None,
        clock: ManualClock | None,
    ) -> None:
        self._clock = clock or ManualClock(START)
        self._memory = GivenEvents(codec_for(app, types, events, subject), self._clock)
        for each in events:
            self._memory.append(new_events(each, stream))
        self._rejection: Rejected | None = None
        self._result: WriteResult[Any] = _NOTHING
        self._decided: list[Envelope[Any]] = []

    def after(self: CaseT, *, seconds: float = 0, minutes: float = 0, hours: float = 0, days: float = 0) -> CaseT:
        """Let time pass: advance the clock by these amounts."""
        self._clock.advance(seconds=seconds, minutes=minutes, hours=hours, days=days)
        return self

    def then(self: CaseT, *expected: object) -> CaseT:
        """Check that the command decided these events, in this order, and no others.

        Args:
            *expected: events, compared with the decided ones after these were stored and decoded; or all of them as
                `NewEvents`, of which stream and tags are compared as well.

        Raises:
            AssertionError: the command was rejected, or decided other events; the text shows the fields that differ.
        """
        __tracebackhide__ = True
        self._check_accepted()
        check_events(expected, self._decided)
        return self

    def nothing(self: CaseT) -> CaseT:
        """Check that the command was accepted and decided no events."""
        __tracebackhide__ = True
        return self.then()

    def rejected(self: CaseT, expected: "str | re.Pattern[str] | type[Rejected]" = Rejected) -> CaseT:
        """Check that the command was rejected.

        Args:
            expected: a part of the reason, a regular expression that matches a part of it, or a subclass of `Rejected`.

        Raises:
            AssertionError: the command was accepted, or rejected for another reason.
        """
        __tracebackhide__ = True
        rejection, self._rejection = self._rejection, None
        if rejection is None:
            decided = "".join(f"\n  {each.event!r}" for each in self._decided) or " no events"
            raise AssertionError(f"the command was not rejected; it decided:{decided}")
        if not _matches(rejection, expected):
            wanted = expected.pattern if isinstance(expected, re.Pattern) else expected
            raise AssertionError(f"expected a rejection by {wanted!r}, got: {rejection!r}") from rejection
        return self

    def returned(self: CaseT, expected: object) -> CaseT:
        """Check the value that the command returned.

        Raises:
            AssertionError: the command was rejected, or returned another value.
        """
        __tracebackhide__ = True
        self._check_accepted()
        if lines := list(different_fields(expected, self._result.value)):
            raise AssertionError("\n".join(["the command returned another value:", *lines]))
        return self

    def state(self: CaseT, check: Callable[[S], object]) -> CaseT:
        """Check the state after all events, folded as the next command would get it.

        Args:
            check: takes the state; it returns something true, or None if it contains assertions of its own.

        Raises:
            AssertionError: it returned something false.
        """
        __tracebackhide__ = True
        self._check_accepted()
        state = self.load()
        result = check(state)
        if result is not None and not result:
            raise AssertionError(f"the state is not as expected: {state!r}")
        return self

    def take_rejection(self) -> str | None:
        """Return why the last command was rejected, and count this as checked; None if it was accepted."""
        rejection, self._rejection = self._rejection, None
        return None if rejection is None else repr(rejection)

    def decided(self) -> list[Any]:
        """Return the events that the last command decided."""
        return [each.event for each in self._decided]

    def history(self) -> list[Any]:
        """Return all events, given and decided."""
        return [each.event for each in self._memory.envelopes()]

    def load(self) -> S:
        """Return the state after all events, as the next command would get it."""
        raise NotImplementedError

    def _run(self, call: Coroutine[Any, Any, WriteResult[Any]]) -> None:
        """Run a command, and keep its result."""
        __tracebackhide__ = True
        try:
            self._check_accepted()
        except AssertionError:
            call.close()
            raise
        head, self._result, self._decided = self._memory.head, _NOTHING, []
        try:
            self._result = complete(call)
        except Rejected as rejection:
            self._rejection = rejection
        self._decided = self._memory.envelopes(head)

    def _check_accepted(self) -> None:
        __tracebackhide__ = True
        if self._rejection is not None:
            raise AssertionError(f"the command was rejected: {self._rejection}") from self._rejection


class _StreamCase(DecisionCase[S]):
    """A decision on one stream."""

    def __init__(
        self,
        subject: Any,
        fold: FoldDefinition[S],
        events: Sequence[object],
        id: str,
        app: App | None,
        clock: ManualClock | None,
    ) -> None:
        self._subject = subject
        self._id = id
        self._fold = fold
        super().__init__(subject, fold.events, events, stream_name(fold.category, id), app, clock)

    def load(self) -> S:
        """Return the state after all events, as the next command would get it."""
        stream = stream_name(self._fold.category, self._id)
        return complete(self._memory.loader.load(self._fold, stream)).state


class AggregateCase(_StreamCase[A]):
    """An aggregate under test; see `DecisionCase`."""

    def __init__(
        self, subject: type[A], events: Sequence[object], id: str, app: App | None, clock: ManualClock | None
    ) -> None:
        super().__init__(subject, fold_definition_of(subject), events, id, app, clock)

    def when(
        self, command: Callable[Concatenate[A, P], object], /, *args: P.args, **kwargs: P.kwargs
    ) -> "AggregateCase[A]":
        """Run a command.

        Args:
            command: a method of the aggregate, accessed through its class: `Account.withdraw`.
            *args: positional arguments of the command.
            **kwargs: keyword arguments of the command.

        Raises:
            AssertionError: an earlier command was rejected, which the test has not checked; or the command changed the
                state other than by its events, so that the state after loading the stream is another one.
            InvalidValue: an event or an argument cannot be stored.
            UsageError: `command` is no command.
        """
        __tracebackhide__ = True
        states = list[A]()
        observed: Any = _observed(command_of(command), states)
        self._run(self._memory.client.transact(observed, self._id, *args, **kwargs))
        if self._rejection is None:
            self._check_state(states[-1])
        return self

    def _check_state(self, state: A) -> None:
        __tracebackhide__ = True
        replayed = self.load()
        # fault: lost-change-not-found
        if replayed == self.load() and (lines := list(different_fields(replayed, state))):
            raise AssertionError(
                "\n".join(["the command changed the state other than by its events (got), so it is lost:", *lines])
            )


def _observed(command: Command, states: list[Any]) -> Command:
    """Return the command, which also keeps the states that it runs on."""
    run: Any = command.function

    @wraps(run)
    def observed(state: Any, *args: Any, **kwargs: Any) -> Any:
        states.append(state)
        return run(state, *args, **kwargs)

    return Command(cast("Any", observed), command.aggregate)


class DeciderCase(_StreamCase[S], Generic[C, S]):
    """A decider under test; see `DecisionCase`."""

    def __init__(
        self,
        subject: Decider[C, S, Any],
        events: Sequence[object],
        id: str,
        app: App | None,
        clock: ManualClock | None,
    ) -> None:
        super().__init__(subject, fold_definition_of_decider(subject), events, id, app, clock)

    def when(self, command: C, /) -> "DeciderCase[C, S]":
        """Decide a command.

        Raises:
            AssertionError: an earlier command was rejected, which the test has not checked.
            InvalidValue: an event or the command cannot be stored.
        """
        __tracebackhide__ = True
        self._run(self._memory.client.decide(self._subject, self._id, command))
        return self


class BoundaryCase(DecisionCase[S], Generic[C, S]):
    """A boundary under test; see `DecisionCase`."""

    def __init__(
        self,
        subject: Boundary[C, S, Any],
        events: Sequence[object],
        id: str,
        app: App | None,
        clock: ManualClock | None,
    ) -> None:
        self._subject = subject
        self._command: C | None = None
        super().__init__(subject, subject.events, events, "", app, clock)

    def when(self, command: C, /) -> "BoundaryCase[C, S]":
        """Decide a command.

        Raises:
            AssertionError: an earlier command was rejected, which the test has not checked.
            InvalidValue: an event or the command cannot be stored.
        """
        __tracebackhide__ = True
        self._command = command
        self._run(self._memory.client.decide(self._subject, command))
        return self

    def load(self) -> S:
        """Return the state after all events, as the last command would get it now."""
        if self._command is None:
            raise UsageError("state() of a boundary needs a command: its events depend on one. Call when(...) before.")
        states = list[S]()

        def decide_nothing(_command: C, state: S) -> Iterable[NewEvents]:
            states.append(state)
            return ()

        complete(self._memory.client.decide(replace(self._subject, decide=decide_nothing), self._command))
        return states[-1]


def new_events(event: object, stream: str) -> NewEvents:
    """Return a given event as new events, by default of a stream."""
    if isinstance(event, NewEvents):
        return event
    if not stream:
        raise UsageError(f"a boundary has no stream: give NewEvents(stream, [event], tags=[...]), not {event!r}")
    return NewEvents(stream, [event])


def check_events(expected: Sequence[object], actual: Sequence[Envelope[Any]]) -> None:
    """Raise `AssertionError` unless these events were decided or appended; with streams, if they are `NewEvents`."""
    __tracebackhide__ = True
    items, events = list(expected), [each.event for each in actual]
    if any(isinstance(each, NewEvents) for each in expected):
        items = [item for each in expected for item in _single_events(each)]
        events = [_single_event(each.stream, each.event, each.tags) for each in actual]
    if lines := different_items(items, events):
        raise AssertionError("\n".join(["the new events differ from the expected ones:", *lines]))


def _single_events(expected: object) -> list[object]:
    if not isinstance(expected, NewEvents):
        return [expected]
    return [_single_event(expected.stream, each, expected.tags) for each in expected.events]


def _single_event(stream: str, event: object, tags: Iterable[str]) -> NewEvents:
    """Return one event with its stream and tags, for a comparison. The order of tags has no meaning."""
    return NewEvents(stream, [event], tags=sorted(tags))


def _matches(rejection: Rejected, expected: "str | re.Pattern[str] | type[Rejected]") -> bool:
    if isinstance(expected, str):
        return expected in str(rejection)
    if isinstance(expected, re.Pattern):
        return expected.search(str(rejection)) is not None
    return isinstance(rejection, expected)
