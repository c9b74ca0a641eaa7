"""Buffers events per SQLAlchemy connection, and stores them just before the COMMIT.

SQLAlchemy calls the "commit" listeners of an engine before it sends a COMMIT, for sessions and connections alike, and
after a session has flushed. A buffer belongs to a connection and is discarded with it.

It is not told of a transaction or a savepoint that a statement in SQL text ends. While there are buffered events, such
a statement is therefore refused before it is sent.
"""

import re
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import cache
from typing import Any, Final
from weakref import WeakKeyDictionary, WeakSet

from sqlalchemy import Connection, Engine, event, text
from sqlalchemy.sql.elements import TextClause

from fait._delivery.outbox.adapters.driver_errors import translate_errors
from fait._delivery.outbox.adapters.placeholders import colon_named
from fait._delivery.outbox.adapters.sqlite3 import decode_rows
from fait._delivery.outbox.connection import transaction_replaced
from fait._delivery.outbox.outbox import OnCommit, OutboxBuffer
from fait._errors import UsageError
from fait._events.append import raise_on_conflict
from fait._events.codec import Codec
from fait._events.registry import Registry
from fait._store.external_transaction import Rows, Statement, run

__all__ = ["get_buffer", "run_callbacks", "savepoints"]

_CALLBACKS: Final = "fait.on_commit"
"""Key in the `info` of the driver connection: the callbacks to call after a successful commit."""

_IDLE: Final = 0
"""The status of a connection outside of a transaction in libpq, and so in psycopg and psycopg2."""

_listening_engines: Final = WeakSet[Engine]()
_buffers: Final = WeakKeyDictionary[Connection, "_TransactionBuffers"]()

_Undo = Callable[[], object]

_CONTROLS_TRANSACTION: Final = re.compile(
    r"(?:^|;)(?:\s|--[^\n]*(?:\n|$)|/\*.*?\*/)*(?:ABORT|BEGIN|COMMIT|END|PREPARE\s+TRANSACTION|ROLLBACK|START)\b",
    re.IGNORECASE | re.DOTALL,
)
"""Statements that begin or end a transaction, or roll a savepoint back; also after another statement."""


class _SavepointAwareBuffer(OutboxBuffer):
    """A buffer that can remove the events added in a savepoint."""

    def __init__(self, codec: Codec, schema: str, on_commit: OnCommit) -> None:
        super().__init__(codec, schema)
        self.on_commit = on_commit
        self.is_stored = False
        self._savepoint_lengths: dict[str, int] = {}

    def enter_savepoints(self, names: list[str]) -> None:
        """Remember the length of the buffer at new savepoints. `names` are all open ones, the outermost first."""
        for name in names:
            self._savepoint_lengths.setdefault(name, len(self))

    def undo_savepoint(self, name: str) -> None:
        """Remove the events added since a savepoint began."""
        self.truncate(self._savepoint_lengths.pop(name, len(self)))

    def store(self, connection: Connection) -> None:
        """Store the events and empty the buffer."""
        for append in self.statements("sqlite" if connection.dialect.name == "sqlite" else "postgresql"):
            raise_on_conflict(run(append, lambda statement: _run(connection, statement)))
            self.is_stored = True
        self.truncate()


class _TransactionBuffers:
    """The buffers of a transaction, by app and schema. In most cases there is one."""

    def __init__(self) -> None:
        self.session_savepoints: set[str] = set()
        """Savepoints that act as a session's own transaction: for the session, their release is the commit."""
        self.begun = False
        """Whether the driver has begun the transaction, which most drivers do before its first statement."""
        self._buffers: dict[tuple[Registry, str], _SavepointAwareBuffer] = {}

    def buffer(self, codec: Codec, schema: str, on_commit: OnCommit) -> _SavepointAwareBuffer:
        """Return the buffer of an app and a schema."""
        key = (codec.registry, schema)
        if key not in self._buffers:
            self._buffers[key] = _SavepointAwareBuffer(codec, schema, on_commit)
        return self._buffers[key]

    def undo_savepoint(self, name: str) -> None:
        """Remove the events added since a savepoint began."""
        for each in self._buffers.values():
            each.undo_savepoint(name)

    @property
    def has_events(self) -> bool:
        """Whether there is an event to store."""
        return any(self._buffers.values())

    def check_transaction(self, connection: Connection) -> None:
        """Raise UsageError if the transaction to which the events were added is no longer open in the database."""
        # fault: transaction-ended-below-sqlalchemy
        if self.begun and not _in_transaction(connection):
            raise _not_in_transaction() if _begins_late(connection) else transaction_replaced()

    def store(self, connection: Connection) -> None:
        """Store the events of all buffers and empty them."""
        if not self.has_events:
            return
        if connection.dialect.name == "sqlite" and not self.begun and not _in_transaction(connection):
            raise _not_in_transaction()
        self.check_transaction(connection)
        for each in self._buffers.values():
            each.store(connection)

    def callbacks(self) -> list[OnCommit]:
        """The callbacks to call after the commit."""
        return [each.on_commit for each in self._buffers.values() if each.is_stored]


def get_buffer(
    connection: Connection, codec: Codec, schema: str, on_commit: OnCommit, session_savepoint: str | None = None
) -> OutboxBuffer:
    """Return the buffer for the open transaction of a connection.

    Args:
        connection: a connection with an open transaction.
        codec: encodes the events.
        schema: the PostgreSQL schema of the log.
        on_commit: called after the commit, if events were stored.
        session_savepoint: the savepoint that acts as the whole transaction of a session, if there is one.

    Raises:
        UsageError: no transaction is open, or an event cannot be added to it.
    """
    names = savepoints(connection)
    _check(connection, bool(names))
    _listen(connection.engine)
    run_callbacks(connection.info)
    buffers = _buffers.setdefault(connection, _TransactionBuffers())
    if session_savepoint is not None:
        buffers.session_savepoints.add(session_savepoint)
    buffers.begun = buffers.begun or _in_transaction(connection)
    buffer = buffers.buffer(codec, schema, on_commit)
    buffer.enter_savepoints(names)
    return buffer


def savepoints(connection: Connection) -> list[str]:
    """Return the names of the open savepoints, the outermost first."""
    names: list[str] = []
    nested: Any = connection.get_nested_transaction()
    while nested is not None:
        names.append(nested._savepoint)
        nested = nested._previous_nested
    return names[::-1]


def run_callbacks(info: dict[Any, Any]) -> None:
    """Call the callbacks of the last commit, unless they have been called."""
    for on_commit in info.pop(_CALLBACKS, ()):
        on_commit()


def _check(connection: Connection, nested: bool) -> None:
    if not connection.in_transaction():
        raise UsageError(
            "no transaction is open. Nothing was written. Make your change and add the event in one block: `with "
            "engine.begin() as connection:` or `with connection.begin():` (with an AsyncEngine, `async with`)."
        )
    driver, level = connection.connection.dbapi_connection, connection.get_execution_options().get("isolation_level")
    if level == "AUTOCOMMIT" or _is_autocommit(connection, driver):
        raise UsageError(
            "the connection has the isolation level AUTOCOMMIT, in which each statement is a separate transaction. "
            "Nothing was written. Use a connection without AUTOCOMMIT."
        )
    if connection.dialect.name == "sqlite":
        if nested and _begins_late(connection):
            raise _not_in_transaction()
    elif level not in (None, "READ COMMITTED"):
        raise UsageError(
            f"the transaction is {level}, so the event would be checked against an old snapshot. Nothing was written. "
            "Use READ COMMITTED, the default isolation level of PostgreSQL."
        )


def _is_autocommit(connection: Connection, driver: Any) -> bool:
    if getattr(driver, "autocommit", None) is True:
        return True
    sqlite = connection.dialect.name == "sqlite"
    return sqlite and driver.isolation_level is None and not _driver_connection(connection).in_transaction


def _begins_late(connection: Connection) -> bool:
    """Return whether sqlite3 begins transactions only before INSERT, UPDATE and DELETE; False if that is unknown."""
    if connection.dialect.name != "sqlite":
        return False
    driver: Any = connection.connection.dbapi_connection
    is_known = hasattr(driver, "autocommit") or sys.version_info < (3, 12)
    return is_known and getattr(driver, "autocommit", -1) == -1 and driver.isolation_level is not None


def _driver_connection(connection: Connection) -> Any:
    return connection.connection.driver_connection


def _in_transaction(connection: Connection) -> bool:
    """Return whether the driver has a transaction open; True if the driver does not tell."""
    driver = _driver_connection(connection)
    if connection.dialect.name == "sqlite":
        return driver.in_transaction
    if hasattr(driver, "is_in_transaction"):  # asyncpg
        return driver.is_in_transaction()
    return getattr(getattr(driver, "info", None), "transaction_status", True) != _IDLE


def _not_in_transaction() -> UsageError:
    return UsageError(
        "sqlite3 has not begun a transaction, which it does only before INSERT, UPDATE and DELETE, so the change and "
        "the event could be committed separately. No event was written. Let SQLAlchemy begin transactions with "
        "BEGIN IMMEDIATE: docs/outbox/sqlalchemy.md shows the two listeners."
    )


@cache
def _text_clause(sql: str) -> TextClause:
    return text(colon_named(sql))


def _run(connection: Connection, statement: Statement) -> Rows:
    values = {f"v{number}": value for number, value in enumerate(statement.values, 1)}
    with translate_errors():
        result = connection.execute(_text_clause(statement.sql), values, execution_options={"stream_results": False})
        return decode_rows(result.all()) if result.returns_rows else ()


def _listen(engine: Engine) -> None:
    """Add the listeners to an engine, once: this takes as long as a transaction."""
    if engine in _listening_engines:
        return
    for name, hook in _HOOKS.items():
        event.listen(engine, name, hook)
    event.listen(engine.pool, "checkin", _on_checkin)
    _listening_engines.add(engine)


def _on_statement(
    connection: Connection, cursor: Any, statement: str, parameters: Any, context: Any, executemany: bool
) -> None:
    buffers = _buffers.get(connection)
    if buffers is None or not buffers.has_events:
        return
    # fault: sql-text-ends-transaction
    if _is_text(context) and _CONTROLS_TRANSACTION.search(statement):
        raise UsageError(
            "a statement in SQL text that begins or ends a transaction, or rolls a savepoint back, was not executed: "
            "events have been added to the transaction, and SQLAlchemy would not know that it has ended. Nothing was "
            "written. Call commit(), rollback() or begin_nested() of the session or connection."
        )
    buffers.check_transaction(connection)
    # sqlite3 may not begin it before this statement; the other drivers do.
    buffers.begun = connection.dialect.name != "sqlite" or _in_transaction(connection)


def _is_text(context: Any) -> bool:
    """Return whether a statement is SQL text of the application; SQLAlchemy's own savepoints are not."""
    return context.compiled is None or isinstance(context.compiled.statement, TextClause)


def _on_commit(connection: Connection) -> None:
    def undo() -> None:
        # fault: failed-commit-not-rolled-back
        connection.dialect.do_rollback(connection.connection)

    _end(connection, undo)


def _on_commit_twophase(connection: Connection, xid: Any, is_prepared: bool) -> None:
    def undo() -> None:
        connection.dialect.do_rollback_twophase(connection, xid, is_prepared)

    _end(connection, undo)


def _end(connection: Connection, undo: _Undo) -> None:
    buffers = _buffers.pop(connection, None)
    if buffers is not None:
        with _undo_on_error(connection, undo):
            buffers.store(connection)
        connection.info[_CALLBACKS] = buffers.callbacks()


def _on_prepare_twophase(connection: Connection, xid: Any) -> None:
    if buffers := _buffers.get(connection):
        buffers.store(connection)


def _on_rollback(connection: Connection, *_: Any) -> None:
    _buffers.pop(connection, None)


def _on_rollback_savepoint(connection: Connection, name: str, context: None) -> None:
    if buffers := _buffers.get(connection):
        buffers.undo_savepoint(name)


def _on_release_savepoint(connection: Connection, name: str, context: None) -> None:
    buffers = _buffers.get(connection)
    if buffers is None or name not in buffers.session_savepoints:
        return

    def undo() -> None:
        buffers.undo_savepoint(name)
        connection.dialect.do_rollback_to_savepoint(connection, name)

    with _undo_on_error(connection, undo):
        buffers.store(connection)


def _on_checkin(connection: Any, record: Any) -> None:
    run_callbacks(record.info)


@contextmanager
def _undo_on_error(connection: Connection, undo: _Undo) -> Generator[None]:
    """Roll back if a listener fails: the transaction has ended for SQLAlchemy, but is still open in the database."""
    try:
        yield
    except BaseException:
        try:
            undo()
        except Exception:  # the connection is lost, or the driver fails; the first error names the cause
            # fault: failed-rollback-hides-error
            connection.invalidate()
        except BaseException:
            connection.invalidate()
            raise
        raise


_HOOKS: Final = {
    "before_cursor_execute": _on_statement,
    "commit": _on_commit,
    "commit_twophase": _on_commit_twophase,
    "prepare_twophase": _on_prepare_twophase,
    "release_savepoint": _on_release_savepoint,
    "rollback": _on_rollback,
    "rollback_savepoint": _on_rollback_savepoint,
    "rollback_twophase": _on_rollback,
}
