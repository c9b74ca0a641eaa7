"""A doorbell tells waiting readers that the log has grown. It carries no news itself: who is woken reads the log."""

import asyncio

from fait._errors import StoreUnavailable

__all__ = ["PositionSignal"]


class PositionSignal:
    """Knows the highest position heard of, and wakes those who wait for more.

    Belongs to one event loop.
    """

    def __init__(self, position: int = 0) -> None:
        self.position: int = position
        self._waiters: set[asyncio.Future[None]] = set()
        self._closed = False

    def advance(self, position: int) -> None:
        """Tell that the log reaches at least this position."""
        if position > self.position:
            self.position = position
            self._wake()

    def close(self) -> None:
        """Wake everybody: nothing more will come."""
        self._closed = True
        self._wake()

    def _wake(self) -> None:
        for each in self._waiters:
            if not each.done():
                each.set_result(None)

    async def wait(self, after: int, timeout_s: float | None = None) -> None:
        """Return when the log is known to reach beyond `after`, or when the time is over."""
        while self.position <= after:
            if self._closed:
                raise StoreUnavailable("the store is closed.")
            rung = asyncio.get_running_loop().create_future()
            self._waiters.add(rung)
            try:
                async with asyncio.timeout(timeout_s):
                    await rung
            except TimeoutError:
                return
            finally:
                self._waiters.remove(rung)
