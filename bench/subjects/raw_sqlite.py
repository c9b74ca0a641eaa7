"""SQLite without a library: a hand-written program with the same columns and the same indexes as fait.

It has no expected versions, read models or subscriptions: it is a limit, not a peer.
"""

import asyncio
import sqlite3
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple
from uuid import UUID

import apsw
import msgspec
from measure import Outcome, check, outcome, timed
from order import EVENTS_PER_ORDER, order

import fait

__all__ = ["INSERT", "TABLE", "Database", "Event", "Raw", "event", "events", "opened", "row"]

TABLE = "fait_events"
BULK = 5000
PAGE = 1000
MOMENT = "2024-05-01T12:34:56.789012Z"
INSERT = (
    "INSERT INTO fait_events "
    "(stream, version, type, schema_version, id, data, metadata, tags, recorded_at, occurred_at) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
READ = (
    "SELECT position, stream, version, type, schema_version, id, data, metadata, tags, recorded_at, occurred_at "
    "FROM fait_events WHERE stream = ? ORDER BY version"
)
FOLLOW = (
    "SELECT position, stream, version, type, schema_version, id, data, metadata, tags, recorded_at, occurred_at "
    "FROM fait_events WHERE position > ? ORDER BY position LIMIT ?"
)
VIEW = "CREATE TABLE order_view (order_id TEXT PRIMARY KEY, customer_id TEXT, total REAL, n INTEGER) WITHOUT ROWID"
UPSERT = (
    "INSERT INTO order_view (order_id, customer_id, total, n) VALUES (?, ?, ?, 1) "
    "ON CONFLICT (order_id) DO UPDATE SET total = excluded.total, n = n + 1"
)


class Item(msgspec.Struct, frozen=True):
    product_id: str
    quantity: int
    price: float


class Order(msgspec.Struct, frozen=True):
    order_id: str
    customer_id: str
    items: list[Item]
    total: float
    placed_at: str


decode = msgspec.json.Decoder(Order).decode
encode = msgspec.json.Encoder().encode

Database = Any
"""A connection of apsw or of the standard library: both have `execute` and `executemany`."""


def opened(path: str, driver: str) -> Database:
    """Open a connection to a new file with the database schema of fait."""
    asyncio.run(_create(path))
    db = apsw.Connection(path) if driver == "apsw" else sqlite3.connect(path, isolation_level=None)
    for name, value, expected in (("journal_mode", "WAL", "wal"), ("synchronous", "FULL", 2)):
        db.execute(f"PRAGMA {name}={value}").fetchall()
        check(name, db.execute(f"PRAGMA {name}").fetchall()[0][0], expected)
    return db


async def _create(path: str) -> None:
    async with fait.App("bench").open(f"sqlite:///{path}", run="elsewhere"):
        pass


class Event(NamedTuple):
    """An event before encoding."""

    number: int
    stream: str
    version: int
    order: Order


def event(number: int, stream: str, version: int) -> Event:
    fields = order(number)
    return Event(number, stream, version, Order(**{**fields, "items": [Item(**item) for item in fields["items"]]}))


def events(streams: range, count: int) -> list[Event]:
    """Return `count` events for each of the streams."""
    return [event(stream * count + place, f"order-{stream}", place + 1) for stream in streams for place in range(count)]


def row(given: Event) -> tuple[Any, ...]:
    data, event_id = encode(given.order).decode(), str(UUID(int=given.number))
    return (given.stream, given.version, "bench.order-placed", 1, event_id, data, "{}", None, MOMENT, MOMENT)


def commit(db: Database, given: Sequence[Event]) -> None:
    db.execute("BEGIN IMMEDIATE")
    db.executemany(INSERT, [row(each) for each in given])
    db.execute("COMMIT")


class Raw:
    """The workloads with one of the two drivers."""

    def __init__(self, driver: str) -> None:
        self._driver = driver
        named: dict[str, Callable[[str, int], Outcome]] = {
            "W1": self.one_commit_each,
            "W2": self.one_commit_each_by_one_caller,
            "W4": self.ten_a_commit,
            "W4-bulk": self.bulk,
            "W5-one": self.one_stream,
            "W5-many": self.many_streams,
            "W6": self.load_and_append,
            "W7": self.catch_up,
        }
        self.workloads = named if driver == "apsw" else {name: named[name] for name in ("W1", "W4-bulk", "W5-one")}

    def one_commit_each(self, path: str, n: int) -> Outcome:
        db = opened(path, self._driver)

        def act(given: Event) -> None:
            db.execute("BEGIN IMMEDIATE")
            db.execute(INSERT, row(given))
            db.execute("COMMIT")

        timed(act, events(range(n, n + n // 10), 1))
        seconds, latencies = timed(act, events(range(n), 1))
        return outcome(n, seconds, latencies, stored=n + n // 10)

    def one_commit_each_by_one_caller(self, path: str, n: int) -> Outcome:
        """Append with one caller, which is fastest for one commit per append; there is no latency of 64 callers."""
        return {**self.one_commit_each(path, n), "p50_us": None, "p99_us": None}

    def ten_a_commit(self, path: str, n: int) -> Outcome:
        db, streams, warm_up = opened(path, self._driver), n // 10, n // 100
        appends = [events(range(number, number + 1), 10) for number in range(streams + warm_up)]
        timed(lambda given: commit(db, given), appends[streams:])
        seconds, _ = timed(lambda given: commit(db, given), appends[:streams])
        return outcome(streams * 10, seconds, stored=(streams + warm_up) * 10)

    def bulk(self, path: str, n: int) -> Outcome:
        db, streams, warm_up = opened(path, self._driver), n // 10, n // 100
        commit(db, events(range(streams, streams + warm_up), 10))
        given = events(range(streams), 10)
        batches = [given[first : first + BULK] for first in range(0, len(given), BULK)]
        seconds, _ = timed(lambda batch: commit(db, batch), batches)
        return outcome(streams * 10, seconds, stored=(streams + warm_up) * 10)

    def one_stream(self, path: str, n: int) -> Outcome:
        db, loads = opened(path, self._driver), 10
        commit(db, [event(number, "order-0", number + 1) for number in range(n)])

        def act(_: int) -> None:
            check("events decoded", len([decode(found[6]) for found in db.execute(READ, ("order-0",))]), n)

        act(0)
        seconds, latencies = timed(act, range(loads))
        return outcome(loads * n, seconds, latencies, stored=n)

    def many_streams(self, path: str, n: int) -> Outcome:
        db = opened(path, self._driver)
        commit(db, events(range(n), EVENTS_PER_ORDER))

        def act(number: int) -> None:
            found = [decode(each[6]) for each in db.execute(READ, (f"order-{number}",))]
            check("events decoded", len(found), EVENTS_PER_ORDER)

        timed(act, range(n // 10))
        seconds, latencies = timed(act, range(n))
        return outcome(n * EVENTS_PER_ORDER, seconds, latencies, stored=n * EVENTS_PER_ORDER)

    def load_and_append(self, path: str, n: int) -> Outcome:
        db, streams = opened(path, self._driver), 200
        commit(db, events(range(streams), 20))
        stored = streams * 20

        def act(given: Event) -> None:
            found = [decode(each[6]) for each in db.execute(READ, (given.stream,))]
            commit(db, [given._replace(version=len(found) + 1)])

        changes = [event(stored + number, f"order-{number % streams}", 0) for number in range(n // 10 + n)]
        timed(act, changes[: n // 10])
        seconds, latencies = timed(act, changes[n // 10 :])
        return outcome(n, seconds, latencies, stored=stored + len(changes))

    def catch_up(self, path: str, n: int) -> Outcome:
        db, position = opened(path, self._driver), 0
        streams = n // EVENTS_PER_ORDER
        for first in range(0, streams, BULK // EVENTS_PER_ORDER):
            commit(db, events(range(first, min(first + BULK // EVENTS_PER_ORDER, streams)), EVENTS_PER_ORDER))
        db.execute(VIEW)
        db.execute("CREATE TABLE done (position INTEGER NOT NULL)")
        db.execute("INSERT INTO done VALUES (0)")
        started = time.perf_counter()
        while rows := db.execute(FOLLOW, (position, PAGE)).fetchall():
            orders = [(found[1], decode(found[6])) for found in rows]
            position = rows[-1][0]
            db.execute("BEGIN IMMEDIATE")
            db.executemany(UPSERT, [(stream, each.customer_id, each.total) for stream, each in orders])
            db.execute("UPDATE done SET position = ?", (position,))
            db.execute("COMMIT")
        count = streams * EVENTS_PER_ORDER
        return outcome(count, time.perf_counter() - started, stored=count)
