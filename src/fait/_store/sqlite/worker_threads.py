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
from fait._store.sqlite.connection import Connection, Patience, unavailable
from fait._telemetry import logger

__all__ = ["MAX_BATCH", "QUICK_S", "Direct", "Readers", "Writer"]

T = TypeVar("T")
Job = Callable[[Connection], Any]

MAX_BATCH: Final = 256
"""Most requests of one transaction: bounds how long the first of them waits for the last."""

QUICK_S: Final = 0.001
"""A disk is quick as long as transactions take no longer than this: so long they may stop the event loop."""

FORGET: Final = 0.9
"""What is left of the longest transaction's time with each one after it: a pause of the disk is forgotten slowly."""


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
        self._under_way = 0
        connections = [open_connection() for _ in range(count)]
        self._threads = [
            threading.Thread(target=self._serve, args=(connection,), name=name, daemon=True)
            for connection in connections
        ]
        for thread in self._threads:
            thread.start()

    def _submit(self, request: _Request) -> None:
        """Have a job done in a thread; it may be done again if others in its transaction fail."""
        if self._closed:
            raise StoreUnavailable("the store is closed.")
        self._under_way += 1
        self._requests.put(request)

    async def run(self, job: Callable[[Connection], T]) -> T:
        """Run a job and wait for it."""
        future: asyncio.Future[T] = self._loop.create_future()
        self._submit(_Request(job, future))
        return await future

    def begin(self, job: Callable[[Connection], T], then: Callable[[T], object] | None = None) -> Direct:
        """Run a job, and have a callback called when it is done; then another one, if it went well."""
        answer = Direct(then)
        self._submit(_Request(job, answer))
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
            gathered = self._gather(request)
            requests = [each for each in gathered if not each.future.cancelled()]
            outcomes = self._answer(connection, requests) if requests else []
            if self._is_untidy():  # those who waited have their answer first, and the connection is not free yet
                self._in_loop(self._resolve, requests, outcomes, 0)
                self._tidy(connection)
                requests, outcomes = [], []
            self._in_loop(self._resolve, requests, outcomes, len(gathered))
        connection.close()

    def _gather(self, first: _Request) -> list[_Request]:
        return [first]

    def _answer(self, connection: Connection, requests: list[_Request]) -> list[Any]:
        return [_outcome(connection, request.job) for request in requests]

    def _is_untidy(self) -> bool:
        return False

    def _tidy(self, connection: Connection) -> None:
        """What can be done while nobody waits."""

    def _in_loop(self, function: Callable[..., object], *arguments: object) -> None:
        try:
            self._loop.call_soon_threadsafe(function, *arguments)
        except RuntimeError:
            logger.debug("the event loop ended before its answer came")

    def _resolve(self, requests: list[_Request], outcomes: list[Any], done: int) -> None:
        self._under_way -= done
        for request, outcome in zip(requests, outcomes, strict=True):
            if request.future.done():
                continue
            if isinstance(outcome, Exception):
                request.future.set_exception(outcome)
            else:
                request.future.set_result(outcome)


class Readers(_Threads):
    """Threads that only read."""

    def __init__(self, open_connection: Callable[[], Connection], count: int = 2) -> None:
        super().__init__(open_connection, count, "fait-sqlite-reader")


class Writer(_Threads):
    """The one thread that writes: a transaction for everything that has gathered."""

    def __init__(self, open_connection: Callable[[], Connection]) -> None:
        self._slowest_s = 2 * QUICK_S  # of late; a disk has to show that it is quick
        self._pages = 0
        self._connection = connection = open_connection()
        self._most_pages: int = connection.pragma("wal_autocheckpoint")
        connection.set_wal_hook(self._committed)
        super().__init__(lambda: connection, 1, "fait-sqlite-writer")

    def begin_small(self, job: Callable[[Connection], T], then: Callable[[T], object] | None = None) -> Direct:
        """`begin` for a job of a few rows, which is done in place if that is quick."""
        if self._slowest_s > QUICK_S:
            return self.begin(job, then)
        answer = Direct(then)
        self._loop.call_soon(self._do_in_place, _Request(job, answer))
        return answer

    def _do_in_place(self, request: _Request) -> None:
        if self._under_way or self._closed:  # the thread has the connection
            self._hand_over(request)
            return
        self._connection.set_busy_handler(None)
        try:
            [outcome] = self._do(self._connection, [request.job])
        except apsw.BusyError:  # another process writes: nothing was done, and the thread can wait
            self._hand_over(request)
            return
        except Exception as problem:
            outcome = _known(problem)
        finally:
            self._connection.set_busy_handler(Patience())
        self._resolve([request], [outcome], 0)
        if self._is_untidy():
            self.begin(_nothing).add_done_callback(_nothing)  # the thread has the time to move them

    def _hand_over(self, request: _Request) -> None:
        try:
            self._submit(request)
        except StoreUnavailable as closed:
            self._resolve([request], [closed], 0)

    def _committed(self, _connection: Connection, _name: str, pages: int) -> int:
        self._pages = pages
        return apsw.SQLITE_OK

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
            return self._do(connection, [request.job for request in requests])
        except Exception as problem:
            known = _known(problem)
            if len(requests) == 1 or isinstance(known, StoreUnavailable):
                return [known] * len(requests)
            # One bad request must not fail its neighbours: all are run again, alone.
            return [outcome for request in requests for outcome in self._answer(connection, [request])]

    def _do(self, connection: Connection, jobs: Sequence[Job]) -> list[Any]:
        started = time.perf_counter()
        try:
            return _transaction(connection, jobs)
        finally:
            self._slowest_s = max(time.perf_counter() - started, self._slowest_s * FORGET)

    def _is_untidy(self) -> bool:
        return self._pages >= self._most_pages

    def _tidy(self, connection: Connection) -> None:
        """Move the write-ahead log into the file, once it is as long as SQLite lets it become."""
        self._pages = 0
        try:
            connection.wal_checkpoint()
        except apsw.Error as problem:  # it stays where it is, and is as safe there
            logger.debug("the write-ahead log stays as long as it is: %s", type(problem).__name__)


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


def _nothing(_of: object) -> None:
    """A job that only wakes the thread."""
