"""The outbox in a transaction of asyncpg, on a connection of its own or of a pool."""

from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from fait._delivery.adapters.driver_errors import translate_errors, unsupported_connection
from fait._delivery.adapters.placeholders import dollar_numbered
from fait._delivery.connection import AsyncConnectionOutbox
from fait._delivery.outbox import AsyncOutbox, Dialect, OnCommit
from fait._errors import UsageError
from fait._events.codec import Codec
from fait._store.external_transaction import Rows, Statement

__all__ = ["outbox"]


def outbox(connection: Any, codec: Codec, schema: str, on_commit: OnCommit) -> AsyncOutbox:
    """The outbox in the transaction that is open on a connection."""
    if not hasattr(connection, "is_in_transaction"):
        raise unsupported_connection(connection)
    return AsyncConnectionOutbox(_Asyncpg(connection), codec, schema, on_commit)


class _Asyncpg:
    def __init__(self, connection: Any) -> None:
        self.dialect: Dialect = "postgresql"
        self._connection = connection

    def check(self) -> None:
        # fault: outbox-outside-transaction
        if not self._connection.is_in_transaction():
            raise UsageError(
                "no transaction is open: `async with connection.transaction():` around your change and the event. "
                "Nothing was written."
            )

    async def run(self, ask: Statement) -> Rows:
        with translate_errors():
            rows = await self._connection.fetch(dollar_numbered(ask.sql), *ask.values)
        return [tuple(row.values()) for row in rows]  # not by iteration, which a class of the user's may mean otherwise

    def transaction(self) -> AbstractAsyncContextManager[bool]:
        return self._transaction()

    @asynccontextmanager
    async def _transaction(self) -> AsyncGenerator[bool]:
        commits = not self._connection.is_in_transaction()
        async with self._connection.transaction():
            yield commits
