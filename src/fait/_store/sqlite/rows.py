"""Reads events from the log, on a connection of the caller.

A page is limited by the number of its events and by their size. To compute the size in Python would make each read
slower, so only large events count: partial indexes find them. If there are none, a page is read at once.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import lru_cache
from itertools import islice
from typing import Any, Final

import msgspec

from fait._events.append import MAX_PAGE_BYTES, PAGE_SIZE, Page
from fait._events.envelope import EventSlice, RecordedEvent, size_of
from fait._events.query import Query
from fait._store.sqlite.connection import SqliteConnection
from fait._store.sqlite.statements import SQL

__all__ = ["head", "read_events", "read_history", "read_page", "read_stream"]

_MAX_SMALL_CHARACTERS: Final = 4096
"""Maximum number of characters in the data of an event that is not large; also in the SQL."""

_MAX_SINGLE_ROWS: Final = 16
"""Maximum number of rows to read one by one: they cost less than the search for a large event."""


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
    end, one_by_one = _end_of_page(connection, after, high_water_mark, limit)
    values: tuple[Any, ...] = (after, end, limit, types, query.category)
    if query.tags:
        values = (*values, query.tags[0], _encode(query.tags).decode())
    events, full = _read_limited(connection, "read_tagged" if query.tags else "read_log", values, limit, one_by_one)
    if full:
        # fault: full-page-ends-at-mark
        return Page(events, events[-1].position, more=True)
    # fault: page-before-large-event-empty
    if not events and end < high_water_mark:
        return read_page(connection, end, query, limit, high_water_mark)
    # fault: log-end-read-after-rows
    return Page(events, max(after, end), more=end < high_water_mark)


def read_stream(
    connection: SqliteConnection, stream: str, after: int, limit: int, limits: Sequence[Any]
) -> tuple[list[RecordedEvent], bool]:
    """Events of a stream after a version, until their number or their size reaches a limit, and whether it did.

    Args:
        connection: any connection to the file.
        stream: name of the stream.
        after: version before the first event.
        limit: maximum number of events.
        limits: upper limits of version, position, recorded_at and occurred_at.
    """
    one_by_one = limit > PAGE_SIZE or connection.execute(SQL["stream_has_large"], (stream, after)).get is not None
    return _read_limited(connection, "read_stream", (stream, after, limit, *limits), limit, one_by_one)


def read_history(
    connection: SqliteConnection,
    stream: str,
    after: int,
    limit: int,
    limits: Sequence[Any],
    max_bytes: int = MAX_PAGE_BYTES,
) -> tuple[list[EventSlice], int]:
    """Event slices of a stream after a version, until their number or the size of large ones reaches a limit.

    Args:
        connection: any connection to the file.
        stream: name of the stream.
        after: version before the first event.
        limit: maximum number of events.
        limits: upper limits of version, position, recorded_at and occurred_at.
        max_bytes: maximum size.

    Returns:
        The events, and the rest of the maximum size; if it is not positive, more events may follow.
    """
    events = following = connection.execute(SQL["history"], (stream, after, limit, *limits)).fetchall()
    while following and len(data := following[-1][5]) > _MAX_SMALL_CHARACTERS:  # the rows end with a large event
        max_bytes -= len(data)
        if max_bytes <= 0 or len(events) == limit:
            break
        values = (stream, following[-1][0], limit - len(events), *limits)
        following = connection.execute(SQL["history"], values).fetchall()
        events = events + following
    return events, max_bytes


def read_events(connection: SqliteConnection, statement: str, values: Sequence[Any]) -> list[RecordedEvent]:
    """Run a statement that selects whole events."""
    return _recorded_events(connection.execute(SQL[statement], values))


def _end_of_page(connection: SqliteConnection, after: int, high_water_mark: int, limit: int) -> tuple[int, bool]:
    """Return the last position of a page, and whether its rows must be read one by one because some may be large."""
    if high_water_mark - after <= _MAX_SINGLE_ROWS or limit > PAGE_SIZE:
        return high_water_mark, True
    first_large = connection.execute(SQL["first_large"], (after, high_water_mark)).get
    if first_large is None:
        return high_water_mark, False
    # A page that may be full before the first large event ends there.
    return (first_large - 1, False) if first_large - after > limit else (high_water_mark, True)


def _read_limited(
    connection: SqliteConnection, statement: str, values: Sequence[Any], limit: int, one_by_one: bool
) -> tuple[list[RecordedEvent], bool]:
    """Read events until their number or their size reaches a limit; also return whether it did."""
    if not one_by_one:
        events = read_events(connection, statement, values)
        return events, len(events) == limit
    rows, events, size = connection.execute(SQL[statement], values), list[RecordedEvent](), 0
    # fault: large-events-read-at-once
    while event := _recorded_events(islice(rows, 1)):
        events += event
        size += size_of(event[0])
        if len(events) == limit or size >= MAX_PAGE_BYTES:
            rows.close()  # ends the read transaction
            return events, True
    return events, False


def _recorded_events(rows: Iterable[Any]) -> list[RecordedEvent]:
    return [
        RecordedEvent(
            position, stream, version, name, schema, event_id, data, metadata,
            _decode_tags(tags) if tags else (), _parse_timestamp(recorded_at), _parse_timestamp(occurred_at),
        )
        for position, stream, version, name, schema, event_id, data, metadata, tags, recorded_at, occurred_at in rows
    ]  # fmt: skip
