"""Rows of the log as events: the reading half of the SQLite log, on whatever connection is at hand."""

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
_parse_timestamp = lru_cache(256)(
    datetime.fromisoformat
)  # an event's two times are mostly one, and those of its append


def head(connection: SqliteConnection) -> int:
    """The last position."""
    return connection.execute(SQL["head"]).get


def read_page(connection: SqliteConnection, after: int, query: Query, limit: int, mark: int | None = None) -> Page:
    """A page of the log, as `Log.read` promises it; up to `mark`, where the head has been read before."""
    if mark is None:
        mark = head(connection)  # first: what commits after this is for the next page
    types = _encode(query.types).decode() if query.types else None
    values: tuple[Any, ...] = (after, mark, limit, types, query.category)
    if query.tags:
        events = read_events(connection, "read_tagged", (*values, query.tags[0], _encode(query.tags).decode()))
    else:
        events = read_events(connection, "read_log", values)
    if len(events) == limit:
        # fault: full-page-ends-at-mark
        return Page(events, events[-1].position, more=True)
    # fault: log-end-read-after-rows
    return Page(events, max(after, mark), more=False)


def read_events(connection: SqliteConnection, statement: str, values: Sequence[Any]) -> list[RecordedEvent]:
    """The events that a statement gives, whole."""
    return [
        RecordedEvent(
            position, stream, version, name, schema, event_id, data, metadata,
            _decode_tags(tags) if tags else (), _parse_timestamp(recorded_at), _parse_timestamp(occurred_at),
        )
        for position, stream, version, name, schema, event_id, data, metadata, tags, recorded_at, occurred_at
        in connection.execute(SQL[statement], values)
    ]  # fmt: skip
