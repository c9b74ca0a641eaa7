"""A batch of appends in one transaction. Each append is checked against the stored events and the appends before it.

There is one writer at a time, so the next position and the next version are the last one plus one: they are read once
per batch and counted in memory. Rows are collected and inserted together. The number of statements matters more than
their size, because each one releases Python's global interpreter lock and may wait to acquire it again.
"""

from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from typing import Any, Final

import apsw
import msgspec

from fait._events.append import (
    PAGE_SIZE,
    AppendCondition,
    Appended,
    AppendResult,
    ConditionFailed,
    Conflict,
    IdConflict,
    StreamWrite,
    VersionConflict,
)
from fait._events.envelope import RecordedEvent
from fait._events.version import ANY, is_expected
from fait._store.duplicate_append import resolve_duplicate
from fait._store.ports.unit_of_work import HandlerAppend
from fait._store.sqlite.connection import SqliteConnection
from fait._store.sqlite.rows import read_events, read_page
from fait._store.sqlite.statements import SQL
from fait._store.sqlite.timestamps import recording_timestamp, to_timestamp

__all__ = ["AppendBatch", "HandlerConflict", "append_of_handler", "decode_ends", "find_existing"]

_MAX_ROWS_LOG2: Final = 6
"""Maximum number of rows per INSERT, as a power of two. Sizes are 64, 32, … 1: few statements, and few to prepare."""

_encode = msgspec.json.encode
decode_ends = msgspec.json.Decoder(dict[str, tuple[int, str]]).decode

_NO_STREAM: Final = (0, "")
"""Version and `recorded_at` of the last event of a stream that does not exist."""


class _Insert:
    """An INSERT of several rows, derived from the statement for one row."""

    def __init__(self, statement: str) -> None:
        row = statement[statement.rindex("(") :].rstrip(";")
        self._columns = row.count("?")
        self._statements = [
            statement.rstrip(";") + f", {row}" * ((1 << power) - 1) for power in range(_MAX_ROWS_LOG2 + 1)
        ]

    def __call__(self, connection: SqliteConnection, values: Sequence[Any]) -> None:
        """Insert rows, given as one flat sequence of values."""
        first = 0
        while rows := (len(values) - first) // self._columns:
            power = min(_MAX_ROWS_LOG2, rows.bit_length() - 1)
            end = first + (self._columns << power)
            connection.execute(self._statements[power], values[first:end])
            first = end


_insert_events = _Insert(SQL["insert_event"])
_insert_tags = _Insert(SQL["insert_tag"])


class HandlerConflict(Exception):
    """Rolls back a unit of work whose handlers append events in conflict with stored ones."""

    def __init__(self, conflict: Conflict) -> None:
        self.conflict = conflict


class AppendBatch:
    """Appends that are checked and stored together.

    Args:
        connection: the connection of the writer, inside a transaction.
        now: current time, as text.
        streams: all streams of the appends; at least one.
        check_end: called with the position of the last event that is stored; it may raise.

    Attributes:
        position: position of the last event, stored or collected.
    """

    def __init__(
        self, connection: SqliteConnection, now: str, streams: Iterable[str], check_end: Callable[[int], None]
    ) -> None:
        self._connection = connection
        first, *others = streams
        end = connection.execute(SQL["log_end"], (first,)).get
        self.position, last_recorded_at, version, time = end or (0, now, None, "")
        check_end(self.position)
        self._recorded_at = recording_timestamp(now, last_recorded_at)
        self._streams: dict[str, tuple[int, str]] = {first: (version, time)} if version else {}
        if others:
            self._streams |= decode_ends(connection.execute(SQL["stream_ends"], (_encode(others).decode(),)).get)
        self._events: list[Any] = []
        self._tags: list[Any] = []

    def append(self, writes: Sequence[StreamWrite], condition: AppendCondition | None) -> AppendResult:
        """Check an append and collect its rows. A duplicate event id is detected later, by `flush`."""
        if condition is not None and (failed := self._check_condition(condition)):
            return find_existing(self._connection, writes) or failed
        for write in writes:
            actual, _ = self._streams.get(write.stream, _NO_STREAM)
            # fault: version-conflict-ignored
            # fault: exists-as-any
            # fault: multi-stream-append-half-written
            if not is_expected(write.expected, actual):
                self.flush()
                return find_existing(self._connection, writes) or VersionConflict(write.stream, write.expected, actual)
        versions = tuple([self._add_rows(write) for write in writes])
        return Appended(self.position, versions)

    def append_in_order(self, append: HandlerAppend) -> int:
        """Check the events of handlers and collect their rows. Returns the position of the last one.

        Raises:
            HandlerConflict: a condition or an expected version does not hold.
        """
        for condition in append.conditions:
            if failed := self._check_condition(condition):
                raise HandlerConflict(failed)
        for stream, expected in append.expected.items():
            # fault: conflict-of-handler-ignored
            if not is_expected(expected, actual := self._streams.get(stream, _NO_STREAM)[0]):
                raise HandlerConflict(VersionConflict(stream, expected, actual))
        for stream, event in append.events:
            self._add_rows(StreamWrite(stream, (event,), ANY))
        return self.position

    def flush(self) -> None:
        """Insert the collected rows."""
        if self._events:
            events, self._events = self._events, []
            _insert_events(self._connection, events)
        if self._tags:
            tags, self._tags = self._tags, []
            _insert_tags(self._connection, tags)

    def _add_rows(self, write: StreamWrite) -> int:
        stream, position = write.stream, self.position
        version, last_recorded_at = self._streams.get(stream, _NO_STREAM)
        # fault: recorded-at-decreases
        recorded_at = max(self._recorded_at, last_recorded_at)
        # fault: reverse-order-in-append
        for event in write.events:
            position, version = position + 1, version + 1
            tags = None
            if event.tags:
                tags = _encode(event.tags).decode()
                for tag in event.tags:
                    self._tags += (tag, position)
            occurred_at = to_timestamp(event.occurred_at) if event.occurred_at else recorded_at
            self._events += (
                position, stream, version, event.type, event.schema_version, event.id, event.data, event.metadata, tags,
                recorded_at, occurred_at, event.expires,
            )  # fmt: skip
        self.position, self._streams[stream] = position, (version, recorded_at)
        return version

    def _check_condition(self, condition: AppendCondition) -> ConditionFailed | None:
        """The events after the condition's position that match it, including those of earlier appends in this batch."""
        # fault: condition-ignores-own-batch
        self.flush()
        matching: dict[int, RecordedEvent] = {}
        position = self.position
        for query in condition.queries:
            page = read_page(self._connection, condition.after, query, PAGE_SIZE)
            # fault: only-last-query-counts
            matching.update((event.position, event) for event in page.events)
            position = min(position, page.position)
        events = tuple(matching[key] for key in sorted(matching) if key <= position)
        return ConditionFailed(events, position) if events else None


def append_of_handler(
    connection: SqliteConnection, append: HandlerAppend, now: str, check_end: Callable[[int], None]
) -> int:
    """Store the events of handlers. Returns the position of the last one. `check_end` is that of `AppendBatch`.

    Raises:
        HandlerConflict: the transaction must be rolled back.
    """
    batch = AppendBatch(connection, now, append.expected, check_end)
    stored_until = batch.position
    try:
        position = batch.append_in_order(append)
        batch.flush()
    except apsw.ConstraintError:
        ids = [event.id for _, event in append.events]
        events = read_events(connection, "find_events", (_encode(ids).decode(),))
        existing = [each.id for each in events if each.position <= stored_until]
        repeated = (each for each in ids if ids.count(each) > 1)
        if (id := next(chain(existing, repeated), None)) is None:
            raise
        raise HandlerConflict(IdConflict(id)) from None
    return position


def find_existing(connection: SqliteConnection, writes: Sequence[StreamWrite]) -> AppendResult | None:
    """The result of an append with an id that already exists, stored or repeated within it; None if all ids are new."""
    ids = [event.id for write in writes for event in write.events]
    stored = {event.id: event for event in read_events(connection, "find_events", (_encode(ids).decode(),))}
    return resolve_duplicate(writes, stored) if stored or len(set(ids)) < len(ids) else None
