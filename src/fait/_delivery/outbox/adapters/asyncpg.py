"""The outbox adapter for asyncpg, for connections with or without a pool."""

from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from fait._delivery.outbox.adapters.driver_errors import begin_async, translate_errors, unsupported_connection
from fait._delivery.outbox.adapters.placeholders import dollar_numbered
from fait._delivery.outbox.connection import AsyncConnectionOutbox
from fait._delivery.outbox.outbox import AsyncOutbox, Dialect, OnCommit
from fait._errors import UsageError
from fait._events.codec import Codec
from fait._store.external_transaction import Rows, Statement

__all__ = ["outbox"]


def outbox(connection: Any, codec: Codec, schema: str, on_commit: OnCommit) -> AsyncOutbox:
    """Return the outbox for the open transaction of a connection."""
    if not hasattr(connection, "is_in_transaction"):
        raise unsupported_connection(
            connection, "Acquire a connection from the pool: `async with pool.acquire() as connection:`."
        )
    return AsyncConnectionOutbox(_Asyncpg(connection), codec, schema, on_commit)


class _Asyncpg:
    def __init__(self, connection: Any) -> None:
        self.dialect: Dialect = "postgresql"
        self._connection = connection

    def check(self) -> None:
        # fault: outbox-outside-transaction
        if not self._connection.is_in_transaction():
            raise UsageError(
                "no transaction is open. Nothing was written. Make your change and add the event in one block: "
                "`async with connection.transaction():`."
            )

    async def run(self, statement: Statement) -> Rows:
        with translate_errors():
            rows = await self._connection.fetch(dollar_numbered(statement.sql), *statement.values)
        return [tuple(row.values()) for row in rows]  # not by iteration: a custom record class may redefine it

    def transaction(self) -> AbstractAsyncContextManager[bool]:
        return self._transaction()

    @asynccontextmanager
    async def _transaction(self) -> AsyncGenerator[bool]:
        commits = not self._connection.is_in_transaction()
        async with begin_async(self._connection.transaction):
            yield commits
