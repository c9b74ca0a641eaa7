"""SQLite without a library: what a hand-written program does with the same file, the same columns and the same indexes.

It knows no expected versions, no read models and no subscriptions: it is a limit, not a peer.
"""

import asyncio
import sqlite3
import time
from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

import apsw
import msgspec
from measure import Outcome, check, outcome, timed
from order import EVENTS_PER_ORDER, order

import fait

__all__ = ["INSERT", "TABLE", "Database", "Order", "Raw", "opened", "row"]

TABLE = "fait_events"
BULK = 5000
PAGE = 1000
MOMENT = "2024-05-01T12:34:56.789012Z"
INSERT = (
    "INSERT INTO fait_events (stream, version, type, schema, id, data, metadata, tags, recorded_at, occurred_at) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
READ = (
    "SELECT position, stream, version, type, schema, id, data, metadata, tags, recorded_at, occurred_at "
    "FROM fait_events WHERE stream = ? ORDER BY version"
)
FOLLOW = (
    "SELECT position, stream, version, type, schema, id, data, metadata, tags, recorded_at, occurred_at "
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
    """A connection to a file that has fait's own schema."""
    asyncio.run(_create(path))
    db = apsw.Connection(path) if driver == "apsw" else sqlite3.connect(path, isolation_level=None)
    for name, value, expected in (("journal_mode", "WAL", "wal"), ("synchronous", "FULL", 2)):
        db.execute(f"PRAGMA {name}={value}").fetchall()
        check(name, db.execute(f"PRAGMA {name}").fetchall()[0][0], expected)
    return db


async def _create(path: str) -> None:
    async with fait.App("bench").open(f"sqlite:///{path}", run="elsewhere"):
        pass


def row(number: int, stream: str, version: int) -> tuple[Any, ...]:
    fields = order(number)
    event = Order(**{**fields, "items": [Item(**item) for item in fields["items"]]})
    event_id = str(UUID(int=number))
    return (stream, version, "bench.order-placed", 1, event_id, encode(event).decode(), "{}", None, MOMENT, MOMENT)


def stream_rows(streams: range, events: int) -> list[tuple[Any, ...]]:
    return [row(number * events + place, f"order-{number}", place + 1) for number in streams for place in range(events)]


def commit(db: Database, rows: Sequence[tuple[Any, ...]]) -> None:
    db.execute("BEGIN IMMEDIATE")
    db.executemany(INSERT, rows)
    db.execute("COMMIT")


class Raw:
    """The workloads, through one of the two drivers."""

    def __init__(self, driver: str) -> None:
        self._driver = driver
        named: dict[str, Callable[[str, int], Outcome]] = {
            "W1": self.one_commit_each,
            "W2": self.one_commit_each_unasked,
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

        def act(number: int) -> None:
            db.execute("BEGIN IMMEDIATE")
            db.execute(INSERT, row(number, f"order-{number}", 1))
            db.execute("COMMIT")

        timed(act, range(n, n + n // 10))
        seconds, latencies = timed(act, range(n))
        return outcome(n, seconds, latencies, stored=n + n // 10)

    def one_commit_each_unasked(self, path: str, n: int) -> Outcome:
        """One commit per append goes fastest when nobody competes for it; so its latency is not that of 64 callers."""
        return {**self.one_commit_each(path, n), "p50_us": None, "p99_us": None}

    def ten_a_commit(self, path: str, n: int) -> Outcome:
        db, streams, warm_up = opened(path, self._driver), n // 10, n // 100

        def act(number: int) -> None:
            commit(db, stream_rows(range(number, number + 1), 10))

        timed(act, range(streams, streams + warm_up))
        seconds, _ = timed(act, range(streams))
        return outcome(streams * 10, seconds, stored=(streams + warm_up) * 10)

    def bulk(self, path: str, n: int) -> Outcome:
        db, streams, warm_up = opened(path, self._driver), n // 10, n // 100
        commit(db, stream_rows(range(streams, streams + warm_up), 10))
        started = time.perf_counter()
        for first in range(0, streams, BULK // 10):
            commit(db, stream_rows(range(first, min(first + BULK // 10, streams)), 10))
        return outcome(streams * 10, time.perf_counter() - started, stored=(streams + warm_up) * 10)

    def one_stream(self, path: str, n: int) -> Outcome:
        db, loads = opened(path, self._driver), 10
        commit(db, [row(number, "order-0", number + 1) for number in range(n)])

        def act(_: int) -> None:
            check("events decoded", len([decode(found[6]) for found in db.execute(READ, ("order-0",))]), n)

        act(0)
        seconds, latencies = timed(act, range(loads))
        return outcome(loads * n, seconds, latencies, stored=n)

    def many_streams(self, path: str, n: int) -> Outcome:
        db = opened(path, self._driver)
        commit(db, stream_rows(range(n), EVENTS_PER_ORDER))

        def act(number: int) -> None:
            found = [decode(each[6]) for each in db.execute(READ, (f"order-{number}",))]
            check("events decoded", len(found), EVENTS_PER_ORDER)

        timed(act, range(n // 10))
        seconds, latencies = timed(act, range(n))
        return outcome(n * EVENTS_PER_ORDER, seconds, latencies, stored=n * EVENTS_PER_ORDER)

    def load_and_append(self, path: str, n: int) -> Outcome:
        db, streams = opened(path, self._driver), 200
        commit(db, stream_rows(range(streams), 20))
        base = streams * 20

        def act(number: int) -> None:
            stream = f"order-{number % streams}"
            found = [decode(each[6]) for each in db.execute(READ, (stream,))]
            commit(db, [row(base + number, stream, len(found) + 1)])

        timed(act, range(n // 10))
        seconds, latencies = timed(act, range(n // 10, n // 10 + n))
        return outcome(n, seconds, latencies, stored=base + n // 10 + n)

    def catch_up(self, path: str, n: int) -> Outcome:
        db, position = opened(path, self._driver), 0
        events = n // EVENTS_PER_ORDER * EVENTS_PER_ORDER
        for first in range(0, events // 10, BULK // 10):
            commit(db, stream_rows(range(first, min(first + BULK // 10, events // 10)), 10))
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
        return outcome(events, time.perf_counter() - started, stored=events)
