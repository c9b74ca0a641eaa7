"""The outbox in a transaction of SQLAlchemy 2: of a session or of a connection, those that wait and those that do not.

What is added is gathered, and stored by the last statements before the COMMIT, whoever gives it.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager, contextmanager
from functools import partial
from typing import Any, Final

from sqlalchemy import Connection, table, update
from sqlalchemy.exc import UnboundExecutionError
from sqlalchemy.orm import Session

from fait._delivery.adapters.driver_errors import warn_if_sqlite_outdated
from fait._delivery.adapters.sqlalchemy_commit import buffer_of, run_callbacks, savepoints
from fait._delivery.outbox import AsyncOutbox, OnCommit, Outbox, OutboxBuffer, OutboxEntry
from fait._errors import UsageError
from fait._events.codec import Codec

__all__ = ["outbox"]

_GetBuffer = Callable[[Connection, str | None], OutboxBuffer]

_WRITES_LOG: Final[Any] = {"clause": update(table("fait_log"))}
"""Told to a session that leads to several databases: it is to give the connection it writes with."""


def outbox(given: Any, codec: Codec, schema: str, on_commit: OnCommit) -> Outbox | AsyncOutbox:
    """The outbox in the transaction of a session, or in the one that is open on a connection."""
    if callable(registry := getattr(given, "registry", None)):  # of sessions: one for each thread, or task
        given = registry()
    dialect = _dialect(given)
    if dialect.name == "sqlite":
        warn_if_sqlite_outdated(dialect.dbapi.sqlite_version_info)
    elif dialect.name != "postgresql":
        raise UsageError(f"no log can be in {dialect.name}, only in PostgreSQL or SQLite. Nothing was written.")

    def gathered(connection: Connection, own: str | None = None) -> OutboxBuffer:
        return buffer_of(connection, codec, schema, on_commit, own)

    if isinstance(given, Session):
        return _Outbox(partial(_of_session, given, gathered), given.begin)
    if isinstance(given, Connection):
        return _Outbox(partial(gathered, given), partial(_begin, given))
    if hasattr(given, "sync_session"):
        return _AsyncOutbox(partial(_of_async_session, given, gathered), given.begin)
    return _AsyncOutbox(partial(_of_async_connection, given, gathered), partial(_begin_async, given))


def _dialect(given: Any) -> Any:
    # SQLAlchemy's asyncio module cannot be imported everywhere, so its classes are known by what they have.
    if isinstance(given, Connection) or hasattr(given, "sync_connection"):
        return given.dialect
    session = getattr(given, "sync_session", given)
    if not isinstance(session, Session):
        raise UsageError(
            "outbox(...) takes a Session, AsyncSession, Connection or AsyncConnection of SQLAlchemy, not "
            f"{type(given).__qualname__}. Nothing was written."
        )
    try:
        return session.get_bind(**_WRITES_LOG).dialect
    except UnboundExecutionError as problem:
        raise UsageError(
            "this session does not say in which of its databases the log is: outbox(session.connection(...)), with the "
            "bind_arguments that lead there. Nothing was written."
        ) from problem


class _Outbox(Outbox):
    """Writes to letters that wait for the library's own commit."""

    def __init__(
        self, letters: Callable[[], OutboxBuffer], begin: Callable[[], AbstractContextManager[object]]
    ) -> None:
        self._letters = letters
        self._begin = begin

    @contextmanager
    def transaction(self) -> Generator[Outbox]:
        with self._begin():
            yield self

    def _write(self, letter: OutboxEntry) -> None:
        self._letters().add(letter)


class _AsyncOutbox(AsyncOutbox):
    """Writes to letters that wait for the library's own commit."""

    def __init__(
        self, letters: Callable[[], Awaitable[OutboxBuffer]], begin: Callable[[], AbstractAsyncContextManager[object]]
    ) -> None:
        self._letters = letters
        self._begin = begin

    @asynccontextmanager
    async def transaction(self) -> AsyncGenerator[AsyncOutbox]:
        async with self._begin():
            yield self

    async def _write(self, letter: OutboxEntry) -> None:
        (await self._letters()).add(letter)


def _of_session(session: Session, gathered: _GetBuffer) -> OutboxBuffer:
    _check_begun(session)
    connection = session.connection(_WRITES_LOG)
    return gathered(connection, _own_savepoint(session, connection))


async def _of_async_session(session: Any, gathered: _GetBuffer) -> OutboxBuffer:
    _check_begun(session.sync_session)
    connection = (await session.connection(_WRITES_LOG)).sync_connection
    return gathered(connection, _own_savepoint(session.sync_session, connection))


async def _of_async_connection(connection: Any, gathered: _GetBuffer) -> OutboxBuffer:
    return gathered(connection.sync_connection, None)


def _check_begun(session: Session) -> None:
    if not session.in_transaction() and not session.autobegin:
        raise UsageError(
            "no transaction is open, and this session does not begin one by itself: `with session.begin():` around "
            "your change and the event. Nothing was written."
        )


def _own_savepoint(session: Session, connection: Connection) -> str | None:
    """The savepoint that stands for the session's own transaction, if it has joined another's."""
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
