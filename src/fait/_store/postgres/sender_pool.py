"""The sender pool: connections for batches of appends. One is enough; more let batches overlap.

If no connection is idle, a batch gets whichever is available first: a new connection, or one that another batch
releases. So where no more connections can be opened, batches run one after another, and none fails.
"""

import asyncio
from collections import deque

from fait._store.postgres.connection import Database, PostgresConnection

__all__ = ["SenderPool"]


class SenderPool:
    """Keeps as many connections as were ever needed at the same time.

    Belongs to the event loop in which it was created.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._free: list[PostgresConnection] = []
        self._used = 0
        self._waiters: deque[asyncio.Future[PostgresConnection]] = deque()
        self._opening: asyncio.Task[PostgresConnection] | None = None

    async def acquire(self) -> PostgresConnection:
        """Return a connection; `release` or `discard` it afterwards.

        Raises:
            Exception: no connection could be opened, and none is in use.
        """
        if self._free:
            self._used += 1
            return self._free.pop()
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        self._open()
        return await waiter

    def release(self, connection: PostgresConnection) -> None:
        """Return a connection to the pool."""
        self._used -= 1
        self._hand_to_waiter(connection)

    async def discard(self, connection: PostgresConnection) -> None:
        """Close a connection that can no longer be used."""
        self._used -= 1
        try:
            await self._database.discard(connection)
        finally:
            if self._waiters and not self._used:
                self._open()

    async def close(self) -> None:
        """Return all connections to the database's pool. None may be in use."""
        if self._opening is not None:
            self._opening.cancel()
        while self._free:
            await self._database.release(self._free.pop())

    def _open(self) -> None:
        if self._opening is None:
            self._opening = asyncio.create_task(self._database.acquire(), name="fait-postgres-sender")
            self._opening.add_done_callback(self._opened)

    def _opened(self, opening: "asyncio.Task[PostgresConnection]") -> None:
        self._opening = None
        if opening.cancelled():
            return
        error = opening.exception()
        if error is None:
            self._hand_to_waiter(opening.result())
        # fault: failed-connect-fails-all
        elif not self._used:  # otherwise a connection will be released
            while self._waiters:
                self._waiters.popleft().set_exception(error)

    def _hand_to_waiter(self, connection: PostgresConnection) -> None:
        if self._waiters:
            self._used += 1
            self._waiters.popleft().set_result(connection)
        else:
            self._free.append(connection)
