"""PostgreSQL without a library: what a program by hand does with asyncpg.

It knows no expected versions, no repeated ids and no order of commits: it is a limit, not a peer. Its table has what an
event needs least, or, with `same_table=y` in the URL, is fait's own.
"""

import asyncio
import os
import random
import time
from collections.abc import Sequence
from typing import Any, NamedTuple
from urllib.parse import urlsplit
from uuid import UUID

import asyncpg
import msgspec
from measure import Outcome, check, concurrently, outcome, timed_async
from order import EVENTS_PER_ORDER, order
from postgres.crowd import PART_CALLERS, Follower, begin, report, stopped

import fait

__all__ = ["POSITION", "WORKLOADS", "Layout", "Event", "decode", "events", "layout", "prepare", "table"]

POSITION = "position"
PAGE = 1000
BULK = 5000
CONNECTIONS = 16
HELD_S = 0.02
NEWS = "bench_news"
SCHEMA = """
CREATE TABLE IF NOT EXISTS events (
    position bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, stream text NOT NULL, version integer NOT NULL,
    type text NOT NULL, data bytea NOT NULL, UNIQUE (stream, version)
)
"""
VIEW = """
CREATE TABLE order_view (order_id text PRIMARY KEY, customer_id text, total float8, n bigint);
CREATE TABLE done (position bigint NOT NULL);
INSERT INTO done VALUES (0)
"""
READ = "SELECT version, type, data FROM events WHERE stream = $1 ORDER BY version"
READ_MANY = "SELECT stream, version, type, data FROM events WHERE stream = ANY ($1) ORDER BY stream, version"
FOLLOW = "SELECT position, stream, version, type, data FROM events WHERE position > $1 ORDER BY position LIMIT $2"
UPSERT_MANY = (
    "INSERT INTO order_view AS v SELECT * FROM unnest($1::text[], $2::text[], $3::float8[], $4::bigint[]) "
    "ON CONFLICT (order_id) DO UPDATE SET total = excluded.total, n = v.n + excluded.n"
)
UPSERT = (
    "INSERT INTO order_view AS v VALUES ($1, $2, $3, 1) "
    "ON CONFLICT (order_id) DO UPDATE SET total = excluded.total, n = v.n + 1"
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


class Event(NamedTuple):
    """An event, ready to be encoded."""

    number: int
    stream: str
    version: int
    order: Order


class Layout(NamedTuple):
    """A table of events, and how an event becomes a row of it."""

    table: str
    columns: tuple[str, ...]
    types: tuple[str, ...]

    @property
    def insert(self) -> str:
        values = ", ".join(f"${number}" for number in range(1, len(self.columns) + 1))
        return f"INSERT INTO {self.table} ({', '.join(self.columns)}) VALUES ({values})"  # noqa: S608

    @property
    def insert_many(self) -> str:
        arrays = ", ".join(f"${number}::{type_}[]" for number, type_ in enumerate(self.types, 1))
        return f"INSERT INTO {self.table} ({', '.join(self.columns)}) SELECT * FROM unnest({arrays})"  # noqa: S608

    def row(self, given: Event) -> tuple[Any, ...]:
        data = encode(given.order)
        if self.table == "events":
            return given.stream, given.version, "bench.order-placed", data
        moment, id_ = MOMENT, UUID(int=random.getrandbits(128))
        return given.version, moment, moment, id_, 1, given.stream, "bench.order-placed", data.decode(), "{}"


MOMENT = msgspec.convert("2024-05-01T12:34:56.789012Z", type=__import__("datetime").datetime)
LEAN = Layout("events", ("stream", "version", "type", "data"), ("text", "int4", "text", "bytea"))
SAME = Layout(
    "fait_events",
    ("version", "recorded_at", "occurred_at", "id", "schema", "stream", "type", "data", "metadata"),
    ("int8", "timestamptz", "timestamptz", "uuid", "int4", "text", "text", "json", "json"),
)
