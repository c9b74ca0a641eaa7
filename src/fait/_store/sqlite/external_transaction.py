"""An append to SQLite as part of an external transaction, through any driver.

Its first statement acquires the write lock. This also ensures that later statements read the last commit.
"""

from collections.abc import Generator, Sequence
from datetime import datetime
from typing import Any, Final

import msgspec

from fait._events.append import Appended, AppendResult, StreamWrite, VersionConflict
from fait._events.version import is_expected
from fait._store.duplicate_append import ExistingEvent, resolve_duplicate
from fait._store.external_transaction import FindProtocol, Rows, Statement, StatementProtocol
from fait._store.sqlite.statements import SQL
from fait._store.sqlite.timestamps import recording_timestamp, to_timestamp

__all__ = ["ACQUIRE_WRITE_LOCK", "append", "find"]

ACQUIRE_WRITE_LOCK: Final = Statement(SQL["external_write_lock"])
"""Changes nothing but requires the write lock: a transaction with a stale snapshot fails here, before it writes."""

_encode = msgspec.json.encode
_decode_tags = msgspec.json.Decoder(tuple[str, ...]).decode


def append(writes: Sequence[StreamWrite], now: datetime, *, look_up: bool) -> StatementProtocol:
    """The statements of an append.

    Args:
        writes: the events; each stream occurs once.
        now: current time.
        look_up: whether to check first if the event ids are stored already.
    """
    yield ACQUIRE_WRITE_LOCK
    if look_up and (existing := (yield from _find_existing(writes))):
        return existing
    ends: list[tuple[int, str]] = []
    for write in writes:
        rows = yield Statement(SQL["external_stream_end"], (write.stream,))
        version, recorded_at = rows[0] if rows else (0, "")
        ends.append((version, recorded_at))
        if not is_expected(write.expected, version):
            return VersionConflict(write.stream, write.expected, version)
    return (yield from _store(writes, ends, to_timestamp(now)))


def find(event_ids: Sequence[str]) -> FindProtocol:
    """The statement that finds events by id."""
    rows = yield Statement(SQL["external_find_events"], (_encode(event_ids).decode(),))
    return [(row[1], row[8]) for row in rows]


def _find_existing(writes: Sequence[StreamWrite]) -> Generator[Statement, Rows, AppendResult | None]:
    ids = [event.id for write in writes for event in write.events]
    rows = yield Statement(SQL["external_find_events"], (_encode(ids).decode(),))
    stored = {
        event_id: ExistingEvent(
            event_id, stream, version, position, type, schema_version, data, _decode_tags(tags) if tags else ()
        )
        for event_id, stream, version, position, type, schema_version, data, tags, _ in rows
    }
    return resolve_duplicate(writes, stored) if stored else None


def _store(
    writes: Sequence[StreamWrite], ends: Sequence[tuple[int, str]], now: str
) -> Generator[Statement, Rows, AppendResult]:
    last = yield Statement(SQL["external_log_end"])
    position, now = (last[0][0], recording_timestamp(now, last[0][1])) if last else (0, now)
    new_versions: list[int] = []
    for write, (version, last_recorded_at) in zip(writes, ends, strict=True):
        recorded_at = max(now, last_recorded_at)
        for event in write.events:
            position, version = position + 1, version + 1
            tags: Any = _encode(event.tags).decode() if event.tags else None
            occurred_at = to_timestamp(event.occurred_at) if event.occurred_at else recorded_at
            values = (
                position, write.stream, version, event.type, event.schema_version, event.id, event.data, event.metadata,
                tags, recorded_at, occurred_at, int(event.expires),
            )  # fmt: skip
            yield Statement(SQL["external_insert_event"], values)
            for tag in event.tags:
                yield Statement(SQL["external_insert_tag"], (tag, position))
        new_versions.append(version)
    return Appended(position, tuple(new_versions))
