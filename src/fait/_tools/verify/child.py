"""A child process: started, listened to while it runs, told to end, or killed."""

import asyncio
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from fait._tools.verify.plan import Plan

__all__ = ["EXIT_TIMEOUT_S", "ChildProcess"]

EXIT_TIMEOUT_S: Final = 60.0
"""How long a process may take for what it has in hand."""


class ChildProcess:
    """One process.

    Attributes:
        name: of it, for messages.
        ready: set when it has said something, or has ended.
    """

    def __init__(self, name: str, process: Process, errors: Path, take: Callable[[list[Any]], None]) -> None:
        self.name = name
        self.ready = asyncio.Event()
        self._process = process
        self._errors = errors
        self._take = take
        self._listener = asyncio.create_task(self._listen())

    @classmethod
    async def start(
        cls, plan: Plan, take: Callable[[list[Any]], None], directory: Path, module: str, *words: str
    ) -> "ChildProcess":
        """Start a module of this package.

        Args:
            plan: what it is given first.
            take: is called with each thing it says.
            directory: for its complaints.
            module: its name in this package.
            *words: its arguments; the last tells it from others.
        """
        name = "-".join(Path(word).name for word in (module, *words))
        errors = directory / f"{name}.errors"
        with errors.open("wb") as out:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-P", "-m", f"{__package__}.{module}", *words,
                stdin=PIPE, stdout=PIPE, stderr=out, limit=1 << 20,
                start_new_session=True,  # Ctrl-C is for the parent, which tells its children
            )  # fmt: skip
        child = cls(name, process, errors, take)
        assert process.stdin is not None
        process.stdin.write(msgspec.json.encode(plan) + b"\n")
        return child

    async def _listen(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            if line.endswith(b"\n"):  # a killed process may leave half a line: that was not said
                self._take(msgspec.json.decode(line))
                self.ready.set()
        self.ready.set()

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self._process.returncode is None

    def send(self, line: str = "") -> None:
        """Say a last line to it."""
        assert self._process.stdin is not None
        self._process.stdin.write(line.encode() + b"\n")
        self._process.stdin.close()

    async def kill(self) -> None:
        """End it at once, and take in what it said before."""
        if self.running:
            self._process.kill()
        await self._process.wait()
        await self._listener

    async def ended(self) -> str:
        """Wait until it has ended and all it said was taken in; what is wrong with its end, or ""."""
        try:
            async with asyncio.timeout(EXIT_TIMEOUT_S):
                code = await self._process.wait()
        except TimeoutError:
            await self.kill()
            return f"{self.name} did not come to an end within {EXIT_TIMEOUT_S:g} s"
        await self._listener
        return f"{self.name} ended with {code}: {_last(self._errors)}" if code else ""


def _last(errors: Path) -> str:
    lines: Sequence[str] = errors.read_text("utf-8", "replace").split("\n")
    return next((line for line in reversed(lines) if line.strip()), "it did not say why")
