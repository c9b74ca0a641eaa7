"""The main function of a child process, and its messages from and to the parent.

The first line of standard input is the plan: as an argument, its URL would show a password in the process list. Then
the process runs until it reads another line or the end of its input, which it also sees if the parent dies. It reports
to the parent on standard output, one JSON line per message.
"""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec

from fait._errors import StoreUnavailable
from fait._store.open import open_store
from fait._store.ports.store import Store
from fait._tools.verify.plan import Plan

__all__ = ["RETRY_DELAY_S", "ParentMessages", "main", "open_when_available", "send"]

RETRY_DELAY_S: Final = 0.2
"""Delay before a retry after an error."""


class ParentMessages:
    """Receives the parent's stop message: a line with an argument, an empty line, or the end of the input."""

    def __init__(self, lines: asyncio.StreamReader) -> None:
        self._task = asyncio.create_task(lines.readline())

    @property
    def stopped(self) -> bool:
        """Whether the stop message has arrived."""
        return self._task.done()

    @property
    def argument(self) -> str:
        """The argument of the stop message, after its arrival; "" if it has none."""
        return self._task.result().decode().strip()

    async def wait(self, other: Awaitable[Any] | None = None, *, timeout_s: float | None = None) -> None:
        """Wait for the stop message, for `other` (canceled afterwards), or for a timeout."""
        others = [] if other is None else [asyncio.ensure_future(other)]
        await asyncio.wait([self._task, *others], timeout=timeout_s, return_when="FIRST_COMPLETED")
        for each in others:
            each.cancel()
            await asyncio.gather(each, return_exceptions=True)


def main(run: Callable[[Plan, ParentMessages], Awaitable[None]]) -> None:
    """Read the plan and run the process until it ends."""
    asyncio.run(_main(run))


async def _main(run: Callable[[Plan, ParentMessages], Awaitable[None]]) -> None:
    lines = asyncio.StreamReader(limit=1 << 20)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    plan = msgspec.json.decode(await lines.readline(), type=Plan)
    await run(plan, ParentMessages(lines))


async def open_when_available(plan: Plan, messages: ParentMessages) -> Store:
    """Open the store of a plan; while it is unavailable, try again until the stop message."""
    while True:
        try:
            return await open_store(plan.url, create=False)
        except StoreUnavailable as error:
            if messages.stopped:
                raise
            send("error", type(error).__name__, str(error))
            await messages.wait(timeout_s=RETRY_DELAY_S)


def send(*message: Any) -> None:
    """Send a message to the parent. It is flushed at once, so it arrives even if this process is killed next."""
    sys.stdout.buffer.write(msgspec.json.encode(message) + b"\n")
    sys.stdout.buffer.flush()
