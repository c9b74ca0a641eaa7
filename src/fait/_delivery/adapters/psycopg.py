"""The outbox in a transaction of psycopg 3, on connections that wait and on those that do not, of a pool or not."""

from collections.abc import AsyncGenerator, Generator
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager, contextmanager
from typing import Any, cast

from psycopg import AsyncConnection, AsyncCursor, Connection, Cursor
from psycopg.pq import PipelineStatus, TransactionStatus
from psycopg.rows import tuple_row

from fait._delivery.adapters.driver_errors import transaction_failed, translate_errors, unsupported_connection
from fait._delivery.adapters.placeholders import percent_s
from fait._delivery.connection import AsyncConnectionOutbox, ConnectionOutbox
from fait._delivery.outbox import AsyncOutbox, Dialect, OnCommit, Outbox
from fait._errors import UsageError
from fait._events.codec import Codec
from fait._store.external_transaction import Rows, Statement

__all__ = ["outbox"]


def outbox(connection: object, codec: Codec, schema: str, on_commit: OnCommit) -> Outbox | AsyncOutbox:
    """The outbox in the transaction that is open on a connection, or that the connection begins by itself."""
    if isinstance(connection, AsyncConnection):
        return AsyncConnectionOutbox(_AsyncPsycopg(cast("AsyncConnection[Any]", connection)), codec, schema, on_commit)
    if isinstance(connection, Connection):
        return ConnectionOutbox(_Psycopg(cast("Connection[Any]", connection)), codec, schema, on_commit)
    raise unsupported_connection(connection)


class _Psycopg:
    def __init__(self, connection: Connection[Any]) -> None:
        self.dialect: Dialect = "postgresql"
        self._connection = connection

    def check(self) -> None:
        _check(self._connection, "with")

    def run(self, ask: Statement) -> Rows:
        # A cursor of our own: the connection's may bind differently, and make other things of rows than tuples.
        with translate_errors(), Cursor(self._connection, row_factory=tuple_row) as cursor:
            return cursor.execute(percent_s(ask.sql).encode(), ask.values).fetchall()

    def transaction(self) -> AbstractContextManager[bool]:
        return self._transaction()

    @contextmanager
    def _transaction(self) -> Generator[bool]:
        commits = _is_idle(self._connection)
        with self._connection.transaction():
            yield commits


class _AsyncPsycopg:
    def __init__(self, connection: AsyncConnection[Any]) -> None:
        self.dialect: Dialect = "postgresql"
        self._connection = connection

    def check(self) -> None:
        _check(self._connection, "async with")

    async def run(self, ask: Statement) -> Rows:
        with translate_errors():
            async with AsyncCursor(self._connection, row_factory=tuple_row) as cursor:
                await cursor.execute(percent_s(ask.sql).encode(), ask.values)
                return await cursor.fetchall()

    def transaction(self) -> AbstractAsyncContextManager[bool]:
        return self._transaction()

    @asynccontextmanager
    async def _transaction(self) -> AsyncGenerator[bool]:
        commits = _is_idle(self._connection)
        async with self._connection.transaction():
            yield commits


def _is_idle(connection: Connection[Any] | AsyncConnection[Any]) -> bool:
    return connection.info.transaction_status == TransactionStatus.IDLE


def _check(connection: Connection[Any] | AsyncConnection[Any], begin: str) -> None:
    if connection.pgconn.pipeline_status != PipelineStatus.OFF:
        raise UsageError(
            "the connection is in pipeline mode, where statements fail later than they are written: leave "
            f"`{begin} connection.pipeline():` before you add the event, in the same transaction. Nothing was written."
        )
    match connection.info.transaction_status:
        case TransactionStatus.IDLE if connection.autocommit:
            raise UsageError(
                "no transaction is open, and the connection is in autocommit mode: "
                f"`{begin} connection.transaction():` around your change and the event. Nothing was written."
            )
        case TransactionStatus.INERROR:
            raise transaction_failed()
        case TransactionStatus.ACTIVE:
            raise UsageError(
                "the connection is busy with another statement: add the event when that has ended. Nothing was written."
            )
        case _:
            return
