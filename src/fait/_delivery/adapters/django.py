"""The outbox in a transaction of Django: of `django.db.connection` or any of `connections`, in a block of `atomic()`.

Django tells of a commit when it is done, not before: so an event is stored when it is added, and its handlers are woken
by `on_commit`.
"""

from collections.abc import Generator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from datetime import UTC, datetime
from typing import Any, Final

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.transaction import atomic, mark_for_rollback_on_error
from django.utils.connection import ConnectionProxy

from fait._delivery.adapters.driver_errors import translate_errors, unsupported_connection, warn_if_sqlite_outdated
from fait._delivery.adapters.placeholders import percent_s
from fait._delivery.connection import ConnectionOutbox
from fait._delivery.outbox import Dialect, OnCommit, Outbox, OutboxBuffer
from fait._errors import UsageError
from fait._events.codec import Codec
from fait._store.external_transaction import Rows, Statement
from fait._store.open import append_in_transaction

__all__ = ["outbox"]

_PROXIES: Final[set[type]] = {ConnectionProxy}


def outbox(connection: Any, codec: Codec, schema: str, on_commit: OnCommit) -> Outbox:
    """The outbox in the transaction that is open on a connection of this thread."""
    if type(connection) in _PROXIES and hasattr(connection, "alias"):  # a cache is behind one, too
        connection = connections[connection.alias]
    if not isinstance(connection, BaseDatabaseWrapper):
        raise unsupported_connection(connection)
    if connection.vendor == "sqlite":
        warn_if_sqlite_outdated(connection.get_database_version())
    elif connection.vendor != "postgresql":
        raise UsageError(
            f"no log can be in {connection.display_name}, only in PostgreSQL or SQLite. Nothing was written."
        )
    if connections[connection.alias] is not connection:
        raise UsageError(
            f"this connection is a copy, or another thread's, and atomic() does not lead to it: take "
            f"connections[{connection.alias!r}] of django.db, in this thread. Nothing was written."
        )
    return _Outbox(connection, codec, schema, on_commit)


class _Outbox(ConnectionOutbox):
    """Wakes handlers as Django does such things: after the commit of the outermost block, and only if that comes."""

    def __init__(self, connection: BaseDatabaseWrapper, codec: Codec, schema: str, ring: OnCommit) -> None:
        super().__init__(_Django(connection), codec, schema, ring)
        self._database = connection

    def _store(self, letters: OutboxBuffer) -> None:
        # As after a `save()` that fails: who catches the error in the block does not commit the change alone.
        with mark_for_rollback_on_error(self._database.alias):
            super()._store(letters)
        if self._database.in_atomic_block:  # without, there are no hooks: set_autocommit(False)
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
                "this atomic block can only be rolled back: an earlier statement in it failed, or set_rollback(True) "
                "was said, or its connection was closed. Let the error out of the block, or put what may fail into an "
                "atomic block of its own. Nothing was written."
            )

    def run(self, ask: Statement) -> Rows:
        with translate_errors(), self._connection.cursor() as cursor:
            cursor.execute(percent_s(ask.sql), ask.values)
            rows = cursor.fetchall()
        if self.dialect == "sqlite" and not self._connection.connection.in_transaction:
            raise self._no_transaction()  # it was ended by hand; the first ask changes nothing
        return rows

    def transaction(self) -> AbstractContextManager[bool]:
        return self._atomic()

    @contextmanager
    def _atomic(self) -> Generator[bool]:
        with ExitStack() as block:
            with translate_errors():
                block.enter_context(atomic(using=self._connection.alias))
            self.check()
            if self.dialect == "sqlite":  # become the writer now, though it may be DEFERRED: later it could be too late
                self.run(next(append_in_transaction(self.dialect, (), "", datetime.now(UTC), look_up=False)))
            yield False  # `on_commit` rings
            self.check()  # or Django would roll back in silence

    def _no_transaction(self) -> UsageError:
        using = "" if self._connection.alias == "default" else f"using={self._connection.alias!r}"
        return UsageError(
            f"no transaction is open on the database {self._connection.alias!r}: `with transaction.atomic({using}):` "
            "around your change and the event. Nothing was written."
        )
