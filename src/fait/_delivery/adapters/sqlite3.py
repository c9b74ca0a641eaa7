"""The outbox in a transaction of the standard library's sqlite3."""

import sqlite3
from collections.abc import Generator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from fait._delivery.adapters.driver_errors import translate_errors, unsupported_connection, warn_if_sqlite_outdated
from fait._delivery.connection import ConnectionOutbox
from fait._delivery.outbox import Dialect, OnCommit, Outbox
from fait._errors import UsageError
from fait._events.codec import Codec
from fait._store.external_transaction import Rows, Statement

__all__ = ["decode_rows", "no_transaction", "outbox", "transaction_already_open"]


def outbox(connection: Any, codec: Codec, schema: str, on_commit: OnCommit) -> Outbox:
    """The outbox in the transaction that is open on a connection, or that the connection begins by itself."""
    if not isinstance(connection, sqlite3.Connection):
        raise unsupported_connection(connection)
    warn_if_sqlite_outdated(sqlite3.sqlite_version_info)
    return ConnectionOutbox(_Sqlite(connection), codec, schema, on_commit)


def no_transaction() -> UsageError:
    """What to say in autocommit mode, where each statement would be a transaction of its own."""
    return UsageError(
        'no transaction is open: execute("BEGIN IMMEDIATE") before your change, and commit after the event. '
        "Nothing was written."
    )


def transaction_already_open() -> UsageError:
    """What to say when a transaction should begin in another, which SQLite does not have."""
    return UsageError(
        "a transaction is open on this connection already (with autocommit=False, one always is): add the event to it, "
        "outbox(connection).add(...), and commit it yourself. Nothing was written."
    )


def decode_rows(rows: Sequence[Sequence[Any]]) -> Rows:
    """Rows with texts, where the connection was told to give bytes."""
    return [tuple([value.decode() if isinstance(value, bytes) else value for value in row]) for row in rows]


class _Sqlite:
    def __init__(self, connection: sqlite3.Connection) -> None:
        self.dialect: Dialect = "sqlite"
        self._connection = connection

    def check(self) -> None:
        if not self._connection.in_transaction and self._connection.isolation_level is None:
            raise no_transaction()

    def run(self, ask: Statement) -> Rows:
        with translate_errors():
            cursor = self._connection.cursor()
            cursor.row_factory = None  # rows are tuples, whatever the connection makes of its own
            rows = cursor.execute(ask.sql, ask.values).fetchall()
        if (
            not self._connection.in_transaction
        ):  # each way of sqlite3 to be in autocommit mode; the first ask changes nothing
            raise no_transaction()
        return decode_rows(rows)

    def transaction(self) -> AbstractContextManager[bool]:
        return self._immediate()

    @contextmanager
    def _immediate(self) -> Generator[bool]:
        if self._connection.in_transaction:
            raise transaction_already_open()
        with translate_errors():
            self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield True
            self._connection.commit()
        except BaseException:
            self._connection.rollback()
            raise
