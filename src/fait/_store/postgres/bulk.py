"""Bulk appends: COPY events into a temporary table, then append them with one statement."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, Final

from fait._events.append import Appended, StreamWrite
from fait._store.postgres.append_protocol import Expected
from fait._store.postgres.connection import Database, InsufficientPrivilege, PostgresConnection, UniqueViolation

__all__ = ["MIN_BULK_EVENTS", "append_bulk"]

MIN_BULK_EVENTS: Final = 500
"""Minimum number of events for which COPY is faster than one call with all events as arguments."""

IDLE_TIMEOUT_MS: Final = 10_000
"""Maximum time for which the transaction may be idle before its commit: readers wait for its end."""

_COLUMNS: Final = (
    "write_no", "event_no", "id", "type", "schema_version", "data", "metadata", "tags", "occurred_at",
)  # fmt: skip


class _BulkRejected(Exception):
    """Rolls the transaction back."""


async def append_bulk(
    connection: PostgresConnection,
    database: Database,
    writes: Sequence[StreamWrite],
    now: datetime | None,
    lock_timeout_ms: int,
    expected: Expected,
) -> Appended | None:
    """Append all events in one transaction.

    Returns None if nothing was written, because events expire, a stream is not at its expected version, an id exists,
    or the role may not create temporary tables. The caller then calls the general append function, which reports why.
    """
    if any(event.expires for write in writes for event in write.events):
        return None
    try:
        async with connection.transaction():
            await _create_table(connection, database)
            await connection.copy_records_to_table(
                "fait_append_bulk_1", columns=_COLUMNS, records=list(_records(writes))
            )
            limits = (now, lock_timeout_ms, IDLE_TIMEOUT_MS, *expected)
            rows = await connection.fetch(database.sql["append_bulk"], *_write_arguments(writes), *limits)
            if not rows:
                # fault: bulk-append-half-written
                raise _BulkRejected
    except (_BulkRejected, UniqueViolation):
        return None
    return Appended(rows[-1][2], tuple(version for _, version, _ in rows))


async def _create_table(connection: PostgresConnection, database: Database) -> None:
    try:
        await connection.execute(database.sql["create_bulk_table"])
    except InsufficientPrivilege:  # TEMPORARY on the database, which may have been revoked from PUBLIC
        raise _BulkRejected from None


def _write_arguments(writes: Sequence[StreamWrite]) -> list[list[Any]]:
    events = [event for write in writes for event in write.events]
    return [
        [write.stream for write in writes],
        [write.expected for write in writes],
        [len(write.events) for write in writes],
        list({event.type for event in events}),
        list({tag for event in events for tag in event.tags}),
    ]


def _records(writes: Sequence[StreamWrite]) -> Iterator[tuple[Any, ...]]:
    for write_no, write in enumerate(writes, 1):
        for event_no, event in enumerate(write.events, 1):
            yield (
                write_no, event_no, event.id, event.type, event.schema_version, event.data, event.metadata,
                event.tags or None, event.occurred_at,
            )  # fmt: skip
