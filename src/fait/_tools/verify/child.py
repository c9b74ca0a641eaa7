"""A child process as its parent sees it: starts it, receives its messages, pauses, stops or kills it."""

import asyncio
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from fait._tools.verify.plan import Plan

__all__ = ["PROCESS_TIMEOUT_S", "ChildProcess"]

PROCESS_TIMEOUT_S: Final = 60.0
"""Timeout for a process to start, to end after its stop message, and to read the next events of the log."""


class ChildProcess:
    """A child process.

    Attributes:
        name: its name in messages.
        ready: set when its first message has arrived, or when it has ended.
    """

    def __init__(self, name: str, process: Process, stderr: Path, on_message: Callable[[list[Any]], None]) -> None:
        self.name = name
        self.ready = asyncio.Event()
        self._process = process
        self._stderr = stderr
        self._on_message = on_message
        self._receiver = asyncio.create_task(self._receive())

    @classmethod
    async def start(
        cls, plan: Plan, on_message: Callable[[list[Any]], None], directory: Path, module: str, *arguments: str
    ) -> "ChildProcess":
        """Start a module as a process.

        Args:
            plan: sent to the process first.
            on_message: called with each message of the process.
            directory: where its standard error is written.
            module: name of a module of this package, or the full name of another module.
            *arguments: its arguments; with the module they must be unique, as they make the process's name.
        """
        name = "-".join(Path(word).name for word in (module, *arguments))
        stderr = directory / f"{name}.errors"
        with stderr.open("wb") as out:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-P", "-m", module if "." in module else f"{__package__}.{module}", *arguments,
                stdin=PIPE, stdout=PIPE, stderr=out, limit=1 << 20,
                start_new_session=True,  # Ctrl-C signals only the parent, which stops its children
            )  # fmt: skip
        child = cls(name, process, stderr, on_message)
        assert process.stdin is not None
        process.stdin.write(msgspec.json.encode(plan) + b"\n")
        return child

    async def _receive(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            if line.endswith(b"\n"):  # a killed process may leave an incomplete line, which was never sent
                self._on_message(msgspec.json.decode(line))
                self.ready.set()
        self.ready.set()

    @property
    def is_running(self) -> bool:
        """Whether the process is running."""
        return self._process.returncode is None

    async def pause(self, seconds: float) -> None:
        """Suspend the process for a time; it continues afterwards, even if this call is canceled."""
        if not self.is_running:
            return
        self._process.send_signal(signal.SIGSTOP)
        try:
            await asyncio.sleep(seconds)
        finally:
            if self.is_running:
                self._process.send_signal(signal.SIGCONT)

    def stop(self, argument: str = "") -> None:
        """Send the stop message."""
        assert self._process.stdin is not None
        self._process.stdin.write(argument.encode() + b"\n")
        self._process.stdin.close()

    async def kill(self) -> None:
        """Kill the process and receive the messages it sent before."""
        if self.is_running:
            self._process.kill()
        await self._process.wait()
        await self._receiver

    async def wait(self) -> str:
        """Wait until the process has ended and its messages are received. Return why it failed, or ""."""
        try:
            async with asyncio.timeout(PROCESS_TIMEOUT_S):
                code = await self._process.wait()
        except TimeoutError:
            await self.kill()
            return f"{self.name} did not end within {PROCESS_TIMEOUT_S:g} s and was killed"
        await self._receiver
        return f"{self.name} exited with {code}: {_last_line(self._stderr)}" if code else ""


def _last_line(stderr: Path) -> str:
    lines: Sequence[str] = stderr.read_text("utf-8", "replace").split("\n")
    return next((line for line in reversed(lines) if line.strip()), "no output on standard error")
