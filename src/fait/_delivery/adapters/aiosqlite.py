"""The outbox in a transaction of aiosqlite, which runs the standard library's sqlite3 in a thread."""

import sqlite3
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import aiosqlite

from fait._delivery.adapters.driver_errors import translate_errors, unsupported_connection, warn_if_sqlite_outdated
from fait._delivery.adapters.sqlite3 import decode_rows, no_transaction, transaction_already_open
from fait._delivery.connection import AsyncConnectionOutbox
from fait._delivery.outbox import AsyncOutbox, Dialect, OnCommit
from fait._events.codec import Codec
from fait._store.external_transaction import Rows, Statement

__all__ = ["outbox"]


def outbox(connection: Any, codec: Codec, schema: str, on_commit: OnCommit) -> AsyncOutbox:
    """The outbox in the transaction that is open on a connection, or that the connection begins by itself."""
    if not isinstance(connection, aiosqlite.Connection):
        raise unsupported_connection(connection)
    warn_if_sqlite_outdated(sqlite3.sqlite_version_info)
    return AsyncConnectionOutbox(_Aiosqlite(connection), codec, schema, on_commit)


class _Aiosqlite:
    def __init__(self, connection: aiosqlite.Connection) -> None:
        self.dialect: Dialect = "sqlite"
        self._connection = connection

    def check(self) -> None:
        if not self._connection.in_transaction and self._connection.isolation_level is None:
            raise no_transaction()

    async def run(self, ask: Statement) -> Rows:
        with translate_errors():
            async with self._connection.cursor() as cursor:
                cursor.row_factory = None  # rows are tuples, whatever the connection makes of its own
                await cursor.execute(ask.sql, ask.values)
                rows = await cursor.fetchall()
        if (
            not self._connection.in_transaction
        ):  # each way of sqlite3 to be in autocommit mode; the first ask changes nothing
            raise no_transaction()
        return decode_rows([tuple(row) for row in rows])

    def transaction(self) -> AbstractAsyncContextManager[bool]:
        return self._immediate()

    @asynccontextmanager
    async def _immediate(self) -> AsyncGenerator[bool]:
        if self._connection.in_transaction:
            raise transaction_already_open()
        try:  # from the beginning on: whoever is cancelled while it begins has to end it
            with translate_errors():
                await self._connection.execute("BEGIN IMMEDIATE")
            yield True
            await self._connection.commit()
        except BaseException:
            await self._connection.rollback()
            raise
