"""The outbox in a transaction of the standard library's sqlite3."""

import sqlite3
from collections.abc import Generator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from fait._delivery.adapters.driver_errors import explained, not_a_connection, warn_of_old_sqlite
from fait._delivery.connection import ConnectionOutbox
from fait._delivery.outbox import Dialect, Outbox, Ring
from fait._errors import UsageError
from fait._events.codec import Codec
from fait._store.external_transaction import Ask, Rows

__all__ = ["begun_already", "no_transaction", "outbox", "plain"]


def outbox(connection: Any, codec: Codec, schema: str, ring: Ring) -> Outbox:
    """The outbox in the transaction that is open on a connection, or that the connection begins by itself."""
    if not isinstance(connection, sqlite3.Connection):
        raise not_a_connection(connection)
    warn_of_old_sqlite(sqlite3.sqlite_version_info)
    return ConnectionOutbox(_Sqlite(connection), codec, schema, ring)


def no_transaction() -> UsageError:
    """What to say in autocommit mode, where each statement would be a transaction of its own."""
    return UsageError(
        'no transaction is open: execute("BEGIN IMMEDIATE") before your change, and commit after the event. '
        "Nothing was written."
    )


def begun_already() -> UsageError:
    """What to say when a transaction should begin in another, which SQLite does not have."""
    return UsageError(
        "a transaction is open on this connection already (with autocommit=False, one always is): add the event to it, "
        "outbox(connection).add(...), and commit it yourself. Nothing was written."
    )


def plain(rows: Sequence[Sequence[Any]]) -> Rows:
    """Rows with texts, where the connection was told to give bytes."""
    return [tuple([value.decode() if isinstance(value, bytes) else value for value in row]) for row in rows]


class _Sqlite:
    def __init__(self, connection: sqlite3.Connection) -> None:
        self.dialect: Dialect = "sqlite"
        self._connection = connection

    def check(self) -> None:
        if not self._connection.in_transaction and self._connection.isolation_level is None:
            raise no_transaction()

    def run(self, ask: Ask) -> Rows:
        with explained():
            cursor = self._connection.cursor()
            cursor.row_factory = None  # rows are tuples, whatever the connection makes of its own
            rows = cursor.execute(ask.sql, ask.values).fetchall()
        if (
            not self._connection.in_transaction
        ):  # each way of sqlite3 to be in autocommit mode; the first ask changes nothing
            raise no_transaction()
        return plain(rows)

    def transaction(self) -> AbstractContextManager[bool]:
        return self._immediate()

    @contextmanager
    def _immediate(self) -> Generator[bool]:
        if self._connection.in_transaction:
            raise begun_already()
        with explained():
            self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield True
            self._connection.commit()
        except BaseException:
            self._connection.rollback()
            raise
