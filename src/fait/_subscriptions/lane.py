"""The events of a range in this process: taken up in order, handled in order for each key, and finished.

    log ── take ──► queues ── next_job ──► handled ── finished ──► recorded
                      │
                      └─ key with a failure ──► set aside, until its failure is removed

A position is unfinished from `take` until its event is recorded. Everything at or below the frontier is finished,
except for the unfinished positions, which are recorded with it, and the events of keys that have a failure. Above the
frontier, the events of such keys are set aside: they can become live again if the failure is removed. The frontier
passes them with the next record.

Events can also be finished before they are recorded (`finish_early`), if nothing is repeated when they are handled
again.
"""

from collections import deque
from collections.abc import Callable, Collection, Sequence, Set
from itertools import filterfalse, repeat, takewhile

from msgspec import Struct

from fait._events.append import MAX_PAGE_BYTES, PAGE_SIZE
from fait._events.envelope import RecordedEvent, size_of
from fait._store.ports.failures import KeyFailure
from fait._store.ports.leases import Lease
from fait._store.ports.registrations import SLOTS, slot_of
from fait._store.ports.unit_of_work import MAX_PENDING, RangeMove

__all__ = ["Job", "RangeLane"]

_ONE_QUEUE = ""


class Job(Struct):
    """Events to handle in one call.

    Attributes:
        queue: the queue that they are from. It has no other job until this one has ended.
        events: the events, in order.
        failure: the failure of their key, if they are retried or redriven; None for live events.
    """

    queue: str
    events: Sequence[RecordedEvent]
    failure: KeyFailure | None = None


class RangeLane:
    """The events of a range under one lease.

    Args:
        lease: the lease.
        key_of: returns the order key of an event; None if only its handling finds the keys, of which it may have
            several. `concurrency` is 1 then.
        concurrency: maximum number of jobs that run at the same time. With one, there is one queue for all keys.

    Attributes:
        lease: the lease.
        frontier: position up to which all events are recorded as finished, except for unfinished ones.
        cursor: position up to which events are taken up.
        more: whether a page may follow immediately.
        failures: the failures of keys, as they are stored.
        size: size of the events in memory: those that were taken up and are unfinished, and those that are set aside.
    """

    def __init__(self, lease: Lease, key_of: Callable[[RecordedEvent], str | None], concurrency: int) -> None:
        self.lease = lease
        self.frontier = max(lease.frontier, lease.position)
        self.cursor = lease.position
        self.more = True
        self.failures = {each.key: each for each in lease.failures}
        self.size = 0
        self._has_all_slots = lease.high - lease.key.low == SLOTS
        self._key_of = key_of
        self._is_serial = concurrency == 1
        # Several jobs can leave all events unfinished below the frontier. One job leaves none there.
        self._max_taken = 2 * PAGE_SIZE if self._is_serial else MAX_PENDING
        self._stored_pending = lease.pending
        self._unfinished = dict.fromkeys(lease.pending, 0)  # positions in order, with the sizes of events in memory
        self._queues: dict[str, deque[RecordedEvent]] = {}
        self._ready: deque[str] = deque()
        self._busy: set[str] = set()
        self._set_aside: dict[str, dict[int, RecordedEvent]] = {}  # above the frontier
        self._passed: dict[str, int] = {}  # last position that was set aside, and that the frontier has passed
        self._finished_early = 0  # last position that was finished before it is recorded

    @property
    def position(self) -> int:
        """Position up to which all events are finished, or are those of a failed key; it is recorded a little later."""
        first = next(iter(self._unfinished), self.cursor + 1)
        # fault: set-aside-event-passed
        for events in self._set_aside.values():
            first = min(first, next(iter(events)))
        return first - 1

    @property
    def capacity(self) -> int:
        """Maximum number of events to take up now; 0 while those in memory are as large as a page."""
        # fault: large-events-taken-without-limit
        if self.size >= MAX_PAGE_BYTES:
            return 0
        if self.cursor < self.frontier:  # those that a former owner left unfinished have their place already
            return PAGE_SIZE
        free = self._free
        return min(free, PAGE_SIZE) if free >= self._max_taken // 2 else 0

    @property
    def _free(self) -> int:
        return self._max_taken - len(self._unfinished) - sum(map(len, self._set_aside.values()))

    @property
    def is_idle(self) -> bool:
        """Whether nothing that was taken up is unfinished."""
        return not self._unfinished

    @property
    def has_passed_events(self) -> bool:
        """Whether there is something to record although no other event is finished."""
        if self.has_unrecorded_events:
            return True
        if not self._unfinished:
            return self.frontier < self.cursor
        return bool(self._set_aside) and len(self._unfinished) <= MAX_PENDING

    @property
    def has_unrecorded_events(self) -> bool:
        """Whether events are finished, or set aside, that are not recorded."""
        # fault: finished-pending-event-not-recorded
        are_stored = all(map(self._unfinished.__contains__, self._stored_pending))
        return self._finished_early > self.frontier or not are_stored

    def take(self, events: Sequence[RecordedEvent], position: int) -> None:
        """Take up the events after the cursor, up to a position or to that of the last one for which there is space."""
        free = self._free
        if self._is_serial and not self.failures and self.cursor >= self.frontier and len(events) <= free:
            self._take_all(events, position)
            return
        kept = set[int]()
        for event in events:
            is_pending = event.position in self._unfinished
            # fault: finished-event-taken-again
            if event.position <= self.frontier and not is_pending:
                continue  # finished under an earlier lease, although an event before it is not
            # fault: more-pending-than-a-row-holds
            if not free and not is_pending:
                position = event.position - 1
                break
            free -= not is_pending
            kept.add(event.position)
            self._take(event)
        if self.cursor < self.frontier:
            self._drop_expired(kept, position)
        self.cursor = max(self.cursor, position)

    def _take_all(self, events: Sequence[RecordedEvent], position: int) -> None:
        """Take up events of which none can be finished or belong to a failed key, all at once."""
        if events:
            sizes = {each.position: len(each.data) + len(each.metadata) for each in events}
            self._unfinished.update(sizes)
            self.size += sum(sizes.values())
            self._queue(_ONE_QUEUE).extend(events)
        self.cursor = max(self.cursor, position)

    def _drop_expired(self, kept: Collection[int], position: int) -> None:
        """Forget events that a former owner left unfinished, and that have expired since."""
        for each in list(takewhile(lambda each: each <= position, self._unfinished)):
            if each > self.cursor and each not in kept:
                del self._unfinished[each]

    def _take(self, event: RecordedEvent) -> None:
        key = self._key_of(event)
        # fault: event-of-failed-key-handled
        if key is None or (failure := self.failures.get(key)) is None:
            self._unfinished[event.position] = size = size_of(event)
            self.size += size
            self._queue(self._queue_name(key)).append(event)
            return
        self._unfinished.pop(event.position, None)
        if event.position > self.frontier and event.position >= failure.next_position:
            self._set_aside.setdefault(key, {})[event.position] = event
            self.size += size_of(event)

    def queue_of(self, event: RecordedEvent) -> str:
        """Return the name of the queue of an event: its order key, if there is one for each."""
        return self._queue_name(self._key_of(event))

    def _queue_name(self, key: str | None) -> str:
        return _ONE_QUEUE if self._is_serial or key is None else key

    def _queue(self, name: str) -> deque[RecordedEvent]:
        """Return a queue, for an event that is added to it."""
        queue = self._queues.get(name)
        if queue is None:
            queue = self._queues[name] = deque()
            if name not in self._busy:
                self._ready.append(name)
        return queue

    def next_job(self, limit: int) -> Job | None:
        """Take the first events of a queue that has no job; None if there is none.

        Args:
            limit: maximum number of events.
        """
        if not self._ready:
            return None
        name = self._ready.popleft()
        queue = self._queues[name]
        if len(queue) <= limit:
            events = list(queue)
            queue.clear()
        else:
            events = [queue.popleft() for _ in range(limit)]
        self._busy.add(name)
        return Job(name, events)

    def begin(self, failure: KeyFailure) -> Job | None:
        """Return a job for a key with a failure, without events yet; None if a job for its queue runs."""
        if self.is_busy(failure.key):
            return None
        name = self._queue_name(failure.key)
        self._busy.add(name)
        if name in self._ready:
            self._ready.remove(name)
        return Job(name, (), failure)

    def is_busy(self, key: str) -> bool:
        """Whether a job of the queue of a key runs."""
        return self._queue_name(key) in self._busy

    def end(self, job: Job, unhandled: Sequence[RecordedEvent] = ()) -> None:
        """End a job. Events of it that are neither finished nor failed are the first of their queue again."""
        name = job.queue
        self._busy.discard(name)
        queue = self._queues.get(name)
        if unhandled:
            if queue is None:
                queue = self._queues[name] = deque()
            queue.extendleft(reversed(unhandled))
        if queue:
            self._ready.append(name)
        else:
            self._queues.pop(name, None)

    def move(self, finished: Set[int] = frozenset(), set_aside: Set[int] = frozenset()) -> RangeMove:
        """Return the move of the range with a record.

        Args:
            finished: positions that the record finishes.
            set_aside: positions of events whose keys fail in the record.
        """
        if self._unfinished.keys() <= finished:
            return self._move_to(max(self.frontier, self.cursor))
        remaining = filterfalse((finished | set_aside if set_aside else finished).__contains__, self._unfinished)
        first = next(remaining, None)
        if first is None:
            return self._move_to(max(self.frontier, self.cursor))
        frontier = max(self.frontier, self._last_set_aside, self._finished_early, max(finished, default=0))
        # fault: pending-not-stored
        pending = (first, *takewhile(lambda each: each < frontier, remaining)) if first < frontier else ()
        return self._move_to(frontier, pending)

    def finish_early(self, events: Sequence[RecordedEvent]) -> None:
        """Finish the first events that are unfinished, before they are recorded: the next move passes them."""
        for each in events:
            self.size -= self._unfinished.pop(each.position, 0)
        self._finished_early = events[-1].position

    def hold(self) -> RangeMove:
        """Return a move that leaves the range where it is."""
        return self._move_to(self.frontier, tuple(takewhile(lambda each: each < self.frontier, self._unfinished)))

    def _move_to(self, frontier: int, pending: tuple[int, ...] = ()) -> RangeMove:
        lease = self.lease
        return RangeMove(lease.key, lease.fencing_token, lease.revision, frontier, pending)

    @property
    def _last_set_aside(self) -> int:
        if not self._set_aside or len(self._unfinished) > MAX_PENDING:
            return 0
        return max(next(reversed(events)) for events in self._set_aside.values())

    def recorded(self, move: RangeMove, finished: Collection[int]) -> None:
        """Apply a move that was recorded."""
        self.size -= sum(map(self._unfinished.pop, finished, repeat(0)))
        self.frontier, self._stored_pending = move.frontier, move.pending
        for key, events in list(self._set_aside.items()):
            for each in [each for each in events if each <= self.frontier]:
                self.size -= size_of(events.pop(each))  # now the failure stands for it
                self._passed[key] = each
            if not events:
                del self._set_aside[key]

    def may_hand_back(self, key: str, position: int) -> bool:
        """Whether a failure may be removed: no event of its key was passed after a position.

        Args:
            key: the key.
            position: a position that was not before the frontier when the job for the key began.
        """
        # fault: key-handed-back-without-passed-events
        return self._passed.get(key, 0) <= position

    def has_slot_of(self, key: str) -> bool:
        """Whether an order key belongs to the range."""
        # fault: keys-of-other-ranges-folded
        return self._has_all_slots or self.lease.key.low <= slot_of(key) < self.lease.high

    def has_key(self, event: RecordedEvent, key: str) -> bool:
        """Whether an event has an order key."""
        return self._key_of(event) == key

    def events_of(self, key: str) -> list[RecordedEvent]:
        """Return the events of a key that wait in queues."""
        return [event for event in self._queues.get(self._queue_name(key), ()) if self.has_key(event, key)]

    def fail(self, failure: KeyFailure, events: Sequence[RecordedEvent]) -> None:
        """Set the events of a key aside, after its failure was recorded: those in queues, and some of a job."""
        key = failure.key
        aside = self._set_aside.pop(key, {})
        self.size -= sum(map(size_of, aside.values()))
        for event in sorted([*events, *self.events_of(key)], key=lambda each: each.position):
            self.size -= self._unfinished.pop(event.position, 0)
            aside[event.position] = event
        first = max(self.frontier + 1, failure.next_position)
        if kept := {position: event for position, event in aside.items() if position >= first}:
            self._set_aside[key] = kept
            self.size += sum(map(size_of, kept.values()))
        self._drop_from_queues(key)
        self.failures[key] = failure

    def hand_back(self, key: str) -> None:
        """Take up the events of a key again, after its failure was removed."""
        del self.failures[key]
        self._passed.pop(key, None)
        events = self._set_aside.pop(key, {})
        if events:
            sizes = {position: size_of(event) for position, event in events.items()}
            self._unfinished = dict(sorted((self._unfinished | sizes).items()))
            self._insert(key, list(events.values()))

    def _insert(self, key: str, events: list[RecordedEvent]) -> None:
        name = self._queue_name(key)
        queue = self._queues.pop(name, deque())
        if name in self._ready:
            self._ready.remove(name)
        self._queues[name] = deque(sorted([*queue, *events], key=lambda each: each.position))
        if name not in self._busy:
            self._ready.append(name)

    def _drop_from_queues(self, key: str) -> None:
        name = self._queue_name(key)
        kept = deque(event for event in self._queues.pop(name, ()) if not self.has_key(event, key))
        if kept:
            self._queues[name] = kept
        elif name in self._ready:
            self._ready.remove(name)
