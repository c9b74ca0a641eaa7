"""A batch of appends in one transaction: each is decided on what is stored and on what those before it will store.

Rows are gathered and inserted together. There is one writer at a time, so that the next position and the next version
are simply one more than the last: they are read once, and counted from there.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from fait.events.append import (
    PAGE,
    AppendCondition,
    Appended,
    ConditionFailed,
    Conflict,
    Duplicate,
    Verdict,
    Write,
)
from fait.events.envelope import StoredEvent
from fait.events.version import is_expected
from fait.store.sqlite.connection import Connection
from fait.store.sqlite.rows import read_events, read_page, stored_moment
from fait.store.sqlite.statements import SQL

__all__ = ["Batch", "known"]

_encode = msgspec.json.encode


class Batch:
    """Appends that are about to be stored.

    Args:
        connection: the writer's, inside a transaction.
        now: the clock's moment; if it lies before the last event's, that one is recorded: the log's time never goes
            back.
    """

    def __init__(self, connection: Connection, now: str) -> None:
        self._connection = connection
        last = connection.execute(SQL["last_event"]).fetchall()
        self._position, last_moment = last[0] if last else (0, now)
        self._moment = max(now, last_moment)
        self._versions: dict[str, int] = {}
        self._rows: list[tuple[Any, ...]] = []
        self._tags: list[tuple[str, int]] = []

    def append(self, writes: Sequence[Write], condition: AppendCondition | None) -> Verdict:
        """Decide one append, and gather its rows if it holds. A taken id is only noticed by `flush`."""
        if condition is not None and (failed := self._failed(condition)):
            return known(self._connection, writes) or failed
        for write in writes:
            actual = self._version(write.stream)
            if not is_expected(write.expected, actual):
                self.flush()
                return known(self._connection, writes) or Conflict(write.stream, write.expected, actual)
        versions = tuple([self._gather(write) for write in writes])
        return Appended(self._position, versions)

    def flush(self) -> None:
        """Insert what has gathered."""
        if self._rows:
            self._connection.executemany(SQL["insert_event"], self._rows)
            self._rows.clear()
        if self._tags:
            self._connection.executemany(SQL["insert_tag"], self._tags)
            self._tags.clear()

    def _version(self, stream: str) -> int:
        version = self._versions.get(stream)
        if version is None:
            version = self._versions[stream] = self._connection.execute(SQL["stream_version"], (stream,)).get or 0
        return version

    def _gather(self, write: Write) -> int:
        stream, position, version, moment = write.stream, self._position, self._versions[write.stream], self._moment
        for event in write.events:
            position, version = position + 1, version + 1
            tags = None
            if event.tags:
                tags = _encode(event.tags).decode()
                self._tags.extend((tag, position) for tag in event.tags)
            occurred_at = stored_moment(event.occurred_at) if event.occurred_at else moment
            self._rows.append((
                position, stream, version, event.type, event.schema, event.id, event.data, event.metadata, tags,
                moment, occurred_at,
            ))  # fmt: skip
        self._position, self._versions[stream] = position, version
        return version

    def _failed(self, condition: AppendCondition) -> ConditionFailed | None:
        """What came after the condition's position and is meant by it; also what is only about to be stored."""
        self.flush()
        found: dict[int, StoredEvent] = {}
        position = self._position
        for query in condition.queries:
            page = read_page(self._connection, condition.after, query, PAGE)
            found.update((event.position, event) for event in page.events)
            position = min(position, page.position)
        events = tuple(found[at] for at in sorted(found) if at <= position)
        return ConditionFailed(events, position) if events else None


def known(connection: Connection, writes: Sequence[Write]) -> Verdict | None:
    """The answer if any of the ids is taken; None if all are new."""
    ids = [event.id for write in writes for event in write.events]
    stored = {event.id: event for event in read_events(connection, "find_events", (_encode(ids).decode(),))}
    return _repeated(writes, ids, stored) if stored or len(set(ids)) < len(ids) else None


def _repeated(writes: Sequence[Write], ids: list[str], stored: dict[str, StoredEvent]) -> Verdict:
    """Whether stored ids are the same append, made before."""
    versions: list[int] = []
    for write in writes:
        found = [stored.get(event.id) for event in write.events]
        first = found[0].version if found[0] else 0
        for place, event in enumerate(found):
            if event is None or event.stream != write.stream or event.version != first + place:
                taken = next((each for each in ids if each in stored), None)
                return Duplicate(taken or next(each for each in ids if ids.count(each) > 1))
        versions.append(first + len(found) - 1)
    return Appended(max(event.position for event in stored.values()), tuple(versions), repeated=True)
