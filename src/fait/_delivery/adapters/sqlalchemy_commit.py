"""What is added in a transaction of SQLAlchemy waits for its commit, and is stored by the last statements before it.

SQLAlchemy tells an engine's listeners of every COMMIT just before it is sent, whether a session or a connection sends
it, and after a session has flushed everything. What is gathered is known by the connection, and forgotten with it.
"""

import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import cache
from typing import Any, Final
from weakref import WeakKeyDictionary, WeakSet

from sqlalchemy import Connection, Engine, event, text
from sqlalchemy.sql.elements import TextClause

from fait._delivery.adapters.driver_errors import translate_errors
from fait._delivery.adapters.placeholders import colon_named
from fait._delivery.adapters.sqlite3 import decode_rows
from fait._delivery.outbox import OnCommit, OutboxBuffer
from fait._errors import UsageError
from fait._events.append import raise_on_conflict
from fait._events.codec import Codec
from fait._events.registry import Registry
from fait._store.external_transaction import Rows, Statement, run

__all__ = ["buffer_of", "run_callbacks", "savepoints"]

_CALLBACKS: Final = "fait.rings"
"""What is to be told when a commit has succeeded, in the `info` of the driver's connection."""

_listening_engines: Final = WeakSet[Engine]()
_buffers: Final = WeakKeyDictionary[Connection, "_TransactionBuffers"]()

_Undo = Callable[[], object]


class _SavepointAwareBuffer(OutboxBuffer):
    """Letters that know in which savepoints they were written."""

    def __init__(self, codec: Codec, schema: str, ring: OnCommit) -> None:
        super().__init__(codec, schema)
        self.on_commit = ring
        self.is_stored = False
        self._before: dict[str, int] = {}

    def enter_savepoints(self, names: list[str]) -> None:
        """Note how many were written before these savepoints, from the outermost to the innermost, began."""
        for name in names:
            self._before.setdefault(name, len(self))

    def undo_savepoint(self, name: str) -> None:
        """Forget what was written since a savepoint began."""
        self.truncate(self._before.pop(name, len(self)))

    def store(self, connection: Connection) -> None:
        """Store all."""
        for conversation in self.statements("sqlite" if connection.dialect.name == "sqlite" else "postgresql"):
            raise_on_conflict(run(conversation, lambda ask: _run(connection, ask)))
            self.is_stored = True
        self.truncate()


class _TransactionBuffers:
    """What was added in a transaction: for most, of one app and in one schema."""

    def __init__(self) -> None:
        self.session_savepoints: set[str] = set()
        """Savepoints that stand for a session's own transaction: with their release it believes to have committed."""
        self._buffers: dict[tuple[Registry, str], _SavepointAwareBuffer] = {}

    def buffer(self, codec: Codec, schema: str, ring: OnCommit) -> _SavepointAwareBuffer:
        """Those of an app in a schema."""
        key = (codec.registry, schema)
        if key not in self._buffers:
            self._buffers[key] = _SavepointAwareBuffer(codec, schema, ring)
        return self._buffers[key]

    def undo_savepoint(self, name: str) -> None:
        """Forget what was added since a savepoint began."""
        for each in self._buffers.values():
            each.undo_savepoint(name)

    def store(self, connection: Connection) -> None:
        """Store all."""
        if not any(self._buffers.values()):
            return
        if connection.dialect.name == "sqlite" and not _driver(connection).in_transaction:
            raise _not_in_transaction()
        for each in self._buffers.values():
            each.store(connection)

    def callbacks(self) -> list[OnCommit]:
        """Whom to tell of a commit."""
        return [each.on_commit for each in self._buffers.values() if each.is_stored]


def buffer_of(
    connection: Connection, codec: Codec, schema: str, on_commit: OnCommit, own: str | None = None
) -> OutboxBuffer:
    """Where to write what the transaction that is open on a connection is to store.

    `own` is a savepoint that stands for the whole transaction of a session.

    Raises:
        UsageError: no transaction is open, or it cannot take an event; says what to do.
    """
    names = savepoints(connection)
    _check(connection, bool(names))
    _listen(connection.engine)
    run_callbacks(connection.info)
    gathered = _buffers.setdefault(connection, _TransactionBuffers())
    if own is not None:
        gathered.session_savepoints.add(own)
    letters = gathered.buffer(codec, schema, on_commit)
    letters.enter_savepoints(names)
    return letters


def savepoints(connection: Connection) -> list[str]:
    """The names of the savepoints that are open, from the outermost to the innermost."""
    names: list[str] = []
    nested: Any = connection.get_nested_transaction()
    while nested is not None:
        names.append(nested._savepoint)
        nested = nested._previous_nested
    return names[::-1]


def run_callbacks(info: dict[Any, Any]) -> None:
    """Tell of the last commit, if nobody has yet."""
    for ring in info.pop(_CALLBACKS, ()):
        ring()


def _check(connection: Connection, nested: bool) -> None:
    if not connection.in_transaction():
        raise UsageError(
            "no transaction is open: `with engine.begin() as connection:` or `with connection.begin():` around your "
            "change and the event. Nothing was written."
        )
    driver, level = connection.connection.dbapi_connection, connection.get_execution_options().get("isolation_level")
    if level == "AUTOCOMMIT" or _is_autocommit(connection, driver):
        raise UsageError(
            "the connection is in AUTOCOMMIT, where each statement is a transaction of its own: take one that is not. "
            "Nothing was written."
        )
    if connection.dialect.name == "sqlite":
        if nested and _is_legacy_transaction_control(driver):
            raise _not_in_transaction()
    elif level not in (None, "READ COMMITTED"):
        raise UsageError(
            f"the transaction is {level}, so that events could be stored on what is no longer true: use READ "
            "COMMITTED, the default of PostgreSQL. Nothing was written."
        )


def _is_autocommit(connection: Connection, driver: Any) -> bool:
    if getattr(driver, "autocommit", None) is True:
        return True
    sqlite = connection.dialect.name == "sqlite"
    return sqlite and driver.isolation_level is None and not _driver(connection).in_transaction


def _is_legacy_transaction_control(driver: Any) -> bool:
    """Whether sqlite3 begins a transaction only for INSERT, UPDATE and DELETE; aiosqlite does not always say."""
    said = hasattr(driver, "autocommit") or sys.version_info < (3, 12)
    return said and getattr(driver, "autocommit", -1) == -1 and driver.isolation_level is not None


def _driver(connection: Connection) -> Any:
    return connection.connection.driver_connection


def _not_in_transaction() -> UsageError:
    return UsageError(
        "sqlite3 begins no transaction for SELECT, SAVEPOINT and others, so that change and event could part: let "
        "SQLAlchemy begin it, with BEGIN IMMEDIATE, as docs/outbox/sqlalchemy.md shows. No event was written."
    )


@cache
def _statement(sql: str) -> TextClause:
    return text(colon_named(sql.replace(":", r"\:")))


def _run(connection: Connection, ask: Statement) -> Rows:
    values = {f"v{number}": value for number, value in enumerate(ask.values, 1)}
    with translate_errors():
        result = connection.execute(_statement(ask.sql), values, execution_options={"stream_results": False})
        return decode_rows(result.all()) if result.returns_rows else ()


def _listen(engine: Engine) -> None:
    """Listen to an engine: once, as that costs as much as a transaction."""
    if engine in _listening_engines:
        return
    for name, hook in _HOOKS.items():
        event.listen(engine, name, hook)
    event.listen(engine.pool, "checkin", _on_checkin)
    _listening_engines.add(engine)


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
    gathered = _buffers.pop(connection, None)
    if gathered is not None:
        with _undo_on_error(connection, undo):
            gathered.store(connection)
        connection.info[_CALLBACKS] = gathered.callbacks()


def _on_prepare_twophase(connection: Connection, xid: Any) -> None:
    if gathered := _buffers.get(connection):
        gathered.store(connection)


def _on_rollback(connection: Connection, *_: Any) -> None:
    _buffers.pop(connection, None)


def _on_rollback_savepoint(connection: Connection, name: str, context: None) -> None:
    if gathered := _buffers.get(connection):
        gathered.undo_savepoint(name)


def _on_release_savepoint(connection: Connection, name: str, context: None) -> None:
    gathered = _buffers.get(connection)
    if gathered is None or name not in gathered.session_savepoints:
        return

    def undo() -> None:
        gathered.undo_savepoint(name)
        connection.dialect.do_rollback_to_savepoint(connection, name)

    with _undo_on_error(connection, undo):
        gathered.store(connection)


def _on_checkin(connection: Any, record: Any) -> None:
    run_callbacks(record.info)


@contextmanager
def _undo_on_error(connection: Connection, undo: _Undo) -> Generator[None]:
    """Undo a transaction whose end fails here: SQLAlchemy takes it for ended, but the database does not know."""
    try:
        yield
    except BaseException:
        try:
            undo()
        except BaseException:
            connection.invalidate()
            raise
        raise


_HOOKS: Final = {
    "commit": _on_commit,
    "commit_twophase": _on_commit_twophase,
    "prepare_twophase": _on_prepare_twophase,
    "release_savepoint": _on_release_savepoint,
    "rollback": _on_rollback,
    "rollback_savepoint": _on_rollback_savepoint,
    "rollback_twophase": _on_rollback,
}
