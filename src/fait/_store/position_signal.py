"""Wakes readers that wait for the log to grow. The signal carries no events: a woken reader queries the log."""

import asyncio
from typing import Final

from fait._errors import StoreUnavailable

__all__ = ["STORE_CLOSED", "PositionSignal"]

STORE_CLOSED: Final = "the store is closed. Use it only within the block of `async with app.open(...)`."
"""Reason of the `StoreUnavailable` that a closed store raises."""


class PositionSignal:
    """Holds the highest reported position and wakes the tasks that wait for a higher one.

    Belongs to one event loop.
    """

    def __init__(self, position: int = 0) -> None:
        self.position: int = position
        self._waiters: set[asyncio.Future[None]] = set()
        self._error: StoreUnavailable | None = None

    def advance(self, position: int) -> None:
        """Report that the log has reached at least this position."""
        if position > self.position:
            self.position = position
            self._wake()

    def close(self, error: StoreUnavailable | None = None) -> None:
        """Wake all waiting tasks with an error, by default that the store is closed. Only the first call counts."""
        self._error = self._error or error or StoreUnavailable(STORE_CLOSED)
        self._wake()

    def _wake(self) -> None:
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def wait(self, after: int, timeout_s: float | None = None) -> None:
        """Wait until a position greater than `after` is reported, or the timeout has expired.

        Raises:
            StoreUnavailable: the error of `close`.
        """
        while self.position <= after:
            if self._error is not None:
                raise self._error
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.add(waiter)
            try:
                async with asyncio.timeout(timeout_s):
                    await waiter
            except TimeoutError:
                return
            finally:
                self._waiters.remove(waiter)
