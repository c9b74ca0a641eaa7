"""What every child process does: take its orders from standard input, and say what it does, a line at a time.

The plan is the first line, so that no password stands among a process's arguments. A process that is told to end, or
whose parent is gone, sees the end of its input.
"""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec

from fait._tools.verify.plan import Plan

__all__ = ["FLUSH_INTERVAL_S", "ParentMessages", "main", "report"]

FLUSH_INTERVAL_S: Final = 0.2
"""How long to wait after an error, before trying again."""


class ParentMessages:
    """What the parent says after the plan: a last line, or nothing, and then the end.

    Attributes:
        last: that line, once it has come.
    """

    def __init__(self, lines: asyncio.StreamReader) -> None:
        self._task = asyncio.create_task(lines.readline())

    @property
    def arrived(self) -> bool:
        """Whether the last line has come, or the end without one."""
        return self._task.done()

    @property
    def last(self) -> str:
        """The last line, once it has come; "" without one."""
        return self._task.result().decode().strip()

    async def wait(self, other: Awaitable[Any] | None = None, *, timeout_s: float | None = None) -> None:
        """Wait for the last line, or for something else, or for a time."""
        others = [] if other is None else [asyncio.ensure_future(other)]
        await asyncio.wait([self._task, *others], timeout=timeout_s, return_when="FIRST_COMPLETED")
        for each in others:
            each.cancel()
            await asyncio.gather(each, return_exceptions=True)


def main(part: Callable[[Plan, ParentMessages], Awaitable[None]]) -> None:
    """Play a part to its end."""
    asyncio.run(_main(part))


async def _main(part: Callable[[Plan, ParentMessages], Awaitable[None]]) -> None:
    lines = asyncio.StreamReader(limit=1 << 20)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    plan = msgspec.json.decode(await lines.readline(), type=Plan)
    await part(plan, ParentMessages(lines))


def report(*words: Any) -> None:
    """Tell the parent: what was said has happened, even if this process is killed right after."""
    sys.stdout.buffer.write(msgspec.json.encode(words) + b"\n")
    sys.stdout.buffer.flush()
