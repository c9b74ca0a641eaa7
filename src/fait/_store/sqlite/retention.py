"""Deletes expired messages from SQLite: their rows in the log and their tags, and records the last position deleted."""

from itertools import takewhile

import msgspec
from msgspec import Raw

from fait._store.ports.log import ExpireResult
from fait._store.sqlite.connection import SqliteConnection
from fait._store.sqlite.statements import SQL

__all__ = ["expire"]

_encode = msgspec.json.encode


def expire(connection: SqliteConnection, type: str, before: str, up_to: int, after: int, limit: int) -> ExpireResult:
    """Delete messages as specified by `Log.expire`; in a write transaction, so that no checkpoint moves during it."""
    candidates = connection.execute(SQL["old_messages"], (type, after, up_to, limit)).fetchall()
    # fault: retention-limit-inclusive
    old = list(takewhile(lambda row: row[1] < before, candidates))
    # fault: last-event-of-stream-expires
    deleted = [(position, tags) for position, _, tags, is_last in old if not is_last]
    if deleted:
        connection.execute(SQL["delete_messages"], (_encode([position for position, _ in deleted]).decode(),))
        tagged = [(position, Raw(tags.encode())) for position, tags in deleted if tags]
        connection.execute(SQL["delete_tags"], (_encode(tagged).decode(),))
        connection.execute(SQL["set_expired_position"], (deleted[-1][0],))
    return ExpireResult(len(deleted), old[-1][0] if old else after, more=len(old) == limit)
