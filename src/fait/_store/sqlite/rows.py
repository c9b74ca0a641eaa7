"""Reads events from the log, on a connection of the caller."""

from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any

import msgspec

from fait._events.append import Page
from fait._events.envelope import RecordedEvent
from fait._events.query import Query
from fait._store.sqlite.connection import SqliteConnection
from fait._store.sqlite.statements import SQL

__all__ = ["head", "read_events", "read_page"]

_decode_tags = msgspec.json.Decoder(tuple[str, ...]).decode
_encode = msgspec.json.encode
# Most events have two equal times, which they share with the other events of their append.
_parse_timestamp = lru_cache(256)(datetime.fromisoformat)


def head(connection: SqliteConnection) -> int:
    """The position of the last event; 0 if the log is empty."""
    return connection.execute(SQL["head"]).get


def read_page(
    connection: SqliteConnection, after: int, query: Query, limit: int, high_water_mark: int | None = None
) -> Page:
    """A page of the log, as specified by `Log.read`.

    Args:
        connection: any connection to the file.
        after: position before the page.
        query: selects the events.
        limit: maximum number of events.
        high_water_mark: last position of the page, if the caller has read the head already.
    """
    if high_water_mark is None:
        high_water_mark = head(connection)  # before the events: later commits belong to the next page
    types = _encode(query.types).decode() if query.types else None
    values: tuple[Any, ...] = (after, high_water_mark, limit, types, query.category)
    if query.tags:
        events = read_events(connection, "read_tagged", (*values, query.tags[0], _encode(query.tags).decode()))
    else:
        events = read_events(connection, "read_log", values)
    if len(events) == limit:
        # fault: full-page-ends-at-mark
        return Page(events, events[-1].position, more=True)
    # fault: log-end-read-after-rows
    return Page(events, max(after, high_water_mark), more=False)


def read_events(connection: SqliteConnection, statement: str, values: Sequence[Any]) -> list[RecordedEvent]:
    """Run a statement that selects whole events."""
    return [
        RecordedEvent(
            position, stream, version, name, schema, event_id, data, metadata,
            _decode_tags(tags) if tags else (), _parse_timestamp(recorded_at), _parse_timestamp(occurred_at),
        )
        for position, stream, version, name, schema, event_id, data, metadata, tags, recorded_at, occurred_at
        in connection.execute(SQL[statement], values)
    ]  # fmt: skip
