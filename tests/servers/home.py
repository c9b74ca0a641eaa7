"""A temporary directory for one server; both are removed when this process ends, even by SIGKILL."""

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
# Below the ephemeral ports, so that a restarted server finds its port free.
PORTS = range(20_000, 32_000)
START_TIMEOUT_S = 60.0

# Reads process ids from standard input. When it is closed, also by SIGKILL, the server is ended.
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
    """The directory, the user and the watcher process of a server.

    The watcher ends the server and removes the directory when this process has ended.

    If this process runs as root, the server runs as an unprivileged user, because PostgreSQL refuses to run as root.

    Args:
        name: name of the server, part of the directory's name.
        end_with: the signal that terminates the server immediately, as an argument of kill -s.
    """

    def __init__(self, name: str, end_with: str) -> None:
        self.path = Path(tempfile.mkdtemp(prefix=f"fait-{name}-"))
        self._account = account()
        self._watcher = subprocess.Popen(
            ["/bin/sh", "-c", WATCHER, "watcher", end_with, self.path],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,  # it outlives this process, and must not keep its output open
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
        """Run a program; the error of a failure contains its output."""
        done = subprocess.run(
            command, cwd=self.path, env=environment(), capture_output=True, text=True, check=False, **self._account
        )
        if done.returncode:
            raise RuntimeError(f"{Path(command[0]).name} failed:\n{done.stdout}{done.stderr}")

    def start(self, *command: str | Path, is_ready: Callable[[int], bool]) -> int:
        """Start the server, wait until `is_ready(pid)`, and return its process id."""
        with self.log.open("ab") as log:
            self._server = subprocess.Popen(
                command,
                cwd=self.path,
                env=environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C must reach the tests and not the server
                **self._account,
            )
        self._watch(str(self._server.pid))
        end = time.monotonic() + START_TIMEOUT_S
        while not is_ready(self._server.pid):
            if self._server.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"{Path(command[0]).name} did not start:\n{self.log.read_text(errors='replace')}")
            time.sleep(0.01)
        return self._server.pid

    def signal(self, number: int) -> None:
        """Send a signal that does not terminate the server."""
        assert self._server is not None, "it is not running"
        self._server.send_signal(number)

    def stop(self, signal: int, timeout_s: float = 30.0) -> None:
        """Send a signal that terminates the server, and wait for its end."""
        assert self._server is not None, "it is not running"
        self._server.send_signal(signal)
        self._server.wait(timeout_s)
        self._server = None
        self._watch("")

    def close(self) -> None:
        """Let the watcher terminate the server and remove the directory, as at the end of this process."""
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
    """Return the arguments of `subprocess` to start a server as an unprivileged user; none if this is not root."""
    return {"user": UNPRIVILEGED, "group": UNPRIVILEGED, "extra_groups": []} if os.geteuid() == 0 else {}


def environment() -> Mapping[str, str]:
    """Return the environment of this process without variables that PostgreSQL's programs read."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "LC_", "LANG"))}
    return kept | {"LC_ALL": "C", "TZ": "UTC"}


def free_port() -> int:
    """Return an unused port of the loopback interface."""
    chance = random.SystemRandom()  # with a seed, concurrent test processes would choose the same port
    while True:
        port = chance.choice(PORTS)
        with socket.socket() as tried, contextlib.suppress(OSError):
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            tried.bind(("127.0.0.1", port))
            return port
