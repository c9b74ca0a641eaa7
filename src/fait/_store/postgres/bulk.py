"""Appends of very many events: COPY brings them into a table of the session, one statement appends them from there."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, Final

from fait._events.append import Appended, StreamWrite
from fait._store.postgres.connection import Database, PostgresConnection, UniqueViolation

__all__ = ["MIN_BULK_EVENTS", "append_bulk"]

MIN_BULK_EVENTS: Final = 500
"""Events from which on COPY is quicker than one call with everything in it."""

IDLE_TIMEOUT_MS: Final = 10_000
"""How long the transaction may stand idle before its commit: readers wait for its end."""

_COLUMNS: Final = ("write_no", "event_no", "id", "type", "schema_version", "data", "metadata", "tags", "occurred_at")


class _BulkRejected(Exception):
    """Takes the transaction back."""


async def append_bulk(
    connection: PostgresConnection,
    database: Database,
    writes: Sequence[StreamWrite],
    moment: datetime | None,
    patience: int,
) -> Appended | None:
    """Store all of them; None, and nothing stored, if something is in the way: the append function says what."""
    if any(event.expires for write in writes for event in write.events):
        return None
    try:
        async with connection.transaction():
            await connection.execute(database.sql["create_bulk_table"])
            await connection.copy_records_to_table(
                "fait_append_bulk_1", columns=_COLUMNS, records=list(_records(writes))
            )
            stored = await connection.fetch(
                database.sql["append_bulk"], *_needs(writes), moment, patience, IDLE_TIMEOUT_MS
            )
            if not stored:
                # fault: bulk-append-half-written
                raise _BulkRejected
    except (_BulkRejected, UniqueViolation):
        return None
    return Appended(stored[-1][2], tuple(version for _, version, _ in stored))


def _needs(writes: Sequence[StreamWrite]) -> list[list[Any]]:
    events = [event for write in writes for event in write.events]
    return [
        [write.stream for write in writes],
        [write.expected for write in writes],
        [len(write.events) for write in writes],
        list({event.type for event in events}),
        list({tag for event in events for tag in event.tags}),
    ]


def _records(writes: Sequence[StreamWrite]) -> Iterator[tuple[Any, ...]]:
    for number, write in enumerate(writes, 1):
        for place, event in enumerate(write.events, 1):
            yield (
                number, place, event.id, event.type, event.schema_version, event.data, event.metadata, event.tags or None,
                event.occurred_at,
            )  # fmt: skip
