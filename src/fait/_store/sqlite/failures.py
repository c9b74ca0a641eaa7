"""Failures of keys and actions of operators in SQLite."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from msgspec import json
from msgspec.structs import astuple

from fait._clock import Clock
from fait._store.ports.failures import (
    MAX_ACTIONS,
    Action,
    FailureChange,
    FailureRequest,
    KeyFailure,
    are_expected,
)
from fait._store.ports.registrations import RangeKey
from fait._store.registration_rows import failure_from_row
from fait._store.sqlite.connection import SqliteConnection
from fait._store.sqlite.statements import SQL
from fait._store.sqlite.timestamps import to_timestamp
from fait._store.sqlite.worker_threads import ReaderThreads, WriterThread

__all__ = ["SqliteFailures", "change_failures", "changes_are_expected"]


class SqliteFailures:
    """`Failures` in an SQLite file."""

    def __init__(self, writer: WriterThread, readers: ReaderThreads, clock: Clock) -> None:
        self._writer = writer
        self._readers = readers
        self._clock = clock

    async def failures(self, subscription: str | None = None) -> list[KeyFailure]:
        return [failure_from_row(row) for row in await self._read("read_failures", subscription)]

    async def requested(self) -> list[KeyFailure]:
        return [failure_from_row(row) for row in await self._read("requested_failures")]

    async def request(self, request: FailureRequest) -> int:
        keys, now = _to_json(request.keys), to_timestamp(self._clock.now())

        def job(connection: SqliteConnection) -> int:
            requestable = connection.execute(SQL["requestable_keys"], (request.subscription, keys)).fetchall()
            if len(requestable) == len(set(request.keys)):
                values = (request.state, request.by, request.reason, request.discard_until)
                connection.execute(SQL["request_failures"], (request.subscription, keys, *values))
                connection.execute(SQL["insert_action"], (*request.as_action(), now))
            return len(requestable)

        return await self._writer.run(job)

    async def record_action(self, action: str, subscription: str, details: str, by: str, reason: str) -> None:
        values = (action, subscription, details, by, reason, to_timestamp(self._clock.now()))
        await self._writer.run(lambda connection: connection.execute(SQL["insert_action"], values).fetchall())

    async def actions(
        self, subscription: str | None = None, action: str | None = None, *, limit: int = MAX_ACTIONS
    ) -> Sequence[Action]:
        rows = await self._read("read_actions", subscription, action, limit)
        return [Action(datetime.fromisoformat(time), *columns) for time, *columns in rows]

    async def _read(self, statement: str, *values: Any) -> list[Any]:
        return await self._readers.run(lambda connection: connection.execute(SQL[statement], values).fetchall())


def changes_are_expected(connection: SqliteConnection, key: RangeKey, changes: Sequence[FailureChange]) -> bool:
    """Return whether the stored failures have the states that changes expect."""
    return are_expected(changes, dict(connection.execute(SQL["failure_states"], _keys(key, changes)).fetchall()))


def change_failures(connection: SqliteConnection, key: RangeKey, changes: Sequence[FailureChange]) -> None:
    """Replace or delete the failures of a range's keys."""
    connection.execute(SQL["delete_failures"], _keys(key, changes))
    rows = [astuple(each.failure) for each in changes if each.failure]
    connection.executemany(SQL["insert_failure"], [[_to_sql(value) for value in row] for row in rows])


def _keys(key: RangeKey, changes: Sequence[FailureChange]) -> tuple[str, int, str]:
    return key.subscription, key.generation, _to_json([each.key for each in changes])


def _to_json(keys: Sequence[str]) -> str:
    return json.encode(keys).decode()


def _to_sql(value: Any) -> Any:
    return to_timestamp(value) if isinstance(value, datetime) else value
