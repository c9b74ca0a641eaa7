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

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any, Generic, TypeVar

from msgspec import Struct

from fait._arguments import check_functions, check_iterable, described
from fait._clock import freeze
from fait._decisions.idempotency import Basis, Intention
from fait._decisions.log import LogReader, ReadMatching
from fait._decisions.new_events import NewEvents, encode_writes
from fait._errors import DeclarationError
from fait._events.annotation import annotated_events
from fait._events.append import PAGE_SIZE, AppendCondition, AppendResult, ConditionFailed, StreamWrite
from fait._events.codec import Codec
from fait._events.envelope import RecordedEvent
from fait._events.event import NOTHING_DECIDED
from fait._events.query import Query, check_queries

__all__ = ["Boundary", "BoundaryHistory", "QueryResult", "read_matching_events"]

C = TypeVar("C")
S = TypeVar("S")
E = TypeVar("E")


class Boundary(Struct, Generic[C, S, E], frozen=True, kw_only=True):
    """A decision over all events that match a query: a dynamic consistency boundary (DCB).

    The append fails if another matching event was recorded after the events that the decision read. The decision is
    then repeated with that event.

    Attributes:
        name: name of the decision; stored in the metadata of its events.
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

    def __post_init__(self) -> None:
        """Check the functions, also for code that no type checker has seen."""
        functions = {"depends_on": self.depends_on, "initial": self.initial, "decide": self.decide}
        check_functions(f"the boundary {described(self.name, show_text=True)}", **functions, evolve=self.evolve)

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
    log: LogReader, queries: Sequence[Query], after: int = 0
) -> tuple[list[RecordedEvent], int]:
    """Read all events after a position that match any of the queries.

    The queries run one after another, and the log may grow between them. Events beyond the end of the shortest read
    are left out, so that the result is consistent. `NOTHING_DECIDED` is not a fact, so it is left out too.

    Returns:
        The events in order of position, and the position up to which they are complete.
    """
    events: dict[int, RecordedEvent] = {}
    ends: list[int] = []
    for query in queries:
        position, more = after, True
        while more:
            page = await log.read(position, query=query, limit=PAGE_SIZE)
            events.update((event.position, event) for event in page.events if event.type != NOTHING_DECIDED)
            position, more = page.position, page.more
        ends.append(position)
    end = min(ends)
    return [events[position] for position in sorted(events) if position <= end], end


class BoundaryHistory(Generic[C, S, E]):
    """The events that a command depends on, as far as they have been read, and its decision: implements `History`.

    Holds the recorded events, so that each attempt decodes them and folds a new state: `decide` may change the state,
    and the lists that a decoded event shares with it.

    Attributes:
        queries: the queries that the decision depends on.
        position: the position up to which the events are complete.
        stream: always "", because the events are of many streams.
        version: always 0.
    """

    stream = ""
    version = 0

    def __init__(self, read: ReadMatching, codec: Codec, boundary: Boundary[C, S, E], command: C) -> None:
        self._read = read
        self._codec = codec
        self._boundary = boundary
        self._command = command
        self._handled = codec.registry.handled_types(boundary.events)
        self._events: list[RecordedEvent] = []
        self.queries = self._effective_queries()
        self.position = 0

    @property
    def condition(self) -> AppendCondition:
        """The append condition: no further event matches the queries."""
        return AppendCondition(self.queries, self.position)

    def _effective_queries(self) -> tuple[Query, ...]:
        """Return the queries of `depends_on`; one without types is restricted to the types that `evolve` handles."""
        depends_on = self._boundary.depends_on(self._command)
        subject = f"the result of depends_on of the boundary {self._boundary.name!r}"
        queries = check_queries(subject, (depends_on,) if isinstance(depends_on, Query) else depends_on)
        if not queries:
            raise DeclarationError(
                f"depends_on of the boundary {self._boundary.name!r} returned no query. A decision that depends on no "
                f"events needs no boundary: use append(). Nothing was written."
            )
        types, stored_query = self._handled.query.types, self._handled.registry.names.stored_query
        return tuple(
            stored_query(query) if query.types else Query(types, query.tags, query.category) for query in queries
        )

    async def refresh(self) -> None:
        """Read the events recorded since the last read."""
        self._add(*await self._read(self.queries, self.position))

    def decide(self, intention: Intention, now: datetime) -> tuple[Sequence[NewEvents], Sequence[StreamWrite]]:
        """Decide on all events read so far, and encode the new events."""
        state, new_events = self._fold(), list[NewEvents]()
        with freeze(now):
            writes = encode_writes(self._codec, self._decide(state, new_events), intention)
        return new_events, writes

    async def decide_again(self, basis: Basis, now: datetime) -> tuple[Sequence[NewEvents], int]:
        """Decide on the events up to an earlier position; `fait.now()` returns `now`."""
        await self.refresh()
        state = self._fold(up_to=basis.position)
        with freeze(now):
            new_events = list(self._boundary.decide(self._command, state))
        return new_events, sum(len(each.events) for each in new_events)

    def absorb(self, conflict: AppendResult) -> bool:
        """Add the events that made the append condition fail. Returns False for any other conflict."""
        if not isinstance(conflict, ConditionFailed):
            return False
        self._add(conflict.events, conflict.position)
        return True

    def _add(self, events: Iterable[RecordedEvent], position: int) -> None:
        """Add matching events that are complete up to a position."""
        handled, handles = self._handled, self._codec.registry.handles
        self._events += [each for each in events if handles(handled, each.type)]
        self.position = position

    def _fold(self, up_to: int | None = None) -> S:
        """Fold all events read so far, or those up to a position."""
        state, evolve, decode = self._boundary.initial(), self._boundary.evolve, self._codec.decode_all
        for event in self._events:
            if up_to is None or event.position <= up_to:
                for envelope in decode(event, self._handled):
                    state = evolve(state, envelope.event)
        return state

    def _decide(self, state: S, new_events: list[NewEvents]) -> Iterator[NewEvents]:
        """Yield the decided events one by one, and add them to a list: `decide` may change the state between two."""
        decided = self._boundary.decide(self._command, state)
        subject = f"the result of decide of the boundary {self._boundary.name!r}"
        for each in check_iterable(subject, decided, "a collection of NewEvents"):
            new_events.append(each)
            yield each
