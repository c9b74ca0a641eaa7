"""The outbox adapter for Django: for `django.db.connection` or one of `connections`, in an `atomic()` block.

Django calls its `on_commit` hooks after a commit, not before it. So an event is stored when it is added, or at the end
of `transaction()`, and an `on_commit` hook wakes the handlers.
"""

from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from typing import Any, Final

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.transaction import atomic, mark_for_rollback_on_error
from django.utils.connection import ConnectionProxy

from fait._delivery.outbox.adapters.driver_errors import (
    begin,
    translate_errors,
    unsupported_connection,
    warn_if_sqlite_outdated,
)
from fait._delivery.outbox.adapters.placeholders import percent_s
from fait._delivery.outbox.adapters.sqlite3 import BEGIN_BLOCK, END_BLOCK, block_ended_by_hand
from fait._delivery.outbox.connection import ConnectionOutbox
from fait._delivery.outbox.outbox import Dialect, OnCommit, Outbox, OutboxBuffer
from fait._errors import UsageError
from fait._events.codec import Codec
from fait._store.external_transaction import Rows, Statement
from fait._store.open import append_in_transaction

__all__ = ["outbox"]

_PROXIES: Final[set[type]] = {ConnectionProxy}


def outbox(connection: Any, codec: Codec, schema: str, on_commit: OnCommit) -> Outbox:
    """Return the outbox for the open transaction of a connection of this thread."""
    if type(connection) in _PROXIES and hasattr(connection, "alias"):  # caches have such a proxy too, without an alias
        connection = connections[connection.alias]
    if not isinstance(connection, BaseDatabaseWrapper):
        raise unsupported_connection(
            connection, "Pass django.db.connection, or django.db.connections[alias] for another database."
        )
    if connection.vendor == "sqlite":
        warn_if_sqlite_outdated(connection.get_database_version())
    elif connection.vendor != "postgresql":
        raise UsageError(
            f"{connection.display_name} is not supported: the log is in PostgreSQL or SQLite. Nothing was written. "
            "Pass the connection to that database: django.db.connections[alias]."
        )
    if connections[connection.alias] is not connection:
        raise UsageError(
            "this connection is a copy, or belongs to another thread, so atomic() does not apply to it. Nothing was "
            f"written. Pass django.db.connections[{connection.alias!r}] in this thread."
        )
    return _Outbox(connection, codec, schema, on_commit)


class _Outbox(ConnectionOutbox):
    """Wakes the handlers in an `on_commit` hook, after the commit of the outermost `atomic()` block."""

    def __init__(self, connection: BaseDatabaseWrapper, codec: Codec, schema: str, on_commit: OnCommit) -> None:
        super().__init__(_Django(connection), codec, schema, on_commit)
        self._database = connection

    def _store(self, buffer: OutboxBuffer) -> None:
        # As after a failed save(): catching the error inside the block must not commit the change without the event.
        with mark_for_rollback_on_error(self._database.alias):
            super()._store(buffer)
        if self._database.in_atomic_block:  # with set_autocommit(False) there is no block, and no hooks
            # fault: wakeup-before-django-commit
            self._database.on_commit(self._on_commit)


class _Django:
    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        self.dialect: Dialect = "sqlite" if connection.vendor == "sqlite" else "postgresql"
        self._connection = connection

    def check(self) -> None:
        if not self._connection.in_atomic_block and self._connection.get_autocommit():
            raise self._no_transaction()
        if self._connection.in_atomic_block and self._connection.needs_rollback:
            raise UsageError(
                "this atomic() block can only be rolled back: an earlier statement failed, or set_rollback(True) was "
                "called, or the connection was closed. Nothing was written. Let the error propagate out of the block, "
                "or put statements that may fail into an inner atomic() block."
            )

    def run(self, statement: Statement) -> Rows:
        self.check()  # an inner block may have marked the transaction for rollback since the event was added
        with translate_errors(), self._connection.cursor() as cursor:
            cursor.execute(percent_s(statement.sql), statement.values)
            rows = cursor.fetchall()
        if self.dialect == "sqlite" and not self._connection.connection.in_transaction:
            raise self._no_transaction()  # ended manually; the first statement of an append changes nothing
        return rows

    def transaction(self) -> AbstractContextManager[bool]:
        return self._atomic()

    @contextmanager
    def _atomic(self) -> Generator[bool]:
        with begin(lambda: atomic(using=self._connection.alias)):
            self.check()
            if self.dialect == "sqlite":  # acquire the write lock now: a DEFERRED transaction may fail to get it later
                self.run(next(append_in_transaction(self.dialect, (), "public", datetime.now(UTC), look_up=False)))
                self._execute(BEGIN_BLOCK)
            yield False  # the on_commit hook wakes the handlers
            self.check()  # otherwise Django would roll back without an error
            if self.dialect == "sqlite":
                with block_ended_by_hand():
                    self._execute(END_BLOCK)

    def _execute(self, sql: str) -> None:
        with self._connection.cursor() as cursor:
            cursor.execute(sql)

    def _no_transaction(self) -> UsageError:
        using = "" if self._connection.alias == "default" else f"using={self._connection.alias!r}"
        return UsageError(
            f"no transaction is open on the database {self._connection.alias!r}. Nothing was written. Make your change "
            f"and add the event in one block: `with transaction.atomic({using}):`."
        )
