"""The outbox adapter for aiosqlite, which runs the standard library's sqlite3 in a thread."""

import sqlite3
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import aiosqlite

from fait._delivery.outbox.adapters.driver_errors import (
    translate_errors,
    unsupported_connection,
    warn_if_sqlite_outdated,
)
from fait._delivery.outbox.adapters.sqlite3 import (
    BEGIN_BLOCK,
    END_BLOCK,
    block_ended_by_hand,
    decode_rows,
    no_transaction,
    transaction_already_open,
)
from fait._delivery.outbox.connection import AsyncConnectionOutbox
from fait._delivery.outbox.outbox import AsyncOutbox, Dialect, OnCommit
from fait._errors import UsageError
from fait._events.codec import Codec
from fait._store.external_transaction import Rows, Statement

__all__ = ["outbox"]


def outbox(connection: Any, codec: Codec, schema: str, on_commit: OnCommit) -> AsyncOutbox:
    """Return the outbox for the open transaction of a connection, or the one that the connection begins implicitly."""
    if not isinstance(connection, aiosqlite.Connection):
        raise unsupported_connection(connection, "Pass the aiosqlite.Connection, not a cursor.")
    warn_if_sqlite_outdated(sqlite3.sqlite_version_info)
    return AsyncConnectionOutbox(_Aiosqlite(connection), codec, schema, on_commit)


class _Aiosqlite:
    def __init__(self, connection: aiosqlite.Connection) -> None:
        self.dialect: Dialect = "sqlite"
        self._connection = connection

    def check(self) -> None:
        if not self._connection.in_transaction and self._connection.isolation_level is None:
            raise _no_transaction()

    async def run(self, statement: Statement) -> Rows:
        with translate_errors():
            async with self._connection.cursor() as cursor:
                cursor.row_factory = None  # tuples, regardless of the connection's row factory
                await cursor.execute(statement.sql, statement.values)
                rows = await cursor.fetchall()
        # Autocommit mode has several forms in sqlite3. The first statement of an append changes nothing.
        if not self._connection.in_transaction:
            raise _no_transaction()
        return decode_rows([tuple(row) for row in rows])

    def transaction(self) -> AbstractAsyncContextManager[bool]:
        return self._immediate()

    @asynccontextmanager
    async def _immediate(self) -> AsyncGenerator[bool]:
        if self._connection.in_transaction:
            raise transaction_already_open("await outbox(connection).add(...)", "await connection.commit()")
        try:  # includes BEGIN: if the task is canceled during it, the transaction may be open and must be rolled back
            with translate_errors():
                await self._connection.execute("BEGIN IMMEDIATE")
            await self._connection.execute(BEGIN_BLOCK)
            yield True
            with block_ended_by_hand():
                await self._connection.execute(END_BLOCK)
            await self._connection.execute("COMMIT")  # nor has `commit()`
        except BaseException:
            await self._connection.rollback()  # in the thread, after a statement whose task was canceled
            if self._connection.in_transaction:  # `rollback()` has no effect with autocommit=True
                await self._connection.execute("ROLLBACK")
            raise


def _no_transaction() -> UsageError:
    return no_transaction("await connection.execute", "await connection.commit()")
