"""Child processes: start them, read their output, kill them."""

import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path


class Child:
    """A Python program in a process; its output lines are collected while it runs."""

    def __init__(self, *arguments: str) -> None:
        self.lines: list[str] = []
        self._process = subprocess.Popen(
            [sys.executable, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True, cwd=Path(__file__).parents[2],
        )  # fmt: skip
        self._readers = [threading.Thread(target=each, daemon=True) for each in (self._collect, self._collect_errors)]
        self.errors: list[str] = []
        for reader in self._readers:
            reader.start()

    def _collect(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.endswith("\n"):  # a killed process may leave half a line, which does not count as acknowledged
                self.lines.append(line.strip())

    def _collect_errors(self) -> None:
        assert self._process.stderr is not None
        self.errors.extend(self._process.stderr)

    def has_printed(self, count: int = 1) -> bool:
        assert self._process.poll() is None, "".join(self.errors)
        return len(self.lines) >= count

    def send_line(self) -> None:
        """Let the program continue that waits for a line."""
        assert self._process.stdin is not None
        print(file=self._process.stdin, flush=True)

    def kill(self) -> None:
        """Send SIGKILL, and read the remaining output."""
        self._process.kill()
        self.finish()

    def terminate(self) -> None:
        """Send SIGTERM, and read the remaining output."""
        self._process.terminate()
        self.finish()

    def finish(self) -> int:
        """Wait until the program ends, read the remaining output, and return the exit code."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        code = self._process.wait(timeout=60)
        for reader in self._readers:
            reader.join()
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self._process.stdout.close()
        self._process.stderr.close()
        return code


def until(is_so: Callable[[], bool], timeout_s: float = 30.0) -> None:
    """Wait until a condition holds that other processes establish."""
    end = time.monotonic() + timeout_s
    while not is_so():
        assert time.monotonic() < end, "timeout"
        time.sleep(0.005)


def program(name: str) -> str:
    return str(Path(__file__).with_name(name))
