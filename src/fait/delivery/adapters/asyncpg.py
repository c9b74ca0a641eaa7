"""The outbox in a transaction of asyncpg, on a connection of its own or of a pool."""

from contextlib import AbstractAsyncContextManager
from typing import Any

from fait.delivery.adapters.marks import numbered
from fait.delivery.adapters.problems import explained
from fait.delivery.outbox import AsyncOutbox, Dialect, Ring
from fait.errors import UsageError
from fait.events.codec import Codec
from fait.store.joined import Ask, Rows

__all__ = ["outbox"]


def outbox(connection: Any, codec: Codec, schema: str, ring: Ring) -> AsyncOutbox:
    """The outbox in the transaction that is open on a connection."""
    return AsyncOutbox(_Asyncpg(connection), codec, schema, ring)


class _Asyncpg:
    def __init__(self, connection: Any) -> None:
        self.dialect: Dialect = "postgresql"
        self._connection = connection

    def check(self) -> None:
        if not self._connection.is_in_transaction():
            raise UsageError(
                "no transaction is open: `async with connection.transaction():` around your change and the event. "
                "Nothing was written."
            )

    async def run(self, ask: Ask) -> Rows:
        with explained():
            return await self._connection.fetch(numbered(ask.sql), *ask.values)

    def transaction(self) -> AbstractAsyncContextManager[object]:
        return self._connection.transaction()
