"""Reads events from the log, on a connection of the caller.

A page is limited by the number of its events and by their size. The rows of a history are read at once, because a loop
in Python would make loading slower: they end with the first large event, which a partial index finds.
"""

import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final

import msgspec

from fait._events.append import MAX_PAGE_BYTES, Page
from fait._events.envelope import EventSlice, RecordedEvent
from fait._events.query import Query
from fait._store.sqlite.connection import SqliteConnection
from fait._store.sqlite.statements import SQL

__all__ = ["PageEnd", "head", "page_end", "read_events", "read_history", "read_page", "read_stream"]

_MAX_SMALL_BYTES: Final = 4096
"""Maximum size of the data of an event that is not large; also in the SQL."""

_NO_LIMITS: Final = (None,) * 4
"""No upper limits, for `read_stream`."""

PageEnd = tuple[int, int]
"""The last position of the log, and the sum of the revisions of all registrations at that time."""

_NO_TIME: Final = datetime.min.replace(tzinfo=UTC)

_decode_tags = msgspec.json.Decoder(tuple[str, ...]).decode
_encode = msgspec.json.encode
# Most events have two equal times, which they share with the other events of their append: no call is needed then.
_parse_timestamp = lru_cache(256)(datetime.fromisoformat)


def head(connection: SqliteConnection) -> int:
    """The position of the last event; 0 if the log is empty."""
    return connection.execute(SQL["head"]).get


def page_end(connection: SqliteConnection) -> PageEnd:
    """Return up to where a page can be read now."""
    return connection.execute(SQL["page_end"]).get


def read_page(connection: SqliteConnection, after: int, query: Query, limit: int, end: PageEnd | None = None) -> Page:
    """A page of the log, as specified by `Log.read`.

    Args:
        connection: any connection to the file.
        after: position before the page.
        query: selects the events.
        limit: maximum number of events.
        end: end of the page, if the caller has read it already.
    """
    # Before the events: later commits belong to the next page.
    high_water_mark, revisions = end or page_end(connection)
    types = _encode(query.types).decode() if query.types else None
    values: tuple[Any, ...] = (after, high_water_mark, limit, types, query.category)
    if query.tags:
        values = (*values, query.tags[0], _encode(query.tags).decode())
    events, full = _read_limited(connection, "read_tagged" if query.tags else "read_log", values, limit)
    if full:
        # fault: full-page-ends-at-mark
        return Page(events, events[-1].position, more=True, revisions=revisions)
    # fault: log-end-read-after-rows
    return Page(events, max(after, high_water_mark), more=False, revisions=revisions)


def read_stream(
    connection: SqliteConnection, stream: str, after: int, limit: int, limits: Sequence[Any]
) -> tuple[list[RecordedEvent], bool]:
    """Events of a stream after a version, until their number or their size reaches a limit, and whether it did.

    Args:
        connection: any connection to the file.
        stream: name of the stream.
        after: version before the first event.
        limit: maximum number of events.
        limits: upper limits of version, position, recorded_at and occurred_at; or nothing.
    """
    return _read_limited(connection, "read_stream", (stream, after, limit, *(limits or _NO_LIMITS)), limit)


def read_history(
    connection: SqliteConnection,
    stream: str,
    after: int,
    limit: int,
    limits: Sequence[Any] = (),
    max_bytes: int = MAX_PAGE_BYTES,
) -> tuple[list[EventSlice], int]:
    """Event slices of a stream after a version, until their number or the size of large ones reaches a limit.

    Args:
        connection: any connection to the file.
        stream: name of the stream.
        after: version before the first event.
        limit: maximum number of events.
        limits: upper limits of version, position, recorded_at and occurred_at; or nothing.
        max_bytes: maximum size.

    Returns:
        The events, and the rest of the maximum size; if it is not positive, more events may follow.
    """
    sql = SQL["history_until"] if limits else SQL["history"]
    events = following = connection.execute(sql, (stream, after, limit, *limits)).fetchall()
    while following and (size := len(following[-1][5].encode())) > _MAX_SMALL_BYTES:  # the rows end with a large event
        max_bytes -= size
        if max_bytes <= 0 or len(events) == limit:
            break
        following = connection.execute(sql, (stream, following[-1][0], limit - len(events), *limits)).fetchall()
        events = events + following
    return events, max_bytes


def read_events(connection: SqliteConnection, statement: str, values: Sequence[Any]) -> list[RecordedEvent]:
    """Run a statement that selects whole events."""
    return _read_limited(connection, statement, values, max_bytes=sys.maxsize)[0]


def _read_limited(
    connection: SqliteConnection,
    statement: str,
    values: Sequence[Any],
    limit: int = sys.maxsize,
    max_bytes: int = MAX_PAGE_BYTES,
) -> tuple[list[RecordedEvent], bool]:
    """Read events until their number or their size reaches a limit; also return whether it did."""
    events, rows = list[RecordedEvent](), connection.execute(SQL[statement], values)
    add, recorded_text, recorded = events.append, "", _NO_TIME
    for position, stream, version, name, schema, event_id, data, metadata, tags, recorded_at, occurred_at in rows:
        if recorded_at != recorded_text:
            recorded_text, recorded = recorded_at, _parse_timestamp(recorded_at)
        occurred = recorded if occurred_at == recorded_at else _parse_timestamp(occurred_at)
        add(
            RecordedEvent(
                position, stream, version, name, schema, event_id, data, metadata,
                _decode_tags(tags) if tags else (), recorded, occurred,
            )
        )  # fmt: skip
        # fault: large-events-read-at-once
        max_bytes -= len(data) + len(metadata) + (len(tags) if tags else 0)
        if max_bytes <= 0:
            rows.close()  # ends the read transaction
            return events, True
    return events, len(events) == limit
