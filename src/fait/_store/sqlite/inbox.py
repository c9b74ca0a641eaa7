"""What consumers remember, in SQLite."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any, Final

from msgspec import json
from msgspec.structs import astuple

from fait._store.inbox_rows import inbox_message_from_row, inbox_message_to_row
from fait._store.ports.inbox import (
    MAX_FOLDED_MARKS,
    MAX_FORGOTTEN_IDS,
    FloorKey,
    InboxChanges,
    InboxMessage,
    LaneOffset,
    MarkKey,
    MessageId,
    PositionJump,
    are_mark_moves_expected,
)
from fait._store.sqlite.connection import SqliteConnection
from fait._store.sqlite.statements import SQL
from fait._store.sqlite.timestamps import to_timestamp
from fait._store.sqlite.worker_threads import ReaderThreads, WriterThread

__all__ = ["SqliteInbox", "change_inbox", "forget_inbox", "is_inbox_expected", "rename_inbox"]

_RENAMES: Final = (
    "rename_inbox_marks",
    "rename_inbox_floors",
    "rename_inbox_ids",
    "rename_inbox_offsets",
    "rename_inbox_messages",
)
_DELETIONS: Final = (
    "forget_inbox_marks",
    "forget_inbox_floors",
    "forget_inbox_ids",
    "forget_inbox_offsets",
    "forget_inbox_messages",
)


class SqliteInbox:
    """`Inbox` in an SQLite file."""

    def __init__(self, writer: WriterThread, readers: ReaderThreads) -> None:
        self._writer = writer
        self._readers = readers

    async def marks(self, consumer: str, keys: Sequence[MarkKey]) -> Mapping[MarkKey, int]:
        return await self._readers.run(lambda connection: _marks(connection, consumer, keys))

    async def folded(self, consumer: str) -> Mapping[FloorKey, int]:
        return {FloorKey(*key): position for *key, position in await self._read("folded_marks", consumer)}

    async def fold_marks(self, consumer: str, before: datetime, keep: Sequence[MarkKey]) -> int:
        values = (consumer, to_timestamp(before), _pairs(keep), MAX_FOLDED_MARKS)

        def job(connection: SqliteConnection) -> int:
            deleted = connection.execute(SQL["fold_marks"], values).fetchall()
            _execute_each(connection, "set_folded", [(consumer, *row) for row in deleted])
            return len(deleted)

        return await self._writer.run(job)

    async def position_jumps(self, consumer: str, above: int) -> list[PositionJump]:
        rows = await self._read("position_jumps", consumer, above)
        return [PositionJump(MarkKey(source, key), position, previous) for source, key, position, previous in rows]

    async def known_ids(self, consumer: str, ids: Sequence[MessageId]) -> frozenset[MessageId]:
        return await self._readers.run(lambda connection: _known_ids(connection, consumer, ids))

    async def forget_ids(self, consumer: str, before: date) -> int:
        values = (consumer, before.isoformat(), MAX_FORGOTTEN_IDS)
        return await self._writer.run(lambda connection: len(connection.execute(SQL["forget_ids"], values).fetchall()))

    async def offsets(self, consumer: str) -> list[LaneOffset]:
        return [LaneOffset(*row) for row in await self._read("inbox_offsets", consumer)]

    async def messages(self, consumer: str, order_key: str, *, after: int, limit: int) -> list[InboxMessage]:
        rows = await self._read("inbox_messages", consumer, order_key, after, limit)
        return [inbox_message_from_row((*columns, datetime.fromisoformat(time))) for *columns, time in rows]

    async def count_messages(self, consumer: str) -> int:
        return (await self._read("count_inbox_messages", consumer))[0][0]

    async def _read(self, statement: str, *values: Any) -> list[Any]:
        return await self._readers.run(lambda connection: connection.execute(SQL[statement], values).fetchall())


def _pairs(pairs: Sequence[MarkKey | MessageId]) -> str:
    return json.encode([astuple(each) for each in pairs]).decode()


def _marks(connection: SqliteConnection, consumer: str, keys: Sequence[MarkKey]) -> dict[MarkKey, int]:
    rows = connection.execute(SQL["inbox_marks"], (consumer, _pairs(keys))).fetchall()
    return {MarkKey(source, key): position for source, key, position in rows}


def _known_ids(connection: SqliteConnection, consumer: str, ids: Sequence[MessageId]) -> frozenset[MessageId]:
    return frozenset(MessageId(*row) for row in connection.execute(SQL["known_ids"], (consumer, _pairs(ids))))


def is_inbox_expected(connection: SqliteConnection, consumer: str, changes: InboxChanges) -> bool:
    """Return whether marks are as they are expected to be, and no id is stored."""
    stored = _marks(connection, consumer, [each.mark for each in changes.marks]) if changes.marks else {}
    if not are_mark_moves_expected(changes.marks, stored):
        return False
    return not changes.ids or not _known_ids(connection, consumer, changes.ids)


def change_inbox(connection: SqliteConnection, consumer: str, changes: InboxChanges) -> None:
    """Write what a consumer remembers."""
    now, day = to_timestamp(changes.at), changes.at.date().isoformat()
    marks = [(consumer, *astuple(each.mark), each.position, now, each.lane, each.bucket) for each in changes.marks]
    _execute_each(connection, "set_mark", marks)
    floors = [(consumer, *astuple(key), position) for key, position in changes.floors.items()]
    _execute_each(connection, "raise_floor", floors)
    _execute_each(connection, "insert_id", [(consumer, each.source, each.id, day) for each in changes.ids])
    _execute_each(connection, "set_offset", [(consumer, *astuple(each)) for each in changes.offsets])
    removed = [(consumer, each.order_key, each.before) for each in changes.removed]
    _execute_each(connection, "delete_inbox_messages", removed)
    _execute_each(connection, "insert_inbox_message", [_message_row(consumer, each) for each in changes.stored])


def _execute_each(connection: SqliteConnection, statement: str, values: Sequence[tuple[Any, ...]]) -> None:
    if values:
        connection.executemany(SQL[statement], values)


def _message_row(consumer: str, message: InboxMessage) -> tuple[Any, ...]:
    *columns, time = inbox_message_to_row(message)
    return consumer, *columns, to_timestamp(time)


def rename_inbox(connection: SqliteConnection, old: str, new: str) -> None:
    """Move what a consumer remembers to another name."""
    for statement in _RENAMES:
        connection.execute(SQL[statement], (old, new))


def forget_inbox(connection: SqliteConnection, consumer: str) -> None:
    """Delete what a consumer remembers."""
    for statement in _DELETIONS:
        connection.execute(SQL[statement], (consumer,))
