"""The outbox in a transaction of the standard library's sqlite3."""

from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from fait.delivery.adapters.problems import explained
from fait.delivery.outbox import Dialect, Outbox, Ring
from fait.errors import UsageError
from fait.events.codec import Codec
from fait.store.joined import Ask, Rows

__all__ = ["outbox"]


def outbox(connection: Any, codec: Codec, schema: str, ring: Ring) -> Outbox:
    """The outbox in the transaction that is open on a connection."""
    return Outbox(_Sqlite(connection), codec, schema, ring)


class _Sqlite:
    def __init__(self, connection: Any) -> None:
        self.dialect: Dialect = "sqlite"
        self._connection = connection

    def check(self) -> None:
        if not self._connection.in_transaction:
            raise UsageError(
                'no transaction is open: connection.execute("BEGIN IMMEDIATE") before your change. Nothing was written.'
            )

    def run(self, ask: Ask) -> Rows:
        with explained():
            cursor = self._connection.cursor()
            cursor.row_factory = None  # rows are tuples, whatever the connection makes of its own
            return cursor.execute(ask.sql, ask.values).fetchall()

    def transaction(self) -> AbstractContextManager[object]:
        return self._immediate()

    @contextmanager
    def _immediate(self) -> Generator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._connection.rollback()
            raise
        self._connection.commit()
