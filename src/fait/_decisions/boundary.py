"""Boundaries: decisions that depend on the events of a query instead of one stream.

    sell = Boundary(
        name="sell-seats",
        depends_on=lambda c: Query(tags=(f"show:{c.show}",)),
        initial=Seats, evolve=evolve, decide=decide,
    )
    await s.decide(sell, Sell(show="hamlet", seats=2))

A boundary folds all events that match the query, in any stream. Its new events are appended with an append condition:
the append fails if another matching event was recorded after the log was read. The append result then carries the
events that made it fail. The boundary folds them too and decides again, without reading any event twice.
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any, Generic, TypeVar

from msgspec import Struct

from fait._clock import Clock, freeze
from fait._decisions.new_events import NewEvents, encode_writes, event_ids
from fait._decisions.transact import (
    DecisionLog,
    Options,
    WriteResult,
    append_with_retry,
    back_off,
    build_metadata,
    check_key_reuse,
    command_record,
    event_id_for_key,
)
from fait._errors import DeclarationError, UsageError
from fait._events.annotation import annotated_events
from fait._events.append import PAGE_SIZE, AppendCondition, Appended, ConditionFailed, IdConflict, raise_on_conflict
from fait._events.codec import Codec
from fait._events.envelope import CommandRecord, RecordedEvent
from fait._events.query import Query

__all__ = ["Boundary", "QueryResult", "decide_boundary", "read_matching_events"]

C = TypeVar("C")
S = TypeVar("S")
E = TypeVar("E")


class Boundary(Struct, Generic[C, S, E], frozen=True, kw_only=True):
    """A decision over all events that match a query: a dynamic consistency boundary (DCB).

    The append fails if another matching event was recorded after the events that the decision read. The decision is
    then repeated with that event.

    Attributes:
        name: name of the decision; stored in the metadata of its events, and the scope of its idempotency keys.
        depends_on: takes a command and returns the query, or the queries, for the events that the decision depends on.
            A query without types gets the types that `evolve` accepts. Events of other types that a query names make
            the append fail, but are not folded.
        initial: returns the state before the first event.
        decide: takes a command and the state, and returns the `NewEvents` to append, with their streams and tags;
            raises `Rejected` to reject the command. It may run again, so it must have no other effects.
        evolve: takes the state and an event, and returns the next state; it may change and return the state it got. The
            annotation of its event parameter lists the events that it accepts.

    Example:
        sell = fait.Boundary(
            name="sell-seats",
            depends_on=lambda command: fait.Query(tags=(f"show:{command.show}",)),
            initial=Seats, decide=decide, evolve=evolve,
        )
        await system.decide(sell, SellSeats("hamlet", 2))
    """

    name: str
    depends_on: Callable[[C], Query | Sequence[Query]]
    initial: Callable[[], S]
    decide: Callable[[C, S], Iterable[NewEvents]]
    evolve: Callable[[S, E], S]

    @property
    def events(self) -> tuple[type, ...]:
        """The event classes that `evolve` handles."""
        return annotated_events(self.evolve, 1, {})


class QueryResult(Struct, frozen=True):
    """The result of `query`. Pass it to `append(..., only_if=result)` to append only if no further event matches.

    Attributes:
        events: the envelopes of the matching events, in order of position.
        queries: the queries that were run.
        position: the position up to which the log was read; `events` is complete up to here.
    """

    events: Sequence[Any]
    queries: tuple[Query, ...]
    position: int

    @property
    def condition(self) -> AppendCondition:
        """The append condition: no event after `position` matches any of the queries."""
        return AppendCondition(self.queries, self.position)


async def read_matching_events(
    log: DecisionLog, queries: Sequence[Query], after: int = 0
) -> tuple[list[RecordedEvent], int]:
    """Read all events after a position that match any of the queries.

    The queries run one after another, and the log may grow between them. Events beyond the end of the shortest read
    are left out, so that the result is consistent.

    Returns:
        The events in order of position, and the position up to which they are complete.
    """
    events: dict[int, RecordedEvent] = {}
    ends: list[int] = []
    for query in queries:
        position, more = after, True
        while more:
            page = await log.read(position, query=query, limit=PAGE_SIZE)
            events.update((event.position, event) for event in page.events)
            position, more = page.position, page.more
        ends.append(position)
    end = min(ends)
    return [events[position] for position in sorted(events) if position <= end], end


async def decide_boundary(
    log: DecisionLog, codec: Codec, clock: Clock, boundary: Boundary[C, S, E], command: C, options: Options
) -> WriteResult[Sequence[NewEvents]]:
    """Fold the matching events, decide and append; if the append condition failed, fold the new events and retry."""
    if options.expected is not None:
        raise UsageError(
            f"using(expected=...) does not apply to the boundary {boundary.name!r}, which has no stream. Nothing "
            f"was written. Set it in NewEvents(..., expected=...) of its decide function."
        )
    record = command_record(f"{boundary.name}.{type(command).__name__}", {"command": command})
    metadata = build_metadata(options, record)
    history = _BoundaryHistory(log, codec, boundary, command)
    failed: ConditionFailed | None = None
    for attempt in range(1, options.attempts + 1):
        # The first conflict returned the latest events, so the second attempt neither waits nor reads.
        if attempt > 2:
            await back_off(attempt)
        if attempt != 2:
            await history.read_new_events()
        # After reading, so that no decision is based on events that a concurrent call stored under the same key.
        if result := await history.find_repeated(options.key, record):
            return result
        new_events = history.decide(clock.now())
        if not new_events:
            return WriteResult(new_events, "", 0, history.position, attempts=attempt)
        writes = encode_writes(codec, new_events, event_ids(boundary.name, options.key), metadata)
        condition = AppendCondition(history.queries, history.position)
        append_result = await append_with_retry(log, writes, condition, new_ids=options.key is None)
        match append_result:
            case ConditionFailed(events, position):
                failed = append_result
                history.add_events(events, position)
            case Appended(repeated=True) | IdConflict() if result := await history.find_repeated(options.key, record):
                return result
            case _:
                stored = raise_on_conflict(append_result)
                stream = new_events[0].stream
                return WriteResult(new_events, stream, stored.versions[0], stored.position, stored.repeated, attempt)
    assert failed is not None
    raise_on_conflict(failed)
    raise AssertionError


class _BoundaryHistory(Generic[C, S, E]):
    """The events that a command depends on, as far as they have been read.

    Holds the events rather than the state, so that each attempt folds a new state: `decide` may change it.
    """

    def __init__(self, log: DecisionLog, codec: Codec, boundary: Boundary[C, S, E], command: C) -> None:
        self._log = log
        self._codec = codec
        self._boundary = boundary
        self._command = command
        self._handled = codec.registry.handled_types(boundary.events)
        self._events: list[tuple[int, E]] = []
        self.queries = self._effective_queries()
        self.position = 0

    def _effective_queries(self) -> tuple[Query, ...]:
        """Return the queries of `depends_on`; one without types is restricted to the types that `evolve` handles."""
        depends_on = self._boundary.depends_on(self._command)
        queries = (depends_on,) if isinstance(depends_on, Query) else tuple(depends_on)
        if not queries:
            raise DeclarationError(
                f"depends_on of the boundary {self._boundary.name!r} returned no query. A decision that depends on no "
                f"events needs no boundary: use append(). Nothing was written."
            )
        types = self._handled.query.types
        return tuple(query if query.types else Query(types, query.tags, query.category) for query in queries)

    async def read_new_events(self) -> None:
        """Read the events recorded since the last read."""
        self.add_events(*await read_matching_events(self._log, self.queries, self.position))

    def add_events(self, events: Iterable[RecordedEvent], position: int) -> None:
        """Add matching events that are complete up to a position."""
        handled, handles, decode = self._handled, self._codec.registry.handles, self._codec.decode_handled
        self._events += [(each.position, decode(handled, each)) for each in events if handles(handled, each.type)]
        self.position = position

    def decide(self, now: datetime, before: int | None = None) -> list[NewEvents]:
        """Fold all events read so far, or those before a position, and decide; `fait.now()` returns `now`."""
        state = self._boundary.initial()
        for position, event in self._events:
            if before is None or position < before:
                state = self._boundary.evolve(state, event)
        with freeze(now):
            return list(self._boundary.decide(self._command, state))

    async def find_repeated(self, key: str | None, record: CommandRecord) -> WriteResult[Sequence[NewEvents]] | None:
        """Return the stored result of an idempotency key, or None if there is no key or it is new.

        The value is computed by deciding again, on the events and at the time of the first call.
        """
        if key is None:
            return None
        name = self._boundary.name
        first = next(iter(await self._log.find([event_id_for_key(name, key, 0)])), None)
        if first is None:
            return None
        check_key_reuse(first, key, record)
        await self.read_new_events()
        new_events = self.decide(first.recorded_at, before=first.position)
        count = sum(len(each.events) for each in new_events)
        stored = await self._log.find([event_id_for_key(name, key, index) for index in range(max(1, count))])
        version = max(event.version for event in stored if event.stream == first.stream)
        return WriteResult(new_events, first.stream, version, stored[-1].position, repeated=True)
