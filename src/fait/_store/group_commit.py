"""Appends that are asked for at the same time are flushed together, each with an answer of its own.

    append ─► room ─► queue ─► batch ─► flush ─► verdicts
              (back-pressure)  (whatever has gathered while the last flush was under way)

There is no timer: when nothing is under way, everything queued goes at once, so that an idle system pays nothing and a
busy one shares one round trip and one fsync among many. With several lanes, a busy one also prepares a batch while the
last is being stored. A batch that fails is run again one by one, so that nobody pays for a neighbour.
"""

import asyncio
import math
import os
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol, cast

from fait._errors import StoreUnavailable, UsageError
from fait._events.append import AppendCondition, AppendResult, StreamWrite

__all__ = [
    "MAX_BATCH_BYTES",
    "MAX_BATCH_EVENTS",
    "MAX_QUEUED_BYTES",
    "MAX_QUEUED_EVENTS",
    "AppendOutcome",
    "FlushFuture",
    "GroupCommit",
    "LockTimeout",
    "PendingAppend",
]

MAX_BATCH_EVENTS: Final = 1_000
"""Events of one flush: bounds how long the first waits for the last. A larger append is a batch of its own."""

MAX_BATCH_BYTES: Final = 4 << 20
"""Bytes of one flush."""

MIN_OVERLAPPING_APPENDS: Final = 24
"""Requests that make a batch beside another: fewer share the next fsync for less than one of their own would cost."""

LARGE_APPEND_EVENTS: Final = 500
"""Events of an append that goes alone where there are lanes; beside it, or before it, others need not be many."""

MAX_QUEUED_EVENTS: Final = 50_000
"""Events that may wait; who asks for more waits until there is room."""

MAX_QUEUED_BYTES: Final = 64 << 20
"""Bytes that may wait."""


class LockTimeout:
    """An answer of a flush: a stream of this request is locked by somebody else; let it run alone."""


LOCK_TIMEOUT: Final = LockTimeout()

AppendOutcome = AppendResult | LockTimeout


class PendingAppend:
    """An append that somebody waits for."""

    __slots__ = (
        "blocking_streams",
        "condition",
        "events",
        "flushing",
        "future",
        "retry_individually",
        "size_bytes",
        "streams",
        "writes",
    )

    writes: Sequence[StreamWrite]
    condition: AppendCondition | None
    future: asyncio.Future[AppendResult]
    flushing: bool
    retry_individually: bool
    blocking_streams: int
    streams: list[str]
    events: int
    size_bytes: int

    def __init__(
        self, writes: Sequence[StreamWrite], condition: AppendCondition | None, future: "asyncio.Future[AppendResult]"
    ) -> None:
        self.writes = writes
        self.condition = condition
        self.future = future
        self.flushing = False
        self.retry_individually = False
        self.blocking_streams = 0
        self.streams = [write.stream for write in writes]
        self.events = self.size_bytes = 0
        for write in writes:
            self.events += len(write.events)
            for event in write.events:
                self.size_bytes += len(event.data) + len(event.metadata)


class FlushFuture(Protocol):
    """What a flush will have come to. An `asyncio.Future` is one; a backend may have a quicker one."""

    def add_done_callback(self, callback: Callable[[Any], object], /) -> object:
        """Have this called with the answer, in the event loop, once it is there."""
        ...

    def cancelled(self) -> bool:
        """Whether there will be none."""
        ...

    def exception(self) -> BaseException | None:
        """Why the whole flush failed; None if it did not."""
        ...

    def result(self) -> Sequence[AppendOutcome | Exception]:
        """An outcome for each request, in order."""
        ...


Flush = Callable[[Sequence[PendingAppend]], FlushFuture]


class GroupCommit:
    """Gathers appends into batches for a backend's `flush`.

    Belongs to the event loop and the process it was made in.

    Args:
        flush: begins to store a batch in one transaction; its future gives an outcome for each request, in order. A
            request that is run `alone`, after a first answer `BUSY`, waits for its locks.
        lanes: how many flushes may be under way when there is enough for them, beside those of single requests that are
            run again.
        worth_a_lane: how many requests have to wait before a flush is begun beside another.
        disjoint: whether requests on one stream must not meet in flushes that are under way at the same time: they
            stay in order, come what may. Appends that expect the same version of one stream go together: one of them
            wins, and no other needs a flush of its own to be told so. A backend that runs flushes strictly one after
            another does not need it to be right; there, what is run again after a failed batch comes behind the
            flushes that were under way.
        max_waiting_events: how many events may wait.
        max_waiting_bytes: how many bytes may wait.
    """

    def __init__(
        self,
        flush: Flush,
        *,
        max_batches: int = 1,
        min_overlapping_appends: int = MIN_OVERLAPPING_APPENDS,
        disjoint_streams: bool = True,
        max_queued_events: int = MAX_QUEUED_EVENTS,
        max_queued_bytes: int = MAX_QUEUED_BYTES,
    ) -> None:
        self._flush = flush
        self._max_batches = max_batches
        self._min_overlapping_appends = min_overlapping_appends
        self._free_batches = max_batches
        self._appends_in_flight = 0
        self._large_in_flight = 0
        self._conditional_appends = 0
        self._disjoint_streams = disjoint_streams
        self._max_events = max_queued_events
        self._max_bytes = max_queued_bytes
        self._loop = asyncio.get_running_loop()
        self._process = os.getpid()
        self._queue: deque[PendingAppend] = deque()
        self._over_limit: deque[PendingAppend] = deque()
        self._queued_events = 0
        self._queued_bytes = 0
        self._stream_queues: dict[str, _StreamQueue] = {}

    async def append(self, writes: Sequence[StreamWrite], condition: AppendCondition | None = None) -> AppendResult:
        """Queue an append and wait for its verdict.

        Cancelled before its flush began: nothing is written. Cancelled later: a note on the error says that it may
        have been.
        """
        self._check_process_and_loop()
        request = PendingAppend(writes, condition, self._loop.create_future())
        if self._over_limit or not self._fits(request):
            self._over_limit.append(request)
        else:
            self._enter(request)
            self._start_batches()
        try:
            return await request.future
        except asyncio.CancelledError as cancelled:
            if request.flushing:
                cancelled.add_note("The append was under way: it may have been written. The same event ids settle it.")
            elif request in self._over_limit:
                self._over_limit.remove(request)
                self._admit()  # it may have been the one for whom there was no room
                self._start_batches()
            raise

    def _check_process_and_loop(self) -> None:
        if os.getpid() != self._process:
            raise UsageError(
                "this store was opened before a fork: open the app in the child process. Nothing was written."
            )
        if asyncio.get_running_loop() is not self._loop:
            raise UsageError("this store belongs to another event loop: open the app in this one. Nothing was written.")

    def _admit(self) -> None:
        """Queue, in order, those for whom there is room; one larger than all the room enters when it is empty."""
        while self._over_limit and self._fits(self._over_limit[0]):
            self._enter(self._over_limit.popleft())

    def _enter(self, request: PendingAppend) -> None:
        self._queued_events += request.events
        self._queued_bytes += request.size_bytes
        self._conditional_appends += request.condition is not None
        if not self._disjoint_streams or self._enter_stream_queues(request):
            self._queue.append(request)

    def _enter_stream_queues(self, request: PendingAppend) -> bool:
        """Take a place in the line of each stream; whether it is the first in all of them."""
        rival = _shared_version(request)
        for stream in request.streams:
            line = self._stream_queues.setdefault(stream, _StreamQueue())
            if not line.join(request, rival):
                request.blocking_streams += 1
        return not request.blocking_streams

    def _leave_stream_queues(self, request: PendingAppend) -> None:
        """Make way on all streams; who was waiting for nothing else is queued, before those who came later."""
        for stream in request.streams:
            line = self._stream_queues[stream]
            for following in reversed(line.leave()):
                following.blocking_streams -= 1
                if not following.blocking_streams:
                    self._queue.appendleft(following)
            if not line.active:
                del self._stream_queues[stream]

    def _fits(self, request: PendingAppend) -> bool:
        return not self._queued_events or (
            self._queued_events + request.events <= self._max_events
            and self._queued_bytes + request.size_bytes <= self._max_bytes
        )

    def _leave(self, request: PendingAppend) -> None:
        self._queued_events -= request.events
        self._queued_bytes -= request.size_bytes
        self._conditional_appends -= request.condition is not None
        if self._disjoint_streams:
            self._leave_stream_queues(request)

    def _start_batches(self) -> None:
        """Start flushes while there are lanes and requests."""
        while self._queue and self._can_start_batch() and (batch := self._next_batch()):
            self._free_batches -= 1
            self._appends_in_flight += len(batch)
            self._large_in_flight += batch[0].events >= LARGE_APPEND_EVENTS
            self._start(batch, batches=1)

    def _can_start_batch(self) -> bool:
        """Whether a flush may begin: if others are under way, only one that is worth it, and waits for none of them.

        Appends with conditions might: they lock what they depend on until their flush ends.
        """
        # fault: conditional-batches-overlap
        if self._free_batches in (0, self._max_batches) or self._conditional_appends:
            return self._free_batches == self._max_batches
        return (
            self._large_in_flight > 0
            or len(self._queue) >= self._min_overlapping_appends
            or self._queue[0].events >= LARGE_APPEND_EVENTS
        )

    def _next_batch(self) -> list[PendingAppend]:
        """The next batch, in order, within its bounds."""
        batch: list[PendingAppend] = []
        events = size = 0
        most = self._batch_limit()
        while self._queue and len(batch) < most:
            request = self._queue.popleft()
            if request.future.cancelled():
                self._leave(request)
                self._admit()
                continue
            events, size = events + request.events, size + request.size_bytes
            alone = self._max_batches > 1 and request.events >= LARGE_APPEND_EVENTS
            if batch and (alone or events > MAX_BATCH_EVENTS or size > MAX_BATCH_BYTES):
                self._queue.appendleft(request)
                break
            batch.append(request)
            if alone:
                break
        return batch

    def _batch_limit(self) -> int:
        """Most requests of the next batch: an even part for each lane, if what is left is worth another."""
        here = len(self._queue)
        # fault: batch-takes-whole-queue
        even = max(self._min_overlapping_appends, math.ceil((here + self._appends_in_flight) / self._max_batches))
        # fault: rest-waits-for-batch
        is_worth_another = here - even >= self._min_overlapping_appends and not self._conditional_appends
        return even if self._appends_in_flight or is_worth_another else here

    def _start(self, batch: list[PendingAppend], *, batches: int) -> None:
        for request in batch:
            request.flushing = True
        try:
            answer = self._flush(batch)
        except Exception as problem:
            answer = self._loop.create_future()
            answer.set_exception(problem)
        answer.add_done_callback(lambda done: self._finish(batch, batches, done))

    def _finish(self, batch: list[PendingAppend], batches: int, done: FlushFuture) -> None:
        """Give the verdicts out; run again, alone, whoever was in a failed batch or met a lock."""
        problem = _interrupted() if done.cancelled() else done.exception()
        outcomes = cast("Sequence[Any]", [problem] * len(batch) if problem else done.result())
        one_is_at_fault = problem is not None and len(batch) > 1 and not isinstance(problem, StoreUnavailable)
        alone: list[PendingAppend] = []
        for request, outcome in zip(batch, outcomes, strict=True):
            # fault: no-individual-retry
            if (one_is_at_fault or outcome is LOCK_TIMEOUT) and not request.future.cancelled():
                request.retry_individually = True
                alone.append(request)
            else:
                self._resolve(request, outcome)
        if batches:
            self._appends_in_flight -= len(batch)
            self._large_in_flight -= batch[0].events >= LARGE_APPEND_EVENTS
        self._admit()
        for request in alone:
            self._start(
                [request], batches=0
            )  # beside the others, however long it takes; it holds its streams meanwhile
        # Who has just been answered may ask again in this turn of the loop, and go along with those who waited.
        # fault: batch-with-retries-not-freed
        self._loop.call_soon(self._free, batches)

    def _free(self, batches: int) -> None:
        self._free_batches += batches
        self._start_batches()

    def _resolve(self, request: PendingAppend, outcome: Any) -> None:
        self._leave(request)
        if request.future.done():
            return
        if isinstance(outcome, BaseException):
            request.future.set_exception(outcome)
        else:
            request.future.set_result(outcome)


class _StreamQueue:
    """Those who append to one stream, in order: who is inside, alone or with rivals, and who waits.

    Attributes:
        inside: how many have not had their answer.
    """

    __slots__ = ("_shared_version", "_waiting", "active")

    def __init__(self) -> None:
        self.active = 0
        self._shared_version: int | None = None
        self._waiting: deque[tuple[PendingAppend, int | None]] = deque()

    def join(self, request: PendingAppend, rival: int | None) -> bool:
        """Come inside, or wait; whether it is inside."""
        if self.active and (self._waiting or rival is None or rival != self._shared_version):
            self._waiting.append((request, rival))
            return False
        self.active += 1
        self._shared_version = rival
        return True

    def leave(self) -> list[PendingAppend]:
        """One of those inside goes; who comes inside now, as nobody else is."""
        self.active -= 1
        following: list[PendingAppend] = []
        while self._waiting:
            request, rival = self._waiting[0]
            if self.active and (rival is None or rival != self._shared_version):
                break
            self._waiting.popleft()
            self.active += 1
            self._shared_version = rival
            following.append(request)
        return following


def _shared_version(request: PendingAppend) -> int | None:
    """The version that a request expects of its one stream: of those that expect the same, one can win."""
    if len(request.writes) > 1 or request.condition is not None or request.writes[0].expected < 0:
        return None
    return request.writes[0].expected


def _interrupted() -> StoreUnavailable:
    return StoreUnavailable("the append was interrupted.", "unknown")
