"""Connections to an SQLite file, with the settings all of ours have, and what SQLite's errors mean for a caller."""

import random
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from typing import Any, Final, Literal, Protocol, cast

import apsw

from fait._errors import FaitError, StoreUnavailable

__all__ = [
    "BUSY_TIMEOUT_MS",
    "MIN_SQLITE",
    "BusyHandler",
    "SqliteConnection",
    "Synchronous",
    "connect",
    "connect_readonly",
    "map_error",
]

Synchronous = Literal["FULL", "NORMAL"]


class Cursor(Protocol):
    """What a statement gives: `get` is its only value, None without a row, or a tuple or list of them."""

    get: Any

    def fetchall(self) -> list[Any]:
        """All rows, as tuples."""
        ...

    def __iter__(self) -> Iterator[Any]: ...


class SqliteConnection(Protocol):
    """The part of `apsw.Connection` that is used here, with types that say what comes out."""

    authorizer: Any

    def execute(self, statements: str, bindings: Sequence[Any] | None = None) -> Cursor:
        """Run statements."""
        ...

    def executemany(self, statements: str, sequenceofbindings: Sequence[Sequence[Any]]) -> Cursor:
        """Run a statement for each of the bindings."""
        ...

    def pragma(self, name: str, value: Any = None) -> Any:
        """Read or set a pragma."""
        ...

    def set_busy_handler(self, handler: Callable[[int], bool] | None) -> None:
        """Who says whether to try again when another connection is in the way; with None nobody does."""
        ...

    def set_wal_hook(self, hook: Callable[[Any, str, int], int] | None) -> None:
        """Have this called after each commit with the pages in the write-ahead log, in place of a checkpoint."""
        ...

    def wal_checkpoint(self) -> Any:
        """Move the write-ahead log into the file, as far as nobody is in the way."""
        ...

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open."""
        ...

    def close(self) -> None:
        """Close it."""
        ...


MIN_SQLITE: Final = 3_051_003
"""The first SQLite without the WAL-reset bug, which could lose a commit when two connections met at a checkpoint."""

BUSY_TIMEOUT_MS: Final = 30_000
"""How long a writer waits for another process's transaction before it gives up."""


def connect(
    path: str, *, synchronous: Synchronous = "FULL", busy_timeout_ms: int = BUSY_TIMEOUT_MS
) -> SqliteConnection:
    """Open a file with the settings every connection of fait has, and make sure that they hold."""
    if apsw.SQLITE_VERSION_NUMBER < MIN_SQLITE:
        raise StoreUnavailable(
            f"SQLite {apsw.sqlite_lib_version()} can lose commits in WAL mode (fixed in 3.51.3). "
            "Install apsw from a wheel, which brings a current SQLite: pip install --upgrade --only-binary :all: apsw"
        )
    try:
        driver = apsw.Connection(path)
        driver.set_busy_handler(BusyHandler(busy_timeout_ms / 1000))
        driver.create_collation("decimal", _compare_decimals)
        # Plans do not depend on parameters. Without this, SQLite prepares many statements anew for each value.
        driver.config(apsw.SQLITE_DBCONFIG_ENABLE_QPSG, 1)
        # A quoted name that is misspelt is an error, not a text.
        driver.config(apsw.SQLITE_DBCONFIG_DQS_DML, 0)
        driver.config(apsw.SQLITE_DBCONFIG_DQS_DDL, 0)
        connection = cast("SqliteConnection", driver)
        if connection.pragma("journal_mode", "WAL") != "wal":
            raise StoreUnavailable(f"{path} cannot be put into WAL mode: is it on a network file system?")
        connection.pragma("synchronous", synchronous)
        if sys.platform == "darwin":
            connection.pragma("fullfsync", 1)
    except apsw.Error as problem:
        raise map_error(problem, path) from problem
    return connection


class BusyHandler:
    """Waits for another process's transaction with short pauses, so that writers take turns.

    SQLite's own pauses grow to 100 ms: whoever has waited long then waits longest.
    """

    def __init__(self, timeout_s: float = BUSY_TIMEOUT_MS / 1000) -> None:
        self._timeout_s = timeout_s
        self._end = 0.0

    def __call__(self, attempt: int) -> bool:
        """Pause, and say whether to try again."""
        now = time.monotonic()
        if attempt == 0:
            self._end = now + self._timeout_s
        if now >= self._end:
            return False
        time.sleep(random.uniform(0.0002, min(0.005, 0.0005 * (attempt + 1))))  # noqa: S311
        return True


def connect_readonly(path: str) -> SqliteConnection:
    """Open a file to look at it: nothing of it is changed, and it is not created."""
    return cast("SqliteConnection", apsw.Connection(path, apsw.SQLITE_OPEN_READONLY))


def map_error(problem: apsw.Error, path: str | None = None) -> FaitError:
    """What an SQLite error means for a caller; decided by its class, never by its text."""
    where = path or "the database"
    match problem:
        case apsw.FullError():
            text = f"{where}: the disk is full. Make room and try again."
        case apsw.BusyError() | apsw.LockedError():
            text = (
                f"{where}: another process held its write lock for more than {BUSY_TIMEOUT_MS / 1000:g} s. Try again."
            )
        case apsw.CantOpenError():
            text = f"{where} cannot be opened: does its directory exist, and may this user write there?"
        case apsw.NotADBError():
            text = f"{where} is not an SQLite database."
        case apsw.CorruptError():
            text = f"{where} is damaged. Stop writing to it, and restore a backup or recover it with sqlite3 .recover."
        case apsw.ReadOnlyError() | apsw.PermissionsError() | apsw.AuthError():
            text = f"{where} may not be written by this user."
        case _:
            text = f"{where}: {type(problem).__name__}: {problem}."
    return StoreUnavailable(text)


def _compare_decimals(one: str, other: str) -> int:
    a, b = Decimal(one), Decimal(other)
    return (a > b) - (a < b)
