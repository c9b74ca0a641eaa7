"""Group commit: concurrent appends share one transaction and one fsync. Each of them gets its own result.

    append ─► limit ─► queue ─► batch ─► flush ─► results
       (back-pressure)  (appends that arrived during the last flush)

There is no timer. If no flush is running, the next one takes what is queued, up to the limits of a batch: an idle
system adds no delay, and a busy one shares each round trip and fsync among many appends. A backend may run several
flushes concurrently; then one batch is prepared while another is stored. If the flush of several appends fails although
the store is available, they are retried individually, so that one append cannot make the others fail.
"""

import asyncio
import math
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any, Final

from fait._errors import StoreUnavailable
from fait._events.append import (
    MAX_APPEND_BYTES,
    AppendCondition,
    AppendResult,
    StreamWrite,
    check_size,
    count_characters,
)

__all__ = [
    "LARGE_APPEND_BYTES",
    "LARGE_APPEND_EVENTS",
    "MAX_BATCH_BYTES",
    "MAX_BATCH_EVENTS",
    "MAX_QUEUED_BYTES",
    "MAX_QUEUED_EVENTS",
    "AppendOutcome",
    "Flush",
    "GroupCommit",
    "LockTimeout",
    "PendingAppend",
]

MAX_BATCH_EVENTS: Final = 1_000
"""Maximum number of events in a batch; it bounds the latency of a flush. A larger append is a batch of its own."""

MAX_BATCH_BYTES: Final = 4 << 20
"""Maximum number of bytes in a batch."""

MIN_OVERLAPPING_APPENDS: Final = 24
"""Minimum number of queued appends to start a flush while another runs.

For fewer, sharing the next fsync costs less than an fsync of their own.
"""

LARGE_APPEND_EVENTS: Final = 500
"""Minimum number of events of a large append.

If flushes may overlap, a large append is a batch of its own, and a flush may start next to it with any number of
appends.
"""

LARGE_APPEND_BYTES: Final = 1 << 20
"""Minimum size of a large append with fewer events."""

MAX_QUEUED_EVENTS: Final = 50_000
"""Maximum number of events in queued and running appends. Further appends wait before they are queued."""

MAX_QUEUED_BYTES: Final = 2 * MAX_APPEND_BYTES
"""Maximum number of bytes in queued and running appends. Others fit next to the largest possible one."""


class LockTimeout:
    """An append's outcome in a flush: another transaction holds a lock that it needs; retry it individually.

    So are the appends of a batch of several whose flush raised an error other than `StoreUnavailable`.
    """


LOCK_TIMEOUT: Final = LockTimeout()

AppendOutcome = AppendResult | LockTimeout


class PendingAppend:
    """An append that waits for its group commit.

    Attributes:
        writes: the events of each stream.
        condition: the append condition.
        future: receives the append result.
        flushing: whether a flush with this append has started.
        retry_individually: whether the append was in a failed batch or had a lock timeout. The backend then waits for
            its locks.
        blocking_streams: number of its streams that earlier appends still block.
        streams: names of its streams.
        events: number of its events.
        size_bytes: size of its events' data, metadata and tags.
    """

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
        self.events = sum([len(write.events) for write in writes])
        self.size_bytes = count_characters(writes)


Flush = Callable[[Sequence[PendingAppend]], Awaitable[Sequence[AppendOutcome | Exception]]]
"""A backend's coroutine function that stores a batch of appends. It returns an outcome for each append, in order."""


class GroupCommit:
    """Collects appends into batches for a backend's flush function.

    Belongs to the event loop and the process that created it: the client that appends has checked both.

    Args:
        flush: stores a batch in one transaction. Each call runs in a task of its own. An append with
            `retry_individually` must wait for its locks.
        max_batches: maximum number of flushes that run concurrently, not counting individual retries.
        min_overlapping_appends: minimum number of queued appends to start a flush while another runs.
        disjoint_streams: whether concurrent flushes must not share a stream, so that appends to one stream are stored
            in the order in which they were queued. Appends that expect the same version of one stream may share a
            batch: only one of them can succeed. A backend that runs its flushes one after another does not need this
            for correctness; without it, an individual retry comes after the flushes that were started before.
        max_queued_events: maximum number of events in queued and running appends.
        max_queued_bytes: maximum number of bytes in queued and running appends.
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
        self._free_slots = max_batches
        self._appends_in_flight = 0
        self._large_in_flight = 0
        self._conditional_appends = 0
        self._disjoint_streams = disjoint_streams
        self._max_events = max_queued_events
        self._max_bytes = max_queued_bytes
        self._loop = asyncio.get_running_loop()
        self._flushes: set[asyncio.Task[None]] = set()
        self._queue: deque[PendingAppend] = deque()
        self._over_limit: deque[PendingAppend] = deque()
        self._queued_events = 0
        self._queued_bytes = 0
        self._stream_queues: dict[str, _StreamQueue] = {}

    async def append(self, writes: Sequence[StreamWrite], condition: AppendCondition | None = None) -> AppendResult:
        """Queue an append and wait for its result.

        If this is canceled before the append's flush has started, nothing is written. If it is canceled later, a note
        on the error says that the events may have been written.

        Raises:
            UsageError: the append is too large. Nothing was written.
            StoreUnavailable: `outcome` says whether the events may have been written.
        """
        append = PendingAppend(writes, condition, self._loop.create_future())
        check_size(writes, append.size_bytes)
        if self._over_limit or not self._fits(append):
            self._over_limit.append(append)
        else:
            self._enter(append)
            self._start_batches()
        try:
            return await append.future
        except asyncio.CancelledError as error:
            if append.flushing:
                error.add_note(
                    "The append was canceled while it was being stored: the events may have been written. Append again "
                    "with the same event ids, or the same key, to find out."
                )
            elif append in self._over_limit:
                self._over_limit.remove(append)
                self._admit()  # appends behind it may fit now
                self._start_batches()
            raise

    async def close(self) -> None:
        """Wait until all appends have their results. No append may be added afterwards."""
        while self._flushes:
            await asyncio.wait(self._flushes)

    def _admit(self) -> None:
        """Queue the appends over the limit that fit now, in order."""
        while self._over_limit and self._fits(self._over_limit[0]):
            self._enter(self._over_limit.popleft())

    def _enter(self, append: PendingAppend) -> None:
        self._queued_events += append.events
        self._queued_bytes += append.size_bytes
        self._conditional_appends += append.condition is not None
        if not self._disjoint_streams or self._enter_stream_queues(append):
            self._queue.append(append)

    def _enter_stream_queues(self, append: PendingAppend) -> bool:
        """Add an append to the queue of each of its streams. Return whether it is active in all of them."""
        shared_version = _shared_version(append)
        for stream in append.streams:
            queue = self._stream_queues.setdefault(stream, _StreamQueue())
            if not queue.enter(append, shared_version):
                append.blocking_streams += 1
        return not append.blocking_streams

    def _leave_stream_queues(self, append: PendingAppend) -> None:
        """Remove an append from the queues of its streams. Appends that it blocked go to the head of the queue."""
        for stream in append.streams:
            queue = self._stream_queues[stream]
            for following in reversed(queue.leave()):
                following.blocking_streams -= 1
                if not following.blocking_streams:
                    self._queue.appendleft(following)
            if not queue.active:
                del self._stream_queues[stream]

    def _fits(self, append: PendingAppend) -> bool:
        """Whether an append fits the limits. One that is larger than a limit fits if nothing else is queued."""
        return not self._queued_events or (
            self._queued_events + append.events <= self._max_events
            and self._queued_bytes + append.size_bytes <= self._max_bytes
        )

    def _leave(self, append: PendingAppend) -> None:
        self._queued_events -= append.events
        self._queued_bytes -= append.size_bytes
        self._conditional_appends -= append.condition is not None
        if self._disjoint_streams:
            self._leave_stream_queues(append)

    def _start_batches(self) -> None:
        """Start flushes as long as a slot is free and appends are queued."""
        while batch := self._take_batch():
            self._start(batch, slots=1)

    def _take_batch(self) -> list[PendingAppend]:
        """Take a slot and the next batch; return an empty list if no flush may start."""
        batch = self._next_batch() if self._queue and self._can_start_batch() else []
        for append in batch:
            append.flushing = True
        if batch:
            self._free_slots -= 1
            self._appends_in_flight += len(batch)
            self._large_in_flight += _is_large(batch[0])
        return batch

    def _can_start_batch(self) -> bool:
        """Whether a flush may start: no other is running, or a slot is free and overlapping is worthwhile.

        With a conditional append queued or running, flushes do not overlap: it holds locks until its flush ends, and
        the other flush would wait for them.
        """
        # fault: conditional-batches-overlap
        if self._free_slots in (0, self._max_batches) or self._conditional_appends:
            return self._free_slots == self._max_batches
        return (
            self._large_in_flight > 0 or len(self._queue) >= self._min_overlapping_appends or _is_large(self._queue[0])
        )

    def _next_batch(self) -> list[PendingAppend]:
        """Take the next batch from the queue, in order and within the limits."""
        batch: list[PendingAppend] = []
        events = size = 0
        max_appends = self._max_batch_appends()
        while self._queue and len(batch) < max_appends:
            append = self._queue.popleft()
            if append.future.cancelled():
                self._leave(append)
                self._admit()
                continue
            events, size = events + append.events, size + append.size_bytes
            alone = self._max_batches > 1 and _is_large(append)
            if batch and (alone or events > MAX_BATCH_EVENTS or size > MAX_BATCH_BYTES):
                self._queue.appendleft(append)
                break
            batch.append(append)
            if alone:
                break
        return batch

    def _max_batch_appends(self) -> int:
        """Return the maximum number of appends in the next batch.

        An equal share for each of the `max_batches` flushes if a flush is running or the remaining appends can start
        another one; otherwise the whole queue.
        """
        queued = len(self._queue)
        # fault: batch-takes-whole-queue
        share = max(self._min_overlapping_appends, math.ceil((queued + self._appends_in_flight) / self._max_batches))
        # fault: rest-waits-for-batch
        rest_overlaps = queued - share >= self._min_overlapping_appends and not self._conditional_appends
        return share if self._appends_in_flight or rest_overlaps else queued

    def _start(self, batch: list[PendingAppend], *, slots: int) -> None:
        # A task of its own: timeouts in the flush cancel this task and not that of a caller.
        # fault: flush-in-task-of-caller
        task = self._loop.create_task(self._run(batch, slots), name="fait-group-commit")
        self._flushes.add(task)
        task.add_done_callback(self._flushes.discard)

    async def _run(self, batch: list[PendingAppend], slots: int) -> None:
        """Flush a batch, and then further batches in the same slot as long as appends are queued."""
        while batch:
            self._finish(batch, slots, await self._store(batch))
            with suppress(asyncio.CancelledError):
                # Callers resolved above append again now, and share the next batch with the appends already queued.
                await asyncio.sleep(0)
            # fault: batch-with-retries-not-freed
            self._free_slots += slots
            batch = self._take_batch() if slots else []
            self._start_batches()

    async def _store(self, batch: list[PendingAppend]) -> Sequence[AppendOutcome | Exception]:
        try:
            outcomes = await self._flush(batch)
            if len(outcomes) != len(batch):
                raise RuntimeError(f"the flush of {len(batch)} appends returned {len(outcomes)} outcomes")
            return outcomes
        except asyncio.CancelledError:  # the event loop is shutting down
            return [_interrupted()] * len(batch)
        except Exception as error:
            # fault: no-individual-retry
            if len(batch) > 1 and not isinstance(error, StoreUnavailable):
                return [LOCK_TIMEOUT] * len(batch)
            return [error] * len(batch)

    def _finish(self, batch: list[PendingAppend], slots: int, outcomes: Sequence[AppendOutcome | Exception]) -> None:
        """Resolve the appends of a flush; retry individually those with a lock timeout."""
        retries: list[PendingAppend] = []
        for append, outcome in zip(batch, outcomes, strict=True):
            if outcome is LOCK_TIMEOUT and not append.future.cancelled():
                append.retry_individually = True
                retries.append(append)
            else:
                self._resolve(append, outcome)
        if slots:
            self._appends_in_flight -= len(batch)
            self._large_in_flight -= _is_large(batch[0])
        self._admit()
        for append in retries:
            self._start([append], slots=0)  # uses no slot, however long it takes, and still blocks its streams

    def _resolve(self, append: PendingAppend, outcome: Any) -> None:
        self._leave(append)
        if append.future.done():
            return
        if isinstance(outcome, BaseException):
            append.future.set_exception(outcome)
        else:
            append.future.set_result(outcome)


class _StreamQueue:
    """The appends to one stream, in order. Active appends may be flushed; the others are blocked.

    Several appends are active together only if all of them expect the same version.

    Attributes:
        active: number of active appends that have no result yet.
    """

    __slots__ = ("_blocked", "_shared_version", "active")

    def __init__(self) -> None:
        self.active = 0
        self._shared_version: int | None = None
        self._blocked: deque[tuple[PendingAppend, int | None]] = deque()

    def enter(self, append: PendingAppend, shared_version: int | None) -> bool:
        """Add an append. Returns whether it is active."""
        if self.active and (self._blocked or shared_version is None or shared_version != self._shared_version):
            self._blocked.append((append, shared_version))
            return False
        self.active += 1
        self._shared_version = shared_version
        return True

    def leave(self) -> list[PendingAppend]:
        """Remove an active append. Returns the appends that become active."""
        self.active -= 1
        following: list[PendingAppend] = []
        while self._blocked:
            append, shared_version = self._blocked[0]
            if self.active and (shared_version is None or shared_version != self._shared_version):
                break
            self._blocked.popleft()
            self.active += 1
            self._shared_version = shared_version
            following.append(append)
        return following


def _is_large(append: PendingAppend) -> bool:
    # fault: append-of-many-bytes-not-large
    return append.events >= LARGE_APPEND_EVENTS or append.size_bytes >= LARGE_APPEND_BYTES


def _shared_version(append: PendingAppend) -> int | None:
    """The version that an unconditional append to one stream expects; None if it has no such version."""
    if len(append.writes) > 1 or append.condition is not None or append.writes[0].expected < 0:
        return None
    return append.writes[0].expected


def _interrupted() -> StoreUnavailable:
    return StoreUnavailable("the append was interrupted.", "unknown")
