"""What the servers of message brokers have in common: one process on a random port, which tests kill and freeze."""

import os
import shutil
import signal
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from tests.servers.home import Home, account, environment, free_port

Server = TypeVar("Server", bound="BrokerServer")

LARGE_SERVER = "large server"
"""Name of the property in a report that says which large server a test uses."""

SHARED: dict[str, Any] = {}
"""Servers that this process shares with processes that it forks, by name. The tests of a fork do not stop them."""


@contextmanager
def running(name: str, start: Callable[[], Server]) -> Generator[Server]:
    """Return the server of a name that the parent process shares; if there is none, start one."""
    if shared := SHARED.get(name):
        yield shared
    else:
        with start() as started:
            yield started


class BrokerServer(ABC):
    """One broker with a fresh data directory, ready for clients.

    The server ends and its data is removed when this process ends, even by SIGKILL.

    Raises:
        RuntimeError: it did not start; the message has its log.
    """

    name: str
    """Name of the server, part of its directory's name."""

    end_with = "TERM"
    """The signal that ends the server, as an argument of kill -s."""

    data = "data"
    """Name of the folder with its data, in its directory."""

    def __init__(self, program: Path) -> None:
        self.port = free_port()
        self._home = Home(self.name, end_with=self.end_with)
        try:
            self._program = accessible(program, self._home.path)
            self.prepare()
            self.start()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    @abstractmethod
    def prepare(self) -> None:
        """Write what the server reads when it starts."""
        ...

    @abstractmethod
    def arguments(self) -> list[str | Path]:
        """Return the arguments of the server's program."""
        ...

    @abstractmethod
    def is_ready(self, pid: int) -> bool:
        """Whether the server answers, with its data loaded."""
        ...

    @property
    def directory(self) -> Path:
        """The directory with the server's data, its log and its configuration."""
        return self._home.path

    @property
    def log(self) -> Path:
        """The log of all runs of the server."""
        return self._home.log

    def start(self) -> None:
        """Start it with the same data and port, and wait until it is ready."""
        self.pid = self._home.start(self._program, *self.arguments(), is_ready=self.is_ready)

    def stop(self) -> None:
        """Let it end in order."""
        self._home.stop(signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL: the server writes nothing any more, and its clients lose their connections."""
        self._home.stop(signal.SIGKILL)

    def save(self, folder: Path) -> None:
        """Copy its data as it is, while it stands still."""
        self.stop()
        subprocess.run(["cp", "-a", self.directory, folder], check=True)
        self.start()

    def restore(self, folder: Path) -> None:
        """Let it run with the data that was copied, as after a failover to a copy that lags behind."""
        self.kill()
        for each in self.directory.iterdir():
            if each != self.log:
                subprocess.run(["rm", "-rf", each], check=True)
        subprocess.run(["cp", "-a", "--no-clobber", f"{folder}/.", self.directory], check=True)
        self.start()

    def erase(self) -> None:
        """Delete its data while it is stopped."""
        shutil.rmtree(self.directory / self.data)

    def freeze(self) -> None:
        """Send SIGSTOP, and wait until all threads have stopped: connections stay open, and nothing is answered."""
        self._home.signal(signal.SIGSTOP)
        os.waitpid(self.pid, os.WUNTRACED)

    def thaw(self) -> None:
        """Let a frozen server continue."""
        self._home.signal(signal.SIGCONT)

    def close(self) -> None:
        """Stop it and remove its data."""
        self._home.close()


def installed(name: str) -> Path | None:
    """Return a server's program: from a wheel in this environment, or a package of the system."""
    places = [str(Path(sys.executable).parent), "/usr/bin", "/usr/local/bin", "/opt/homebrew/bin"]
    found = shutil.which(name, path=":".join(places))
    return Path(found) if found else None


def accessible(program: Path, directory: Path) -> Path:
    """Return a program that the server's user can run: a copy if a parent folder denies access."""
    try:
        subprocess.run([program, "--version"], cwd="/", env=environment(), capture_output=True, check=True, **account())
    except PermissionError:
        return Path(shutil.copy(program, directory))
    return program
