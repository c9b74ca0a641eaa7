"""Connections to an SQLite file with the settings that fait requires, and the translation of SQLite errors."""

import random
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, Literal, Protocol, cast

import apsw

from fait._errors import FaitError, StoreUnavailable, UsageError

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
    """The result of a statement. `get` is a value, a tuple for one row, a list for several rows, or None."""

    get: Any

    def fetchall(self) -> list[Any]:
        """All rows, as tuples."""
        ...

    def close(self) -> None:
        """End the statement, also if it has further rows."""
        ...

    def __iter__(self) -> Iterator[Any]: ...


class SqliteConnection(Protocol):
    """The part of `apsw.Connection` that this backend uses, with precise types."""

    authorizer: Any
    exec_trace: Any
    filename: str

    def execute(self, statements: str, bindings: Sequence[Any] | Mapping[str, Any] | None = None) -> Cursor:
        """Run one or more statements."""
        ...

    def executemany(self, statements: str, sequenceofbindings: Sequence[Sequence[Any]]) -> Cursor:
        """Run a statement once for each sequence of bindings."""
        ...

    def pragma(self, name: str, value: Any = None) -> Any:
        """Read or set a pragma."""
        ...

    def set_busy_handler(self, handler: Callable[[int], bool] | None) -> None:
        """Set the function that decides whether to retry when the database is locked; None fails immediately."""
        ...

    def set_wal_hook(self, hook: Callable[[Any, str, int], int] | None) -> None:
        """Set the function called after each commit with the number of WAL pages.

        It replaces automatic WAL checkpoints.
        """
        ...

    def set_progress_handler(self, handler: Callable[[], bool] | None, nsteps: int) -> None:
        """Set the function called after each number of steps of a statement. If it returns True, the statement ends."""
        ...

    def wal_checkpoint(self) -> Any:
        """Run a passive WAL checkpoint: copy WAL pages into the file as far as no reader needs the old ones."""
        ...

    def config(self, op: int, *arguments: int) -> int:
        """Call `sqlite3_db_config` of SQLite."""
        ...

    def file_control(self, dbname: str, op: int, pointer: int) -> bool:
        """Call `sqlite3_file_control` of SQLite."""
        ...

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open."""
        ...

    def close(self) -> None:
        """Close the connection."""
        ...


MIN_SQLITE: Final = 3_051_003
"""Minimum version of SQLite: the first without the WAL-reset bug, which loses a commit if one connection commits while
another one finishes a WAL checkpoint."""

BUSY_TIMEOUT_MS: Final = 30_000
"""Timeout for acquiring the write lock while another process holds it."""


def connect(
    path: str, *, synchronous: Synchronous = "FULL", busy_timeout_ms: int = BUSY_TIMEOUT_MS
) -> SqliteConnection:
    """Open a file with the settings that fait requires, and verify them.

    Raises:
        StoreUnavailable: the file cannot be opened or put into WAL mode, or this SQLite is too old.
    """
    if apsw.SQLITE_VERSION_NUMBER < MIN_SQLITE:
        raise StoreUnavailable(
            f"SQLite {apsw.sqlite_lib_version()} can lose commits in WAL mode (fixed in 3.51.3). "
            "Install apsw from a wheel, which has a current SQLite: pip install --upgrade --only-binary :all: apsw."
        )
    try:
        driver = apsw.Connection(path)
        try:
            return _configured(driver, path, synchronous, busy_timeout_ms)
        except BaseException:
            # fault: unusable-connection-left-open
            driver.close()  # now: the traceback of the error refers to it
            raise
    except apsw.Error as error:
        raise map_error(error, path) from error


def _configured(driver: apsw.Connection, path: str, synchronous: Synchronous, busy_timeout_ms: int) -> SqliteConnection:
    busy_handler = BusyHandler(busy_timeout_ms / 1000)
    driver.set_busy_handler(busy_handler)
    # Query plans must not depend on parameter values. Otherwise SQLite prepares many statements for each value.
    driver.config(apsw.SQLITE_DBCONFIG_ENABLE_QPSG, 1)
    # A misspelled quoted identifier is an error, not a string literal.
    driver.config(apsw.SQLITE_DBCONFIG_DQS_DML, 0)
    driver.config(apsw.SQLITE_DBCONFIG_DQS_DDL, 0)
    connection = cast("SqliteConnection", driver)
    if _set_wal_mode(connection, busy_handler) != "wal":
        raise StoreUnavailable(
            f"{path} cannot be put into WAL mode. SQLite requires a local file system for it, not a network "
            "file system."
        )
    connection.pragma("synchronous", synchronous)
    if sys.platform == "darwin":
        connection.pragma("fullfsync", 1)
    return connection


def _set_wal_mode(connection: SqliteConnection, busy_handler: "BusyHandler") -> str:
    """Put a file into WAL mode, and return the resulting mode.

    If another process does the same to a new file, SQLite fails without a call of the busy handler: each of them has
    locked the file for reading and waits for the other.
    """
    attempt = 0
    while True:
        try:
            return connection.pragma("journal_mode", "WAL")
        except apsw.BusyError:
            # fault: new-file-locked
            if not busy_handler(attempt):
                raise
            attempt += 1


class BusyHandler:
    """Retries at short random intervals while another process holds the write lock.

    SQLite's built-in handler backs off up to 100 ms, so that the writer that has waited longest retries least often.

    Attributes:
        waits: whether to retry at all. This is cheaper to change than the handler of a connection.
    """

    def __init__(self, timeout_s: float = BUSY_TIMEOUT_MS / 1000) -> None:
        self.waits = True
        self._timeout_s = timeout_s
        self._deadline = 0.0

    def __call__(self, attempt: int) -> bool:
        """Sleep, and return whether to retry."""
        now = time.monotonic()
        if attempt == 0:
            self._deadline = now + self._timeout_s
        if not self.waits or now >= self._deadline:
            return False
        time.sleep(random.uniform(0.0002, min(0.005, 0.0005 * (attempt + 1))))  # noqa: S311
        return True


def connect_readonly(path: str) -> SqliteConnection:
    """Open an existing file read-only."""
    return cast("SqliteConnection", apsw.Connection(path, apsw.SQLITE_OPEN_READONLY))


def map_error(error: apsw.Error, path: str | None = None) -> FaitError:
    """The fait error for an SQLite error. The class of the error decides, not its text."""
    where = path or "the database"
    match error:
        case apsw.FullError():
            text = f"{where}: the disk is full. Free some space and retry."
        case apsw.BusyError() | apsw.LockedError():
            text = (
                f"{where}: another process holds the write lock. Retry; if it happens again, find the process with the "
                "long transaction."
            )
        case apsw.CantOpenError():
            text = f"{where} cannot be opened. Check that the directory exists and that this user may write to it."
        case apsw.NotADBError():
            text = f"{where} is not an SQLite database."
        case apsw.CorruptError():
            text = (
                f"{where} is corrupt. Stop all writers, and restore a backup or recover the file with "
                "`sqlite3 FILE .recover`."
            )
        case apsw.ReadOnlyError() | apsw.PermissionsError() | apsw.AuthError():
            text = (
                f"{where} is read-only for this user. Check the permissions of the file and its directory: even to "
                "read, SQLite creates files there."
            )
        case apsw.SQLError():
            return UsageError(
                f"{where}: a table or column is missing or different ({error}). It was changed by hand, or is of "
                "another version of fait or of the app. Nothing was written. Check the migrations with fait db "
                "status and the store with fait doctor; rebuild a read model."
            )
        case apsw.ConstraintError() | apsw.MismatchError() | apsw.TooBigError() | apsw.RangeError():
            return UsageError(
                f"{where}: SQLite rejected a value ({type(error).__name__}). Nothing was written. Change the value, or "
                "the constraint that rejects it."
            )
        case _:
            text = f"{where}: {type(error).__name__}: {error}."
    return StoreUnavailable(text)
