"""The threads that own SQLite connections: one writer with group commit, and a few readers.

SQLite allows one write transaction at a time. Jobs that arrive during a commit are run together in the next
transaction, so that many callers share one fsync. In WAL mode readers see the last commit and never block.

A thread switch takes about as long as a commit on a fast disk. A small job that arrives alone is therefore run inline,
in the event loop, while recent commits were fast. Inline jobs never wait for the lock of another process.
"""

import asyncio
import queue
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

import apsw

from fait._errors import StoreUnavailable
from fait._store.position_signal import STORE_CLOSED
from fait._store.sqlite.connection import BusyHandler, SqliteConnection, map_error
from fait._store.sqlite.open_file import OpenFile
from fait._telemetry import logger

__all__ = ["MAX_INLINE_COMMIT_S", "MAX_TRANSACTION_JOBS", "ReaderThreads", "WriterThread"]

T = TypeVar("T")
Job = Callable[[SqliteConnection], Any]

MAX_TRANSACTION_JOBS: Final = 256
"""Maximum number of jobs in one transaction; it bounds how long the first job waits for the last."""

MAX_INLINE_COMMIT_S: Final = 0.001
"""Maximum duration of recent transactions for jobs to run inline: they block the event loop that long."""

COMMIT_TIME_DECAY: Final = 0.9
"""Factor by which the longest duration seen decays with each transaction, so that a slow commit counts for a while."""


CANCEL_CHECK_STEPS: Final = 100_000
"""Number of steps of SQLite's virtual machine, some milliseconds, after which a read of a canceled caller ends."""


class _QueuedJob:
    """A job and the future of its result."""

    __slots__ = ("future", "job")

    def __init__(self, job: Job, future: "asyncio.Future[Any]") -> None:
        self.job = job
        self.future = future


class _WorkerThreads:
    """Threads that each own a connection and take jobs from one queue."""

    def __init__(self, open_connection: Callable[[], SqliteConnection], count: int, name: str) -> None:
        self._queue: queue.SimpleQueue[_QueuedJob | None] = queue.SimpleQueue()
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

    def _enqueue(self, queued: _QueuedJob) -> None:
        """Queue a job for a thread. It may run a second time if another job of its transaction fails."""
        if self._closed:
            raise StoreUnavailable(STORE_CLOSED)
        self._pending += 1
        self._queue.put(queued)

    async def run(self, job: Callable[[SqliteConnection], T]) -> T:
        """Run a job in a thread and wait for its result."""
        future: asyncio.Future[T] = self._loop.create_future()
        self._enqueue(_QueuedJob(job, future))
        return await future

    async def close(self) -> None:
        """Finish the queued jobs, then close the connections."""
        if self._closed:
            return
        self._closed = True
        for _ in self._threads:
            self._queue.put(None)
        for thread in self._threads:
            await asyncio.to_thread(thread.join)

    def _serve(self, connection: SqliteConnection) -> None:
        while (first := self._queue.get()) is not None:
            collected = self._collect(first)
            jobs = [queued for queued in collected if not queued.future.cancelled()]
            outcomes = self._run_jobs(connection, jobs) if jobs else []
            if self._needs_checkpoint():  # callers get their results first; the connection stays reserved until the end
                self._in_loop(self._resolve, jobs, outcomes, 0)
                self._checkpoint(connection)
                jobs, outcomes = [], []
            self._in_loop(self._resolve, jobs, outcomes, len(collected))
        self._disconnect(connection)

    def _disconnect(self, connection: SqliteConnection) -> None:
        connection.close()

    def _collect(self, first: _QueuedJob) -> list[_QueuedJob]:
        return [first]

    def _run_jobs(self, connection: SqliteConnection, jobs: list[_QueuedJob]) -> list[Any]:
        return [_run_job(connection, queued.job) for queued in jobs]

    def _needs_checkpoint(self) -> bool:
        return False

    def _checkpoint(self, connection: SqliteConnection) -> None:
        """Run a WAL checkpoint, if this thread writes."""

    def _in_loop(self, function: Callable[..., object], *arguments: object) -> None:
        try:
            self._loop.call_soon_threadsafe(function, *arguments)
        except RuntimeError:
            logger.debug("dropped a result: the event loop is closed")

    def _resolve(self, jobs: list[_QueuedJob], outcomes: list[Any], completed: int) -> None:
        self._pending -= completed
        for queued, outcome in zip(jobs, outcomes, strict=True):
            if queued.future.done():
                continue
            if isinstance(outcome, Exception):
                queued.future.set_exception(outcome)
            else:
                queued.future.set_result(outcome)


class ReaderThreads(_WorkerThreads):
    """Threads that only read. A long statement ends soon after its caller is canceled, as by Ctrl-C."""

    def __init__(self, open_connection: Callable[[], SqliteConnection], file: OpenFile, count: int = 2) -> None:
        self._file = file
        super().__init__(open_connection, count, "fait-sqlite-reader")

    async def run(self, job: Callable[[SqliteConnection], T]) -> T:
        """Run a job in a thread and wait for its result."""
        try:
            result = await super().run(job)
        except Exception:
            if not self._closed:
                self._file.check(time.perf_counter())  # an overwritten file looks corrupt
            raise
        self._file.check(time.perf_counter())
        return result

    def _run_jobs(self, connection: SqliteConnection, jobs: list[_QueuedJob]) -> list[Any]:
        # fault: canceled-read-continues
        connection.set_progress_handler(jobs[0].future.cancelled, CANCEL_CHECK_STEPS)
        return super()._run_jobs(connection, jobs)


class WriterThread(_WorkerThreads):
    """The only thread that writes. It runs all queued jobs in one transaction. Close it after the readers.

    Attributes:
        file: the open file, as the path named it when the thread was started.
    """

    def __init__(self, open_connection: Callable[[], SqliteConnection], path: str) -> None:
        self._commit_time_s = 2 * MAX_INLINE_COMMIT_S  # inline only after measured commits were fast
        self._wal_pages = 0
        self._connection = connection = open_connection()
        self._busy_handler = BusyHandler()
        connection.set_busy_handler(self._busy_handler)
        self.file = OpenFile(path, connection)
        self._max_wal_pages: int = connection.pragma("wal_autocheckpoint")
        connection.set_wal_hook(self._on_commit)
        super().__init__(lambda: connection, 1, "fait-sqlite-writer")

    async def run_inline(self, job: Callable[[SqliteConnection], T]) -> T:
        """Run a job of a few rows inline if recent commits were fast and the thread is idle; otherwise as `run`."""
        # fault: connection-shared-with-thread
        if self._pending or self._closed or self._commit_time_s > MAX_INLINE_COMMIT_S:
            return await self.run(job)
        try:
            return self._run_now(job)
        except apsw.BusyError:  # another process has the write lock; nothing was written, and the thread may wait
            return await self.run(job)

    def _run_now(self, job: Callable[[SqliteConnection], T]) -> T:
        # fault: busy-wait-in-event-loop
        self._busy_handler.waits = False
        try:
            [result] = self._run_transaction(self._connection, [job])
        except apsw.BusyError:
            raise
        except Exception as error:
            raise _translate_error(error) from None
        finally:
            self._busy_handler.waits = True
        if self._needs_checkpoint():  # the thread runs it after an empty job
            done: asyncio.Future[None] = self._loop.create_future()
            done.add_done_callback(lambda each: each.exception())  # nothing awaits it; it may fail with its transaction
            self._enqueue(_QueuedJob(_no_op, done))
        return result

    def _disconnect(self, connection: SqliteConnection) -> None:
        if self.file.has_other_content():  # the WAL is not of that content
            connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        self.file.release()
        connection.close()

    def _on_commit(self, _connection: SqliteConnection, _name: str, pages: int) -> int:
        self._wal_pages = pages
        return apsw.SQLITE_OK

    def _collect(self, first: _QueuedJob) -> list[_QueuedJob]:
        jobs = [first]
        while len(jobs) < MAX_TRANSACTION_JOBS and not self._queue.empty():
            queued = self._queue.get_nowait()
            if queued is None:
                self._queue.put(None)
                break
            jobs.append(queued)
        return jobs

    def _run_jobs(self, connection: SqliteConnection, jobs: list[_QueuedJob]) -> list[Any]:
        try:
            return self._run_transaction(connection, [queued.job for queued in jobs])
        except Exception as error:
            translated = _translate_error(error)
            if len(jobs) == 1 or isinstance(translated, StoreUnavailable):
                return [translated] * len(jobs)
            # A failing job must not fail the others: each one is run again in a separate transaction.
            # fault: failed-job-fails-transaction
            return [outcome for queued in jobs for outcome in self._run_jobs(connection, [queued])]

    def _run_transaction(self, connection: SqliteConnection, jobs: Sequence[Job]) -> list[Any]:
        started = time.perf_counter()
        self.file.check(started)
        try:
            results = _transaction(connection, jobs)
            # fault: commit-to-moved-file-acknowledged
            self.file.check_after_commit(connection)
            return results
        finally:
            self._commit_time_s = max(time.perf_counter() - started, self._commit_time_s * COMMIT_TIME_DECAY)

    def _needs_checkpoint(self) -> bool:
        return self._wal_pages >= self._max_wal_pages

    def _checkpoint(self, connection: SqliteConnection) -> None:
        """Run a WAL checkpoint. The WAL hook replaces SQLite's automatic one, with the same threshold."""
        self._wal_pages = 0
        # fault: checkpoint-into-overwritten-file
        if self.file.has_other_content():  # the next call raises
            return
        try:
            connection.wal_checkpoint()
        except apsw.Error as error:  # harmless: commits stay durable in the WAL until the next WAL checkpoint
            logger.debug("WAL checkpoint failed, will retry after the next commits: %s", type(error).__name__)


def _transaction(connection: SqliteConnection, jobs: Sequence[Job]) -> list[Any]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        results = [job(connection) for job in jobs]
    except BaseException:
        _roll_back(connection)
        raise
    try:
        connection.execute("COMMIT")
    except BaseException as error:
        _roll_back(connection)
        if isinstance(error, apsw.BusyError | apsw.FullError):
            raise map_error(error) from error
        raise StoreUnavailable(f"commit failed ({type(error).__name__}: {error}).", "unknown") from error
    return results


def _roll_back(connection: SqliteConnection) -> None:
    if connection.in_transaction:
        connection.execute("ROLLBACK")


def _run_job(connection: SqliteConnection, job: Job) -> Any:
    try:
        return job(connection)
    except Exception as error:
        return _translate_error(error)


def _translate_error(error: Exception) -> Exception:
    return map_error(error) if isinstance(error, apsw.Error) else error


def _no_op(_connection: SqliteConnection) -> None:
    """An empty job."""
