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
from fait._events.append import AppendCondition, Verdict, Write

__all__ = [
    "MAX_BATCH_BYTES",
    "MAX_BATCH_EVENTS",
    "MAX_WAITING_BYTES",
    "MAX_WAITING_EVENTS",
    "Answer",
    "Busy",
    "Coalescer",
    "Outcome",
    "Request",
]

MAX_BATCH_EVENTS: Final = 1_000
"""Events of one flush: bounds how long the first waits for the last. A larger append is a batch of its own."""

MAX_BATCH_BYTES: Final = 4 << 20
"""Bytes of one flush."""

WORTH_A_LANE: Final = 24
"""Requests that make a batch beside another: fewer share the next fsync for less than one of their own would cost."""

LARGE: Final = 500
"""Events of an append that goes alone where there are lanes; beside it, or before it, others need not be many."""

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

    __slots__ = ("alone", "behind", "bytes", "condition", "events", "flushing", "future", "streams", "writes")

    def __init__(
        self, writes: Sequence[Write], condition: AppendCondition | None, future: "asyncio.Future[Verdict]"
    ) -> None:
        self.writes = writes
        self.condition = condition
        self.future = future
        self.flushing = False
        self.alone = False
        self.behind = 0
        self.streams = [write.stream for write in writes]
        self.events = self.bytes = 0
        for write in writes:
            self.events += len(write.events)
            for event in write.events:
                self.bytes += len(event.data) + len(event.metadata)


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
        lanes: int = 1,
        worth_a_lane: int = WORTH_A_LANE,
        disjoint: bool = True,
        max_waiting_events: int = MAX_WAITING_EVENTS,
        max_waiting_bytes: int = MAX_WAITING_BYTES,
    ) -> None:
        self._flush = flush
        self._lanes = lanes
        self._worth_a_lane = worth_a_lane
        self._free_lanes = lanes
        self._in_lanes = 0
        self._large = 0
        self._conditions = 0
        self._disjoint = disjoint
        self._max_events = max_waiting_events
        self._max_bytes = max_waiting_bytes
        self._loop = asyncio.get_running_loop()
        self._process = os.getpid()
        self._queue: deque[Request] = deque()
        self._outside: deque[Request] = deque()
        self._waiting_events = 0
        self._waiting_bytes = 0
        self._lines: dict[str, _Line] = {}

    async def append(self, writes: Sequence[Write], condition: AppendCondition | None = None) -> Verdict:
        """Queue an append and wait for its verdict.

        Cancelled before its flush began: nothing is written. Cancelled later: a note on the error says that it may
        have been.
        """
        self._check_home()
        request = Request(writes, condition, self._loop.create_future())
        if self._outside or not self._fits(request):
            self._outside.append(request)
        else:
            self._enter(request)
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
            self._enter(self._outside.popleft())

    def _enter(self, request: Request) -> None:
        self._waiting_events += request.events
        self._waiting_bytes += request.bytes
        self._conditions += request.condition is not None
        if not self._disjoint or self._joins_lines(request):
            self._queue.append(request)

    def _joins_lines(self, request: Request) -> bool:
        """Take a place in the line of each stream; whether it is the first in all of them."""
        rival = _rival(request)
        for stream in request.streams:
            line = self._lines.setdefault(stream, _Line())
            if not line.join(request, rival):
                request.behind += 1
        return not request.behind

    def _leave_lines(self, request: Request) -> None:
        """Make way on all streams; who was waiting for nothing else is queued, before those who came later."""
        for stream in request.streams:
            line = self._lines[stream]
            for following in reversed(line.leave()):
                following.behind -= 1
                if not following.behind:
                    self._queue.appendleft(following)
            if not line.inside:
                del self._lines[stream]

    def _fits(self, request: Request) -> bool:
        return not self._waiting_events or (
            self._waiting_events + request.events <= self._max_events
            and self._waiting_bytes + request.bytes <= self._max_bytes
        )

    def _leave(self, request: Request) -> None:
        self._waiting_events -= request.events
        self._waiting_bytes -= request.bytes
        self._conditions -= request.condition is not None
        if self._disjoint:
            self._leave_lines(request)

    def _pump(self) -> None:
        """Start flushes while there are lanes and requests."""
        while self._queue and self._has_lane() and (batch := self._take()):
            self._free_lanes -= 1
            self._in_lanes += len(batch)
            self._large += batch[0].events >= LARGE
            self._start(batch, lanes=1)

    def _has_lane(self) -> bool:
        """Whether a flush may begin: if others are under way, only one that is worth it, and waits for none of them.

        Appends with conditions might: they lock what they depend on until their flush ends.
        """
        if self._free_lanes in (0, self._lanes) or self._conditions:
            return self._free_lanes == self._lanes
        return self._large > 0 or len(self._queue) >= self._worth_a_lane or self._queue[0].events >= LARGE

    def _take(self) -> list[Request]:
        """The next batch, in order, within its bounds."""
        batch: list[Request] = []
        events = size = 0
        most = self._share()
        while self._queue and len(batch) < most:
            request = self._queue.popleft()
            if request.future.cancelled():
                self._leave(request)
                self._admit()
                continue
            events, size = events + request.events, size + request.bytes
            alone = self._lanes > 1 and request.events >= LARGE
            if batch and (alone or events > MAX_BATCH_EVENTS or size > MAX_BATCH_BYTES):
                self._queue.appendleft(request)
                break
            batch.append(request)
            if alone:
                break
        return batch

    def _share(self) -> int:
        """Most requests of the next batch: an even part for each lane, if what is left is worth another."""
        here = len(self._queue)
        even = max(self._worth_a_lane, math.ceil((here + self._in_lanes) / self._lanes))
        is_worth_another = here - even >= self._worth_a_lane and not self._conditions
        return even if self._in_lanes or is_worth_another else here

    def _start(self, batch: list[Request], *, lanes: int) -> None:
        for request in batch:
            request.flushing = True
        try:
            answer = self._flush(batch)
        except Exception as problem:
            answer = self._loop.create_future()
            answer.set_exception(problem)
        answer.add_done_callback(lambda done: self._finish(batch, lanes, done))

    def _finish(self, batch: list[Request], lanes: int, done: Answer) -> None:
        """Give the verdicts out; run again, alone, whoever was in a failed batch or met a lock."""
        problem = _interrupted() if done.cancelled() else done.exception()
        outcomes = cast("Sequence[Any]", [problem] * len(batch) if problem else done.result())
        one_is_at_fault = problem is not None and len(batch) > 1 and not isinstance(problem, StoreUnavailable)
        alone: list[Request] = []
        for request, outcome in zip(batch, outcomes, strict=True):
            if (one_is_at_fault or outcome is BUSY) and not request.future.cancelled():
                request.alone = True
                alone.append(request)
            else:
                self._resolve(request, outcome)
        if lanes:
            self._in_lanes -= len(batch)
            self._large -= batch[0].events >= LARGE
        self._admit()
        for request in alone:
            self._start([request], lanes=0)  # beside the others, however long it takes; it holds its streams meanwhile
        # Who has just been answered may ask again in this turn of the loop, and go along with those who waited.
        self._loop.call_soon(self._free, lanes)

    def _free(self, lanes: int) -> None:
        self._free_lanes += lanes
        self._pump()

    def _resolve(self, request: Request, outcome: Any) -> None:
        self._leave(request)
        if request.future.done():
            return
        if isinstance(outcome, BaseException):
            request.future.set_exception(outcome)
        else:
            request.future.set_result(outcome)


class _Line:
    """Those who append to one stream, in order: who is inside, alone or with rivals, and who waits.

    Attributes:
        inside: how many have not had their answer.
    """

    __slots__ = ("_rival", "_waiting", "inside")

    def __init__(self) -> None:
        self.inside = 0
        self._rival: int | None = None
        self._waiting: deque[tuple[Request, int | None]] = deque()

    def join(self, request: Request, rival: int | None) -> bool:
        """Come inside, or wait; whether it is inside."""
        if self.inside and (self._waiting or rival is None or rival != self._rival):
            self._waiting.append((request, rival))
            return False
        self.inside += 1
        self._rival = rival
        return True

    def leave(self) -> list[Request]:
        """One of those inside goes; who comes inside now, as nobody else is."""
        self.inside -= 1
        following: list[Request] = []
        while self._waiting:
            request, rival = self._waiting[0]
            if self.inside and (rival is None or rival != self._rival):
                break
            self._waiting.popleft()
            self.inside += 1
            self._rival = rival
            following.append(request)
        return following


def _rival(request: Request) -> int | None:
    """The version that a request expects of its one stream: of those that expect the same, one can win."""
    if len(request.writes) > 1 or request.condition is not None or request.writes[0].expected < 0:
        return None
    return request.writes[0].expected


def _interrupted() -> StoreUnavailable:
    return StoreUnavailable("the append was interrupted.", "unknown")
