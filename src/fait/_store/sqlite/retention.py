"""Dropping messages that are old enough, in SQLite: rows of the log, their tags, and a note of how far it went."""

from itertools import takewhile

import msgspec
from msgspec import Raw

from fait._store.log import Dropped
from fait._store.sqlite.connection import Connection
from fait._store.sqlite.statements import SQL

__all__ = ["expire"]

_encode = msgspec.json.encode


def expire(connection: Connection, type: str, before: str, behind: int, after: int, limit: int) -> Dropped:
    """Drop messages as `Log.expire` promises it; inside the writer's transaction, so that no checkpoint moves."""
    found = connection.execute(SQL["old_messages"], (type, after, behind, limit)).fetchall()
    old = list(takewhile(lambda row: row[1] < before, found))
    gone = [(position, tags) for position, _, tags, is_last in old if not is_last]
    if gone:
        connection.execute(SQL["drop_messages"], (_encode([position for position, _ in gone]).decode(),))
        tagged = [(position, Raw(tags.encode())) for position, tags in gone if tags]
        connection.execute(SQL["drop_tags"], (_encode(tagged).decode(),))
        connection.execute(SQL["note_expired"], (gone[-1][0],))
    return Dropped(len(gone), old[-1][0] if old else after, more=len(old) == limit)
