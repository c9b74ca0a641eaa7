"""Connections and the threads that own them: one writer with group commit, a few readers beside it.

SQLite has one writer at a time. Whatever was asked for while a commit was under way goes together into the next
transaction, so that many callers share one fsync. Readers see the last commit and never wait.
"""

import asyncio
import queue
import random
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from typing import Any, Final, Literal, Protocol, TypeVar, cast

import apsw

from fait.errors import FaitError, StoreUnavailable
from fait.telemetry import logger

__all__ = [
    "BUSY_TIMEOUT_MS",
    "MAX_BATCH",
    "MIN_SQLITE",
    "Connection",
    "Direct",
    "Readers",
    "Synchronous",
    "Writer",
    "connect",
    "connect_reading",
    "unavailable",
]

T = TypeVar("T")
Synchronous = Literal["FULL", "NORMAL"]


class Rows(Protocol):
    """What a statement gives: `get` is its only value, None without a row, or a tuple or list of them."""

    get: Any

    def fetchall(self) -> list[Any]:
        """All rows, as tuples."""
        ...

    def __iter__(self) -> Iterator[Any]: ...


class Connection(Protocol):
    """The part of `apsw.Connection` that is used here, with types that say what comes out."""

    authorizer: Any

    def execute(self, statements: str, bindings: Sequence[Any] | None = None) -> Rows:
        """Run statements."""
        ...

    def executemany(self, statements: str, sequenceofbindings: Sequence[Sequence[Any]]) -> Rows:
        """Run a statement for each of the bindings."""
        ...

    def pragma(self, name: str, value: Any = None) -> Any:
        """Read or set a pragma."""
        ...

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open."""
        ...

    def close(self) -> None:
        """Close it."""
        ...


Job = Callable[[Connection], Any]

MIN_SQLITE: Final = 3_051_003
"""The first SQLite without the WAL-reset bug, which could lose a commit when two connections met at a checkpoint."""

BUSY_TIMEOUT_MS: Final = 30_000
"""How long a writer waits for another process's transaction before it gives up."""

MAX_BATCH: Final = 256
"""Most requests of one transaction: bounds how long the first of them waits for the last."""


def connect(path: str, *, synchronous: Synchronous = "FULL", busy_timeout_ms: int = BUSY_TIMEOUT_MS) -> Connection:
    """Open a file with the settings every connection of fait has, and make sure that they hold."""
    if apsw.SQLITE_VERSION_NUMBER < MIN_SQLITE:
        raise StoreUnavailable(
            f"SQLite {apsw.sqlite_lib_version()} can lose commits in WAL mode (fixed in 3.51.3). "
            "Install apsw from a wheel, which brings a current SQLite: pip install --upgrade --only-binary :all: apsw"
        )
    try:
        driver = apsw.Connection(path)
        driver.set_busy_handler(_Patience(busy_timeout_ms / 1000))
        driver.create_collation("decimal", _compare_decimals)
        # Plans do not depend on parameters. Without this, SQLite prepares many statements anew for each value.
        driver.config(apsw.SQLITE_DBCONFIG_ENABLE_QPSG, 1)
        # A quoted name that is misspelt is an error, not a text.
        driver.config(apsw.SQLITE_DBCONFIG_DQS_DML, 0)
        driver.config(apsw.SQLITE_DBCONFIG_DQS_DDL, 0)
        connection = cast("Connection", driver)
        if connection.pragma("journal_mode", "WAL") != "wal":
            raise StoreUnavailable(f"{path} cannot be put into WAL mode: is it on a network file system?")
        connection.pragma("synchronous", synchronous)
        if sys.platform == "darwin":
            connection.pragma("fullfsync", 1)
    except apsw.Error as problem:
        raise unavailable(problem, path) from problem
    return connection


class _Patience:
    """Waits for another process's transaction with short pauses, so that writers take turns.

    SQLite's own pauses grow to 100 ms: whoever has waited long then waits longest.
    """

    def __init__(self, timeout_s: float) -> None:
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


def connect_reading(path: str) -> Connection:
    """Open a file to look at it: nothing of it is changed, and it is not created."""
    return cast("Connection", apsw.Connection(path, apsw.SQLITE_OPEN_READONLY))


class Direct:
    """A future whose callback is called at once when the answer arrives, not in the event loop's next turn."""

    __slots__ = ("_callback", "_outcome", "_then")

    def __init__(self, then: Callable[[Any], object] | None = None) -> None:
        self._outcome: Any = None
        self._callback: Callable[[Any], object] | None = None
        self._then = then

    def add_done_callback(self, callback: Callable[[Any], object], /) -> None:
        """Have this called; there is one, and it comes before the answer can."""
        self._callback = callback

    def done(self) -> bool:
        """Never before its one answer."""
        return False

    def cancelled(self) -> bool:
        """It cannot be."""
        return False

    def exception(self) -> BaseException | None:
        """What went wrong with the whole job."""
        return self._outcome if isinstance(self._outcome, BaseException) else None

    def result(self) -> Any:
        """What the job gave."""
        return self._outcome

    def set_result(self, outcome: Any) -> None:
        """The answer is there."""
        self._settle(outcome)
        if self._then is not None:
            self._then(outcome)

    def set_exception(self, problem: Exception) -> None:
        """It failed."""
        self._settle(problem)

    def _settle(self, outcome: Any) -> None:
        self._outcome = outcome
        assert self._callback is not None
        self._callback(self)


class _Request:
    """A job and who waits for it."""

    __slots__ = ("future", "job")

    def __init__(self, job: Job, future: "asyncio.Future[Any] | Direct") -> None:
        self.job = job
        self.future = future


class _Threads:
    """Threads that each own a connection and take requests from one queue."""

    def __init__(self, open_connection: Callable[[], Connection], count: int, name: str) -> None:
        self._requests: queue.SimpleQueue[_Request | None] = queue.SimpleQueue()
        self._loop = asyncio.get_running_loop()
        self._closed = False
        connections = [open_connection() for _ in range(count)]
        self._threads = [
            threading.Thread(target=self._serve, args=(connection,), name=name, daemon=True)
            for connection in connections
        ]
        for thread in self._threads:
            thread.start()

    def _submit(self, job: Job, future: "asyncio.Future[Any] | Direct") -> None:
        """Run a job in a thread that has a connection; it may be run again if others in its transaction fail."""
        if self._closed:
            raise StoreUnavailable("the store is closed.")
        self._requests.put(_Request(job, future))

    async def run(self, job: Callable[[Connection], T]) -> T:
        """Run a job and wait for it."""
        future: asyncio.Future[T] = self._loop.create_future()
        self._submit(job, future)
        return await future

    def begin(self, job: Callable[[Connection], T], then: Callable[[T], object] | None = None) -> Direct:
        """Run a job, and have a callback called when it is done; then another one, if it went well."""
        answer = Direct(then)
        self._submit(job, answer)
        return answer

    async def close(self) -> None:
        """Finish what was asked for, then close the connections."""
        if self._closed:
            return
        self._closed = True
        for _ in self._threads:
            self._requests.put(None)
        for thread in self._threads:
            await asyncio.to_thread(thread.join)

    def _serve(self, connection: Connection) -> None:
        while (request := self._requests.get()) is not None:
            requests = [each for each in self._gather(request) if not each.future.cancelled()]
            if requests:
                outcomes = self._answer(connection, requests)
                self._settle(requests, outcomes)
        connection.close()

    def _gather(self, first: _Request) -> list[_Request]:
        return [first]

    def _answer(self, connection: Connection, requests: list[_Request]) -> list[Any]:
        return [_outcome(connection, request.job) for request in requests]

    def _settle(self, requests: list[_Request], outcomes: list[Any]) -> None:
        try:
            self._loop.call_soon_threadsafe(_resolve, requests, outcomes)
        except RuntimeError:
            logger.debug("the event loop ended before its answer came")


class Readers(_Threads):
    """Threads that only read."""

    def __init__(self, open_connection: Callable[[], Connection], count: int = 2) -> None:
        super().__init__(open_connection, count, "fait-sqlite-reader")


class Writer(_Threads):
    """The one thread that writes: a transaction for everything that has gathered."""

    def __init__(self, open_connection: Callable[[], Connection]) -> None:
        super().__init__(open_connection, 1, "fait-sqlite-writer")

    def _gather(self, first: _Request) -> list[_Request]:
        requests = [first]
        while len(requests) < MAX_BATCH and not self._requests.empty():
            request = self._requests.get_nowait()
            if request is None:
                self._requests.put(None)
                break
            requests.append(request)
        return requests

    def _answer(self, connection: Connection, requests: list[_Request]) -> list[Any]:
        try:
            return _transaction(connection, [request.job for request in requests])
        except Exception as problem:
            known = _known(problem)
            if len(requests) == 1 or isinstance(known, StoreUnavailable):
                return [known] * len(requests)
            # One bad request must not fail its neighbours: all are run again, alone.
            return [outcome for request in requests for outcome in self._answer(connection, [request])]


def _transaction(connection: Connection, jobs: Sequence[Job]) -> list[Any]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        answers = [job(connection) for job in jobs]
    except BaseException:
        _roll_back(connection)
        raise
    try:
        connection.execute("COMMIT")
    except BaseException as problem:
        _roll_back(connection)
        if isinstance(problem, apsw.BusyError | apsw.FullError):
            raise unavailable(problem) from problem
        raise StoreUnavailable(f"the commit failed ({type(problem).__name__}: {problem}).", "unknown") from problem
    return answers


def _roll_back(connection: Connection) -> None:
    if connection.in_transaction:
        connection.execute("ROLLBACK")


def _outcome(connection: Connection, job: Job) -> Any:
    try:
        return job(connection)
    except Exception as problem:
        return _known(problem)


def _known(problem: Exception) -> Exception:
    if isinstance(problem, apsw.Error) and not isinstance(problem, apsw.ConstraintError | apsw.SQLError):
        return unavailable(problem)
    return problem


def _resolve(requests: list[_Request], outcomes: list[Any]) -> None:
    for request, outcome in zip(requests, outcomes, strict=True):
        if request.future.done():
            continue
        if isinstance(outcome, Exception):
            request.future.set_exception(outcome)
        else:
            request.future.set_result(outcome)


def unavailable(problem: apsw.Error, path: str | None = None) -> FaitError:
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
