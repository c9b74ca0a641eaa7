"""Appends that are asked for at the same time are flushed together, each with an answer of its own.

    append ─► room ─► queue ─► batch ─► flush ─► verdicts
              (back-pressure)  (whatever has gathered while the last flush was under way)

There is no timer: when a lane is free, everything queued goes at once, so that an idle system pays nothing and a
busy one shares one round trip and one fsync among many. A batch that fails is run again one by one, so that nobody
pays for a neighbour.
"""

import asyncio
import os
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol, cast

from fait.errors import StoreUnavailable, UsageError
from fait.events.append import AppendCondition, Verdict, Write

__all__ = [
    "MAX_BATCH_BYTES",
    "MAX_BATCH_EVENTS",
    "MAX_WAITING_BYTES",
    "MAX_WAITING_EVENTS",
    "Busy",
    "Coalescer",
    "Outcome",
    "Request",
]

MAX_BATCH_EVENTS: Final = 1_000
"""Events of one flush: bounds how long the first waits for the last. A larger append is a batch of its own."""

MAX_BATCH_BYTES: Final = 4 << 20
"""Bytes of one flush."""

MAX_WAITING_EVENTS: Final = 50_000
"""Events that may wait; who asks for more waits until there is room."""

MAX_WAITING_BYTES: Final = 64 << 20
"""Bytes that may wait."""


class Busy:
    """An answer of a flush: a stream of this request is locked by somebody else; let it run alone."""


BUSY: Final = Busy()

Outcome = Verdict | Busy


class Request:
    """An append that somebody waits for."""

    __slots__ = ("bytes", "condition", "events", "flushing", "future", "writes")

    def __init__(
        self, writes: Sequence[Write], condition: AppendCondition | None, future: "asyncio.Future[Verdict]"
    ) -> None:
        self.writes = writes
        self.condition = condition
        self.future = future
        self.flushing = False
        self.events = sum(len(write.events) for write in writes)
        self.bytes = sum(len(event.data) + len(event.metadata) for write in writes for event in write.events)


class Answer(Protocol):
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

    def result(self) -> Sequence[Outcome | Exception]:
        """An outcome for each request, in order."""
        ...


Flush = Callable[[Sequence[Request]], Answer]


class Coalescer:
    """Gathers appends into batches for a backend's `flush`.

    Belongs to the event loop and the process it was made in.

    Args:
        flush: begins to store a batch in one transaction; its future gives an outcome for each request, in order. A
            single request waits for its locks; it is never answered `BUSY`.
        lanes: how many flushes may be under way, beside those of single requests that are run again.
        disjoint: whether requests on one stream must not meet in flushes that are under way at the same time: they
            stay in order, come what may. A backend that runs flushes strictly one after another does not need it to
            be right; there, what is run again after a failed batch comes behind the flushes that were under way.
        max_waiting_events: how many events may wait.
        max_waiting_bytes: how many bytes may wait.
    """

    def __init__(
        self,
        flush: Flush,
        *,
        lanes: int = 1,
        disjoint: bool = True,
        max_waiting_events: int = MAX_WAITING_EVENTS,
        max_waiting_bytes: int = MAX_WAITING_BYTES,
    ) -> None:
        self._flush = flush
        self._free_lanes = lanes
        self._disjoint = disjoint
        self._max_events = max_waiting_events
        self._max_bytes = max_waiting_bytes
        self._loop = asyncio.get_running_loop()
        self._process = os.getpid()
        self._queue: deque[Request] = deque()
        self._outside: deque[Request] = deque()
        self._waiting_events = 0
        self._waiting_bytes = 0
        self._occupied: set[str] = set()

    async def append(self, writes: Sequence[Write], condition: AppendCondition | None = None) -> Verdict:
        """Queue an append and wait for its verdict.

        Cancelled before its flush began: nothing is written. Cancelled later: a note on the error says that it may
        have been.
        """
        self._check_home()
        request = Request(writes, condition, self._loop.create_future())
        self._outside.append(request)
        self._admit()
        self._pump()
        try:
            return await request.future
        except asyncio.CancelledError as cancelled:
            if request.flushing:
                cancelled.add_note("The append was under way: it may have been written. The same event ids settle it.")
            elif request in self._outside:
                self._outside.remove(request)
                self._admit()  # it may have been the one for whom there was no room
                self._pump()
            raise

    def _check_home(self) -> None:
        if os.getpid() != self._process:
            raise UsageError(
                "this store was opened before a fork: open the app in the child process. Nothing was written."
            )
        if asyncio.get_running_loop() is not self._loop:
            raise UsageError("this store belongs to another event loop: open the app in this one. Nothing was written.")

    def _admit(self) -> None:
        """Queue, in order, those for whom there is room; one larger than all the room enters when it is empty."""
        while self._outside and self._fits(self._outside[0]):
            entering = self._outside.popleft()
            self._occupy(entering, 1)
            self._queue.append(entering)

    def _fits(self, request: Request) -> bool:
        return not self._waiting_events or (
            self._waiting_events + request.events <= self._max_events
            and self._waiting_bytes + request.bytes <= self._max_bytes
        )

    def _occupy(self, request: Request, sign: int) -> None:
        self._waiting_events += sign * request.events
        self._waiting_bytes += sign * request.bytes

    def _leave(self, request: Request) -> None:
        self._occupy(request, -1)
        self._admit()

    def _pump(self) -> None:
        """Start flushes while there are lanes and requests."""
        while self._free_lanes and (batch := self._take()):
            self._free_lanes -= 1
            self._start(batch, lanes=1)

    def _take(self) -> list[Request]:
        """The next batch: in order; what must wait for a stream, waits, and all behind it on its streams."""
        batch: list[Request] = []
        deferred: list[Request] = []
        held = set(self._occupied)
        events = size = 0
        while self._queue:
            request = self._queue.popleft()
            if request.future.cancelled():
                self._leave(request)
                continue
            if batch and (events + request.events > MAX_BATCH_EVENTS or size + request.bytes > MAX_BATCH_BYTES):
                self._queue.appendleft(request)
                break
            if self._disjoint:
                streams = {write.stream for write in request.writes}
                if not held.isdisjoint(streams):
                    deferred.append(request)
                    held |= streams
                    continue
                held |= streams
            batch.append(request)
            events, size = events + request.events, size + request.bytes
        self._queue.extendleft(reversed(deferred))
        return batch

    def _start(self, batch: list[Request], *, lanes: int) -> None:
        for request in batch:
            request.flushing = True
            if self._disjoint:
                self._occupied.update(write.stream for write in request.writes)
        try:
            answer = self._flush(batch)
        except Exception as problem:
            answer = self._loop.create_future()
            answer.set_exception(problem)
        answer.add_done_callback(lambda done: self._finish(batch, lanes, done))

    def _finish(self, batch: list[Request], lanes: int, done: Answer) -> None:
        """Give the verdicts out; run again, alone, whoever was in a failed batch or met a lock."""
        self._free_lanes += lanes
        problem = _interrupted() if done.cancelled() else done.exception()
        outcomes = cast("Sequence[Any]", [problem] * len(batch) if problem else done.result())
        one_is_at_fault = problem is not None and len(batch) > 1 and not isinstance(problem, StoreUnavailable)
        alone: list[Request] = []
        for request, outcome in zip(batch, outcomes, strict=True):
            if (one_is_at_fault or outcome is BUSY) and not request.future.cancelled():
                alone.append(request)
            else:
                self._resolve(request, outcome)
        for request in alone:
            self._start([request], lanes=0)  # beside the others, however long it takes; it holds its streams meanwhile
        self._pump()

    def _resolve(self, request: Request, outcome: Any) -> None:
        if self._disjoint:
            self._occupied.difference_update(write.stream for write in request.writes)
        self._leave(request)
        if request.future.done():
            return
        if isinstance(outcome, BaseException):
            request.future.set_exception(outcome)
        else:
            request.future.set_result(outcome)


def _interrupted() -> StoreUnavailable:
    return StoreUnavailable("the append was interrupted.", "unknown")
