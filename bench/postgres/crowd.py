"""Concurrent processes: writers that start together, and a follower that prints the time of each event it handles.

A part prints "ready" when it can start, and starts at the next line of its input.
"""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Coroutine, Sequence, Sized
from typing import Any

from measure import CALLERS, Outcome, check, outcome

__all__ = [
    "PARTS",
    "PART_CALLERS",
    "Follower",
    "Part",
    "begin",
    "child",
    "keep_reading",
    "own_numbers",
    "race",
    "ready",
    "report",
    "wait_for_line",
]

PARTS = 4
PART_CALLERS = CALLERS // PARTS
READY = "ready"
TIMEOUT_S = 600.0


def child(subject: str, workload: str, n: int, url: str) -> list[str]:
    """Return the command of a process that runs one workload."""
    return [sys.executable, "-m", "postgres.child", subject, workload, str(n), url]


def own_numbers(n: int) -> range:
    """Return order numbers that no other process uses."""
    first = os.getpid() * 10_000_000
    return range(first, first + n)


def ready() -> None:
    """Print that this process is ready."""
    print(READY, flush=True)


def wait_for_line() -> None:
    """Wait for the next line of the input: start, or stop."""
    sys.stdin.readline()


def begin() -> None:
    """Print that this process is ready, and wait for the start."""
    ready()
    wait_for_line()


async def keep_reading(reading: Coroutine[Any, Any, None], seen: Sized) -> None:
    """Print "ready" once a reader has received an existing event, and cancel the reader at the next input line."""
    reader = asyncio.create_task(reading)
    while not (seen or reader.done()):  # noqa: ASYNC110 - there is no event to wait for
        await asyncio.sleep(0.005)
    ready()
    await asyncio.to_thread(wait_for_line)
    check("the reader has ended", reader.done(), False)
    reader.cancel()
    await asyncio.gather(reader, return_exceptions=True)


class Part:
    """A running process of a workload."""

    def __init__(self, command: Sequence[str]) -> None:
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def wait_until_ready(self) -> None:
        check("the first line of a part", self.read(), READY)

    def read(self) -> str:
        """Return the next line of its output; empty after its end."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def send_line(self, line: str = "go") -> None:
        """Send the process a line, which starts or stops it."""
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def finish(self) -> Any:
        """Wait for its end; return its last line."""
        lines = self.process.communicate(timeout=TIMEOUT_S)[0].strip().splitlines()
        check("exit of a part", self.process.returncode, 0)
        return json.loads(lines[-1])

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()


def report(seconds: float, latencies_s: Sequence[float]) -> dict[str, Any]:
    """Return the result of a part."""
    return {"seconds": seconds, "latencies_s": [round(each, 7) for each in latencies_s]}


def race(subject: str, n: int, url: str) -> Outcome:
    """Run W3: appends by several processes of several callers each. Each part warms up with a tenth of its appends."""
    parts = list[Part]()
    try:
        for _ in range(PARTS):  # one after another: some libraries cannot be opened concurrently
            parts.append(Part(child(subject, "W3-part", n // PARTS, url)))
            parts[-1].wait_until_ready()
        for part in parts:
            part.send_line()
        found = [part.finish() for part in parts]
    finally:
        for part in parts:
            part.kill()
    latencies = [each for one in found for each in one["latencies_s"]]
    done, warm_up = len(latencies), n // PARTS // 10 * PARTS
    return outcome(done, max(one["seconds"] for one in found), latencies, stored=done + warm_up)


class Follower:
    """A process that handles events and prints the time, on the monotonic clock that all processes share."""

    def __init__(self, subject: str, url: str) -> None:
        self._part = Part(child(subject, "follow", 0, url))
        self._part.wait_until_ready()
        time.sleep(0.5)

    def __enter__(self) -> "Follower":
        return self

    def __exit__(self, *_: object) -> None:
        self._part.kill()

    def handled_at(self) -> float:
        """Return the time at which it handled the next event."""
        line = self._part.read()
        if not line:
            raise RuntimeError("the process that handles events has ended; see its message above")
        return float(line)
