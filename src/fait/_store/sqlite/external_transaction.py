"""An append in SQLite inside a transaction that somebody else began, through whatever library they use.

It first makes sure that the transaction may write, which also makes sure that what it reads is the last commit.
"""

from collections.abc import Generator, Sequence
from datetime import datetime
from typing import Any, Final

import msgspec
from msgspec import Struct

from fait._events.append import Appended, Conflict, Verdict, Write
from fait._events.version import is_expected
from fait._store.duplicate_append import repetition
from fait._store.external_transaction import Ask, Conversation, Rows
from fait._store.sqlite.statements import SQL
from fait._store.sqlite.timestamps import stored_moment

__all__ = ["LOCK", "append"]

LOCK: Final = Ask(SQL["join_lock"])
"""Changes nothing and needs the write lock: a transaction that read something old fails here, before it is too late."""

_encode = msgspec.json.encode


class _Stored(Struct):
    id: str
    stream: str
    version: int
    position: int


def append(writes: Sequence[Write], now: datetime, *, look_up: bool) -> Conversation:
    """The conversation; each stream stands in it once."""
    yield LOCK
    if look_up and (known := (yield from _known(writes))):
        return known
    versions: list[int] = []
    for write in writes:
        [(version,)] = yield Ask(SQL["join_version"], (write.stream,))
        versions.append(version or 0)
        if not is_expected(write.expected, versions[-1]):
            return Conflict(write.stream, write.expected, versions[-1])
    return (yield from _store(writes, versions, stored_moment(now)))


def _known(writes: Sequence[Write]) -> Generator[Ask, Rows, Verdict | None]:
    ids = [event.id for write in writes for event in write.events]
    rows = yield Ask(SQL["join_known"], (_encode(ids).decode(),))
    stored = {row[0]: _Stored(*row) for row in rows}
    return repetition(writes, stored) if stored else None


def _store(writes: Sequence[Write], versions: list[int], now: str) -> Generator[Ask, Rows, Verdict]:
    last = yield Ask(SQL["join_end"])
    position, moment = (last[0][0], max(now, last[0][1])) if last else (0, now)
    after: list[int] = []
    for write, version in zip(writes, versions, strict=True):
        for event in write.events:
            position, version = position + 1, version + 1
            tags: Any = _encode(event.tags).decode() if event.tags else None
            occurred_at = stored_moment(event.occurred_at) if event.occurred_at else moment
            yield Ask(
                SQL["join_event"],
                (
                    position, write.stream, version, event.type, event.schema, event.id, event.data, event.metadata,
                    tags, moment, occurred_at, int(event.expires),
                ),
            )  # fmt: skip
            for tag in event.tags:
                yield Ask(SQL["join_tag"], (tag, position))
        after.append(version)
    return Appended(position, tuple(after))
