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
from fait._decisions.new_events import Facts, ids_for, writes_of
from fait._decisions.transact import (
    Done,
    Options,
    Streams,
    check_intention,
    command_record,
    key_id,
    metadata_of,
    pause,
    settled,
)
from fait._errors import DeclarationError, UsageError
from fait._events.annotation import events_taken
from fait._events.append import PAGE, AppendCondition, Appended, ConditionFailed, Duplicate, raised
from fait._events.codec import Codec
from fait._events.envelope import CommandRecord, StoredEvent
from fait._events.query import Query

__all__ = ["Boundary", "Found", "decide_within", "find_all"]

C = TypeVar("C")
S = TypeVar("S")
E = TypeVar("E")


class Boundary(Struct, Generic[C, S, E], frozen=True, kw_only=True):
    """A decision over all events that a query means.

    Attributes:
        name: as it is recorded with its events; also the scope of its idempotency keys.
        depends_on: the events that a command's decision depends on. Where a query names no types, those of `evolve`
            are meant; others that it names make the decision fail, and are not folded.
        initial: gives the state before the first event.
        decide: what a command means in a state: the facts to store, with their streams and tags; none = nothing to
            do. It may run again, each time on a state folded anew, so it has no effects.
        evolve: the state after an event; may be the same object, changed.
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


async def find_all(log: Streams, queries: Sequence[Query], after: int = 0) -> tuple[list[StoredEvent], int]:
    """All events beyond `after` that any of the queries means, in order, and the position up to which that is all.

    Several queries are read one after another; what only a later one could see is left out, so that the answer is
    one moment's.
    """
    found: dict[int, StoredEvent] = {}
    ends: list[int] = []
    for query in queries:
        at, more = after, True
        while more:
            page = await log.read(at, query=query, limit=PAGE)
            found.update((event.position, event) for event in page.events)
            at, more = page.position, page.more
        ends.append(at)
    end = min(ends)
    return [found[position] for position in sorted(found) if position <= end], end


async def decide_within(
    log: Streams, codec: Codec, clock: Clock, boundary: Boundary[C, S, E], command: C, options: Options
) -> Done[Sequence[Facts]]:
    """Fold what the command depends on, decide, append on condition; fold what came between and decide again."""
    if options.expected is not None:
        raise UsageError(
            f"the boundary {boundary.name!r} has no stream of its own for expected=: say it in the Facts it decides. "
            f"Nothing was written."
        )
    record = command_record(f"{boundary.name}.{type(command).__name__}", {"command": command})
    metadata = metadata_of(options, record)
    past = _Past(log, codec, boundary, command)
    failed: ConditionFailed | None = None
    for attempt in range(1, options.attempts + 1):
        if attempt > 2:  # the answer to a first conflict is as new as can be; whoever meets more makes way
            await pause(attempt)
        if attempt != 2:
            await past.read_on()
        # Asked after reading: a decision must not rest on what a rival has just stored under the same key.
        if done := await past.answered(options.key, record):
            return done
        facts = past.decide(clock.now())
        if not facts:
            return Done(facts, "", 0, past.position, attempts=attempt)
        writes = writes_of(codec, facts, ids_for(boundary.name, options.key), metadata)
        verdict = await settled(log, writes, AppendCondition(past.queries, past.position), new_ids=options.key is None)
        match verdict:
            case ConditionFailed(events, position):
                failed = verdict
                past.learn(events, position)
            case Appended(repeated=True) | Duplicate() if done := await past.answered(options.key, record):
                return done
            case _:
                stored = raised(verdict)
                return Done(facts, facts[0].stream, stored.versions[0], stored.position, stored.repeated, attempt)
    assert failed is not None
    raised(failed)
    raise AssertionError


class _Past(Generic[C, S, E]):
    """What a command depends on, as far as it is known.

    Events are kept, not the state, so that each decision gets a state of its own: one that changes it harms nobody.
    """

    def __init__(self, log: Streams, codec: Codec, boundary: Boundary[C, S, E], command: C) -> None:
        self._log = log
        self._codec = codec
        self._boundary = boundary
        self._command = command
        self._taken = codec.registry.taken(boundary.events)
        self._events: list[tuple[int, E]] = []
        self.queries = self._asked()
        self.position = 0

    def _asked(self) -> tuple[Query, ...]:
        asked = self._boundary.depends_on(self._command)
        queries = (asked,) if isinstance(asked, Query) else tuple(asked)
        if not queries:
            raise DeclarationError(
                f"the boundary {self._boundary.name!r} depends on nothing: then any append would do, without it"
            )
        types = self._taken.query.types
        return tuple(query if query.types else Query(types, query.tags, query.category) for query in queries)

    async def read_on(self) -> None:
        """Learn what has come since."""
        self.learn(*await find_all(self._log, self.queries, self.position))

    def learn(self, events: Iterable[StoredEvent], position: int) -> None:
        """Know these events too, and that there are no others up to the position."""
        takes, decode = self._codec.registry.takes, self._codec.any_event
        self._events += [(each.position, decode(each)) for each in events if takes(self._taken, each.type)]
        self.position = position

    def decide(self, now: datetime, before: int | None = None) -> list[Facts]:
        """Decide at a moment, on all that is known or on what came before a position."""
        state = self._boundary.initial()
        for position, event in self._events:
            if before is None or position < before:
                state = self._boundary.evolve(state, event)
        with freeze(now):
            return list(self._boundary.decide(self._command, state))

    async def answered(self, key: str | None, record: CommandRecord) -> Done[Sequence[Facts]] | None:
        """The answer that the key got before: decided as it was decided then; nothing is appended."""
        if key is None:
            return None
        name = self._boundary.name
        first = next(iter(await self._log.find([key_id(name, key, 0)])), None)
        if first is None:
            return None
        check_intention(first, key, record)
        await self.read_on()
        facts = self.decide(first.recorded_at, before=first.position)
        count = sum(len(each.events) for each in facts)
        stored = await self._log.find([key_id(name, key, place) for place in range(max(1, count))])
        version = max(event.version for event in stored if event.stream == first.stream)
        return Done(facts, first.stream, version, stored[-1].position, repeated=True)
