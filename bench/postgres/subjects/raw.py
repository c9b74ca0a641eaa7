"""PostgreSQL without a library: the rows and the SQL of a hand-written program.

It has no expected versions, no repeated ids and no order of commits: it is a limit, not a peer. Its table has only what
an event needs; with `same_table=y` in the URL it is that of fait.
"""

import random
from datetime import UTC, datetime
from typing import Any, NamedTuple
from urllib.parse import urlsplit
from uuid import UUID

import asyncpg
import msgspec
from order import order

import fait

__all__ = [
    "BULK",
    "FOLLOW",
    "PAGE",
    "READ",
    "READ_MANY",
    "UPSERT",
    "UPSERT_MANY",
    "VIEW",
    "Event",
    "Layout",
    "Order",
    "bare",
    "decode",
    "event",
    "events",
    "layout",
    "prepare",
    "table",
]

PAGE = 1000
BULK = 5000
MOMENT = datetime(2024, 5, 1, 12, 34, 56, 789012, UTC)
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
    """An event before encoding."""

    number: int
    stream: str
    version: int
    order: Order


class Layout(NamedTuple):
    """A table of events, and the conversion of an event to a row."""

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
        id_ = UUID(int=random.getrandbits(128))
        return given.version, MOMENT, MOMENT, id_, 1, given.stream, "bench.order-placed", data.decode(), "{}"


LEAN = Layout("events", ("stream", "version", "type", "data"), ("text", "int4", "text", "bytea"))
SAME = Layout(
    "fait_events",
    ("version", "recorded_at", "occurred_at", "id", "schema_version", "stream", "type", "data", "metadata"),
    ("int8", "timestamptz", "timestamptz", "uuid", "int4", "text", "text", "json", "json"),
)


def layout(url: str) -> Layout:
    """Return the layout that a URL selects."""
    return SAME if "same_table=y" in urlsplit(url).query else LEAN


def table(url: str) -> str:
    return layout(url).table


def bare(url: str) -> str:
    """Return the URL without the options of the benchmark."""
    return url.partition("?")[0]


async def prepare(url: str) -> None:
    """Create the tables."""
    if layout(url) is SAME:
        async with fait.App("bench").open(bare(url), run="elsewhere"):
            return
    connection = await asyncpg.connect(bare(url))
    await connection.execute(SCHEMA)
    await connection.close()


def event(number: int, stream: str, version: int) -> Event:
    return Event(number, stream, version, msgspec.convert(order(number), Order))


def events(streams: range, each: int) -> list[Event]:
    """Return `each` events for each new stream."""
    return [event(number, f"order-{number}", version) for number in streams for version in range(1, each + 1)]
