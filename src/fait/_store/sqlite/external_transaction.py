"""An append in SQLite inside a transaction that somebody else began, through whatever library they use.

It first makes sure that the transaction may write, which also makes sure that what it reads is the last commit.
"""

from collections.abc import Generator, Sequence
from datetime import datetime
from typing import Any, Final

import msgspec
from msgspec import Struct

from fait._events.append import Appended, AppendResult, StreamWrite, VersionConflict
from fait._events.version import is_expected
from fait._store.duplicate_append import resolve_duplicate
from fait._store.external_transaction import Rows, Statement, StatementProtocol
from fait._store.sqlite.statements import SQL
from fait._store.sqlite.timestamps import to_timestamp

__all__ = ["ACQUIRE_WRITE_LOCK", "append"]

ACQUIRE_WRITE_LOCK: Final = Statement(SQL["external_write_lock"])
"""Changes nothing and needs the write lock: a transaction that read something old fails here, before it is too late."""

_encode = msgspec.json.encode


class _ExistingEvent(Struct):
    id: str
    stream: str
    version: int
    position: int


def append(writes: Sequence[StreamWrite], now: datetime, *, look_up: bool) -> StatementProtocol:
    """The conversation; each stream stands in it once."""
    yield ACQUIRE_WRITE_LOCK
    if look_up and (known := (yield from _find_existing(writes))):
        return known
    versions: list[int] = []
    for write in writes:
        [(version,)] = yield Statement(SQL["external_stream_version"], (write.stream,))
        versions.append(version or 0)
        if not is_expected(write.expected, versions[-1]):
            return VersionConflict(write.stream, write.expected, versions[-1])
    return (yield from _store(writes, versions, to_timestamp(now)))


def _find_existing(writes: Sequence[StreamWrite]) -> Generator[Statement, Rows, AppendResult | None]:
    ids = [event.id for write in writes for event in write.events]
    rows = yield Statement(SQL["external_find_events"], (_encode(ids).decode(),))
    stored = {row[0]: _ExistingEvent(*row) for row in rows}
    return resolve_duplicate(writes, stored) if stored else None


def _store(writes: Sequence[StreamWrite], versions: list[int], now: str) -> Generator[Statement, Rows, AppendResult]:
    last = yield Statement(SQL["external_log_end"])
    position, moment = (last[0][0], max(now, last[0][1])) if last else (0, now)
    after: list[int] = []
    for write, version in zip(writes, versions, strict=True):
        for event in write.events:
            position, version = position + 1, version + 1
            tags: Any = _encode(event.tags).decode() if event.tags else None
            occurred_at = to_timestamp(event.occurred_at) if event.occurred_at else moment
            yield Statement(
                SQL["external_insert_event"],
                (
                    position, write.stream, version, event.type, event.schema_version, event.id, event.data, event.metadata,
                    tags, moment, occurred_at, int(event.expires),
                ),
            )  # fmt: skip
            for tag in event.tags:
                yield Statement(SQL["external_insert_tag"], (tag, position))
        after.append(version)
    return Appended(position, tuple(after))
