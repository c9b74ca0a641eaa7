"""Works on a lane: reads the log ahead, handles events, records them, and isolates the keys that fail.

    read ─► lane ─► job ─► handle ─► record              up to `concurrency` jobs run at the same time
                     │
                     └─ error ─► failure of its key ─► retry ─► … ─► parked, skipped, or the subscription is paused

The errors of events become failures of their keys. All other errors end the work: the processor decides when it
continues.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import lru_cache
from itertools import takewhile
from typing import Final, Literal

from msgspec.structs import replace

from fait._errors import EventTooNew, StoreUnavailable
from fait._events.append import Page
from fait._events.envelope import RecordedEvent
from fait._events.query import Query
from fait._store.ports.failures import REQUESTED, FailureChange, KeyFailure
from fait._subscriptions.call_context import CallContext, LaneTenure
from fait._subscriptions.conflicts import Conflicts
from fait._subscriptions.error_text import describe_error
from fait._subscriptions.failure import as_exception, ends_task, is_outage, needs_newer_code
from fait._subscriptions.lane import Job, RangeLane
from fait._subscriptions.record_queue import NOTHING, JobResult, RecordQueue
from fait._subscriptions.retry_plan import RetryPlan
from fait._subscriptions.subscription import FailedKey, Outcome
from fait._subscriptions.subscription_run import SubscriptionRun
from fait._telemetry import logger

__all__ = ["CHECKPOINT_DELAY_S", "LaneWorker"]

CHECKPOINT_DELAY_S: Final = 0.1
"""Maximum delay before the checkpoint is written after a skip over events that the subscription does not handle."""

CHECKPOINT_INTERVAL_S: Final = 1.0
"""Minimum interval between two records of events that may be recorded later, unless a key fails or the work ends."""

_query_of_types: Final[Callable[[tuple[str, ...]], Query]] = lru_cache(256)(Query)
"""A subscription reads the same types for each page: they are checked once."""


class LaneWorker:
    """Works on a lane until it is stopped, its lease is lost, or the store or a service is unavailable.

    Args:
        run: what the processors of the subscription share.
        lane: the lane.
        report: called whenever the position may have changed.

    Attributes:
        lane: the lane.
        source: where its events come from.
        lease_lost: why the lease was lost; "" if it was not.
        shows_outage: whether the store shows an outage of the range, which this or a former owner had.
        tenure: the work, as the subscription sees it.
    """

    def __init__(self, run: SubscriptionRun, lane: RangeLane, report: Callable[[], None]) -> None:
        self.lane = lane
        self.lease_lost, self.shows_outage = "", False
        self._run = run
        self._definition = run.definition
        self._subscription = run.subscription
        self._report = report
        self._query = _query_of_types(lane.lease.handled_types)
        self.source = run.open_source(lane.lease)
        self._records = RecordQueue(run.store.recorder, lane, self.source.progress)
        self._limit = run.definition.batch  # smaller after a batch has failed, to find what is at fault
        self._jobs: set[asyncio.Task[None]] = set()
        self._reading: asyncio.Task[None] | None = None
        self._problem: Exception | None = None
        self._too_new: EventTooNew | None = None  # the event after the cursor can be handled only by newer code
        self._retries = RetryPlan(run, lane)
        self._errors: dict[str, Exception] = {}  # the last error of each key that has failed
        self._conflicts = Conflicts(run.definition.name, lane)
        # A live job follows one for a failed key. It comes first if keys have failed and none succeeded since.
        # fault: many-failed-keys-delay-all-others
        self._live_is_next = bool(run.failing_keys)
        self._passed_since = 0.0
        self._recorded_at = float("-inf")
        self._has_begun = self._stopped = False  # has begun: the subscription is ready for events
        self._end: int | None = None  # position after which nothing is taken up
        self._wake = asyncio.Event()
        self.tenure = LaneTenure(lane)

    @property
    def stopping(self) -> bool:
        """Whether the worker must not begin to handle another event."""
        return (self._stopped and self._end is None) or bool(self.lease_lost) or self._problem is not None

    @property
    def is_live(self) -> bool:
        """Whether the end of the log has been read, and all events up to it are finished."""
        return not self.lane.more and self.lane.is_idle

    @property
    def error(self) -> Exception | None:
        """The last error of a key that has failed, or of what cannot be recorded; None if there is none."""
        return next(reversed(self._errors.values()), self._conflicts.error)

    @property
    def is_failing(self) -> bool:
        """Whether the key of an event is being retried, or redriven."""
        return bool(self._retries.due)

    def stop(self, at: int | None = None) -> None:
        """Finish the events that are being handled, then stop.

        Args:
            at: position up to which all events are to be handled before; None: none that is not being handled.
        """
        self._stopped, self._end = True, at
        self._wake.set()

    def wake(self) -> None:
        """Look again whether something can be done."""
        self._wake.set()

    def lose_lease(self, reason: str) -> None:
        """Stop, because the lease is lost."""
        self.lease_lost = self.lease_lost or reason
        self._wake.set()

    def accept_request(self, failure: KeyFailure) -> None:
        """Do what an operator has requested of a key that is parked, or that was retried before a pause."""
        current = self.lane.failures.get(failure.key)
        if current is not None and current.state not in REQUESTED and current.last_failed_at == failure.last_failed_at:
            self.lane.failures[failure.key] = failure
            self._retries.due[failure.key] = 0.0
            self._wake.set()

    async def run(self) -> None:
        """Work until it is stopped or its lease is lost.

        Raises:
            StoreUnavailable, Unavailable, or another error that is no failure of an event.
        """
        try:
            while not self.stopping:
                self._report()
                self._start_work()
                if not self.stopping:
                    await self._wait()
        except asyncio.CancelledError:
            # fault: calls-continue-after-cancellation
            for task in self._jobs:
                task.cancel()
            raise
        finally:
            await self._finish()
        if self._problem is not None:
            raise self._problem

    def _start_work(self) -> None:
        self._start_reading()
        self._start_jobs()
        is_idle = self.lane.is_idle and not self._jobs
        if self._too_new is not None and is_idle:
            self._problem = self._too_new
        if self._end is not None and self.lane.cursor >= self._end and is_idle:
            self._end = None  # now it stops

    def _start_reading(self) -> None:
        if self._can_read:
            self._reading = asyncio.create_task(self._read(), name=f"fait-read-{self._definition.name}")
            self._reading.add_done_callback(self._end_task)

    def _start_jobs(self) -> None:
        while len(self._jobs) < self._definition.concurrency and (job := self._next_job()) is not None:
            task = asyncio.create_task(self._run_jobs(job), name=f"fait-job-{self._definition.name}")
            self._jobs.add(task)
            task.add_done_callback(self._end_task)

    @property
    def _can_read(self) -> bool:
        is_at_end = self._end is not None and self.lane.cursor >= self._end
        may_read = not (self.stopping or is_at_end) and self._reading is None and self._too_new is None
        return may_read and self.lane.capacity > 0

    async def _wait(self) -> None:
        """Wait until something has ended or is due."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._due_in_s()):
                await self._wake.wait()
        self._wake.clear()
        if self._checkpoint_due_in_s() == 0:
            await self.write_checkpoint()

    def _due_in_s(self) -> float | None:
        now, times = self._run.clock.monotonic(), list[float]()
        # fault: retry-due-before-work-begins
        if len(self._jobs) < self._definition.concurrency and self._may_begin and not self._stopped:
            times = [max(0.0, at - now) for key, at in self._retries.due.items() if not self.lane.is_busy(key)]
        if (checkpoint := self._checkpoint_due_in_s()) is not None:
            times.append(checkpoint)
        return min(times, default=None)

    async def _finish(self) -> None:
        """Wait for the jobs; cancel them if this task is canceled."""
        if self._reading is not None:
            self._reading.cancel()
        try:
            if self._jobs:
                await asyncio.wait(self._jobs)
        finally:
            running = [*self._jobs, *([self._reading] if self._reading else [])]
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
            await self.tenure.end()
            await self.source.close()

    def _end_task(self, task: "asyncio.Task[None]") -> None:
        """Forget a task that has ended, but not why it failed."""
        if self._reading is task:
            self._reading = None
        self._jobs.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            if not isinstance(error, Exception):
                raise error
            self._problem = self._problem or error
        self._wake.set()

    # Reading

    async def _read(self) -> None:
        """Take up the next page of the events that the registration names: other versions may handle more types."""
        lane = self.lane
        # fault: relay-without-events-never-connects
        if not self._has_begun:
            await self._subscription.begin(self.tenure)
        self._has_begun = True
        if not lane.more:
            await self.source.wait(lane.cursor)
        page = await self.source.read(lane.cursor, self._query, lane.capacity)
        if page is None:
            self.lose_lease("its definition was changed")
        if page is None or self.stopping:
            return
        if self._has_recovered(page):
            # fault: ended-outage-not-recorded
            await self._record(JobResult(), ())  # shows it, although there may be no event for long
            self.shows_outage = False
            self._run.end_outage(self.lane.lease.key)
        if self._end is not None and page.position > self._end:
            page = Page([each for each in page.events if each.position <= self._end], self._end, more=False)
        events, position = self._handled(page.events), page.position
        if len(events) < len(page.events) and self._too_new is not None:
            position = page.events[len(events)].position - 1
        lane.take(events, position)
        lane.more = page.more or lane.cursor < page.position
        await self._continue_as_job()

    async def _continue_as_job(self) -> None:
        """Run the first job in the task that has read: a new one would begin a turn of the event loop later."""
        assert self._reading is not None
        if len(self._jobs) < self._definition.concurrency and (job := self._next_job()) is not None:
            self._jobs.add(self._reading)
            self._reading = None
            # fault: passed-events-recorded-after-the-job
            self._wake.set()  # to read on, record what was set aside, and start other jobs as soon as this one waits
            await self._run_jobs(job)

    def _has_recovered(self, page: Page) -> bool:
        """Whether an outage is over: the source answers, and there is no event whose handler may still wait."""
        # fault: outage-of-a-former-worker-stays
        if not self.shows_outage and self._run.outage_error(self.lane.lease.key) is None:
            return False
        # fault: outage-of-a-handler-ends-with-each-read
        is_idle = not (page.events or page.more or self._jobs or self._run.failing_keys) and self.lane.is_idle
        return is_idle and not self.is_failing

    def _handled(self, events: Sequence[RecordedEvent]) -> Sequence[RecordedEvent]:
        """Return the events to handle, up to one whose type only other code handles; a malformed message has none."""
        definition = self._definition
        if not definition.handled_types:
            return [each for each in events if each.type not in definition.ignored_types]
        # fault: worker-reads-its-own-types
        if self.lane.lease.handled_types == definition.handled_types:
            return events
        known = list(takewhile(lambda each: each.type in definition.handled_types or not each.type, events))
        if len(known) < len(events):
            self._too_new = needs_newer_code(definition.name, events[len(known)])
        return known

    # Jobs

    def _next_job(self) -> Job | None:
        """Return a live job or one for a failed key, in turns."""
        if not self._may_begin:
            return None
        if self._live_is_next and (job := self.lane.next_job(self._limit)) is not None:
            self._live_is_next = False
            return job
        if self._live_is_next and self.lane.more and self._reading is not None:
            return None  # there may be one
        # A key that has failed does not delay a merge: it may need events that are read only after that.
        # fault: failed-key-delays-a-merge
        job = self._retries.next_job() if self._retries.due and not self._stopped else None
        self._live_is_next = job is not None
        return job or self.lane.next_job(self._limit)

    @property
    def _may_begin(self) -> bool:
        """Whether a call may begin: not if another worker may have the range already."""
        # fault: stopped-worker-starts-calls
        return self._has_begun and not self.stopping and self._run.is_alive()

    async def _run_jobs(self, job: Job | None) -> None:
        """Run a job, and further ones as long as there are any: a task for each would cost more than a short job."""
        while job is not None:
            await self._run_job(job)
            if self._retries.due:
                self._wake.set()
            self._start_reading()
            job = self._next_job()

    async def _run_job(self, job: Job) -> None:
        unhandled: Sequence[RecordedEvent] = job.events
        try:
            if job.failure is None:
                context = CallContext(self, conflicts=self._conflicts.number_of(job.events[0]))
                unhandled = await self._apply(job.events, await self._call(job.events, context))
            else:
                await self._handle_failed(job.failure)
        finally:
            self.lane.end(job, unhandled)

    async def _apply(self, events: Sequence[RecordedEvent], outcome: Outcome) -> Sequence[RecordedEvent]:
        """Record what became of live events. Returns those that are neither finished nor set aside."""
        # fault: recorded-part-repeated
        (finished, rest), error = outcome.divide(events), outcome.error
        failed = list(outcome.failed_keys)
        if error is not None and (key := self._retries.key_to_fail(outcome, error, rest[0])) is not None:
            failed, error = [FailedKey(key, rest[0], error), *failed], None
        if finished and outcome.recorded_later and error is None and not failed:
            await self._record_later(JobResult(finished, outcome))
        elif finished or failed:
            work = self._work(finished, rest, outcome, failed)
            result = await self._record(work, events if finished else ())
            if isinstance(result, Exception):  # of the only event
                # fault: outage-of-a-statement-is-a-failure
                return await self._apply(events, Outcome(0, error=result))
            if result != "recorded":
                return events
            if failed:
                await self._follow_up(work, failed)
                left = {each.position for each in (*work.events, *work.set_aside)}
                rest = [each for each in rest if each.position not in left]
        if error is None or not await self._skips_without_key(outcome, error, rest[0]):
            return rest
        return rest[1:] if await self._record(JobResult(rest[:1]), ()) == "recorded" else rest

    def _work(
        self,
        finished: Sequence[RecordedEvent],
        rest: Sequence[RecordedEvent],
        outcome: Outcome,
        failed: Sequence[FailedKey],
    ) -> JobResult:
        """Return finished events, with the failures of keys, as one piece of work."""
        if not failed:
            return JobResult(finished, outcome)
        skipped, changes, aside = list[RecordedEvent](), list[FailureChange](), list[RecordedEvent]()
        for each in failed:
            failure, action = self._retries.failure_of(each, None)
            if action == "skip":
                skipped.append(each.event)
            else:
                changes.append(FailureChange(each.key, (), failure))
                aside += (event for event in rest if self._subscription.key_of(event) == each.key)
        return JobResult([*finished, *skipped] if skipped else finished, outcome, changes, aside)

    async def _call(self, events: Sequence[RecordedEvent], context: CallContext) -> Outcome:
        try:
            async with self._run.calls:
                if not self._may_begin:
                    return Outcome(0)
                number = self._run.begin_call()
                try:
                    return await self._subscription.handle(events, context)
                finally:
                    self._run.end_call(number)
        except BaseException as error:
            # fault: exit-of-the-app-s-code-ends-the-worker
            if ends_task(error):
                raise
            if is_outage(error, self._definition.policy):
                return Outcome(0, error=as_exception(error))
            return Outcome(0, error=self._split(events, error))

    def _split(self, events: Sequence[RecordedEvent], error: BaseException) -> Exception | None:
        """Return the error of a single event; None for several events, of which fewer are handled from now on."""
        if len(events) == 1:
            return as_exception(error)
        self._limit = max(1, len(events) // 2)
        logger.info(
            "batch failed, handling %d of its events: subscription=%s position=%d last_position=%d error=%s",
            self._limit, self._definition.name, events[0].position, events[-1].position,
            describe_error(error, self._definition.policy.messages),
        )  # fmt: skip
        return None

    async def _record(
        self, work: JobResult, events: Sequence[RecordedEvent]
    ) -> Literal["recorded", "not_recorded"] | Exception:
        """Record work.

        Args:
            work: the work.
            events: the events that it was made for.

        Returns:
            "recorded"; "not_recorded": the events must be handled again; or why the only event cannot be recorded.
        """
        self._recorded_at = self._run.clock.monotonic()
        try:
            result = await self._records.record(work)
        except StoreUnavailable as error:
            if error.outcome == "not_written":  # perhaps because of one statement
                self._limit = 1
            raise
        except Exception as error:
            if not events:
                raise
            return self._split(events, error) or "not_recorded"
        if result == "refused":
            self.lose_lease("another process acquired it, or the checkpoint or the definition was changed")
            return "not_recorded"
        # fault: conflict-counts-as-recorded
        if result != "recorded":
            self._limit = 1  # a shorter attempt meets fewer appends
            await self._conflicts.wait(events[0], result)
            return "not_recorded"
        self._passed_since = 0.0
        if events:
            self._conflicts.end(events[0])
        self._note_progress(work.outcome)
        return "recorded"

    def _note_progress(self, outcome: Outcome) -> None:
        if outcome.finished and not outcome.failed_keys:
            self._limit = min(self._definition.batch, self._limit * 2)
            self._run.failing_keys.clear()
        # fault: error-of-a-handled-key-shown
        if self._errors:
            self._errors = {key: error for key, error in self._errors.items() if key in self.lane.failures}
        self._report()

    async def _record_later(self, work: JobResult) -> None:
        """Finish events, and record them when the last record is `CHECKPOINT_INTERVAL_S` ago."""
        if not self.lane.has_unrecorded_events:
            self._wake.set()  # to write the checkpoint in time
        self._records.record_later(work)
        self._note_progress(work.outcome)
        if self._checkpoint_due_in_s() == 0:
            await self.write_checkpoint()

    async def write_checkpoint(self) -> None:
        """Record that events were passed that are not handled now, or are finished."""
        if self.lane.has_passed_events and not self.lease_lost:
            await self._record(JobResult(), ())

    def _checkpoint_due_in_s(self) -> float | None:
        """Return the time until passed events must be recorded; None if there are none."""
        if not self.lane.has_passed_events:
            return None
        now = self._run.clock.monotonic()
        if self.lane.has_unrecorded_events:
            # fault: checkpoint-after-each-page
            return max(0.0, self._recorded_at + CHECKPOINT_INTERVAL_S - now)
        self._passed_since = self._passed_since or now
        return max(0.0, self._passed_since + CHECKPOINT_DELAY_S - now)

    # Failures

    async def _skips_without_key(self, outcome: Outcome, error: Exception, event: RecordedEvent) -> bool:
        """Whether an event is skipped of which any key may be concerned; raise the error if all must wait for it."""
        is_skipped = await self._retries.skips_without_key(outcome, error, event)
        if self._retries.pause:
            self._errors[""] = error  # of no key
            self.lose_lease(self._retries.pause)
        return is_skipped

    async def _follow_up(self, work: JobResult, failed: Sequence[FailedKey]) -> None:
        """Do what follows the recorded failures of live events."""
        failures = {each.key: each.failure for each in work.failures}
        for each in failed:
            await self._after_failure(each, failures.get(each.key), 1)

    async def _after_failure(self, failed: FailedKey, failure: KeyFailure | None, attempt: int) -> None:
        """Do what follows a recorded failure."""
        self._conflicts.end(failed.event)
        if await self._retries.follow(failed, failure, attempt) != "skip":
            self._errors.pop(failed.key, None)  # the last one is shown
            self._errors[failed.key] = failed.error
        if self._retries.pause:
            self.lose_lease(self._retries.pause)
        self._problem = self._problem or self._retries.outage

    async def _handle_failed(self, failure: KeyFailure) -> None:
        """Retry, redrive or discard events of a key that failed, in order. Without any, the key is handed back."""
        # What is finished must be recorded before: a key that is handed back continues after the frontier.
        # fault: key-handed-back-below-what-is-finished
        if self.lane.has_unrecorded_events:
            await self.write_checkpoint()
        key, frontier = failure.key, self.lane.frontier
        self._retries.due[key] = self._run.clock.monotonic()  # unless something else follows
        if failure.state == "discarding":
            following = max(failure.next_position, failure.discard_until + 1)
            await self._change(failure, replace(failure, state="redriving", next_position=following))
            return
        # Unfinished events of a key are set aside when they are taken up, or when they are handled if that finds keys.
        # fault: discarded-events-in-the-lane-handled
        reached = min(self.lane.cursor, frontier) if self._definition.order_key == "own" else self.lane.cursor
        # fault: unfinished-event-handled-twice
        needed = max(frontier, failure.next_position - 1)
        # fault: discarded-events-handled-later
        if reached < needed:
            self._retries.due[key] += CHECKPOINT_DELAY_S
            return
        limit = 1 if failure.state == "retrying" else self._limit
        page = await self.source.read_failed(failure, self._query, frontier, limit)
        events = self._handled(page.events)
        # fault: newer-event-of-failed-key-passed
        if self._too_new is not None:
            del self._retries.due[key]  # for the process that acquires the lease
            return
        outcome = NOTHING
        if events:
            attempt = failure.attempts + 1 if events[0].id == failure.event_id else 1
            conflicts = self._conflicts.number_of(events[0])
            outcome = await self._call(events, CallContext(self, attempt, key, conflicts))
        await self._record_failed(failure, events, outcome, page.position, frontier)

    async def _record_failed(
        self, failure: KeyFailure, events: Sequence[RecordedEvent], outcome: Outcome, position: int, frontier: int
    ) -> None:
        """Record what became of events of a key that had failed.

        Args:
            failure: the failure so far.
            events: the events.
            outcome: the outcome.
            position: position up to which these are all events of the key.
            frontier: the frontier when they were read.
        """
        error = outcome.error or next((each.error for each in outcome.failed_keys), None)
        finished = 0 if outcome.failed_keys else outcome.finished
        if finished == len(events):
            new = replace(failure, state="redriving", next_position=max(position + 1, failure.next_position))
            # fault: key-handed-back-without-what-is-left
            read_to = position if position >= frontier else None
            result = await self._change(failure, new, outcome, events, read_to)
        elif finished:
            new = replace(failure, state="redriving", next_position=events[finished - 1].position + 1)
            result = await self._change(failure, new, outcome, events)
        else:
            result = error or "not_recorded"
        if isinstance(result, Exception):
            if self._retries.must_wait(outcome, result):
                raise result
            # fault: event-without-key-parks-another
            if result is not outcome.error or self._retries.key_to_fail(outcome, result, events[0]) is not None:
                await self._fail_again(failure, FailedKey(failure.key, events[0], result))
            elif await self._skips_without_key(outcome, result, events[0]):
                await self._change(failure, replace(failure, state="redriving", next_position=events[0].position + 1))

    async def _fail_again(self, failure: KeyFailure, failed: FailedKey) -> None:
        """Record that the first event of a key with a failure has failed."""
        new, action = self._retries.failure_of(failed, failure)
        attempt = new.attempts
        if action == "skip":
            new = replace(failure, state="redriving", next_position=failed.event.position + 1)
        if await self._change(failure, new) == "recorded":
            if action != "skip":
                del self._retries.due[failure.key]
            await self._after_failure(failed, None if action == "skip" else new, attempt)

    async def _change(
        self,
        failure: KeyFailure,
        new: KeyFailure,
        outcome: Outcome = NOTHING,
        events: Sequence[RecordedEvent] = (),
        read_to: int | None = None,
    ) -> Literal["recorded", "not_recorded"] | Exception:
        """Record a change of a failure, or its removal; see `JobResult.read_to`."""
        change = FailureChange(failure.key, (failure.state,), new)
        result = await self._record(JobResult((), outcome, (change,), read_to=read_to), events)
        if result == "recorded" and failure.key not in self.lane.failures:
            self._retries.due.pop(failure.key, None)
            logger.info("key is handled again: subscription=%s key=%s", self._definition.name, failure.key)
        return result
