"""Records the results of jobs: one transaction at a time, each with all jobs that have ended during the last one.

Results that fail together are recorded one by one, so that only what is at fault fails. Events that handlers append are
recorded alone, because those of one handler must not make the record of another one conflict.

Results that nothing depends on can wait for the next transaction (`record_later`).

After an unknown outcome nothing more is recorded under the lease: a late statement would set back what came after it.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from fait._errors import StoreUnavailable
from fait._events.envelope import RecordedEvent
from fait._store.ports.failures import FailureChange
from fait._store.ports.inbox import InboxChanges, LaneOffset
from fait._store.ports.unit_of_work import RangeMove, Recorder, RecordResult, UnitOfWork
from fait._subscriptions.event_source import InboxProgress
from fait._subscriptions.lane import RangeLane
from fait._subscriptions.subscription import Outcome

__all__ = ["NOTHING", "JobResult", "RecordQueue"]

MAX_GROUPED_EVENTS: Final = 64
"""Maximum number of events of several jobs in one transaction."""

NOTHING: Final = Outcome(0)
"""No work, of a checkpoint that moves past events, or of a failure."""


Result = RecordResult | Exception


class JobResult(Struct, eq=False):
    """The result of a job.

    Attributes:
        events: live events that are finished; none of a job for a failed key, whose failure tells what is finished.
        outcome: the changes.
        failures: changes of failures.
        set_aside: live events of keys that fail now, apart from those in queues.
        read_to: of a job for a failed key that has finished all events of the key up to the frontier: that position. If
            no later ones have been passed since, the failure is removed. None: it is not removed.
        result: the result of the record, after it.
    """

    events: Sequence[RecordedEvent] = ()
    outcome: Outcome = NOTHING
    failures: Sequence[FailureChange] = ()
    set_aside: Sequence[RecordedEvent] = ()
    read_to: int | None = None
    result: Result | None = None


class RecordQueue:
    """Records the results of the jobs of a lane.

    Args:
        recorder: records them.
        lane: the lane.
        progress: what is remembered with them, of a consumer.
    """

    def __init__(self, recorder: Recorder, lane: RangeLane, progress: InboxProgress | None = None) -> None:
        self._recorder = recorder
        self._progress = progress
        self._lane = lane
        self._lock = asyncio.Lock()
        self._waiting: list[JobResult] = []
        self._unknown: StoreUnavailable | None = None  # the error after which nothing is recorded
        self._confirmed: dict[tuple[str, int], LaneOffset] = {}  # what a broker has confirmed, not recorded yet

    async def record(self, job: JobResult) -> RecordResult:
        """Record the result of a job, perhaps together with others that wait.

        Returns:
            As `Recorder.record`.

        Raises:
            Exception: as `Recorder.record`.
        """
        self._waiting.append(job)
        async with self._lock:
            while job.result is None:
                await self._record(self._take())
        if isinstance(job.result, Exception):
            raise job.result
        return job.result

    def record_later(self, job: JobResult) -> None:
        """Finish the events of a job now, and record them with the next result.

        Raises:
            StoreUnavailable: nothing more is recorded.
        """
        if self._unknown is not None:
            raise self._unknown
        self._lane.finish_early(job.events)
        self._confirmed |= _confirmed([job])

    def _take(self) -> list[JobResult]:
        """Take the first result from the queue, and those that may share its transaction."""
        group = [self._waiting.pop(0)]
        events = len(group[0].events)
        while self._waiting and _is_shared(group[0]) and _is_shared(self._waiting[0]):
            events += len(self._waiting[0].events)
            if events > MAX_GROUPED_EVENTS:
                break
            group.append(self._waiting.pop(0))
        return group

    async def _record(self, group: list[JobResult]) -> None:
        try:
            result: Result = await self._record_together(group)
        except asyncio.CancelledError:
            self._unknown = StoreUnavailable("recording was canceled", outcome="unknown")
            self._waiting[:0] = group
            raise
        except Exception as error:
            result = error
        if len(group) > 1 and result not in ("recorded", "refused") and not isinstance(result, StoreUnavailable):
            for each in group:
                await self._record([each])
            return
        for each in group:
            each.result = result

    async def _record_together(self, group: list[JobResult]) -> RecordResult:
        # fault: recorded-after-unknown-outcome
        if self._unknown is not None:
            raise self._unknown
        lane = self._lane
        finished = {event.position for job in group for event in job.events}
        changes = [change for job in group if job.failures for change in self._changes(job)]
        if not changes:
            return await self._record_move(lane.move(finished), group, (), finished)
        finished |= {each.failure.next_position for each in changes if each.failure and not each.expected}
        aside = {event.position for job in group for event in job.set_aside}
        aside |= {event.position for each in changes if each.failure for event in lane.events_of(each.key)}
        # Events that are set aside become live again when their failure is removed: the frontier must not pass them.
        # fault: frontier-moved-at-hand-back
        move = lane.hold() if any(each.failure is None for each in changes) else lane.move(finished, aside)
        return await self._record_move(move, group, changes, finished)

    async def _record_move(
        self, move: RangeMove, group: list[JobResult], changes: Sequence[FailureChange], finished: set[int]
    ) -> RecordResult:
        confirmed = self._confirmed | _confirmed(group)
        try:
            result = await self._recorder.record(self._unit_of_work(move, group, changes, confirmed))
        except StoreUnavailable as error:
            self._unknown = error
            raise
        if result == "recorded":
            self._lane.recorded(move, finished)
            self._confirmed = {key: each for key, each in self._confirmed.items() if each is not confirmed.get(key)}
            if self._progress is not None:
                self._progress.recorded(move)
            if changes:
                self._apply(changes, [event for job in group for event in job.set_aside])
        return result

    def _unit_of_work(
        self,
        move: RangeMove,
        group: Sequence[JobResult],
        changes: Sequence[FailureChange],
        confirmed: Mapping[tuple[str, int], LaneOffset],
    ) -> UnitOfWork:
        inbox = InboxChanges(offsets=[*confirmed.values()]) if confirmed else None
        if self._progress is not None:
            inbox = self._progress.changes(move, {each.position for job in group for each in job.events}, changes)
        return UnitOfWork(
            move,
            [row for job in group for row in job.outcome.rows],
            [statement for job in group for statement in job.outcome.statements],
            group[0].outcome.append,
            changes,
            inbox=inbox,
        )

    def _changes(self, job: JobResult) -> Sequence[FailureChange]:
        """Return the changes of failures, with the removal of that of a key of which nothing is left."""
        if job.read_to is None or not self._lane.may_hand_back(job.failures[0].key, job.read_to):
            return job.failures
        return [replace(each, failure=None) for each in job.failures]

    def _apply(self, changes: Sequence[FailureChange], set_aside: Sequence[RecordedEvent]) -> None:
        for each in changes:
            if each.failure is None:
                self._lane.hand_back(each.key)
            else:
                self._lane.fail(each.failure, [event for event in set_aside if self._lane.has_key(event, each.key)])


def _confirmed(group: Sequence[JobResult]) -> dict[tuple[str, int], LaneOffset]:
    """Return what the broker of a relay has confirmed; the last one of several results counts."""
    return {(each.topic, each.lane): each for job in group for each in job.outcome.confirmed}


def _is_shared(job: JobResult) -> bool:
    """Whether the result of a job may share a transaction."""
    return job.outcome.append is None and job.read_to is None
