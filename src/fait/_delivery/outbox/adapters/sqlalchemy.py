"""The outbox adapter for SQLAlchemy 2: Session, AsyncSession, Connection and AsyncConnection.

Added events are buffered and stored by the last statements before the COMMIT of a session or a connection.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager, contextmanager
from functools import partial
from typing import Any, Final

from sqlalchemy import Connection, table, update
from sqlalchemy.exc import UnboundExecutionError
from sqlalchemy.orm import Session

from fait._delivery.outbox.adapters.driver_errors import warn_if_sqlite_outdated
from fait._delivery.outbox.adapters.sqlalchemy_commit import get_buffer, run_callbacks, savepoints
from fait._delivery.outbox.outbox import AsyncOutbox, OnCommit, Outbox, OutboxBuffer, OutboxEntry
from fait._errors import UsageError
from fait._events.codec import Codec

__all__ = ["outbox"]

_GetBuffer = Callable[[Connection, str | None], OutboxBuffer]

_BIND_ARGUMENTS: Final[Any] = {"clause": update(table("fait_log"))}
"""Selects the database of a session with several binds: the one to which it would write the log."""


def outbox(target: Any, codec: Codec, schema: str, on_commit: OnCommit) -> Outbox | AsyncOutbox:
    """Return the outbox for the transaction of a session, or the open transaction of a connection."""
    if callable(registry := getattr(target, "registry", None)):  # a scoped_session: one session per thread or task
        target = registry()
    dialect = _dialect(target)
    if dialect.name == "sqlite":
        warn_if_sqlite_outdated(dialect.dbapi.sqlite_version_info)
    elif dialect.name != "postgresql":
        raise UsageError(
            f"{dialect.name} is not supported: the log is in PostgreSQL or SQLite. Nothing was written. Pass a session "
            "or connection of the engine for that database."
        )

    def buffer_for(connection: Connection, session_savepoint: str | None = None) -> OutboxBuffer:
        return get_buffer(connection, codec, schema, on_commit, session_savepoint)

    if isinstance(target, Session):
        return _Outbox(partial(_session_buffer, target, buffer_for), target.begin)
    if isinstance(target, Connection):
        return _Outbox(partial(buffer_for, target), partial(_begin, target))
    if hasattr(target, "sync_session"):
        return _AsyncOutbox(partial(_async_session_buffer, target, buffer_for), target.begin)
    return _AsyncOutbox(partial(_async_connection_buffer, target, buffer_for), partial(_begin_async, target))


def _dialect(target: Any) -> Any:
    # SQLAlchemy's asyncio module cannot always be imported (it needs greenlet), so its classes are recognized by
    # attributes.
    if isinstance(target, Connection) or hasattr(target, "sync_connection"):
        return target.dialect
    session = getattr(target, "sync_session", target)
    if not isinstance(session, Session):
        raise UsageError(
            "outbox(...) takes a Session, AsyncSession, Connection or AsyncConnection of SQLAlchemy, not "
            f"{type(target).__qualname__}. Nothing was written."
        )
    try:
        return session.get_bind(**_BIND_ARGUMENTS).dialect
    except UnboundExecutionError as error:
        raise UsageError(
            "this session has several databases, and the one with the log is unknown. Nothing was written. Pass the "
            "connection: outbox(session.connection(bind_arguments={...})), with the bind_arguments of that database."
        ) from error


class _Outbox(Outbox):
    """Adds events to the buffer of a transaction, which is stored when the library commits."""

    def __init__(self, buffer: Callable[[], OutboxBuffer], begin: Callable[[], AbstractContextManager[object]]) -> None:
        self._buffer = buffer
        self._begin = begin

    @contextmanager
    def transaction(self) -> Generator[Outbox]:
        with self._begin():
            yield self

    def _write(self, entry: OutboxEntry) -> None:
        self._buffer().add(entry)


class _AsyncOutbox(AsyncOutbox):
    """Adds events to the buffer of a transaction, which is stored when the library commits."""

    def __init__(
        self, buffer: Callable[[], Awaitable[OutboxBuffer]], begin: Callable[[], AbstractAsyncContextManager[object]]
    ) -> None:
        self._buffer = buffer
        self._begin = begin

    @asynccontextmanager
    async def transaction(self) -> AsyncGenerator[AsyncOutbox]:
        async with self._begin():
            yield self

    async def _write(self, entry: OutboxEntry) -> None:
        (await self._buffer()).add(entry)


def _session_buffer(session: Session, buffer_for: _GetBuffer) -> OutboxBuffer:
    _check_begun(session, "with")
    connection = session.connection(_BIND_ARGUMENTS)
    return buffer_for(connection, _session_savepoint(session, connection))


async def _async_session_buffer(session: Any, buffer_for: _GetBuffer) -> OutboxBuffer:
    _check_begun(session.sync_session, "async with")
    connection = (await session.connection(_BIND_ARGUMENTS)).sync_connection
    return buffer_for(connection, _session_savepoint(session.sync_session, connection))


async def _async_connection_buffer(connection: Any, buffer_for: _GetBuffer) -> OutboxBuffer:
    return buffer_for(connection.sync_connection, None)


def _check_begun(session: Session, begin: str) -> None:
    if not session.in_transaction() and not session.autobegin:
        raise UsageError(
            "no transaction is open, and this session has autobegin=False. Nothing was written. Make your change and "
            f"add the event in one block: `{begin} session.begin():`."
        )


def _session_savepoint(session: Session, connection: Connection) -> str | None:
    """Return the savepoint that acts as the session's own transaction, if the session joined an external one."""
    nested, depth = session.get_nested_transaction(), 0
    while nested is not None:
        nested, depth = nested.parent, depth + nested.nested
    names = savepoints(connection)
    return names[-1 - depth] if len(names) > depth else None


@contextmanager
def _begin(connection: Connection) -> Generator[None]:
    with connection.begin():
        yield
    run_callbacks(connection.info)


@asynccontextmanager
async def _begin_async(connection: Any) -> AsyncGenerator[None]:
    async with connection.begin():
        yield
    run_callbacks(connection.sync_connection.info)
