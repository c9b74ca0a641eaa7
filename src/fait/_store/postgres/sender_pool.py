"""The connections that batches of appends go through: one is enough, and more let batches overlap.

Who finds none free is given the first there is: a new connection, or one that comes back meanwhile. So where no more
connections are to be had, batches go one after another, and none fails for it.
"""

import asyncio
from collections import deque

from fait._store.postgres.connection import Database, PostgresConnection

__all__ = ["SenderPool"]


class SenderPool:
    """Belongs to the event loop it was made in. There are as many as were ever needed at a time."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._free: list[PostgresConnection] = []
        self._used = 0
        self._waiters: deque[asyncio.Future[PostgresConnection]] = deque()
        self._opening: asyncio.Task[PostgresConnection] | None = None

    async def acquire(self) -> PostgresConnection:
        """One to keep until it is given back or discarded. Raises what opening one raises, if there is no other."""
        if self._free:
            self._used += 1
            return self._free.pop()
        waiting = asyncio.get_running_loop().create_future()
        self._waiters.append(waiting)
        self._open()
        return await waiting

    def release(self, lane: PostgresConnection) -> None:
        """The other half of `take`."""
        self._used -= 1
        self._hand_to_waiter(lane)

    async def discard(self, lane: PostgresConnection) -> None:
        """The other half of `take` for a lane that can be used no more."""
        self._used -= 1
        try:
            await self._database.discard(lane)
        finally:
            if self._waiters and not self._used:
                self._open()

    async def close(self) -> None:
        """Give all of them back to the pool, once nobody uses them."""
        if self._opening is not None:
            self._opening.cancel()
        while self._free:
            await self._database.release(self._free.pop())

    def _open(self) -> None:
        if self._opening is None:
            self._opening = asyncio.create_task(self._database.acquire(), name="fait-postgres-lane")
            self._opening.add_done_callback(self._opened)

    def _opened(self, opening: "asyncio.Task[PostgresConnection]") -> None:
        self._opening = None
        if opening.cancelled():
            return
        problem = opening.exception()
        if problem is None:
            self._hand_to_waiter(opening.result())
        # fault: failed-connect-fails-all
        elif not self._used:  # else one comes back
            while self._waiters:
                self._waiters.popleft().set_exception(problem)

    def _hand_to_waiter(self, lane: PostgresConnection) -> None:
        if self._waiters:
            self._used += 1
            self._waiters.popleft().set_result(lane)
        else:
            self._free.append(lane)
