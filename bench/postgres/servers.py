"""The servers of a run: PostgreSQL with durable settings, UmaDB where needed, and slow connections to both."""

import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psycopg
from measure import check
from postgres.crowd import child
from postgres.goals import SUBJECTS

from tests.servers.home import free_port
from tests.servers.postgres import PostgresServer, installations

__all__ = ["SETTINGS", "Servers", "events_in", "positions_in"]

VERSION = 18
QUARTER_OF_MEMORY = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 4
SETTINGS = {
    "fsync": "on",
    "full_page_writes": "on",
    "synchronous_commit": "on",
    "shared_buffers": f"{QUARTER_OF_MEMORY >> 20}MB",  # recommended by the manual
    "max_wal_size": "8GB",
    "max_connections": "300",
    "checkpoint_timeout": "30min",
}
SETTINGS_SHOWN = (
    "fsync",
    "full_page_writes",
    "synchronous_commit",
    "wal_sync_method",
    "shared_buffers",
    "max_wal_size",
)
START_S = 20.0


class Servers:
    """The servers of one run.

    Args:
        folder: Folder for data. It must be on a disk; otherwise the figures are meaningless.
        latencies_ms: Round-trip latencies of the network in milliseconds; 0 for none.

    Attributes:
        settings: Settings of PostgreSQL, read back.
        round_trip_us: Duration of `SELECT 1` in microseconds, by latency.
    """

    def __init__(self, folder: Path, latencies_ms: Sequence[float]) -> None:
        if VERSION not in installations():
            raise SystemExit(f"PostgreSQL {VERSION} is not installed. Install it with: make bench-postgres")
        self._folder = folder
        self._latencies = latencies_ms
        self._stack = ExitStack()
        self._databases = 0
        tempfile.tempdir = str(folder)  # servers create their data folders here

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self.postgres = stack.enter_context(PostgresServer(VERSION, SETTINGS))
            with psycopg.connect(self.postgres.url) as connection:
                self.version = _first(connection.execute("SHOW server_version"))
                self.settings = {name: _first(connection.execute(f"SHOW {name}")) for name in SETTINGS_SHOWN}
            for name in ("fsync", "full_page_writes", "synchronous_commit"):
                check(name, self.settings[name], "on")
            ports = {each: stack.enter_context(_delayed(self.postgres.port, each)) for each in self._latencies}
            self._ports = ports
            self.round_trip_us = {each: _round_trip_us(port) for each, port in ports.items()}
            self._stack = stack.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stack.close()

    @property
    def pgbench(self) -> str:
        """Path of the pgbench program."""
        return str(self.postgres.programs / "pgbench")

    @contextmanager
    def place(self, subject: str, latency_ms: float) -> Generator[tuple[str, str]]:
        """Create a database or server for a subject; yield its URL, and its URL without latency."""
        if SUBJECTS[subject].module == "umadb_server":
            with self._umadb(latency_ms) as urls:
                yield urls
            return
        with self.database() as direct:
            url = direct.replace(f":{self.postgres.port}/", f":{self._ports[latency_ms]}/")
            options = SUBJECTS[subject].options
            yield f"{url}?{options}" if options else url, direct

    @contextmanager
    def database(self) -> Generator[str]:
        """Create a database and yield its URL."""
        self._databases += 1
        name = f"bench_{self._databases}"
        self._administer(f"CREATE DATABASE {name}", "CHECKPOINT")
        try:
            yield self.postgres.url.removesuffix("postgres") + name
        finally:
            self._administer(f"DROP DATABASE {name} WITH (FORCE)")

    def restart_cold(self) -> None:
        """Restart PostgreSQL with cold caches; on Linux including the page cache of the operating system."""
        self.postgres.stop()
        for path in self.postgres.data.rglob("*"):
            if path.is_file() and hasattr(os, "posix_fadvise"):
                descriptor = os.open(path, os.O_RDONLY)
                os.fsync(descriptor)
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
                os.close(descriptor)
        self.postgres.start()

    def _administer(self, *statements: str) -> None:
        with psycopg.connect(self.postgres.url, autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement)

    @contextmanager
    def _umadb(self, latency_ms: float) -> Generator[tuple[str, str]]:
        program = Path(sys.executable).with_name("umadb")
        if not program.exists():
            raise ModuleNotFoundError("No module named 'umadb'")
        port, folder = free_port(), tempfile.mkdtemp(prefix="umadb-", dir=self._folder)
        command = [program, "--listen", f"127.0.0.1:{port}", "--db-path", folder]
        server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            _wait_for(port)
            with _delayed(port, latency_ms) as near:
                yield f"http://127.0.0.1:{near}", f"http://127.0.0.1:{port}"
        finally:
            server.terminate()
            server.wait(30)
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _delayed(port: int, latency_ms: float) -> Generator[int]:
    """Yield a port that forwards to another one with this round-trip latency."""
    if not latency_ms:
        yield port
        return
    command = [sys.executable, "-m", "postgres.proxy", str(port), str(latency_ms / 2)]
    proxy = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert proxy.stdin is not None
    assert proxy.stdout is not None
    try:
        yield int(proxy.stdout.readline())
    finally:
        proxy.stdin.close()
        proxy.wait(10)
        proxy.stdout.close()


def _first(cursor: psycopg.Cursor[Any]) -> str:
    [(found,)] = cursor.fetchall()
    return str(found)


def _wait_for(port: int) -> None:
    end = time.monotonic() + START_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.02)
        else:
            return


def _round_trip_us(port: int, count: int = 100) -> float:
    durations = list[float]()
    with psycopg.connect(f"postgresql://postgres@127.0.0.1:{port}/postgres", autocommit=True) as connection:
        for _ in range(count):
            started = time.perf_counter()
            connection.execute("SELECT 1", prepare=True)
            durations.append(time.perf_counter() - started)
    return round(statistics.median(durations) * 1e6)


def events_in(url: str, table: str) -> int:
    """Count the stored events, independently of the program that wrote them."""
    if url.startswith("http"):
        return len(_umadb_positions(url))
    return _fetch(url, f"SELECT count(*) FROM {table}")[0][0]  # noqa: S608


def positions_in(url: str, table: str, column: str) -> list[int]:
    """Return the positions of all events in order."""
    if url.startswith("http"):
        return _umadb_positions(url)
    return [row[0] for row in _fetch(url, f"SELECT {column} FROM {table} ORDER BY 1")]  # noqa: S608


def _umadb_positions(url: str) -> list[int]:
    """Read the positions in another process, because the client of UmaDB takes over SIGINT."""
    done = subprocess.run(child("umadb", "positions", 0, url), check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout)["positions"]


def _fetch(url: str, statement: str) -> list[Any]:
    with psycopg.connect(url) as connection:
        return connection.execute(statement).fetchall()
