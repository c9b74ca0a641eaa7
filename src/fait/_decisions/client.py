"""What can be asked of a system: make a decision, append facts, load state; options are said apart from arguments.

The first of these calls has none, the second two:

    await s.transact(Order.place, "o-1", "c-1", items)
    await s.using(key="req-17", expected=7).transact(Order.place, "o-1", "c-1", items)
"""

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Concatenate, ParamSpec, TypeVar, cast, overload

import msgspec

from fait._decisions.aggregate import Aggregate, command_of, fold_definition_of, pending_events
from fait._decisions.boundary import Boundary, QueryResult, decide_boundary, read_matching_events
from fait._decisions.decider import DecidedEvent, Decider, FoldDefinition
from fait._decisions.new_events import NewEvents, encode_writes, event_ids
from fait._decisions.transact import (
    Decision,
    DecisionLog,
    DecisionRunner,
    Options,
    WriteResult,
    append_with_retry,
    build_metadata,
)
from fait._errors import UsageError
from fait._events.append import Until, raise_on_conflict
from fait._events.codec import Codec
from fait._events.query import Query
from fait._events.version import Expected

__all__ = ["Client"]

A = TypeVar("A", bound=Aggregate)
C = TypeVar("C")
S = TypeVar("S")
E = TypeVar("E")
R = TypeVar("R")
P = ParamSpec("P")


class Client:
    """Makes decisions and appends facts, under some options."""

    def __init__(
        self,
        log: DecisionLog,
        codec: Codec,
        loop: DecisionRunner,
        options: Options = Options(),
        keys: Callable[[str], str] | None = None,
    ) -> None:
        self._log = log
        self._codec = codec
        self._runner = loop
        self._options = options
        self._next_key = keys  # a handler's context gives each call a key of its own, by what is asked

    def using(
        self,
        *,
        key: str | None = None,
        expected: Expected | None = None,
        attempts: int | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> "Client":
        """The same system under these options.

        Args:
            key: idempotency key of the intention; see `Done.repeated`.
            expected: the version the stream must be at; a conflict is then an error at once.
            attempts: how often a decision is made anew on a conflict.
            extra: goes into the events' metadata.
        """
        if attempts is not None and attempts < 1:
            raise UsageError(f"a decision is made at least once, not {attempts} times")
        if key is not None and not key:
            raise UsageError("a key is a text that names the intention; this one is empty")
        was = self._options
        return Client(
            self._log,
            self._codec,
            self._runner,
            Options(
                key=was.key if key is None else key,
                expected=was.expected if expected is None else expected,
                attempts=was.attempts if attempts is None else attempts,
                extra=was.extra if extra is None else extra,
            ),
            self._next_key,
        )

    def _next_options(self, what: str) -> Options:
        """The options of the next call."""
        options = self._options
        if self._next_key is None or options.key is not None:
            return options
        # fault: key-by-order-alone
        # fault: random-ids-in-handler
        return msgspec.structs.replace(options, key=self._next_key(what))

    async def transact(
        self,
        command: Callable[Concatenate[A, P], R],
        id: str,
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> WriteResult[R]:
        """Run a command of an aggregate and store what it emits; decide again if somebody else was quicker.

        Args:
            command: named through its class: `Order.place`.
            id: of the aggregate: "7" for the stream `order-7`.
            *args: the command's arguments.
            **kwargs: the command's arguments by name.

        Raises:
            Rejected: the command said no; nothing was written.
            WrongExpectedVersion: `expected` did not hold, or too many conflicts; nothing was written.
            InvalidValue: an event holds what cannot be stored; nothing was written.
        """
        known = command_of(command)
        run = known.function
        if inspect.iscoroutinefunction(run):
            raise UsageError(
                f"{known.name} is `async`: a command decides, it does not wait. Fetch first, then transact. Nothing "
                f"was written."
            )

        def decide(state: A) -> tuple[R, Sequence[DecidedEvent]]:
            result = run(state, *args, **kwargs)
            return cast("R", result), pending_events(state)

        model = cast("FoldDefinition[A]", fold_definition_of(cast("type[Aggregate]", known.aggregate)))
        decision = Decision(model, id, known.name, known.arguments(args, kwargs), decide)
        return await self._runner.run(decision, self._next_options(f"{known.name}/{id}"))

    @overload
    async def decide(self, decider: Decider[C, S, E], id: str, command: C, /) -> WriteResult[Sequence[E]]: ...
    @overload
    async def decide(self, boundary: Boundary[C, S, E], command: C, /) -> WriteResult[Sequence[NewEvents]]: ...
    async def decide(self, what: Decider[Any, Any, Any] | Boundary[Any, Any, Any], *arguments: Any) -> WriteResult[Any]:
        """Let a decider, for an id, or a boundary decide a command, and store what was decided.

        Raises:
            Rejected: it said no; nothing was written.
            AppendConditionFailed: too often, something the decision depends on came between; nothing was written.
        """
        if isinstance(what, Boundary):
            (command,) = arguments
            options = self._next_options(what.name)
            return await decide_boundary(self._log, self._codec, self._runner.clock, what, command, options)
        id, command = arguments
        decider = what

        def run(state: Any) -> tuple[Sequence[Any], Sequence[DecidedEvent]]:
            events = list(decider.decide(command, state))
            return events, [DecidedEvent(event) for event in events]

        name = f"{decider.category}.{type(command).__name__}"
        decision = Decision(decider.fold_definition, id, name, {"command": command}, run)
        return await self._runner.run(decision, self._next_options(f"{name}/{id}"))

    async def query(self, *queries: Query) -> QueryResult:
        """All events that any of the queries means; with `append(…, only_if=found)` a decision on them holds or fails.

        Undeclared events come as `Untyped`.
        """
        if not queries:
            raise UsageError("query needs at least one Query; Query() means all events. Nothing was read.")
        stored, position = await read_matching_events(self._log, queries)
        return QueryResult([self._codec.decode_envelope(each) for each in stored], queries, position)

    async def publish(
        self,
        event: object,
        /,
        *,
        stream: str,
        tags: Iterable[str] = (),
        occurred_at: datetime | None = None,
        id: str | None = None,
    ) -> WriteResult[None]:
        """Store one event: whoever subscribes to it will handle it. No aggregate is needed.

        Args:
            event: an event, or `Untyped`.
            stream: the thing it belongs to; its handlers see the events of one stream in order.
            tags: the other things it belongs to.
            occurred_at: when it became true; by default, when it is recorded.
            id: a UUID of your own; the same id again is the same append.
        """
        options = self._next_options(f"publish/{stream}")
        expected = "any" if options.expected is None else options.expected
        return await self._append([NewEvents(stream, [event], expected, tuple(tags), occurred_at)], options, id)

    async def append(self, *facts: NewEvents, only_if: QueryResult | None = None) -> WriteResult[None]:
        """Store events of one or several streams: all of them, or none.

        Args:
            *facts: for each stream, its events.
            only_if: what the decision rests on: nothing of it may have been added since.

        Raises:
            WrongExpectedVersion: a stream is not at its expected version; nothing was written.
            AppendConditionFailed: something the decision rests on was added; nothing was written.
        """
        options = self._next_options(f"append/{facts[0].stream}" if facts else "append")
        if options.expected is not None:
            raise UsageError("append takes what is expected from each Facts(..., expected=...). Nothing was written.")
        return await self._append(facts, options, only_if=only_if)

    async def _append(
        self,
        facts: Sequence[NewEvents],
        options: Options,
        event_id: str | None = None,
        only_if: QueryResult | None = None,
    ) -> WriteResult[None]:
        if not facts:
            raise UsageError("append needs at least one Facts(stream, events). Nothing was written.")
        ids = event_ids(facts[0].stream, options.key, event_id)
        writes = encode_writes(self._codec, facts, ids, build_metadata(options))
        new_ids = options.key is None and event_id is None
        done = raise_on_conflict(
            await append_with_retry(self._log, writes, only_if and only_if.condition, new_ids=new_ids)
        )
        return WriteResult(None, facts[0].stream, done.versions[0], done.position, done.repeated)

    @overload
    async def load(
        self,
        what: type[A],
        id: str,
        /,
        *,
        version: int | None = None,
        position: int | None = None,
        at: datetime | None = None,
        as_of: datetime | None = None,
    ) -> A: ...
    @overload
    async def load(
        self,
        what: Decider[C, S, E],
        id: str,
        /,
        *,
        version: int | None = None,
        position: int | None = None,
        at: datetime | None = None,
        as_of: datetime | None = None,
    ) -> S: ...
    async def load(
        self,
        what: type[Aggregate] | Decider[Any, Any, Any],
        id: str,
        /,
        *,
        version: int | None = None,
        position: int | None = None,
        at: datetime | None = None,
        as_of: datetime | None = None,
    ) -> Any:
        """The state of an aggregate or a decider, now or in the past. Without events, its initial state.

        Args:
            what: the aggregate's class, or the decider.
            id: of the thing.
            version: as of this version of its stream.
            position: as of this position of the log.
            at: what did we know at this moment? The longest prefix recorded by then.
            as_of: what was true at this moment? The facts that had become true by then, in the order of versions.
        """
        for number in (version, position):
            if number is not None and number < 0:
                raise UsageError(f"versions and positions count from 1, and 0 is before the first: not {number}")
        for moment in (at, as_of):
            if moment is not None and (not isinstance(moment, datetime) or moment.tzinfo is None):  # pyright: ignore[reportUnnecessaryIsInstance]
                raise UsageError("a moment in the past needs a time zone: datetime(2024, 1, 15, tzinfo=UTC)")
        until = Until(version, position, at)
        if isinstance(what, Decider):
            return (await self._runner.load(what.fold_definition, id, until, as_of)).state
        return (await self._runner.load(fold_definition_of(what), id, until, as_of)).state

    @overload
    async def load_many(self, what: type[A], ids: Iterable[str], /) -> dict[str, A]: ...
    @overload
    async def load_many(self, what: Decider[C, S, E], ids: Iterable[str], /) -> dict[str, S]: ...
    async def load_many(self, what: type[Aggregate] | Decider[Any, Any, Any], ids: Iterable[str], /) -> dict[str, Any]:
        """The states of many aggregates or of a decider's things as they are now, by id, in the order of the ids.

        Where there are no events, the initial state. Each is what `load` gives, with far fewer requests; they are not
        all of one moment.

        Args:
            what: the aggregate's class, or the decider.
            ids: of the things.
        """
        if isinstance(what, Decider):
            return {
                id: loaded.state for id, loaded in (await self._runner.load_many(what.fold_definition, ids)).items()
            }
        return {
            id: loaded.state for id, loaded in (await self._runner.load_many(fold_definition_of(what), ids)).items()
        }
