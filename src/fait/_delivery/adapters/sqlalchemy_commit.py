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

from fait._delivery.adapters.driver_errors import explained
from fait._delivery.adapters.placeholders import named
from fait._delivery.adapters.sqlite3 import plain
from fait._delivery.outbox import Letters, Ring
from fait._errors import UsageError
from fait._events.append import raised
from fait._events.codec import Codec
from fait._events.registry import Registry
from fait._store.external_transaction import Ask, Rows, converse

__all__ = ["gather", "savepoints", "wake"]

_RINGS: Final = "fait.rings"
"""What is to be told when a commit has succeeded, in the `info` of the driver's connection."""

_hooked: Final = WeakSet[Engine]()
_gathered: Final = WeakKeyDictionary[Connection, "_Gathered"]()

_Undo = Callable[[], object]


class _Letters(Letters):
    """Letters that know in which savepoints they were written."""

    def __init__(self, codec: Codec, schema: str, ring: Ring) -> None:
        super().__init__(codec, schema)
        self.ring = ring
        self.stored = False
        self._before: dict[str, int] = {}

    def enter(self, names: list[str]) -> None:
        """Note how many were written before these savepoints, from the outermost to the innermost, began."""
        for name in names:
            self._before.setdefault(name, len(self))

    def undo(self, name: str) -> None:
        """Forget what was written since a savepoint began."""
        self.forget(self._before.pop(name, len(self)))

    def store(self, connection: Connection) -> None:
        """Store all."""
        for conversation in self.conversations("sqlite" if connection.dialect.name == "sqlite" else "postgresql"):
            raised(converse(conversation, lambda ask: _run(connection, ask)))
            self.stored = True
        self.forget()


class _Gathered:
    """What was added in a transaction: for most, of one app and in one schema."""

    def __init__(self) -> None:
        self.own: set[str] = set()
        """Savepoints that stand for a session's own transaction: with their release it believes to have committed."""
        self._letters: dict[tuple[Registry, str], _Letters] = {}

    def letters(self, codec: Codec, schema: str, ring: Ring) -> _Letters:
        """Those of an app in a schema."""
        key = (codec.registry, schema)
        if key not in self._letters:
            self._letters[key] = _Letters(codec, schema, ring)
        return self._letters[key]

    def undo(self, name: str) -> None:
        """Forget what was added since a savepoint began."""
        for each in self._letters.values():
            each.undo(name)

    def store(self, connection: Connection) -> None:
        """Store all."""
        if not any(self._letters.values()):
            return
        if connection.dialect.name == "sqlite" and not _driver(connection).in_transaction:
            raise _not_in_transaction()
        for each in self._letters.values():
            each.store(connection)

    def rings(self) -> list[Ring]:
        """Whom to tell of a commit."""
        return [each.ring for each in self._letters.values() if each.stored]


def gather(connection: Connection, codec: Codec, schema: str, ring: Ring, own: str | None = None) -> Letters:
    """Where to write what the transaction that is open on a connection is to store.

    `own` is a savepoint that stands for the whole transaction of a session.

    Raises:
        UsageError: no transaction is open, or it cannot take an event; says what to do.
    """
    names = savepoints(connection)
    _check(connection, bool(names))
    _hook(connection.engine)
    wake(connection.info)
    gathered = _gathered.setdefault(connection, _Gathered())
    if own is not None:
        gathered.own.add(own)
    letters = gathered.letters(codec, schema, ring)
    letters.enter(names)
    return letters


def savepoints(connection: Connection) -> list[str]:
    """The names of the savepoints that are open, from the outermost to the innermost."""
    names: list[str] = []
    nested: Any = connection.get_nested_transaction()
    while nested is not None:
        names.append(nested._savepoint)
        nested = nested._previous_nested
    return names[::-1]


def wake(info: dict[Any, Any]) -> None:
    """Tell of the last commit, if nobody has yet."""
    for ring in info.pop(_RINGS, ()):
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
        if nested and _begins_late(driver):
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


def _begins_late(driver: Any) -> bool:
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
    return text(named(sql.replace(":", r"\:")))


def _run(connection: Connection, ask: Ask) -> Rows:
    values = {f"v{number}": value for number, value in enumerate(ask.values, 1)}
    with explained():
        result = connection.execute(_statement(ask.sql), values, execution_options={"stream_results": False})
        return plain(result.all()) if result.returns_rows else ()


def _hook(engine: Engine) -> None:
    """Listen to an engine: once, as that costs as much as a transaction."""
    if engine in _hooked:
        return
    for name, hook in _HOOKS.items():
        event.listen(engine, name, hook)
    event.listen(engine.pool, "checkin", _on_checkin)
    _hooked.add(engine)


def _on_commit(connection: Connection) -> None:
    def undo() -> None:
        connection.dialect.do_rollback(connection.connection)

    _end(connection, undo)


def _on_commit_twophase(connection: Connection, xid: Any, is_prepared: bool) -> None:
    def undo() -> None:
        connection.dialect.do_rollback_twophase(connection, xid, is_prepared)

    _end(connection, undo)


def _end(connection: Connection, undo: _Undo) -> None:
    gathered = _gathered.pop(connection, None)
    if gathered is not None:
        with _undone(connection, undo):
            gathered.store(connection)
        connection.info[_RINGS] = gathered.rings()


def _on_prepare_twophase(connection: Connection, xid: Any) -> None:
    if gathered := _gathered.get(connection):
        gathered.store(connection)


def _on_rollback(connection: Connection, *_: Any) -> None:
    _gathered.pop(connection, None)


def _on_rollback_savepoint(connection: Connection, name: str, context: None) -> None:
    if gathered := _gathered.get(connection):
        gathered.undo(name)


def _on_release_savepoint(connection: Connection, name: str, context: None) -> None:
    gathered = _gathered.get(connection)
    if gathered is None or name not in gathered.own:
        return

    def undo() -> None:
        gathered.undo(name)
        connection.dialect.do_rollback_to_savepoint(connection, name)

    with _undone(connection, undo):
        gathered.store(connection)


def _on_checkin(connection: Any, record: Any) -> None:
    wake(record.info)


@contextmanager
def _undone(connection: Connection, undo: _Undo) -> Generator[None]:
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
