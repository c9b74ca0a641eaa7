"""A batch of appends in one transaction: each is decided on what is stored and on what those before it will store.

There is one writer at a time, so that the next position and the next version are simply one more than the last: they
are read once, and counted from there. Rows are gathered and inserted together. Both take few statements however many
the appends: at each one, Python's lock may go to another thread, and come back late.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec

from fait._events.append import (
    PAGE_SIZE,
    AppendCondition,
    Appended,
    AppendResult,
    ConditionFailed,
    StreamWrite,
    VersionConflict,
)
from fait._events.envelope import RecordedEvent
from fait._events.version import is_expected
from fait._store.duplicate_append import resolve_duplicate
from fait._store.sqlite.connection import SqliteConnection
from fait._store.sqlite.rows import read_events, read_page
from fait._store.sqlite.statements import SQL
from fait._store.sqlite.timestamps import to_timestamp

__all__ = ["AppendBatch", "find_existing"]

_MAX_ROWS_LOG2: Final = 6
"""Rows are inserted by 64, 32, … 1 with a statement: few statements, and few of them to prepare."""

_encode = msgspec.json.encode
_decode_versions = msgspec.json.Decoder(dict[str, int | None]).decode


class _Insert:
    """An INSERT for several rows at once, made from the one for a single row."""

    def __init__(self, statement: str) -> None:
        row = statement[statement.rindex("(") :].rstrip(";")
        self._columns = row.count("?")
        self._statements = [
            statement.rstrip(";") + f", {row}" * ((1 << size) - 1) for size in range(_MAX_ROWS_LOG2 + 1)
        ]

    def __call__(self, connection: SqliteConnection, values: Sequence[Any]) -> None:
        """Insert rows, whose values stand one after another."""
        first = 0
        while rows := (len(values) - first) // self._columns:
            size = min(_MAX_ROWS_LOG2, rows.bit_length() - 1)
            end = first + (self._columns << size)
            connection.execute(self._statements[size], values[first:end])
            first = end


_insert_events = _Insert(SQL["insert_event"])
_insert_tags = _Insert(SQL["insert_tag"])


class AppendBatch:
    """Appends that are about to be stored.

    Args:
        connection: the writer's, inside a transaction.
        now: the clock's moment; if it lies before the last event's, that one is recorded: the log's time never goes
            back.
        streams: all those that are appended to.
    """

    def __init__(self, connection: SqliteConnection, now: str, streams: Iterable[str]) -> None:
        self._connection = connection
        first, *others = streams
        self._position, last_moment, version = connection.execute(SQL["log_end"], (first,)).get or (0, now, None)
        # fault: recorded-at-decreases
        self._recorded_at = max(now, last_moment)
        self._versions: dict[str, int | None] = {first: version}
        if others:
            found = connection.execute(SQL["stream_versions"], (_encode(others).decode(),)).get
            self._versions |= _decode_versions(found)
        self._events: list[Any] = []
        self._tags: list[Any] = []

    def append(self, writes: Sequence[StreamWrite], condition: AppendCondition | None) -> AppendResult:
        """Decide one append, and gather its rows if it holds. A taken id is only noticed by `flush`."""
        if condition is not None and (failed := self._check_condition(condition)):
            return find_existing(self._connection, writes) or failed
        for write in writes:
            actual = self._versions[write.stream] or 0
            # fault: version-conflict-ignored
            # fault: exists-as-any
            # fault: multi-stream-append-half-written
            if not is_expected(write.expected, actual):
                self.flush()
                return find_existing(self._connection, writes) or VersionConflict(write.stream, write.expected, actual)
        versions = tuple([self._add_rows(write) for write in writes])
        return Appended(self._position, versions)

    def flush(self) -> None:
        """Insert what has gathered."""
        if self._events:
            events, self._events = self._events, []
            _insert_events(self._connection, events)
        if self._tags:
            tags, self._tags = self._tags, []
            _insert_tags(self._connection, tags)

    def _add_rows(self, write: StreamWrite) -> int:
        stream, position, moment = write.stream, self._position, self._recorded_at
        version = self._versions[stream] or 0
        # fault: reverse-order-in-append
        for event in write.events:
            position, version = position + 1, version + 1
            tags = None
            if event.tags:
                tags = _encode(event.tags).decode()
                for tag in event.tags:
                    self._tags += (tag, position)
            occurred_at = to_timestamp(event.occurred_at) if event.occurred_at else moment
            self._events += (
                position, stream, version, event.type, event.schema_version, event.id, event.data, event.metadata, tags,
                moment, occurred_at, event.expires,
            )  # fmt: skip
        self._position, self._versions[stream] = position, version
        return version

    def _check_condition(self, condition: AppendCondition) -> ConditionFailed | None:
        """What came after the condition's position and is meant by it; also what is only about to be stored."""
        # fault: condition-ignores-own-batch
        self.flush()
        found: dict[int, RecordedEvent] = {}
        position = self._position
        for query in condition.queries:
            page = read_page(self._connection, condition.after, query, PAGE_SIZE)
            # fault: only-last-query-counts
            found.update((event.position, event) for event in page.events)
            position = min(position, page.position)
        events = tuple(found[at] for at in sorted(found) if at <= position)
        return ConditionFailed(events, position) if events else None


def find_existing(connection: SqliteConnection, writes: Sequence[StreamWrite]) -> AppendResult | None:
    """The answer if any of the ids is taken; None if all are new."""
    ids = [event.id for write in writes for event in write.events]
    stored = {event.id: event for event in read_events(connection, "find_events", (_encode(ids).decode(),))}
    return resolve_duplicate(writes, stored) if stored or len(set(ids)) < len(ids) else None
