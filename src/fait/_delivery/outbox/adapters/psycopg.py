"""The outbox adapter for psycopg 3: synchronous and asynchronous connections, with or without a pool."""

from collections.abc import AsyncGenerator, Generator
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager, contextmanager
from typing import Any, LiteralString, cast

from psycopg import AsyncConnection, AsyncCursor, Connection, Cursor
from psycopg.pq import PipelineStatus, TransactionStatus
from psycopg.rows import tuple_row

from fait._delivery.outbox.adapters.driver_errors import (
    begin,
    begin_async,
    transaction_failed,
    translate_errors,
    unsupported_connection,
)
from fait._delivery.outbox.adapters.placeholders import percent_s
from fait._delivery.outbox.connection import AsyncConnectionOutbox, ConnectionOutbox
from fait._delivery.outbox.outbox import AsyncOutbox, Dialect, OnCommit, Outbox
from fait._errors import UsageError
from fait._events.codec import Codec
from fait._store.external_transaction import Rows, Statement

__all__ = ["outbox"]


def outbox(connection: object, codec: Codec, schema: str, on_commit: OnCommit) -> Outbox | AsyncOutbox:
    """Return the outbox for the open transaction of a connection, or the one that the connection begins implicitly."""
    if isinstance(connection, AsyncConnection):
        return AsyncConnectionOutbox(_AsyncPsycopg(cast("AsyncConnection[Any]", connection)), codec, schema, on_commit)
    if isinstance(connection, Connection):
        return ConnectionOutbox(_Psycopg(cast("Connection[Any]", connection)), codec, schema, on_commit)
    raise unsupported_connection(
        connection,
        "Pass a connection: of a pool, `with pool.connection() as connection:` (or `async with`); of a cursor, "
        "`cursor.connection`.",
    )


class _Psycopg:
    def __init__(self, connection: Connection[Any]) -> None:
        self.dialect: Dialect = "postgresql"
        self._connection = connection

    def check(self) -> None:
        _check(self._connection, "with")

    def run(self, statement: Statement) -> Rows:
        # A plain cursor: the cursor factory and row factory of the connection may be customized.
        with translate_errors(), Cursor(self._connection, row_factory=tuple_row) as cursor:
            return cursor.execute(_query(statement), statement.values).fetchall()

    def transaction(self) -> AbstractContextManager[bool]:
        return self._transaction()

    @contextmanager
    def _transaction(self) -> Generator[bool]:
        commits = _is_idle(self._connection)
        with begin(self._connection.transaction):
            yield commits


class _AsyncPsycopg:
    def __init__(self, connection: AsyncConnection[Any]) -> None:
        self.dialect: Dialect = "postgresql"
        self._connection = connection

    def check(self) -> None:
        _check(self._connection, "async with")

    async def run(self, statement: Statement) -> Rows:
        with translate_errors():
            async with AsyncCursor(self._connection, row_factory=tuple_row) as cursor:
                await cursor.execute(_query(statement), statement.values)
                return await cursor.fetchall()

    def transaction(self) -> AbstractAsyncContextManager[bool]:
        return self._transaction()

    @asynccontextmanager
    async def _transaction(self) -> AsyncGenerator[bool]:
        commits = _is_idle(self._connection)
        async with begin_async(self._connection.transaction):
            yield commits


def _query(statement: Statement) -> LiteralString:
    """Return a statement as text, which the driver sends in the encoding of the session."""
    return cast("LiteralString", percent_s(statement.sql))


def _is_idle(connection: Connection[Any] | AsyncConnection[Any]) -> bool:
    return connection.info.transaction_status == TransactionStatus.IDLE


def _check(connection: Connection[Any] | AsyncConnection[Any], keyword: str) -> None:
    if connection.pgconn.pipeline_status != PipelineStatus.OFF:
        raise UsageError(
            "the connection is in pipeline mode, in which errors are raised later than their statements are executed. "
            f"Nothing was written. Leave the block `{keyword} connection.pipeline():`, then add the event in the same "
            "transaction."
        )
    match connection.info.transaction_status:
        case TransactionStatus.IDLE if connection.autocommit:
            raise UsageError(
                "no transaction is open, because the connection is in autocommit mode. Nothing was written. Make your "
                f"change and add the event in one block: `{keyword} connection.transaction():`."
            )
        case TransactionStatus.INERROR:
            raise transaction_failed()
        case TransactionStatus.ACTIVE:
            raise UsageError(
                "the connection is busy with another statement, such as a COPY. Nothing was written. Add the event "
                "after that statement has ended."
            )
        case _:
            return
