"""fait through its public interface."""

import asyncio
import time
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager

from measure import Outcome, check, concurrently, outcome, timed_async
from order import EVENTS_PER_ORDER, order

import fait

__all__ = [
    "TABLE",
    "WORKLOADS",
    "Order",
    "OrderPlaced",
    "OrderUpdated",
    "catch_up",
    "fill",
    "made",
    "new_events",
    "opened",
    "placed",
    "updated",
    "url",
]

TABLE = "fait_events"
BULK = 500


@fait.event("bench.item")
class Item:
    product_id: str
    quantity: int
    price: float


@fait.event("bench.order-placed")
class OrderPlaced:
    order_id: str
    customer_id: str
    items: list[Item]
    total: float
    placed_at: str


@fait.event("bench.order-updated")
class OrderUpdated:
    order_id: str
    customer_id: str
    items: list[Item]
    total: float
    placed_at: str


class Order(fait.Aggregate, category="order"):
    customer_id: str = ""
    items: Sequence[Item] = ()
    total: float = 0.0
    placed_at: str = ""
    changes: int = 0

    def update(self, event: OrderUpdated) -> None:
        self.emit(event)

    def evolve(self, event: OrderPlaced | OrderUpdated) -> None:
        match event:
            case OrderPlaced():
                self.customer_id = event.customer_id
                self.items, self.total, self.placed_at = event.items, event.total, event.placed_at
            case OrderUpdated():
                self.items, self.total, self.placed_at = event.items, event.total, event.placed_at
        self.changes += 1


class OrderView(fait.ReadModel, key="order_id", table="order_view"):
    order_id: str
    customer_id: str
    total: float
    n: int

    @classmethod
    def evolve(
        cls, row: "OrderView | None", event: OrderPlaced | OrderUpdated, at: fait.Envelope
    ) -> "OrderView | None":
        if row is None:
            return cls(order_id=at.stream_id, customer_id=event.customer_id, total=event.total, n=1)
        row.total = event.total
        row.n += 1
        return row


def placed(number: int) -> OrderPlaced:
    fields = order(number)
    return OrderPlaced(**{**fields, "items": [Item(**item) for item in fields["items"]]})


def updated(number: int) -> OrderUpdated:
    fields = order(number)
    return OrderUpdated(**{**fields, "items": [Item(**item) for item in fields["items"]]})


def new_events(number: int, events: int) -> fait.NewEvents:
    """Return new events for a new stream."""
    later = [updated(number) for _ in range(events - 1)]
    return fait.NewEvents(f"order-{number}", [placed(number), *later], "no_stream")


def made(streams: range, events: int) -> list[fait.NewEvents]:
    return [new_events(number, events) for number in streams]


def url(path: str) -> str:
    """Return the URL of a file; a URL is returned unchanged."""
    return path if "://" in path else f"sqlite:///{path}"


def opened(path: str) -> AbstractAsyncContextManager[fait.System]:
    app = fait.App("bench")
    app.include(Order)
    return app.open(url(path), run="elsewhere")


async def durable(s: fait.System) -> None:
    """Verify the settings of a file; those of a server are verified by the program that started it."""
    findings = {each.name: each.detail for each in await s.store.examine()}
    if "journal mode" not in findings:
        return
    check("journal mode", findings["journal mode"], "wal")
    check("synchronous", findings["synchronous"].partition(":")[0], "FULL")


async def fill(s: fait.System, streams: range, events: int) -> None:
    for first in range(0, len(streams), BULK):
        await s.append(*made(streams[first : first + BULK], events))


async def w1(path: str, n: int) -> Outcome:
    async with opened(path) as s:
        await durable(s)
        await timed_async(s.append, made(range(n, n + n // 10), 1))
        seconds, latencies = await timed_async(s.append, made(range(n), 1))
    return outcome(n, seconds, latencies, stored=n + n // 10)


async def w2(path: str, n: int) -> Outcome:
    async with opened(path) as s:
        await durable(s)
        await concurrently(s.append, made(range(n, n + n // 10), 1))
        seconds, latencies = await concurrently(s.append, made(range(n), 1))
    return outcome(n, seconds, latencies, stored=n + n // 10)


async def w4(path: str, n: int) -> Outcome:
    streams, warm_up = n // EVENTS_PER_ORDER, n // EVENTS_PER_ORDER // 10
    async with opened(path) as s:
        await durable(s)
        await concurrently(s.append, made(range(streams, streams + warm_up), 10))
        seconds, latencies = await concurrently(s.append, made(range(streams), 10))
    return outcome(streams * 10, seconds, latencies, stored=(streams + warm_up) * 10)


async def w4_bulk(path: str, n: int) -> Outcome:
    streams, warm_up = n // EVENTS_PER_ORDER, n // EVENTS_PER_ORDER // 10
    async with opened(path) as s:
        await durable(s)
        await fill(s, range(streams, streams + warm_up), 10)
        batches = [made(range(first, min(first + BULK, streams)), 10) for first in range(0, streams, BULK)]
        seconds, _ = await timed_async(lambda batch: s.append(*batch), batches)
    return outcome(streams * 10, seconds, stored=(streams + warm_up) * 10)


async def w5_one(path: str, n: int) -> Outcome:
    loads, events = 10, n
    async with opened(path) as s:
        await s.append(fait.NewEvents("order-0", [placed(0)], "no_stream"))
        for first in range(1, events, 1000):
            await s.append(fait.NewEvents("order-0", [updated(i) for i in range(first, min(first + 1000, events))]))
        await s.load(Order, "0")
        seconds, latencies = await timed_async(lambda _: s.load(Order, "0"), range(loads))
        check("events folded", (await s.load(Order, "0")).changes, events)
    return outcome(loads * events, seconds, latencies, stored=events)


async def w5_many(path: str, n: int) -> Outcome:
    folded = 0

    async def load(number: int) -> None:
        nonlocal folded
        folded += (await s.load(Order, str(number))).changes

    async with opened(path) as s:
        await fill(s, range(n), EVENTS_PER_ORDER)
        await timed_async(load, range(n // 10))
        folded = 0
        seconds, latencies = await timed_async(load, range(n))
    check("events folded", folded, n * EVENTS_PER_ORDER)
    return outcome(n * EVENTS_PER_ORDER, seconds, latencies, stored=n * EVENTS_PER_ORDER)


async def w5_load_many(path: str, n: int) -> Outcome:
    async with opened(path) as s:
        await fill(s, range(n), EVENTS_PER_ORDER)
        await s.load_many(Order, [str(number) for number in range(100)])
        started, folded = time.perf_counter(), 0
        for first in range(0, n, 100):
            orders = await s.load_many(Order, [str(number) for number in range(first, min(first + 100, n))])
            folded += sum(each.changes for each in orders.values())
        seconds = time.perf_counter() - started
    check("events folded", folded, n * EVENTS_PER_ORDER)
    return outcome(n * EVENTS_PER_ORDER, seconds, stored=n * EVENTS_PER_ORDER)


async def w6(path: str, n: int) -> Outcome:
    streams = 200
    async with opened(path) as s:
        await durable(s)
        await fill(s, range(streams), 20)
        changes = [(str(number % streams), updated(number)) for number in range(n // 10 + n)]
        await timed_async(lambda change: s.transact(Order.update, *change), changes[: n // 10])
        seconds, latencies = await timed_async(lambda change: s.transact(Order.update, *change), changes[n // 10 :])
    return outcome(n, seconds, latencies, stored=streams * 20 + n // 10 + n)


async def catch_up(path: str, *, rebuild: bool = False) -> float:
    """Return the seconds to open the system and build the read model from the whole log."""
    app = fait.App("bench-views")
    app.include(OrderView)
    started = time.perf_counter()
    async with app.open(url(path), rebuild=["order_view"] if rebuild else []) as s:
        await s.wait(timeout_s=3600)
        return time.perf_counter() - started


async def w7(path: str, n: int) -> Outcome:
    streams = n // EVENTS_PER_ORDER
    async with opened(path) as s:
        await durable(s)
        await fill(s, range(streams), EVENTS_PER_ORDER)
    seconds = await catch_up(path)
    return outcome(streams * EVENTS_PER_ORDER, seconds, stored=streams * EVENTS_PER_ORDER)


async def w8(path: str, n: int) -> Outcome:
    handled = asyncio.Event()
    at = 0.0
    app = fait.App("bench")

    @app.on(OrderPlaced)
    async def note(_event: OrderPlaced) -> None:
        nonlocal at
        at = time.perf_counter()
        handled.set()

    latencies = list[float]()
    async with app.open(url(path)) as s:
        await durable(s)
        for number in range(n + n // 10):
            await asyncio.sleep(0.01)
            handled.clear()
            new = new_events(number, 1)
            started = time.perf_counter()
            await s.append(new)
            await asyncio.wait_for(handled.wait(), 30)
            latencies.append(at - started)
    return outcome(n, None, latencies[n // 10 :], stored=n + n // 10)


WORKLOADS = {
    "W1": w1,
    "W2": w2,
    "W4": w4,
    "W4-bulk": w4_bulk,
    "W5-one": w5_one,
    "W5-many": w5_many,
    "W6": w6,
    "W7": w7,
    "W8": w8,
}
if hasattr(fait.System, "load_many"):
    WORKLOADS["W5-load-many"] = w5_load_many
