"""The eventsourcing library through its documented interface: aggregates, an application, a projection, a system."""

import threading
import time
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from eventsourcing.application import Application
from eventsourcing.dispatch import singledispatchmethod
from eventsourcing.domain import Aggregate, event
from eventsourcing.persistence import InfrastructureFactory, Tracking
from eventsourcing.projection import Projection
from eventsourcing.sqlite import SQLiteTrackingRecorder
from eventsourcing.system import MultiThreadedRunner, ProcessApplication, System
from eventsourcing.utils import Environment
from measure import Outcome, by_threads, check, outcome, timed
from order import EVENTS_PER_ORDER, order

__all__ = ["TABLE", "VIEW", "WORKLOADS", "Order", "Orders", "fill", "made", "opened", "orders", "settings"]

TABLE = "stored_events"
BULK = 100
VIEW = "CREATE TABLE IF NOT EXISTS order_view (order_id TEXT PRIMARY KEY, customer_id TEXT, total REAL, n INTEGER)"
SECTION = 100  # notifications per read, as in the library's readers


class Order(Aggregate):
    @event("Placed")
    def __init__(self, order_id: str, customer_id: str, items: list[Any], total: float, placed_at: str) -> None:
        self.customer_id = customer_id
        self.items, self.total, self.placed_at = items, total, placed_at
        self.changes = 1

    @event("Updated")
    def update(self, order_id: str, customer_id: str, items: list[Any], total: float, placed_at: str) -> None:
        self.items, self.total, self.placed_at = items, total, placed_at
        self.changes += 1


class Orders(Application):
    pass


def opened(path: str) -> Orders:
    app = Orders(settings(path))
    if "://" in path:
        return app
    with app.recorder.datastore.transaction(commit=False) as cursor:
        for name, expected in (("journal_mode", "wal"), ("synchronous", 2)):
            cursor.execute(f"PRAGMA {name}")
            check(name, cursor.fetchone()[0], expected)
    return app


def settings(path: str) -> dict[str, str]:
    """Return the environment for a file, or for the URL of a PostgreSQL database whose options are library settings."""
    if "://" in path:
        place = urlsplit(path)
        return {
            "PERSISTENCE_MODULE": "eventsourcing.postgres",
            "POSTGRES_DBNAME": place.path.removeprefix("/"),
            "POSTGRES_HOST": place.hostname or "",
            "POSTGRES_PORT": str(place.port),
            "POSTGRES_USER": place.username or "",
            "POSTGRES_PASSWORD": "none",
            "POSTGRES_POOL_SIZE": "16",
            "POSTGRES_MAX_OVERFLOW": "16",
            "POSTGRES_CONNECT_TIMEOUT": "60",
            **dict(parse_qsl(place.query)),
        }
    return {"PERSISTENCE_MODULE": "eventsourcing.sqlite", "SQLITE_DBNAME": path, "SQLITE_LOCK_TIMEOUT": "60"}


def orders(numbers: range) -> list[dict[str, Any]]:
    return [order(number) for number in numbers]


def made(fields: dict[str, Any], events: int) -> Order:
    new = Order(**fields)
    for _ in range(events - 1):
        new.update(**fields)
    return new


def fill(app: Orders, streams: range, events: int) -> list[Any]:
    ids = list[Any]()
    for first in range(0, len(streams), BULK):
        new = [made(fields, events) for fields in orders(streams[first : first + BULK])]
        app.save(*new)
        ids += [each.id for each in new]
    return ids


def w1(path: str, n: int) -> Outcome:
    app = opened(path)
    timed(lambda fields: app.save(Order(**fields)), orders(range(n, n + n // 10)))
    seconds, latencies = timed(lambda fields: app.save(Order(**fields)), orders(range(n)))
    return outcome(n, seconds, latencies, stored=n + n // 10)


def w2(path: str, n: int) -> Outcome:
    app = opened(path)
    by_threads(lambda fields: app.save(Order(**fields)), orders(range(n, n + n // 10)))
    seconds, latencies = by_threads(lambda fields: app.save(Order(**fields)), orders(range(n)))
    return outcome(n, seconds, latencies, stored=n + n // 10)


def w4(path: str, n: int) -> Outcome:
    app = opened(path)
    streams, warm_up = n // EVENTS_PER_ORDER, n // EVENTS_PER_ORDER // 10
    by_threads(lambda fields: app.save(made(fields, 10)), orders(range(warm_up)))
    seconds, latencies = by_threads(lambda fields: app.save(made(fields, 10)), orders(range(streams)))
    return outcome(streams * 10, seconds, latencies, stored=(streams + warm_up) * 10)


def w4_bulk(path: str, n: int) -> Outcome:
    app = opened(path)
    streams, warm_up = n // EVENTS_PER_ORDER, n // EVENTS_PER_ORDER // 10
    fill(app, range(warm_up), 10)
    given = orders(range(streams))
    batches = [given[first : first + BULK] for first in range(0, streams, BULK)]
    seconds, _ = timed(lambda batch: app.save(*[made(fields, 10) for fields in batch]), batches)
    return outcome(streams * 10, seconds, stored=(streams + warm_up) * 10)


def w5_one(path: str, n: int) -> Outcome:
    loads, app, one = 3, opened(path), made(order(0), 1)
    for first in range(1, n, 1000):
        for number in range(first, min(first + 1000, n)):
            one.update(**order(number))
        app.save(one)
    app.repository.get(one.id)
    seconds, latencies = timed(lambda _: app.repository.get(one.id), range(loads))
    check("events folded", app.repository.get(one.id).changes, n)
    return outcome(loads * n, seconds, latencies, stored=n)


def w5_many(path: str, n: int) -> Outcome:
    folded = 0

    def load(place: int) -> None:
        nonlocal folded
        folded += app.repository.get(ids[place]).changes

    app = opened(path)
    ids = fill(app, range(n), EVENTS_PER_ORDER)
    timed(load, range(n // 10))
    folded = 0
    seconds, latencies = timed(load, range(n))
    check("events folded", folded, n * EVENTS_PER_ORDER)
    return outcome(n * EVENTS_PER_ORDER, seconds, latencies, stored=n * EVENTS_PER_ORDER)


def w6(path: str, n: int) -> Outcome:
    app, streams = opened(path), 200
    ids = fill(app, range(streams), 20)

    def act(change: tuple[Any, dict[str, Any]]) -> None:
        found = app.repository.get(change[0])
        found.update(**change[1])
        app.save(found)

    changes = [(ids[number % streams], order(number)) for number in range(n // 10 + n)]
    timed(act, changes[: n // 10])
    seconds, latencies = timed(act, changes[n // 10 :])
    return outcome(n, seconds, latencies, stored=streams * 20 + n // 10 + n)


class OrderView(SQLiteTrackingRecorder):
    """Writes a view's rows and the position of their last event in one transaction."""

    def construct_create_table_statements(self) -> list[str]:
        return [*super().construct_create_table_statements(), VIEW]

    def apply(self, order_id: str, customer_id: str, total: float, tracking: Tracking) -> None:
        with self.datastore.transaction(commit=True) as cursor:
            cursor.execute(
                "INSERT INTO order_view (order_id, customer_id, total, n) VALUES (?, ?, ?, 1) "
                "ON CONFLICT (order_id) DO UPDATE SET total = excluded.total, n = n + 1",
                (order_id, customer_id, total),
            )
            self._insert_tracking(cursor, tracking)


class OrderProjection(Projection[OrderView]):
    name = "orders"

    @singledispatchmethod
    def process_event(self, domain_event: Any, tracking: Tracking) -> None:
        raise NotImplementedError(domain_event)

    @process_event.register
    def _(self, domain_event: Order.Placed, tracking: Tracking) -> None:
        self.view.apply(domain_event.order_id, domain_event.customer_id, domain_event.total, tracking)

    @process_event.register
    def _(self, domain_event: Order.Updated, tracking: Tracking) -> None:
        self.view.apply(domain_event.order_id, domain_event.customer_id, domain_event.total, tracking)


def w7(path: str, n: int) -> Outcome:
    """Read the notification log, because the SQLite recorder has no subscriptions for a ProjectionRunner."""
    fill(opened(path), range(n // EVENTS_PER_ORDER), EVENTS_PER_ORDER)
    started, position = time.perf_counter(), 0
    app = Orders(settings(path))
    view = InfrastructureFactory.construct(Environment("orders", settings(path))).tracking_recorder(OrderView)
    projection = OrderProjection(view=view)
    while batch := app.recorder.select_notifications(position + 1, SECTION):
        for notification in batch:
            domain_event = app.mapper.to_domain_event(notification)
            projection.process_event(domain_event, Tracking("Orders", notification.id))
        position = batch[-1].id
    events = n // EVENTS_PER_ORDER * EVENTS_PER_ORDER
    return outcome(events, time.perf_counter() - started, stored=events)


class Follower(ProcessApplication[Any]):
    """Handles orders in its own thread, notified by that of the application."""

    handled = threading.Event()
    at = 0.0

    @singledispatchmethod
    def policy(self, domain_event: Any, processing_event: Any) -> None:
        Follower.at = time.perf_counter()
        Follower.handled.set()


def w8(path: str, n: int) -> Outcome:
    names = {"ORDERS_SQLITE_DBNAME": path, "FOLLOWER_SQLITE_DBNAME": f"{path}-follower"}
    runner = MultiThreadedRunner(System([[Orders, Follower]]), {**settings(path), **names})
    runner.start()
    app, latencies = runner.get(Orders), list[float]()
    for number in range(n + n // 10):
        time.sleep(0.01)
        Follower.handled.clear()
        fields = order(number)
        started = time.perf_counter()
        app.save(Order(**fields))
        check("handled in time", Follower.handled.wait(30), True)
        latencies.append(Follower.at - started)
    runner.stop()
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
