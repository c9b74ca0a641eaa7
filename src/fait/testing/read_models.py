"""Tests of read models: the object that `given` returns for one.

    given(OrderSummary, OrderPlaced("c-1"), OrderPaid()).rows(OrderSummary(order_id="1", status="paid"))

Events are delivered to the projection of an open system. The rows must be the same whether the events arrive one by
one, as while they happen, or all at once, as in a rebuild.
"""

from collections.abc import Iterator, Sequence
from itertools import zip_longest
from random import Random
from typing import Any, Generic, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from fait._app import App
from fait._clock import ManualClock
from fait._events.codec import Codec
from fait._events.envelope import RecordedEvent
from fait._store.open import open_store
from fait._store.ports.leases import Worker
from fait._store.ports.registrations import RangeKey
from fait._store.ports.tables import SortOrder
from fait._store.ports.unit_of_work import RangeMove, UnitOfWork
from fait._subscriptions.projection import Projection
from fait._subscriptions.read_model import ReadModel, ReadModelDefinition, definition_of
from fait._subscriptions.registration import Registrar
from fait._subscriptions.subscription import Tenure
from fait.testing.decisions import new_events
from fait.testing.differences import different_items
from fait.testing.in_memory import START, GivenEvents, codec_for, complete

__all__ = ["Delivery", "FirstAttempt", "ReadModelCase", "deliveries", "duplicated", "projected_rows", "reordered"]

M = TypeVar("M", bound=ReadModel)

_SHUFFLED_ORDERS = 20
"""Number of random orders of the streams in which events are delivered."""


class FirstAttempt(Struct, frozen=True):
    """The `ProcessingContext` of a first attempt, without a lease."""

    attempt: int = 1
    conflicts: int = 0
    stopping: bool = False
    failed_key: str | None = None

    @property
    def tenure(self) -> Tenure:
        """Refused: there is no lease."""
        raise NotImplementedError

    def is_concerned(self, _key: str, /) -> bool:
        """Return True: no key has failed."""
        return True


class Delivery(Struct, frozen=True):
    """A way in which a projection gets events.

    Attributes:
        name: what it does, to complete a sentence.
        batches: the events of each call of the projection.
    """

    name: str
    batches: Sequence[Sequence[RecordedEvent]]


class ReadModelCase(Generic[M]):
    """A read model under test."""

    def __init__(
        self, subject: type[M], events: Sequence[object], id: str, app: App | None, clock: ManualClock | None
    ) -> None:
        self._definition = definition_of(subject)
        self._codec = codec_for(app, self._definition.events, events, subject)
        memory = GivenEvents(self._codec, clock or ManualClock(START))
        for each in events:
            memory.append(new_events(each, f"{self._definition.name}-{id}"))
        self._events = memory.recorded_events()
        self._deliveries = list(deliveries(self._events))

    def duplicated(self) -> "ReadModelCase[M]":
        """Also deliver events twice: each immediately again, and all of them again.

        In a store this does not happen, because rows and checkpoint are written in one transaction. It does if `evolve`
        also feeds another system, or events are imported twice.
        """
        self._deliveries += duplicated(self._events)
        return self

    def reordered(self) -> "ReadModelCase[M]":
        """Also deliver the events of different streams in other orders; the order within a stream remains.

        The order of different streams is that of their appends, which often has no meaning.
        """
        self._deliveries += reordered(self._events)
        return self

    def rows(self, *expected: M) -> "ReadModelCase[M]":
        """Check that the table has exactly these rows, in any order, after each way of delivery.

        Raises:
            AssertionError: the rows differ; the text shows the fields.
            UsageError: the read model cannot write a row.
        """
        __tracebackhide__ = True
        key = self._definition.key
        wanted = sorted(expected, key=lambda row: getattr(row, key))
        for each in self._deliveries:
            actual = projected_rows(self._definition, self._codec, each.batches)
            if lines := different_items(wanted, actual, lambda row: getattr(row, key)):
                raise AssertionError("\n".join([f"the rows differ from the expected ones {each.name}:", *lines]))
        return self


def deliveries(events: Sequence[RecordedEvent]) -> Iterator[Delivery]:
    """Yield the ways of delivery that every read model must be indifferent to."""
    yield Delivery("after events arrived one by one", [[each] for each in events])
    yield Delivery("after a rebuild, in which all events arrive at once", [events])


def duplicated(events: Sequence[RecordedEvent]) -> Iterator[Delivery]:
    """Yield ways of delivery with every event twice."""
    yield Delivery("if each event is delivered twice", [[each, each] for each in events])
    yield Delivery("if all events are delivered again", [events, events])


def reordered(events: Sequence[RecordedEvent]) -> Iterator[Delivery]:
    """Yield ways of delivery with other orders of the streams."""
    random = Random(0)  # noqa: S311 - no secret
    streams: dict[str, list[RecordedEvent]] = {}
    for each in events:
        streams.setdefault(each.stream, []).append(each)
    names = list(streams)
    orders = [[name for name in chosen for _ in streams[name]] for chosen in (names, names[::-1])]
    orders.append(
        [name for turn in zip_longest(*([name] * len(streams[name]) for name in names)) for name in turn if name]
    )
    orders += [random.sample(orders[0], len(orders[0])) for _ in range(_SHUFFLED_ORDERS)]
    for order in orders if len(streams) > 1 else ():
        remaining = {name: iter(each) for name, each in streams.items()}
        batch = [replace(next(remaining[name]), position=number) for number, name in enumerate(order, 1)]
        yield Delivery(f"if the streams are delivered in another order: {', '.join(order)}", [batch])


def projected_rows(
    definition: ReadModelDefinition, codec: Codec, batches: Sequence[Sequence[RecordedEvent]]
) -> list[Any]:
    """Return the rows of a read model after batches of events, in order of the key."""
    store = complete(open_store("memory:"))
    projection = Projection(definition, codec, store.tables)
    complete(Registrar("test", [projection.definition], store).register())
    complete(store.leases.heartbeat(Worker("test")))
    free = complete(store.leases.range(RangeKey(definition.name)))
    assert free is not None
    epoch = store.log.identity.epoch_id
    lease = complete(store.leases.acquire(free, "test", projection.definition.definition_hash, epoch))
    assert lease is not None
    for batch in filter(None, batches):
        outcome = complete(projection.handle(batch, FirstAttempt()))
        move = RangeMove(lease.key, lease.fencing_token, lease.revision, batch[-1].position)
        complete(store.recorder.record(UnitOfWork(move, outcome.rows)))
    stored = complete(store.tables.select(definition.table, order=[SortOrder(definition.key)]))
    return [definition.from_row(row) for row in stored]
