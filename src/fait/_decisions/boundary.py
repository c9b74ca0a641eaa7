"""A decision that depends on more than one stream: what it depends on is a query, and that query is its boundary.

    sell = Boundary(
        name="sell-seats",
        depends_on=lambda c: Query(tags=(f"show:{c.show}",)),
        initial=Seats, evolve=evolve, decide=decide,
    )
    await s.decide(sell, Sell(show="hamlet", seats=2))

All events that the query means are folded, wherever they are; what is decided is appended only if no further one has
come. This is a dynamic consistency boundary. When one has come, the log answers with it: it is folded too, and the
decision made anew, without reading anything twice.
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
        """The classes that `evolve` takes."""
        return annotated_events(self.evolve, 1, {})


class QueryResult(Struct, frozen=True):
    """What queries found in the log, and how far it was known: a decision on it holds `only_if` nothing was added.

    Attributes:
        events: decoded, with their envelopes, in order of position.
        queries: what was asked.
        position: the log was known up to here.
    """

    events: Sequence[Any]
    queries: tuple[Query, ...]
    position: int

    @property
    def condition(self) -> AppendCondition:
        """As a log takes it."""
        return AppendCondition(self.queries, self.position)


async def read_matching_events(
    log: DecisionLog, queries: Sequence[Query], after: int = 0
) -> tuple[list[RecordedEvent], int]:
    """All events beyond `after` that any of the queries means, in order, and the position up to which that is all.

    Several queries are read one after another; what only a later one could see is left out, so that the answer is
    one moment's.
    """
    found: dict[int, RecordedEvent] = {}
    ends: list[int] = []
    for query in queries:
        at, more = after, True
        while more:
            page = await log.read(at, query=query, limit=PAGE_SIZE)
            found.update((event.position, event) for event in page.events)
            at, more = page.position, page.more
        ends.append(at)
    end = min(ends)
    return [found[position] for position in sorted(found) if position <= end], end


async def decide_boundary(
    log: DecisionLog, codec: Codec, clock: Clock, boundary: Boundary[C, S, E], command: C, options: Options
) -> WriteResult[Sequence[NewEvents]]:
    """Fold what the command depends on, decide, append on condition; fold what came between and decide again."""
    if options.expected is not None:
        raise UsageError(
            f"the boundary {boundary.name!r} has no stream of its own for expected=: say it in the Facts it decides. "
            f"Nothing was written."
        )
    record = command_record(f"{boundary.name}.{type(command).__name__}", {"command": command})
    metadata = build_metadata(options, record)
    past = _BoundaryHistory(log, codec, boundary, command)
    failed: ConditionFailed | None = None
    for attempt in range(1, options.attempts + 1):
        if attempt > 2:  # the answer to a first conflict is as new as can be; whoever meets more makes way
            await back_off(attempt)
        if attempt != 2:
            await past.read_new_events()
        # Asked after reading: a decision must not rest on what a rival has just stored under the same key.
        if done := await past.find_result_of_key(options.key, record):
            return done
        facts = past.decide(clock.now())
        if not facts:
            return WriteResult(facts, "", 0, past.position, attempts=attempt)
        writes = encode_writes(codec, facts, event_ids(boundary.name, options.key), metadata)
        verdict = await append_with_retry(
            log, writes, AppendCondition(past.queries, past.position), new_ids=options.key is None
        )
        match verdict:
            case ConditionFailed(events, position):
                failed = verdict
                past.add_events(events, position)
            case Appended(repeated=True) | IdConflict() if done := await past.find_result_of_key(options.key, record):
                return done
            case _:
                stored = raise_on_conflict(verdict)
                return WriteResult(
                    facts, facts[0].stream, stored.versions[0], stored.position, stored.repeated, attempt
                )
    assert failed is not None
    raise_on_conflict(failed)
    raise AssertionError


class _BoundaryHistory(Generic[C, S, E]):
    """What a command depends on, as far as it is known.

    Events are kept, not the state, so that each decision gets a state of its own: one that changes it harms nobody.
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
        asked = self._boundary.depends_on(self._command)
        queries = (asked,) if isinstance(asked, Query) else tuple(asked)
        if not queries:
            raise DeclarationError(
                f"the boundary {self._boundary.name!r} depends on nothing: then any append would do, without it"
            )
        types = self._handled.query.types
        return tuple(query if query.types else Query(types, query.tags, query.category) for query in queries)

    async def read_new_events(self) -> None:
        """Learn what has come since."""
        self.add_events(*await read_matching_events(self._log, self.queries, self.position))

    def add_events(self, events: Iterable[RecordedEvent], position: int) -> None:
        """Know these events too, and that there are no others up to the position."""
        takes, decode = self._codec.registry.handles, self._codec.decode_any
        self._events += [(each.position, decode(each)) for each in events if takes(self._handled, each.type)]
        self.position = position

    def decide(self, now: datetime, before: int | None = None) -> list[NewEvents]:
        """Decide at a moment, on all that is known or on what came before a position."""
        state = self._boundary.initial()
        for position, event in self._events:
            if before is None or position < before:
                state = self._boundary.evolve(state, event)
        with freeze(now):
            return list(self._boundary.decide(self._command, state))

    async def find_result_of_key(
        self, key: str | None, record: CommandRecord
    ) -> WriteResult[Sequence[NewEvents]] | None:
        """The answer that the key got before: decided as it was decided then; nothing is appended."""
        if key is None:
            return None
        name = self._boundary.name
        first = next(iter(await self._log.find([event_id_for_key(name, key, 0)])), None)
        if first is None:
            return None
        check_key_reuse(first, key, record)
        await self.read_new_events()
        facts = self.decide(first.recorded_at, before=first.position)
        count = sum(len(each.events) for each in facts)
        stored = await self._log.find([event_id_for_key(name, key, place) for place in range(max(1, count))])
        version = max(event.version for event in stored if event.stream == first.stream)
        return WriteResult(facts, first.stream, version, stored[-1].position, repeated=True)
