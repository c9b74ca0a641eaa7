"""A decision that depends on more than one stream: what it depends on is a query, and that query is its boundary.

    sell = Boundary(
        name="sell-seats",
        depends_on=lambda c: Query(tags=(f"show:{c.show}",)),
        initial=Seats, evolve=evolve, decide=decide,
    )
    await s.decide(sell, Sell(show="hamlet", seats=2))

All events that the query means are folded, wherever they are; what is decided is appended only if no further one has
come. This is a dynamic consistency boundary. When one has come, the log answers with it: it is folded, and the
decision made anew, without reading anything twice.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Generic, TypeVar

from msgspec import Struct

from fait.clock import Clock, freeze
from fait.decisions.facts import Facts, ids_for, writes_of
from fait.decisions.transact import (
    Done,
    Options,
    Streams,
    check_intention,
    command_record,
    key_id,
    metadata_of,
    settled,
)
from fait.errors import DeclarationError
from fait.events.annotation import events_taken
from fait.events.append import PAGE, AppendCondition, ConditionFailed, raised
from fait.events.codec import Codec
from fait.events.envelope import CommandRecord, StoredEvent
from fait.events.query import Query

__all__ = ["Boundary", "Found", "decide_within", "find_all"]

C = TypeVar("C")
S = TypeVar("S")
E = TypeVar("E")


class Boundary(Struct, Generic[C, S, E], frozen=True, kw_only=True):
    """A decision over all events that a query means.

    Attributes:
        name: as it is recorded with its events; also the scope of its idempotency keys.
        depends_on: the events that a command's decision depends on. Where it names no types, those of `evolve` are
        meant.
        initial: gives the state before the first event.
        decide: what a command means in a state: the facts to store, with their streams and tags; none = nothing to
        do. It may
            run again, so it has no effects and leaves the state alone.
        evolve: the state after an event.
    """

    name: str
    depends_on: Callable[[C], Query | Sequence[Query]]
    initial: Callable[[], S]
    decide: Callable[[C, S], Iterable[Facts]]
    evolve: Callable[[S, E], S]

    @property
    def events(self) -> tuple[type, ...]:
        """The classes that `evolve` takes."""
        return events_taken(self.evolve, 1, {})


class Found(Struct, frozen=True):
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


async def find_all(
    log: Streams, queries: Sequence[Query], *, before: int | None = None
) -> tuple[list[StoredEvent], int]:
    """All events that any of the queries means, in order, and the position up to which that is all of them.

    Several queries are read one after another; what only a later one could see is left out, so that the answer is
    one moment's.
    """
    found: dict[int, StoredEvent] = {}
    mark = None
    for query in queries:
        after, more = 0, True
        while more:
            page = await log.read(after, query=query, limit=PAGE)
            found.update((event.position, event) for event in page.events)
            after, more = page.position, page.more
        mark = after if mark is None else min(mark, after)
    end = mark or 0 if before is None else min(mark or 0, before - 1)
    return [found[position] for position in sorted(found) if position <= end], end


async def decide_within(
    log: Streams, codec: Codec, clock: Clock, boundary: Boundary[C, S, E], command: C, options: Options
) -> Done[Sequence[Facts]]:
    """Fold what the command depends on, decide, append on condition; fold what came between and decide again."""
    queries = _queries(codec, boundary, command)
    record = command_record(f"{boundary.name}.{type(command).__name__}", {"command": command})
    if options.key is not None and (first := await _earlier(log, boundary, options.key, record)):
        return await _repeat(log, codec, boundary, command, queries, first)
    metadata = metadata_of(options, record)
    events, position = await find_all(log, queries)
    state = _fold(codec, boundary, boundary.initial(), events)
    failed: ConditionFailed | None = None
    for attempt in range(1, options.attempts + 1):
        with freeze(clock.now()):
            facts = list(boundary.decide(command, state))
        if not facts:
            return Done(facts, "", 0, position, attempts=attempt)
        writes = writes_of(codec, facts, ids_for(boundary.name, options.key), metadata)
        verdict = await settled(log, writes, AppendCondition(queries, position))
        if not isinstance(verdict, ConditionFailed):
            done = raised(verdict)
            return Done(facts, facts[0].stream, done.versions[0], done.position, done.repeated, attempt)
        failed = verdict
        state, position = _fold(codec, boundary, state, failed.events), failed.position
    assert failed is not None
    raised(failed)
    raise AssertionError


def _queries(codec: Codec, boundary: Boundary[C, S, E], command: C) -> tuple[Query, ...]:
    asked = boundary.depends_on(command)
    queries = (asked,) if isinstance(asked, Query) else tuple(asked)
    if not queries:
        raise DeclarationError(
            f"the boundary {boundary.name!r} depends on nothing: then any append would do, without it"
        )
    types = codec.registry.taken(boundary.events).query.types
    return tuple(query if query.types else Query(types, query.tags, query.category) for query in queries)


def _fold(codec: Codec, boundary: Boundary[C, S, E], state: S, events: Iterable[StoredEvent]) -> S:
    taken = codec.registry.taken(boundary.events)
    for stored in events:
        if codec.registry.takes(taken, stored.type):
            state = boundary.evolve(state, codec.any_event(stored))
    return state


async def _earlier(
    log: Streams, boundary: Boundary[Any, Any, Any], key: str, record: CommandRecord
) -> StoredEvent | None:
    found = await log.find([key_id(boundary.name, key, 0)])
    if not found:
        return None
    check_intention(found[0], key, record)
    return found[0]


async def _repeat(
    log: Streams, codec: Codec, boundary: Boundary[C, S, E], command: C, queries: Sequence[Query], first: StoredEvent
) -> Done[Sequence[Facts]]:
    """Answer a repetition: decide as was decided then; append nothing."""
    events, _ = await find_all(log, queries, before=first.position)
    with freeze(first.recorded_at):
        facts = list(boundary.decide(command, _fold(codec, boundary, boundary.initial(), events)))
    return Done(facts, first.stream, first.version, first.position, repeated=True)
