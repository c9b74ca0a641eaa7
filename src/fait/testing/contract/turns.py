"""Lets other tasks run for a bounded time without a delay: for tests in which a task waits, or nothing may happen."""

import asyncio

from fait._store.ports.log import Log

__all__ = ["let_readers_wait", "turns"]


async def turns(count: int = 20) -> None:
    """Let other tasks run for a number of turns of the event loop."""
    for _ in range(count):
        await asyncio.sleep(0)


async def let_readers_wait(log: Log) -> None:
    """Call a log several times, so that tasks that wait for its next events have begun to wait."""
    for _ in range(10):
        await log.versions(["no such stream"])
        await turns()
