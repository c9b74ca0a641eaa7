"""Dropping messages that are old enough, in SQLite: rows of the log, their tags, and a note of how far it went."""

from itertools import takewhile

import msgspec
from msgspec import Raw

from fait._store.log import ExpireResult
from fait._store.sqlite.connection import SqliteConnection
from fait._store.sqlite.statements import SQL

__all__ = ["expire"]

_encode = msgspec.json.encode


def expire(connection: SqliteConnection, type: str, before: str, up_to: int, after: int, limit: int) -> ExpireResult:
    """Drop messages as `Log.expire` promises it; inside the writer's transaction, so that no checkpoint moves."""
    found = connection.execute(SQL["old_messages"], (type, after, up_to, limit)).fetchall()
    # fault: retention-limit-inclusive
    old = list(takewhile(lambda row: row[1] < before, found))
    # fault: last-event-of-stream-expires
    gone = [(position, tags) for position, _, tags, is_last in old if not is_last]
    if gone:
        connection.execute(SQL["delete_messages"], (_encode([position for position, _ in gone]).decode(),))
        tagged = [(position, Raw(tags.encode())) for position, tags in gone if tags]
        connection.execute(SQL["delete_tags"], (_encode(tagged).decode(),))
        connection.execute(SQL["set_expired_position"], (gone[-1][0],))
    return ExpireResult(len(gone), old[-1][0] if old else after, more=len(old) == limit)
