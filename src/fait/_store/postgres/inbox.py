"""What consumers remember, in PostgreSQL."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime

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
)
from fait._store.postgres.connection import Database, PostgresConnection

__all__ = ["PostgresInbox", "change_inbox", "offset_columns"]


class PostgresInbox:
    """`Inbox` in one schema of a PostgreSQL database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def marks(self, consumer: str, keys: Sequence[MarkKey]) -> Mapping[MarkKey, int]:
        sources, texts = [each.source for each in keys], [each.key for each in keys]
        rows = await self._database.fetch("inbox_marks", consumer, sources, texts)
        return {MarkKey(source, key): position for source, key, position in rows}

    async def folded(self, consumer: str) -> Mapping[FloorKey, int]:
        rows = await self._database.fetch("folded_marks", consumer)
        return {FloorKey(*key): position for *key, position in map(tuple, rows)}

    async def fold_marks(self, consumer: str, before: datetime, keep: Sequence[MarkKey]) -> int:
        sources, keys = [each.source for each in keep], [each.key for each in keep]
        return (await self._database.fetch("fold_marks", consumer, before, sources, keys, MAX_FOLDED_MARKS))[0][0]

    async def position_jumps(self, consumer: str, above: int) -> list[PositionJump]:
        rows = await self._database.fetch("position_jumps", consumer, above)
        return [PositionJump(MarkKey(source, key), position, previous) for source, key, position, previous in rows]

    async def known_ids(self, consumer: str, ids: Sequence[MessageId]) -> frozenset[MessageId]:
        sources, texts = [each.source for each in ids], [each.id for each in ids]
        return frozenset(MessageId(*row) for row in await self._database.fetch("known_ids", consumer, sources, texts))

    async def forget_ids(self, consumer: str, before: date) -> int:
        return len(await self._database.fetch("forget_ids", consumer, before, MAX_FORGOTTEN_IDS))

    async def offsets(self, consumer: str) -> list[LaneOffset]:
        return [LaneOffset(*row) for row in await self._database.fetch("inbox_offsets", consumer)]

    async def messages(self, consumer: str, order_key: str, *, after: int, limit: int) -> list[InboxMessage]:
        rows = await self._database.fetch("inbox_messages", consumer, order_key, after, limit)
        return [inbox_message_from_row(tuple(row)) for row in rows]

    async def count_messages(self, consumer: str) -> int:
        return (await self._database.fetch("count_inbox_messages", consumer))[0][0]


async def change_inbox(
    database: Database, connection: PostgresConnection, consumer: str, changes: InboxChanges
) -> bool:
    """Write what a consumer remembers. Returns False if a mark is not as expected, or an id is stored."""
    if changes.marks and not await _move_marks(database, connection, consumer, changes):
        return False
    if floors := changes.floors:
        columns = zip(*(astuple(key) for key in floors), strict=True)
        await connection.fetch(database.sql["raise_floors"], consumer, *map(list, columns), list(floors.values()))
    if ids := changes.ids:
        values = ([each.source for each in ids], [each.id for each in ids], changes.at.date())
        if len(await connection.fetch(database.sql["insert_ids"], consumer, *values)) < len(ids):
            return False
    if offsets := changes.offsets:
        await connection.fetch(database.sql["set_offsets"], consumer, *offset_columns(offsets))
    for each in changes.removed:
        await connection.fetch(database.sql["delete_inbox_messages"], consumer, each.order_key, each.before)
    if changes.stored:
        rows = [(consumer, *inbox_message_to_row(each)) for each in changes.stored]
        await connection.executemany(database.sql["insert_inbox_message"], rows)
    return True


def offset_columns(offsets: Sequence[LaneOffset]) -> tuple[list[str], list[int], list[str]]:
    """Return offsets as parameters: topics, lanes and offsets."""
    return [each.topic for each in offsets], [each.lane for each in offsets], [each.offset for each in offsets]


async def _move_marks(database: Database, connection: PostgresConnection, consumer: str, changes: InboxChanges) -> bool:
    moves = changes.marks
    names = ([each.mark.source for each in moves], [each.mark.key for each in moves])
    positions = ([each.expected for each in moves], [each.position for each in moves])
    places = ([each.lane for each in moves], [each.bucket for each in moves])
    moved = await connection.fetchval(database.sql["move_marks"], consumer, *names, *positions, changes.at, *places)
    return moved == len(moves)
