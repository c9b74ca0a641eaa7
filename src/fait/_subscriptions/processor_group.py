"""The processors of one subscription in this process: one for each range that it owns.

From what all workers can read, `follow` decides which ranges this process acquires, releases, splits and merges. A
range is split or merged by its owner, between two tenures of processors: no record of it is under way then.
"""

import asyncio
from collections.abc import Collection, Coroutine, Iterable, Mapping, Sequence
from contextlib import suppress
from itertools import chain
from typing import Any, Final, Literal

from fait._clock import Clock, SystemClock
from fait._store.ports.failures import KeyFailure
from fait._store.ports.leases import Lease, Range, RegisteredWorker
from fait._store.ports.registrations import SLOTS, RangeKey
from fait._store.ports.store import Store
from fait._store.ports.unit_of_work import RangeMove, UnitOfWork
from fait._store.position_signal import PositionSignal
from fait._subscriptions.error_text import describe_error
from fait._subscriptions.event_source import OpenSource
from fait._subscriptions.fleet import RANGES_PER_WORKER, RangePlan, WorkerCounts, plan_ranges
from fait._subscriptions.processor import Processor
from fait._subscriptions.subscription import Subscription, SubscriptionDefinition
from fait._subscriptions.subscription_run import SubscriptionRun
from fait._telemetry import logger

__all__ = ["LEASE_DURATION_S", "MIN_LEASE_DURATION_S", "ProcessorGroup", "State", "Tokens", "tokens_of"]

State = Literal["waiting", "catching_up", "live", "failing", "paused", "stopping", "stopped"]
"""State of a subscription in this process, as its users see it; "failing": an error is being retried."""

LEASE_DURATION_S: Final = 5.0
"""Default time without a heartbeat after which another process may acquire a lease."""

MIN_LEASE_DURATION_S: Final = 0.01
"""Minimum duration of a lease: a heartbeat must arrive several times within it."""

DRAIN_TIMEOUT_S: Final = 10.0
"""Timeout for the current calls of a range that is released. Then they are canceled.

A range that is split or merged stays here: its calls are not canceled, because the next look would begin the same
change again, and a call that takes longer would never end.
"""

Tokens = frozenset[tuple[int, int]]
"""The lowest hash and the fencing token of each range of a subscription."""


def tokens_of(ranges: Iterable[Range]) -> Tokens:
    """Return the tokens of ranges: they change whenever a range is acquired, released, reset, split or merged."""
    return frozenset((each.key.low, each.fencing_token) for each in ranges)


class ProcessorGroup:
    """Runs one subscription in this process, together with the processes that run it as well.

    Args:
        subscription: handles the events.
        store: the store of the log and of the subscription's ranges.
        worker: id of this process, for its leases.
        lease_s: duration of a lease, in seconds.
        clock: current time, for the times of failures; by default that of the system.
        open_source: where events come from, if not from the log.

    Attributes:
        run: what its processors share.
        started: whether `follow` was called.
        lease_expires_at: monotonic time at which the ranges of a worker without a heartbeat become free.
        position_signal: position up to which all events are processed; 0 while unknown.
        changed: set when a processor has ended, so that the ranges should be looked at soon.
    """

    def __init__(
        self,
        subscription: Subscription,
        store: Store,
        worker: str,
        *,
        lease_s: float = LEASE_DURATION_S,
        clock: Clock | None = None,
        open_source: OpenSource | None = None,
    ) -> None:
        self.run = SubscriptionRun(subscription, store, worker, lease_s, clock or SystemClock(), open_source)
        self.started = False
        self.lease_expires_at = 0.0
        self.position_signal = PositionSignal()
        self.changed = asyncio.Event()
        self._counts = WorkerCounts(lease_s)
        self._processors: dict[RangeKey, Processor] = {}
        self._tasks: dict[RangeKey, asyncio.Task[None]] = {}
        self._moves = set[asyncio.Task[Any]]()
        self._moving = set[RangeKey]()
        self._stop: Literal["", "stopping", "stopped"] = ""

    @property
    def definition(self) -> SubscriptionDefinition:
        """The definition of the subscription."""
        return self.run.definition

    @property
    def name(self) -> str:
        """Name of the subscription."""
        return self.run.definition.name

    @property
    def error(self) -> Exception | None:
        """The error that is being retried, or because of which it does not run; None if there is none."""
        works = (each.work.error for each in self._processors.values() if each.work)
        return self.run.error or next((each for each in works if each is not None), None)

    @property
    def error_text(self) -> str:
        """Type and text of the error, as they are stored and logged; "" if there is none."""
        return "" if self.error is None else str(describe_error(self.error, self.definition.policy.messages))

    @property
    def cause(self) -> Exception | None:
        """The error as the cause of another one; None if there is none, or if the policy hides its text."""
        # fault: hidden-message-is-a-cause
        return None if self.definition.policy.messages == "hide" else self.error

    @property
    def state(self) -> State:
        """State of the subscription in this process."""
        if self._stop:
            return self._stop
        processors = self._processors.values()
        owns_any = any(each.lease for each in processors)
        if self.run.is_paused and not owns_any:
            return "paused"
        if self.run.error is not None or any(each.is_failing for each in processors):
            return "failing"
        if not owns_any:
            return "waiting"
        return "live" if all(each.is_live for each in processors) else "catching_up"

    @property
    def position(self) -> int:
        """Position up to which all events are processed; 0 while unknown: this process does not own all ranges."""
        return self.position_signal.position

    @property
    def tokens(self) -> Tokens:
        """The ranges that this process owns, with their fencing tokens."""
        leases = (each.lease for each in self._processors.values())
        return frozenset((each.key.low, each.fencing_token) for each in leases if each is not None)

    def position_in(self, ranges: Sequence[Range]) -> int:
        """Return the position up to which all events are processed, for the current ranges of the subscription."""
        stored = min((each.position for each in ranges), default=0)
        return max(stored, self.position) if tokens_of(ranges) == self.tokens else stored

    @property
    def failures(self) -> Iterable[KeyFailure]:
        """The failures of keys in the ranges that this process owns."""
        lanes = (each.work.lane for each in self._processors.values() if each.work and each.lease)
        return chain.from_iterable(lane.failures.values() for lane in lanes)

    @property
    def backlog(self) -> int | None:
        """Number of messages of a broker that are not handled, of this process's ranges; None: not known."""
        owners = [each for each in self._processors.values() if each.lease]
        backlogs = [each.work.source.backlog if each.work else None for each in owners]
        return None if None in backlogs or not backlogs else sum(filter(None, backlogs))

    def _report(self) -> None:
        """Take over how far the processors have come."""
        working = [each for each in self._processors.values() if each.lease and each.work]
        if sum(each.lease.high - each.key.low for each in working if each.lease) == SLOTS:
            self.position_signal.advance(min(each.position for each in working))
        else:
            self.position_signal.position = 0  # unknown until the checkpoints are read

    # What the store tells

    def confirm_leases(self, owned: Collection[RangeKey], heartbeat_at: float) -> None:
        """Detect from the result of a heartbeat that leases were lost. See `Processor.confirm_lease`."""
        for each in list(self._processors.values()):
            each.confirm_lease(owned, heartbeat_at)
        self.wake()

    def wake(self) -> None:
        """Look again whether something is due."""
        for each in self._processors.values():
            each.wake()

    def observe_ranges(self, ranges: Iterable[Range]) -> None:
        """Detect from the current ranges that another process acquired them or reset the checkpoint."""
        for each in ranges:
            if (processor := self._processors.get(each.key)) is not None:
                processor.observe(each)

    def accept_requests(self, requested: Iterable[KeyFailure]) -> None:
        """Do what operators have requested of parked keys of this subscription."""
        for each in requested:
            if each.subscription == self.name:
                for processor in self._processors.values():
                    if processor.work is not None:
                        processor.work.accept_request(each)

    @property
    def rests(self) -> bool:
        """Whether this process takes no range now, because it makes no progress."""
        return self.run.clock.monotonic() < self.run.rests_until

    def follow(
        self, workers: Sequence[RegisteredWorker], ranges: Sequence[Range], expires_at: Mapping[str, float]
    ) -> bool:
        """Do what is this worker's part of sharing the ranges of the subscription.

        Args:
            workers: all workers.
            ranges: all ranges of the subscription, in order.
            expires_at: monotonic time at which each worker is expired, unless its heartbeat has changed.

        Returns:
            Whether this worker has fewer ranges than it should.
        """
        self.started, now = True, self.run.clock.monotonic()
        if self._stop:
            return False
        if not ranges:
            # fault: renamed-subscription-shown-as-standby
            self.run.refuse_retired()
            return False
        self.observe_ranges(ranges)
        others = [each.worker for each in ranges if each.worker != self.run.worker and each.heartbeat is not None]
        self.lease_expires_at = min((expires_at[each] for each in others if each in expires_at), default=0.0)
        if len(others) == len(ranges):
            self._follow_owners(ranges)
        self.run.keep_outages({each.key for each in ranges if each.heartbeat is None or each.worker == self.run.worker})
        self._follow_operator(ranges)
        peers = self._peers(workers)
        self._counts.add(now, max(1, len(peers)))
        at_least, at_most = self._counts.ranges_to_split(now), self._counts.ranges_to_merge(now)
        if self.definition.has_one_range:
            at_least = at_most = 1
        elif self.definition.is_received:  # each range has a connection of its own
            at_least, at_most = at_least // RANGES_PER_WORKER, max(1, at_most // RANGES_PER_WORKER)
        plan = plan_ranges(self.run.worker, peers, ranges, at_least, at_most)
        self._apply(plan)
        self._resume(ranges)
        return plan.lacks > 0 and not self.run.is_refused

    def _peers(self, workers: Sequence[RegisteredWorker]) -> frozenset[str]:
        """Return the ids of the workers that can run the subscription now."""
        name, definition_hash, own = self.name, self.definition.definition_hash, self.run.worker
        peers = {each.worker.id for each in workers if each.worker.runs.get(name) == definition_hash} | {own}
        return frozenset(peers - {own} if self.rests else peers)

    def _apply(self, plan: RangePlan) -> None:
        for key in plan.release:
            if self._is_free_to_move(key):
                self._move(self._drain(key, keep_lease=False), key)
        for each in plan.split:
            if self._is_free_to_move(each.key):
                self._move(self._split(each), each.key)
        for lower, upper in plan.merge:
            if self._is_free_to_merge(lower.key) and self._is_free_to_merge(upper.key):
                self._move(self._merge(lower, upper), lower.key, upper.key)
        # fault: refused-worker-asks-for-all-ranges
        for each in plan.acquire[:1] if self.run.is_refused else plan.acquire:
            self._start(each)

    def _resume(self, ranges: Sequence[Range]) -> None:
        """Acquire again what this worker owns, and does not work on: after a change of ranges, or a lost lease."""
        for each in ranges:
            if each.worker == self.run.worker and not self.rests:
                self._start(each)

    def _is_free_to_move(self, key: RangeKey) -> bool:
        return key in self._processors and key not in self._moving

    def _is_free_to_merge(self, key: RangeKey) -> bool:
        """Whether a range can be merged now: it has read the whole log, so that its neighbor does not wait for it."""
        work = self._processors[key].work if self._is_free_to_move(key) else None
        return work is not None and (self.definition.is_received or not work.lane.more)

    def _start(self, seen: Range) -> None:
        """Start a processor of a range."""
        key = seen.key
        if key in self._processors or key in self._moving:
            return
        processor = self._processors[key] = Processor(self.run, seen, self._report)
        self._tasks[key] = asyncio.create_task(processor.run(), name=f"fait-{self.name}")
        self._tasks[key].add_done_callback(lambda task: self._end(key, task))

    def _end(self, key: RangeKey, task: "asyncio.Task[None]") -> None:
        processor = self._processors.pop(key)
        del self._tasks[key]
        self._report()
        if not processor.was_refused:  # else the next look is soon enough
            self.changed.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            self.run.refusal = error if isinstance(error, Exception) else None
            self.run.rests_until = self.run.clock.monotonic() + self.run.lease_s
            logger.critical("processor ended unexpectedly: subscription=%s", self.name, exc_info=error)

    # Changes of ranges

    def _move(self, change: Coroutine[Any, Any, Any], *keys: RangeKey) -> None:
        self._moving.update(keys)
        task = asyncio.create_task(change, name=f"fait-move-{self.name}")
        self._moves.add(task)
        task.add_done_callback(lambda task: self._end_move(task, keys))

    def _end_move(self, task: "asyncio.Task[Any]", keys: Collection[RangeKey]) -> None:
        self._moves.discard(task)
        self._moving.difference_update(keys)
        self.changed.set()
        if not task.cancelled() and (error := task.exception()) is not None:  # the next look finds what was changed
            logger.info("failed to move ranges: subscription=%s error=%r", self.name, error)

    async def _split(self, range: Range) -> None:
        lease = await self._drain(range.key)
        if lease is not None and not self._stop:
            await self.run.store.leases.split(lease, (lease.key.low + lease.high) // 2)

    async def _merge(self, lower: Range, upper: Range) -> None:
        processors = [self._processors.get(each.key) for each in (lower, upper)]
        lanes = [each.work.lane for each in processors if each and each.work]
        at = None if self.definition.is_received else max((each.cursor for each in lanes), default=0)
        # Both are stopped before either can read on: a range that has read past the position cannot be merged there.
        drained = await asyncio.gather(self._drain(lower.key, at=at), self._drain(upper.key, at=at))
        leases = [each for each in drained if each is not None]
        # fault: received-ranges-not-aligned
        if self.definition.is_received:
            leases = await self._align(leases)
        if len(leases) == len(drained) and not self._stop:
            await self.run.store.leases.merge(leases[0], leases[1])

    async def _align(self, leases: Sequence[Lease]) -> list[Lease]:
        """Acquire ranges again, and give them the same frontier. Returns their leases.

        What they have not finished is delivered again, with new numbers. A record of their processors may be under way,
        with an unknown outcome: it must have an old fencing token, and the frontier is that in the store.
        """
        store, definition_hash = self.run.store, self.definition.definition_hash
        epoch_id, aligned = store.log.identity.epoch_id, list[Lease]()
        for each in leases:
            seen = Range(each.key, each.position, each.worker, each.fencing_token, None)
            # fault: consumer-merged-under-the-token-of-a-late-record
            lease = await store.leases.acquire(seen, each.worker, definition_hash, epoch_id)
            if lease is not None:
                aligned.append(lease)
        frontier = max((each.frontier for each in aligned), default=0)
        for each in aligned:
            move = RangeMove(each.key, each.fencing_token, each.revision, frontier)
            await store.recorder.record(UnitOfWork(move))
        return aligned

    def _drain(
        self, key: RangeKey, *, keep_lease: bool = True, at: int | None = None
    ) -> Coroutine[Any, Any, Lease | None]:
        """Tell a processor to stop, in this turn of the event loop. The result waits for its end; see `_drained`."""
        processor, task = self._processors.get(key), self._tasks.get(key)
        if processor is not None:
            processor.stop(keep_lease=keep_lease, at=at)
        return self._drained(processor, task, keep_lease=keep_lease, at=at)

    async def _drained(
        self, processor: Processor | None, task: "asyncio.Task[None] | None", *, keep_lease: bool, at: int | None
    ) -> Lease | None:
        """Wait until a processor has ended. Returns its lease, if all events that it has taken up are finished."""
        if processor is None or task is None:  # it has ended since, as its lease was lost
            return None
        # fault: long-call-canceled-by-split
        await asyncio.wait([task], timeout=None if keep_lease else DRAIN_TIMEOUT_S)
        if not task.done():
            task.cancel()
            await asyncio.wait([task])
        lease, work = processor.lease, processor.work
        if lease is not None and (not keep_lease or task.cancelled()):
            await self.run.store.leases.release(lease)
            return None
        is_finished = work is not None and (at is None or (work.lane.is_idle and work.lane.frontier == at))
        return lease if is_finished else None

    def _follow_owners(self, ranges: Sequence[Range]) -> None:
        """Take note that an outage concerns other workers, which own all ranges; it is over if none of them waits."""
        if any(each.health for each in ranges):
            self.run.forget_outages()
        else:
            self.run.end_outages()

    def _follow_operator(self, ranges: Sequence[Range]) -> None:
        """Try again at once if a command such as `fait rewind` has removed what this process reported of its outage."""
        is_removed = not any(each.health or each.heartbeat is not None for each in ranges)
        # fault: repaired-outage-waited-for
        if self.rests and self.run.is_reported and is_removed:
            self.run.retry_at_once()

    # Start and end

    def restart(self) -> None:
        """Start again from the checkpoint, after this process has reset it."""
        self.run.end_outages()
        self.run.rests_until = 0.0
        for each in list(self._processors.values()):
            each.lose_lease("the checkpoint was reset")
        self.changed.set()

    def stop(self) -> None:
        """Finish the current events, then stop."""
        self._stop = "stopping" if self._tasks else "stopped"
        for each in list(self._processors.values()):
            each.stop()

    async def stopped(self) -> None:
        """Wait until all processors have stopped. If canceled, cancel them."""
        tasks = [*self._tasks.values(), *self._moves]
        try:
            if tasks:
                await asyncio.wait(tasks)
        except asyncio.CancelledError:
            for each in tasks:
                each.cancel()
            with suppress(asyncio.CancelledError):
                await asyncio.wait(tasks)
            raise
        finally:
            self._stop = "stopped"
