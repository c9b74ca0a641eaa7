"""Appends of very many events: room for them is reserved in the log, and COPY fills it in the same transaction."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, Final

from fait.events.append import Appended, Write
from fait.store.postgres.connection import Connection, Database, IdTaken

__all__ = ["MANY", "copy"]

MANY: Final = 500
"""Events from which on COPY is quicker than one call with everything in it."""

_COLUMNS: Final = (
    "position", "version", "recorded_at", "occurred_at", "id", "schema", "stream", "type", "data", "metadata", "tags",
)  # fmt: skip


class _Refused(Exception):
    """Takes the transaction back."""


async def copy(
    connection: Connection, database: Database, writes: Sequence[Write], moment: datetime | None, patience: int
) -> Appended | None:
    """Store all of them; None, and nothing stored, if something is in the way: the append function says what."""
    try:
        async with connection.transaction():
            reserved = await connection.fetch(database.sql["reserve"], *_needs(writes), moment, patience)
            if not reserved:
                raise _Refused
            records = list(_records(writes, reserved))
            await connection.copy_records_to_table(
                "fait_events", schema_name=database.schema, columns=_COLUMNS, records=records
            )
            tagged = [(record[0], tag) for record in records for tag in record[-1] or ()]
            if tagged:
                await connection.execute(database.sql["insert_tags"], *map(list, zip(*tagged, strict=True)))
    except (_Refused, IdTaken):
        return None
    return Appended(records[-1][0], tuple(version for _, version, _, _ in reserved))


def _needs(writes: Sequence[Write]) -> list[list[Any]]:
    events = [event for write in writes for event in write.events]
    return [
        [write.stream for write in writes],
        [write.expected for write in writes],
        [len(write.events) for write in writes],
        list({event.type for event in events}),
        list({tag for event in events for tag in event.tags}),
    ]


def _records(writes: Sequence[Write], reserved: Sequence[Any]) -> Iterator[tuple[Any, ...]]:
    for write, (_, last, moment, positions) in zip(writes, reserved, strict=True):
        first = last - len(write.events) + 1
        for place, event in enumerate(write.events):
            yield (
                positions[place], first + place, moment, event.occurred_at or moment, event.id, event.schema,
                write.stream, event.type, event.data, event.metadata, event.tags or None,
            )  # fmt: skip
