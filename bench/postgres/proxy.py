"""A TCP proxy that simulates network latency: it forwards data after a delay, in both directions.

    proxy.py PORT DELAY_MS      forwards to this port of the loopback interface, prints its own, ends with its input

Chunks are delayed independently, so bandwidth is not limited, as in a network.
"""

import asyncio
import selectors
import sys
import threading
from collections import deque
from typing import cast

__all__ = ["Slow"]

MAX_WAITING = 8 << 20
"""Maximum number of bytes in flight in one direction; reading pauses above it."""


class Slow(asyncio.Protocol):
    """One end of a connection: the other end sends what this end receives, `delay_s` later."""

    def __init__(self, delay_s: float) -> None:
        self._delay_s = delay_s
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[tuple[float, bytes]] = deque()
        self._bytes = 0
        self._ended = False
        self._timer: asyncio.TimerHandle | None = None
        self._own: asyncio.Transport | None = None
        self.other: Slow | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._own = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._waiting.append((self._loop.time() + self._delay_s, data))
        self._bytes += len(data)
        if self._bytes > MAX_WAITING and self._own is not None:
            self._own.pause_reading()
        self._set_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        self._ended = True
        self._set_timer()

    def pair(self, other: "Slow") -> None:
        """Connect both ends, and schedule data already received."""
        self.other, other.other = other, self
        self._set_timer()
        other._set_timer()

    def _set_timer(self) -> None:
        if self._timer is None and self.other is not None and (self._waiting or self._ended):
            due = self._waiting[0][0] if self._waiting else self._loop.time()
            self._timer = self._loop.call_at(due, self._forward)

    def _forward(self) -> None:
        self._timer = None
        assert self.other is not None
        target = self.other._own
        assert target is not None
        now = self._loop.time()
        while self._waiting and self._waiting[0][0] <= now:
            data = self._waiting.popleft()[1]
            self._bytes -= len(data)
            target.write(data)
        if self._bytes <= MAX_WAITING and self._own is not None and not self._ended:
            self._own.resume_reading()
        if self._waiting:
            self._set_timer()
        elif self._ended:
            target.close()


async def serve(port: int, delay_s: float) -> None:
    loop = asyncio.get_running_loop()
    connecting = set[asyncio.Task[None]]()

    async def connect(near: Slow) -> None:
        _, far = await loop.create_connection(lambda: Slow(delay_s), "127.0.0.1", port)
        near.pair(far)

    def accept() -> Slow:
        near = Slow(delay_s)
        task = loop.create_task(connect(near))
        connecting.add(task)
        task.add_done_callback(connecting.discard)
        return near

    server = await loop.create_server(accept, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    ended = asyncio.Event()
    threading.Thread(target=_wait_for_end, args=(loop, ended), daemon=True).start()
    await ended.wait()


def _wait_for_end(loop: asyncio.AbstractEventLoop, ended: asyncio.Event) -> None:
    sys.stdin.read()
    loop.call_soon_threadsafe(ended.set)


if __name__ == "__main__":
    # Only select() has timeouts below a millisecond; other selectors, and libuv, round up.
    asyncio.set_event_loop(asyncio.SelectorEventLoop(selectors.SelectSelector()))
    asyncio.get_event_loop().run_until_complete(serve(int(sys.argv[1]), float(sys.argv[2]) / 1e3))
