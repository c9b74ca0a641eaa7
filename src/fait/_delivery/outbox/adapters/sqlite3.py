"""The outbox adapter for the standard library's sqlite3."""

import sqlite3
from collections.abc import Generator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Final

from fait._delivery.outbox.adapters.driver_errors import (
    translate_errors,
    unsupported_connection,
    warn_if_sqlite_outdated,
)
from fait._delivery.outbox.connection import ConnectionOutbox
from fait._delivery.outbox.outbox import Dialect, OnCommit, Outbox
from fait._errors import UsageError
from fait._events.codec import Codec
from fait._store.external_transaction import Rows, Statement

__all__ = [
    "BEGIN_BLOCK",
    "END_BLOCK",
    "block_ended_by_hand",
    "decode_rows",
    "no_transaction",
    "outbox",
    "transaction_already_open",
]

BEGIN_BLOCK: Final = "SAVEPOINT fait_block"
"""Marks the transaction of a block: SQLite has no ids of transactions, and does not announce that one has ended."""

END_BLOCK: Final = "RELEASE fait_block"
"""Fails if the transaction of the block has ended, also if another one is open."""


def outbox(connection: Any, codec: Codec, schema: str, on_commit: OnCommit) -> Outbox:
    """Return the outbox for the open transaction of a connection, or the one that the connection begins implicitly."""
    if not isinstance(connection, sqlite3.Connection):
        raise unsupported_connection(connection, "Pass a sqlite3.Connection; that of a cursor is `cursor.connection`.")
    warn_if_sqlite_outdated(sqlite3.sqlite_version_info)
    return ConnectionOutbox(_Sqlite(connection), codec, schema, on_commit)


def no_transaction(execute: str, commit: str) -> UsageError:
    """Return the error for autocommit mode, in which each statement is a transaction by itself."""
    return UsageError(
        f'no transaction is open. Nothing was written. Call `{execute}("BEGIN IMMEDIATE")` before your change, and '
        f"`{commit}` after adding the event; or use the block `outbox(connection).transaction()`."
    )


def transaction_already_open(add: str, commit: str) -> UsageError:
    """Return the error for a transaction within another one, which SQLite does not support."""
    return UsageError(
        "a transaction is already open on this connection (with autocommit=False, one always is), and SQLite cannot "
        f"begin another. Nothing was written. Call `{add}` in the open transaction, then `{commit}`."
    )


@contextmanager
def block_ended_by_hand() -> Generator[None]:
    """Replace the error of `END_BLOCK`, which says that the transaction of the block has ended."""
    try:
        yield
    except Exception as error:
        raise UsageError(
            "the transaction of this block has ended before the block: by a COMMIT or ROLLBACK in it, or by an error "
            "after which SQLite rolls back, such as a full disk. The changes and events before that were committed or "
            "rolled back with it; later ones are rolled back, or were committed one by one if the connection is in "
            "autocommit mode. Remove the statement: raise an exception to roll back, and let the block commit."
        ) from error


def decode_rows(rows: Sequence[Sequence[Any]]) -> Rows:
    """Return the rows with text as str, also if the `text_factory` of the connection is bytes."""
    return [tuple([value.decode() if isinstance(value, bytes) else value for value in row]) for row in rows]


class _Sqlite:
    def __init__(self, connection: sqlite3.Connection) -> None:
        self.dialect: Dialect = "sqlite"
        self._connection = connection

    def check(self) -> None:
        if not self._connection.in_transaction and self._connection.isolation_level is None:
            raise _no_transaction()

    def run(self, statement: Statement) -> Rows:
        with translate_errors():
            cursor = self._connection.cursor()
            cursor.row_factory = None  # tuples, regardless of the connection's row factory
            rows = cursor.execute(statement.sql, statement.values).fetchall()
        # Autocommit mode has several forms in sqlite3. The first statement of an append changes nothing.
        if not self._connection.in_transaction:
            raise _no_transaction()
        return decode_rows(rows)

    def transaction(self) -> AbstractContextManager[bool]:
        return self._immediate()

    @contextmanager
    def _immediate(self) -> Generator[bool]:
        if self._connection.in_transaction:
            raise transaction_already_open("outbox(connection).add(...)", "connection.commit()")
        with translate_errors():
            self._connection.execute("BEGIN IMMEDIATE")
        try:
            self._connection.execute(BEGIN_BLOCK)
            yield True
            with block_ended_by_hand():
                # fault: block-ended-by-hand
                self._connection.execute(END_BLOCK)
            self._connection.execute("COMMIT")  # `commit()` has no effect with autocommit=True
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise


def _no_transaction() -> UsageError:
    return no_transaction("connection.execute", "connection.commit()")
