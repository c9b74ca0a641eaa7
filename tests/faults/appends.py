"""Appends of every kind, and checks of the stored events on a separate connection."""

from collections.abc import Sequence
from uuid import uuid4

import asyncpg

from fait._events.append import AppendCondition, StreamWrite
from fait._events.envelope import EncodedEvent
from fait._events.query import Query
from fait._events.version import expected_number

Append = tuple[Sequence[StreamWrite], AppendCondition | None]

ANY, EXISTS, NO_STREAM = (expected_number(each) for each in ("any", "exists", "no_stream"))
KINDS = ("any", "exact", "new", "exists", "many", "streams", "tags", "condition", "on-tags")


def event(type: str = "fault.happened", *tags: str, data: str = "{}") -> EncodedEvent:
    return EncodedEvent(type, 1, str(uuid4()), data, "{}", tags)


def write(stream: str, *, expected: int = ANY, count: int = 1) -> StreamWrite:
    return StreamWrite(stream, tuple(event() for _ in range(count)), expected)


def append_of(kind: str, stream: str, version: int) -> Append:
    """Return an append that succeeds if the stream exists at this version; "new" writes to another stream."""
    condition = None
    match kind:
        case "any":
            writes = [write(stream)]
        case "exact":
            writes = [write(stream, expected=version)]
        case "new":
            writes = [write(f"{stream}-new-{uuid4().hex}", expected=NO_STREAM)]
        case "exists":
            writes = [write(stream, expected=EXISTS)]
        case "many":
            writes = [write(stream, expected=version, count=7)]
        case "streams":
            writes = [write(stream, expected=version, count=2), write(f"{stream}-other", count=3)]
        case "tags":
            writes = [StreamWrite(stream, (event("fault.tagged", "seat:1", "row:2"),), ANY)]
        case "condition":
            writes = [StreamWrite(stream, (event("fault.guarded"),), version)]
            condition = AppendCondition((Query(types=("fault.never",)),), 0)
        case "on-tags":
            tag = f"seat:{uuid4().hex}"
            writes = [StreamWrite(stream, (event("fault.sold", tag), event("fault.sold", tag)), ANY)]
            condition = AppendCondition((Query(types=("fault.sold",), tags=(tag,)),), 0)
        case _:
            raise ValueError(kind)
    return writes, condition


def ids(append: Append) -> list[str]:
    return [each.id for every in append[0] for each in every.events]


async def append_external(connection: asyncpg.Connection, stream: str, idle_ms: int) -> None:
    """Append one event in the connection's open transaction, with this idle timeout for the rest of it."""
    await connection.fetch(
        "SELECT * FROM fait_append_1($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, idle_timeout_ms => $11)",
        [stream], [ANY], [1], [1], [1], [uuid4()], ["fault.external"], [1], ["{}"], ["{}"], idle_ms,
    )  # fmt: skip


async def stored(url: str, schema: str, wanted: Sequence[str]) -> list[tuple[str, str, int]]:
    """Return id, stream and version of the events with one of the ids, in order of position."""
    connection = await asyncpg.connect(url)
    try:
        rows = await connection.fetch(
            f'SELECT id::text, stream, version FROM "{schema}".fait_all_events WHERE id = ANY ($1::uuid[]) '
            "ORDER BY position",
            wanted,
        )
    finally:
        await connection.close()
    return [tuple(row) for row in rows]


async def assert_versions_contiguous(url: str, schema: str) -> None:
    """Assert that each stream has the versions 1, 2, 3 … in order of position, up to that of its row."""
    connection = await asyncpg.connect(url)
    try:
        broken = await connection.fetch(
            f"""
            SELECT stream, array_agg(e.version ORDER BY position) FROM (
                SELECT *, row_number() OVER (PARTITION BY stream ORDER BY position) AS n FROM "{schema}".fait_all_events
            ) AS e LEFT JOIN "{schema}".fait_streams AS s USING (stream)
            GROUP BY stream HAVING bool_or(e.version <> n) OR max(e.version) IS DISTINCT FROM max(s.version)
            """
        )
    finally:
        await connection.close()
    assert broken == []
