"""The eventsourcing library on PostgreSQL: the SQLite workloads with another URL, projections and subscriptions."""

import os
import threading
import time
from typing import Any

from eventsourcing.dispatch import singledispatchmethod
from eventsourcing.persistence import Tracking
from eventsourcing.postgres import PostgresTrackingRecorder
from eventsourcing.projection import ApplicationSubscription, Projection, ProjectionRunner
from measure import Outcome, by_threads, check, outcome
from order import EVENTS_PER_ORDER, order
from postgres.crowd import PART_CALLERS, Follower, begin, own_numbers, ready, report, wait_for_line
from psycopg.sql import SQL
from subjects import eventsourcing_app as same
from subjects.eventsourcing_app import Order, Orders, fill, made, opened, orders, settings

__all__ = ["POSITION", "TABLE", "WORKLOADS"]

TABLE, POSITION = "orders_events", "notification_id"
VIEW = "CREATE TABLE IF NOT EXISTS order_view (order_id text PRIMARY KEY, customer_id text, total float8, n bigint)"
UPSERT = (
    "INSERT INTO order_view AS v (order_id, customer_id, total, n) VALUES (%s, %s, %s, 1) "
    "ON CONFLICT (order_id) DO UPDATE SET total = excluded.total, n = v.n + 1"
)


class OrderView(PostgresTrackingRecorder):
    """Writes a view's rows and the position of their last event in one transaction."""

    def __init__(self, datastore: Any, **options: Any) -> None:
        super().__init__(datastore, **options)
        self.sql_create_statements.append(SQL(VIEW))

    def apply(self, event: Any, tracking: Tracking) -> None:
        with self.datastore.transaction(commit=True) as cursor:
            cursor.execute(UPSERT, (event.order_id, event.customer_id, event.total), prepare=True)
            self._insert_tracking(cursor, tracking)


class OrderProjection(Projection[OrderView]):
    name = "orders"

    @singledispatchmethod
    def process_event(self, domain_event: Any, tracking: Tracking) -> None:
        raise NotImplementedError(domain_event)

    @process_event.register
    def _(self, domain_event: Order.Placed, tracking: Tracking) -> None:
        self.view.apply(domain_event, tracking)

    @process_event.register
    def _(self, domain_event: Order.Updated, tracking: Tracking) -> None:
        self.view.apply(domain_event, tracking)


class RecordTimes(Projection[OrderView]):
    """Records the time of each call; its position is recorded like that of any projection."""

    name = "noting"
    handled = threading.Event()
    at = 0.0

    def process_event(self, domain_event: Any, tracking: Tracking) -> None:
        RecordTimes.at = time.perf_counter()
        RecordTimes.handled.set()
        with self.view.datastore.transaction(commit=True) as cursor:
            self.view._insert_tracking(cursor, tracking)


class PrintTimes(RecordTimes):
    """Prints the time of each call."""

    name = "telling"

    def process_event(self, domain_event: Any, tracking: Tracking) -> None:
        print(time.perf_counter(), flush=True)
        super().process_event(domain_event, tracking)


def running(url: str, projection: type[Projection[OrderView]]) -> ProjectionRunner[Orders, OrderView]:
    return ProjectionRunner(
        application_class=Orders, projection_class=projection, view_class=OrderView, env=settings(url)
    )


def w3_part(url: str, n: int) -> dict[str, Any]:
    app, numbers = opened(url), own_numbers(n + n // 10)
    by_threads(lambda fields: app.save(Order(**fields)), orders(numbers[n:]), PART_CALLERS)
    given = orders(numbers[:n])
    begin()
    return report(*by_threads(lambda fields: app.save(Order(**fields)), given, PART_CALLERS))


def w7(url: str, n: int) -> Outcome:
    streams = n // EVENTS_PER_ORDER
    app = opened(url)
    fill(app, range(streams), EVENTS_PER_ORDER)
    last = app.recorder.max_notification_id()
    app.close()
    started = time.perf_counter()
    with running(url, OrderProjection) as runner:
        runner.wait(last, timeout=600)
        seconds = time.perf_counter() - started
    return outcome(streams * EVENTS_PER_ORDER, seconds, stored=streams * EVENTS_PER_ORDER)


def w8(url: str, n: int) -> Outcome:
    latencies = list[float]()
    with running(url, RecordTimes):
        app = opened(url)
        time.sleep(0.5)
        for number in range(n + n // 10):
            time.sleep(0.01)
            RecordTimes.handled.clear()
            fields = order(number)
            started = time.perf_counter()
            app.save(Order(**fields))
            check("handled in time", RecordTimes.handled.wait(30), True)
            latencies.append(RecordTimes.at - started)
        app.close()
    return outcome(n, None, latencies[n // 10 :], stored=n + n // 10)


def w8_notify(url: str, n: int) -> Outcome:
    app, latencies = opened(url), list[float]()
    with Follower(os.environ["BENCH_SUBJECT"], url) as follower:
        for number in range(n + n // 10):
            time.sleep(0.02)
            fields = order(number)
            started = time.perf_counter()
            app.save(Order(**fields))
            latencies.append(follower.handled_at() - started)
    app.close()
    return outcome(n, None, latencies[n // 10 :], stored=n + n // 10)


def follow(url: str, _n: int) -> None:
    with running(url, PrintTimes):
        ready()
        threading.Event().wait()


def probe_write(url: str, n: int) -> dict[str, Any]:
    app = opened(url)
    given = [(fields, 1 + number % 3) for number, fields in enumerate(orders(own_numbers(n)))]
    begin()
    by_threads(lambda new: app.save(made(*new)), given, PART_CALLERS)
    return {"acknowledged": sum(events for _, events in given)}


def probe_read(url: str, _n: int) -> dict[str, Any]:
    app, seen = opened(url), list[int]()  # keep a reference: its connections are closed with the application

    def read() -> None:
        with ApplicationSubscription(app, gt=None) as events:
            for _, tracking in events:
                seen.append(tracking.notification_id)

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    time.sleep(0.5)
    ready()
    wait_for_line()
    check("the reader is running", reader.is_alive(), True)
    return {"seen": list(seen)}


WORKLOADS = {
    **same.WORKLOADS,
    "W3-part": w3_part,
    "W5-load-many": same.WORKLOADS["W5-many"],  # it loads one stream at a time
    "W7": w7,
    "W7-sql": w7,
    "W8": w8,
    "W8-notify": w8_notify,
    "follow": follow,
    "probe-write": probe_write,
    "probe-read": probe_read,
}
