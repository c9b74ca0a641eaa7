"""Failures of keys and actions of operators in PostgreSQL."""

from collections.abc import Sequence

from msgspec.structs import astuple

from fait._store.ports.failures import (
    MAX_ACTIONS,
    Action,
    FailureChange,
    FailureRequest,
    KeyFailure,
    are_expected,
)
from fait._store.ports.registrations import RangeKey
from fait._store.postgres.connection import Database, PostgresConnection
from fait._store.registration_rows import failure_from_row

__all__ = ["PostgresFailures", "change_failures"]


class PostgresFailures:
    """`Failures` in one schema of a PostgreSQL database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def failures(self, subscription: str | None = None) -> list[KeyFailure]:
        return [failure_from_row(row) for row in await self._database.fetch("read_failures", subscription)]

    async def requested(self) -> list[KeyFailure]:
        return [failure_from_row(row) for row in await self._database.fetch("requested_failures")]

    async def request(self, request: FailureRequest) -> int:
        sql, name, keys = self._database.sql, request.subscription, list(request.keys)
        async with self._database.transaction() as connection:
            requestable = {key for (key,) in await connection.fetch(sql["lock_requestable_keys"], name, keys)}
            if requestable == set(keys):
                values = (request.state, request.by, request.reason, request.discard_until)
                await connection.fetch(sql["request_failures"], name, keys, *values)
                await connection.fetch(sql["insert_action"], *request.as_action(), self._database.now())
            return len(requestable)

    async def record_action(self, action: str, subscription: str, details: str, by: str, reason: str) -> None:
        await self._database.fetch("insert_action", action, subscription, details, by, reason, self._database.now())

    async def actions(
        self, subscription: str | None = None, action: str | None = None, *, limit: int = MAX_ACTIONS
    ) -> Sequence[Action]:
        rows = await self._database.fetch("read_actions", subscription, action, limit)
        return [Action(*row) for row in rows]


async def change_failures(
    database: Database, connection: PostgresConnection, key: RangeKey, changes: Sequence[FailureChange]
) -> bool:
    """Replace or delete the failures of a range's keys. Returns False if the state of one is not expected."""
    keys = (key.subscription, key.generation, [each.key for each in changes])
    states = dict(await connection.fetch(database.sql["failure_states"], *keys))
    if not are_expected(changes, states):
        return False
    await connection.fetch(database.sql["delete_failures"], *keys)
    rows = [astuple(each.failure) for each in changes if each.failure]
    if rows:
        await connection.executemany(database.sql["insert_failure"], rows)
    return True
