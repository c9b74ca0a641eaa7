"""The threads that own connections: one writer with group commit, a few readers beside it.

SQLite has one writer at a time. Whatever was asked for while a commit was under way goes together into the next
transaction, so that many callers share one fsync. Readers see the last commit and never wait.

To wake a thread, and to be woken by it, takes about as long as a commit on a quick disk. So a small job that is alone
is done in place, by the event loop, as long as the disk has been quick; and nothing that may wait for another process.
"""

import asyncio
import queue
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

import apsw

from fait._errors import StoreUnavailable
from fait._store.sqlite.connection import BusyHandler, SqliteConnection, map_error
from fait._telemetry import logger

__all__ = ["MAX_INLINE_COMMIT_S", "MAX_TRANSACTION_JOBS", "ImmediateFuture", "ReaderThreads", "WriterThread"]

T = TypeVar("T")
Job = Callable[[SqliteConnection], Any]

MAX_TRANSACTION_JOBS: Final = 256
"""Most requests of one transaction: bounds how long the first of them waits for the last."""

MAX_INLINE_COMMIT_S: Final = 0.001
"""A disk is quick as long as transactions take no longer than this: so long they may stop the event loop."""

COMMIT_TIME_DECAY: Final = 0.9
"""What is left of the longest transaction's time with each one after it: a pause of the disk is forgotten slowly."""


class ImmediateFuture:
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


class _QueuedJob:
    """A job and who waits for it."""

    __slots__ = ("future", "job")

    def __init__(self, job: Job, future: "asyncio.Future[Any] | ImmediateFuture") -> None:
        self.job = job
        self.future = future


class _WorkerThreads:
    """Threads that each own a connection and take requests from one queue."""

    def __init__(self, open_connection: Callable[[], SqliteConnection], count: int, name: str) -> None:
        self._requests: queue.SimpleQueue[_QueuedJob | None] = queue.SimpleQueue()
        self._loop = asyncio.get_running_loop()
        self._closed = False
        self._pending = 0
        connections = [open_connection() for _ in range(count)]
        self._threads = [
            threading.Thread(target=self._serve, args=(connection,), name=name, daemon=True)
            for connection in connections
        ]
        for thread in self._threads:
            thread.start()

    def _enqueue(self, request: _QueuedJob) -> None:
        """Have a job done in a thread; it may be done again if others in its transaction fail."""
        if self._closed:
            raise StoreUnavailable("the store is closed.")
        self._pending += 1
        self._requests.put(request)

    async def run(self, job: Callable[[SqliteConnection], T]) -> T:
        """Run a job and wait for it."""
        future: asyncio.Future[T] = self._loop.create_future()
        self._enqueue(_QueuedJob(job, future))
        return await future

    def submit(
        self, job: Callable[[SqliteConnection], T], then: Callable[[T], object] | None = None
    ) -> ImmediateFuture:
        """Run a job, and have a callback called when it is done; then another one, if it went well."""
        answer = ImmediateFuture(then)
        self._enqueue(_QueuedJob(job, answer))
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

    def _serve(self, connection: SqliteConnection) -> None:
        while (request := self._requests.get()) is not None:
            gathered = self._collect(request)
            requests = [each for each in gathered if not each.future.cancelled()]
            outcomes = self._run_jobs(connection, requests) if requests else []
            if self._needs_checkpoint():  # those who waited have their answer first, and the connection is not free yet
                self._in_loop(self._resolve, requests, outcomes, 0)
                self._checkpoint(connection)
                requests, outcomes = [], []
            self._in_loop(self._resolve, requests, outcomes, len(gathered))
        connection.close()

    def _collect(self, first: _QueuedJob) -> list[_QueuedJob]:
        return [first]

    def _run_jobs(self, connection: SqliteConnection, requests: list[_QueuedJob]) -> list[Any]:
        return [_run_job(connection, request.job) for request in requests]

    def _needs_checkpoint(self) -> bool:
        return False

    def _checkpoint(self, connection: SqliteConnection) -> None:
        """What can be done while nobody waits."""

    def _in_loop(self, function: Callable[..., object], *arguments: object) -> None:
        try:
            self._loop.call_soon_threadsafe(function, *arguments)
        except RuntimeError:
            logger.debug("the event loop ended before its answer came")

    def _resolve(self, requests: list[_QueuedJob], outcomes: list[Any], done: int) -> None:
        self._pending -= done
        for request, outcome in zip(requests, outcomes, strict=True):
            if request.future.done():
                continue
            if isinstance(outcome, Exception):
                request.future.set_exception(outcome)
            else:
                request.future.set_result(outcome)


class ReaderThreads(_WorkerThreads):
    """Threads that only read."""

    def __init__(self, open_connection: Callable[[], SqliteConnection], count: int = 2) -> None:
        super().__init__(open_connection, count, "fait-sqlite-reader")


class WriterThread(_WorkerThreads):
    """The one thread that writes: a transaction for everything that has gathered."""

    def __init__(self, open_connection: Callable[[], SqliteConnection]) -> None:
        self._commit_time_s = 2 * MAX_INLINE_COMMIT_S  # of late; a disk has to show that it is quick
        self._wal_pages = 0
        self._connection = connection = open_connection()
        self._max_wal_pages: int = connection.pragma("wal_autocheckpoint")
        connection.set_wal_hook(self._on_commit)
        super().__init__(lambda: connection, 1, "fait-sqlite-writer")

    def submit_inline(
        self, job: Callable[[SqliteConnection], T], then: Callable[[T], object] | None = None
    ) -> ImmediateFuture:
        """`begin` for a job of a few rows, which is done in place if that is quick."""
        if self._commit_time_s > MAX_INLINE_COMMIT_S:
            return self.submit(job, then)
        answer = ImmediateFuture(then)
        self._loop.call_soon(self._run_inline, _QueuedJob(job, answer))
        return answer

    def _run_inline(self, request: _QueuedJob) -> None:
        # fault: connection-shared-with-thread
        if self._pending or self._closed:  # the thread has the connection
            self._submit_to_thread(request)
            return
        # fault: busy-wait-in-event-loop
        self._connection.set_busy_handler(None)
        try:
            [outcome] = self._run_transaction(self._connection, [request.job])
        except apsw.BusyError:  # another process writes: nothing was done, and the thread can wait
            self._submit_to_thread(request)
            return
        except Exception as problem:
            outcome = _translate_error(problem)
        finally:
            self._connection.set_busy_handler(BusyHandler())
        self._resolve([request], [outcome], 0)
        if self._needs_checkpoint():
            self.submit(_no_op).add_done_callback(_no_op)  # the thread has the time to move them

    def _submit_to_thread(self, request: _QueuedJob) -> None:
        try:
            self._enqueue(request)
        except StoreUnavailable as closed:
            self._resolve([request], [closed], 0)

    def _on_commit(self, _connection: SqliteConnection, _name: str, pages: int) -> int:
        self._wal_pages = pages
        return apsw.SQLITE_OK

    def _collect(self, first: _QueuedJob) -> list[_QueuedJob]:
        requests = [first]
        while len(requests) < MAX_TRANSACTION_JOBS and not self._requests.empty():
            request = self._requests.get_nowait()
            if request is None:
                self._requests.put(None)
                break
            requests.append(request)
        return requests

    def _run_jobs(self, connection: SqliteConnection, requests: list[_QueuedJob]) -> list[Any]:
        try:
            return self._run_transaction(connection, [request.job for request in requests])
        except Exception as problem:
            known = _translate_error(problem)
            if len(requests) == 1 or isinstance(known, StoreUnavailable):
                return [known] * len(requests)
            # One bad request must not fail its neighbours: all are run again, alone.
            # fault: failed-job-fails-transaction
            return [outcome for request in requests for outcome in self._run_jobs(connection, [request])]

    def _run_transaction(self, connection: SqliteConnection, jobs: Sequence[Job]) -> list[Any]:
        started = time.perf_counter()
        try:
            return _transaction(connection, jobs)
        finally:
            self._commit_time_s = max(time.perf_counter() - started, self._commit_time_s * COMMIT_TIME_DECAY)

    def _needs_checkpoint(self) -> bool:
        return self._wal_pages >= self._max_wal_pages

    def _checkpoint(self, connection: SqliteConnection) -> None:
        """Move the write-ahead log into the file, once it is as long as SQLite lets it become."""
        self._wal_pages = 0
        try:
            connection.wal_checkpoint()
        except apsw.Error as problem:  # it stays where it is, and is as safe there
            logger.debug("the write-ahead log stays as long as it is: %s", type(problem).__name__)


def _transaction(connection: SqliteConnection, jobs: Sequence[Job]) -> list[Any]:
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
            raise map_error(problem) from problem
        raise StoreUnavailable(f"the commit failed ({type(problem).__name__}: {problem}).", "unknown") from problem
    return answers


def _roll_back(connection: SqliteConnection) -> None:
    if connection.in_transaction:
        connection.execute("ROLLBACK")


def _run_job(connection: SqliteConnection, job: Job) -> Any:
    try:
        return job(connection)
    except Exception as problem:
        return _translate_error(problem)


def _translate_error(problem: Exception) -> Exception:
    if isinstance(problem, apsw.Error) and not isinstance(problem, apsw.ConstraintError | apsw.SQLError):
        return map_error(problem)
    return problem


def _no_op(_of: object) -> None:
    """A job that only wakes the thread."""
