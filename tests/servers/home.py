"""A temporary directory for one server: both end with this process, however this process ends."""

import contextlib
import os
import random
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

UNPRIVILEGED = 65534
# Below the ports that systems give to clients: a server that is started again finds its port free.
PORTS = range(20_000, 32_000)
START_TIMEOUT_S = 30.0

# Standard input tells the process to end, line by line; it closes when the process that wrote it ends, even by SIGKILL.
WATCHER = """
trap '' HUP INT TERM
while read -r line; do pid=$line; done
if [ -n "$pid" ] && kill -s "$1" "$pid" 2>/dev/null; then
    kill -s CONT "$pid" 2>/dev/null
    left=200
    while kill -0 "$pid" 2>/dev/null && [ $((left -= 1)) -gt 0 ]; do sleep 0.05; done
    kill -s KILL "$pid" 2>/dev/null
fi
rm -rf "$2"
"""


class Home:
    """Where a server lives, as whom it runs, and who ends it.

    Servers of databases refuse to run as root; for root, they run as an unprivileged user.

    Args:
        name: of the server, part of the directory's name.
        end_with: the signal that ends the server at once.
    """

    def __init__(self, name: str, end_with: str) -> None:
        self.path = Path(tempfile.mkdtemp(prefix=f"fait-{name}-"))
        self._account = account()
        self._watcher = subprocess.Popen(
            ["/bin/sh", "-c", WATCHER, "watcher", end_with, self.path],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,  # it outlives this process, whose output another process may read to its end
            stderr=subprocess.DEVNULL,
            cwd="/",
            start_new_session=True,
        )
        self._server: subprocess.Popen[bytes] | None = None
        if self._account:
            os.chown(self.path, UNPRIVILEGED, UNPRIVILEGED)

    @property
    def log(self) -> Path:
        return self.path / "server.log"

    def run(self, *command: str | Path) -> None:
        """Run a program to its end; its output is in the error if it fails."""
        done = subprocess.run(
            command, cwd=self.path, env=environment(), capture_output=True, text=True, check=False, **self._account
        )
        if done.returncode:
            raise RuntimeError(f"{Path(command[0]).name} failed:\n{done.stdout}{done.stderr}")

    def start(self, *command: str | Path, is_ready: Callable[[int], bool]) -> int:
        """Start the server and wait until it is ready, asked by its process id, which is returned."""
        with self.log.open("ab") as log:
            self._server = subprocess.Popen(
                command,
                cwd=self.path,
                env=environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # an interrupt at the terminal is for the tests, not for the server
                **self._account,
            )
        self._watch(str(self._server.pid))
        end = time.monotonic() + START_TIMEOUT_S
        while not is_ready(self._server.pid):
            if self._server.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"{Path(command[0]).name} did not start:\n{self.log.read_text(errors='replace')}")
            time.sleep(0.01)
        return self._server.pid

    def stop(self, signal: int, timeout_s: float = 30.0) -> None:
        """Send a signal that ends the server, and wait until it has ended."""
        assert self._server is not None, "it is not running"
        self._server.send_signal(signal)
        self._server.wait(timeout_s)
        self._server = None
        self._watch("")

    def close(self) -> None:
        """End the server at once and remove the directory, by the way that is taken when this process dies."""
        with contextlib.suppress(BrokenPipeError):
            self._input.close()
        if self._server is not None:
            self._server.wait()
            self._server = None
        self._watcher.wait()

    def _watch(self, pid: str) -> None:
        self._input.write(f"{pid}\n".encode())
        self._input.flush()

    @property
    def _input(self) -> IO[bytes]:
        assert self._watcher.stdin is not None
        return self._watcher.stdin


def account() -> dict[str, Any]:
    """How `subprocess` starts a server as a user that servers accept."""
    return {"user": UNPRIVILEGED, "group": UNPRIVILEGED, "extra_groups": []} if os.geteuid() == 0 else {}


def environment() -> Mapping[str, str]:
    """This process's, less what PostgreSQL's programs would take as their own settings."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "LC_", "LANG"))}
    return kept | {"LC_ALL": "C", "TZ": "UTC"}


def free_port() -> int:
    """A port of the loopback interface without a listener."""
    chance = random.SystemRandom()  # seeded tests of several processes would all choose the same
    while True:
        port = chance.choice(PORTS)
        with socket.socket() as tried, contextlib.suppress(OSError):
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            tried.bind(("127.0.0.1", port))
            return port
