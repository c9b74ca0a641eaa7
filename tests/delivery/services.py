"""Processes of `fait run` that are started again whenever they end, and the ways in which they are made to end."""

import asyncio
import os
import re
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from random import Random

from tests.delivery.process import LEASE_S

ROOT = Path(__file__).parents[2]
RESTART_DELAY_S = 0.1
MAX_STEP = 60
STOP_S = 60.0
"""How long a process may need to end after SIGTERM: the timeouts of the runner, and its start, on a busy machine."""

SERIOUS = re.compile(r"CRITICAL|Task exception was never retrieved|Task was destroyed|AssertionError|KeyError")
"""What no disturbance may make a process log."""

TRACEBACK_LINES = 40
"""Maximum number of lines of the log that are reported of one."""

READY = "Stop with Ctrl-C"
"""What a process prints when it works."""

UNAVAILABLE = re.compile(r"Nothing was written\.\s*$|It may or may not have been written\.\s*$")
"""The last output of a process that could not open its store."""


class Service:
    """A process that is started again whenever it ends.

    Args:
        name: its name, part of the name of its log.
        command: module and arguments of the program.
        environment: variables of its environment.
        directory: directory of its log.
        exits: counts its exit codes.

    Attributes:
        problems: exits that no disturbance explains.
    """

    def __init__(
        self, name: str, command: Sequence[str], environment: Mapping[str, str], directory: Path, exits: Counter[str]
    ) -> None:
        self.name = name
        self.problems = list[str]()
        self._command = command
        self._environment = {**os.environ, **environment}
        self._log = directory / f"{name}.log"
        self._exits = exits
        self._begin = 0
        self._process: Process | None = None
        self._next_step = 0
        self._is_closing = False
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run())

    @property
    def is_ready(self) -> bool:
        """Whether the process works. One that is killed before that, again and again, tests nothing."""
        return self._process is not None and READY in self._log.read_text()[self._begin :]

    async def _run(self) -> None:
        while not self._is_closing:
            environment = {**self._environment, "DELIVERY_STEP": str(self._next_step)}
            self._next_step = 0
            with self._log.open("a") as log:
                self._begin = log.tell()
                self._process = await asyncio.create_subprocess_exec(
                    sys.executable, "-m", *self._command, cwd=ROOT, env=environment, stdin=PIPE, stdout=log, stderr=log
                )
            code = await self._process.wait()
            self._process = None
            self._check(code)
            await asyncio.sleep(RESTART_DELAY_S)

    def _check(self, code: int) -> None:
        self._exits[str(code)] += 1
        # SIGTERM: before the handler was installed. 1: the store was not available when the process started.
        is_unavailable = code == 1 and UNAVAILABLE.search(self._log.read_text()[-1_000:])
        if code not in (0, -signal.SIGKILL, -signal.SIGTERM) and not is_unavailable:
            self.problems.append(f"{self.name} ended with {code}")

    def _signal(self, number: int) -> None:
        if self._process is not None:
            with suppress(ProcessLookupError):
                self._process.send_signal(number)

    async def kill(self, chance: Random) -> None:
        self._signal(signal.SIGKILL)

    async def kill_at_step(self, chance: Random) -> None:
        """Kill the process; the next one kills itself before or after a call of the store or the broker."""
        self._next_step = chance.randint(1, MAX_STEP)
        self._signal(signal.SIGKILL)

    async def pause(self, chance: Random) -> None:
        """Stop the process, often for longer than its lease."""
        self._signal(signal.SIGSTOP)
        await asyncio.sleep(LEASE_S * chance.uniform(0.5, 5))
        self._signal(signal.SIGCONT)

    async def terminate(self, chance: Random) -> None:
        self._signal(signal.SIGTERM)

    async def close(self) -> None:
        """Let the process end in order, and do not start it again."""
        self._is_closing = True
        if self._task is None:
            return
        self._signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(asyncio.shield(self._task), STOP_S)
        except TimeoutError:
            self.problems.append(f"{self.name} did not end within {STOP_S:g} s")
            self._signal(signal.SIGKILL)
            await self._task

    def serious_lines(self) -> list[str]:
        """Return what it has logged and no disturbance explains, with the traceback."""
        lines = self._log.read_text(errors="replace").splitlines() if self._log.exists() else []
        found = ["\n".join(lines[n : n + TRACEBACK_LINES]) for n, line in enumerate(lines) if SERIOUS.search(line)]
        return [*self.problems, *(f"{self.name}: {each}" for each in found)]
