"""Runs one subscription as a state machine that is safe in any number of processes.

    waiting ──────► catching_up ◄──────► live         any state ──► stopping ──► stopped     failed ──► waiting: restart
       ▲  ▲  lease      │  ▲               │
       │  │  acquired   ▼  │               │
       │  └────────── backing_off ◄────────┤          waiting, catching_up or live ──► backing_off: a failure
       └── lease lost ─────────────────────┘          catching_up or live ──► failed: no attempt is left

Each state is a method that returns the next state. Only the owner of the subscription's lease handles events. If the
owner's heartbeat stops, another process acquires the lease and continues from the checkpoint. Work of the former owner
that is not yet recorded is rejected by its fencing token.

All work goes through `_record`, and all failures are handled here: those of an event by the subscription's
`FailurePolicy`, those of the store by retries without limit. A process that backs off for long releases the lease,
because it may be the only one that still runs old code.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from functools import lru_cache
from typing import Any, ClassVar, Final, Literal, get_args

from fait._decisions.decision_loop import back_off
from fait._errors import CheckpointMismatch, EventTooNew, ReadModelChanged, StoreUnavailable
from fait._events.append import Conflict, Page, conflict_error
from fait._events.envelope import RecordedEvent
from fait._events.query import Query
from fait._store.ports.leases import Lease, Range
from fait._store.ports.registrations import RangeKey
from fait._store.ports.store import Store
from fait._store.ports.unit_of_work import RangeMove, UnitOfWork
from fait._store.position_signal import PositionSignal
from fait._subscriptions.failure import FailureAction, FailurePolicy, Failures
from fait._subscriptions.subscription import Outcome, Subscription
from fait._telemetry import logger

__all__ = ["CHECKPOINT_DELAY_S", "LEASE_DURATION_S", "MIN_LEASE_DURATION_S", "Processor", "State"]

State = Literal["waiting", "catching_up", "live", "failing", "failed", "stopping", "stopped"]
"""State of a subscription in this process, as its users see it; "failing": an error is being retried."""

Step = Literal["waiting", "catching_up", "live", "backing_off", "failed", "stopping", "stopped"]
"""State of a processor."""

TRANSITIONS: Final[Mapping[Step, frozenset[Step]]] = {
    "waiting": frozenset({"catching_up", "backing_off", "stopping"}),
    "catching_up": frozenset({"live", "backing_off", "failed", "waiting", "stopping"}),
    "live": frozenset({"live", "catching_up", "backing_off", "failed", "waiting", "stopping"}),
    "backing_off": frozenset({"catching_up", "waiting", "stopping"}),
    "failed": frozenset({"waiting", "stopping"}),
    "stopping": frozenset({"stopped"}),
    "stopped": frozenset(),
}
"""The states that may follow each state."""

LEASE_DURATION_S: Final = 5.0
"""Default time without a heartbeat after which another process may acquire a lease."""

MIN_LEASE_DURATION_S: Final = 0.01
"""Minimum duration of a lease: a heartbeat must arrive several times within it."""

LEASE_POLL_SHARE: Final = 1 / 20
"""Interval between two reads of a lease by a waiting process, as a fraction of the lease duration."""

CHECKPOINT_DELAY_S: Final = 0.1
"""Maximum delay before the checkpoint is written after a skip over events that the subscription does not handle."""

MAX_SILENT_CONFLICTS: Final = 10
"""Number of consecutive conflicts after which the subscription shows them as its error, until an event is recorded."""

NOTHING: Final = Outcome(0)
"""No work, of a checkpoint that moves past events."""

OUTAGE_POLICY: Final = FailurePolicy()
"""Delays between attempts to use a store that cannot be used."""


_STEP_AFTER_FAILURE: Final[Mapping[FailureAction, tuple[Step | None, str]]] = {
    "retry": ("backing_off", "retrying in {:.2f} s"),
    "stop": ("failed", "stopped"),
    "skip": (None, "skipped"),
}
"""What follows a failure of an event: the next state, if there is one, and the words of the log line."""

_query_of_types: Final[Callable[[tuple[str, ...]], Query]] = lru_cache(256)(Query)
"""A subscription reads the same types for each page: they are checked once."""


class Processor:
    """Runs one subscription until it is stopped.

    Args:
        subscription: handles the events.
        store: the store of the log and of the subscription's range.
        worker: id of this process, for its leases.
        lease_s: duration of a lease, in seconds.

    Attributes:
        error: the error that is being retried, or that stopped the subscription; None if there is none.
        started: whether `run` was called.
        lease_expires_at: monotonic time at which this process acquires the lease of another worker without a heartbeat.
        position_signal: position up to which all events are processed; 0 while unknown.
    """

    def __init__(
        self, subscription: Subscription, store: Store, worker: str, *, lease_s: float = LEASE_DURATION_S
    ) -> None:
        self.definition = subscription.definition
        self.range_key = RangeKey(self.definition.name)
        self.error: Exception | None = None
        self.started = False
        self.lease_expires_at = 0.0
        self.position_signal = PositionSignal()
        self._subscription = subscription
        self._store = store
        self._worker = worker
        self._lease_s = lease_s
        self._step: Step = "waiting"
        self._lease: Lease | None = None
        self._acquired_at = 0.0
        self._checkpoint = 0
        self._skipping_since = 0.0  # when the position first passed the checkpoint without a record
        self._one_by_one_until = 0  # up to this position events are handled alone, to find one that fails
        self._failures = Failures()
        self._stop_requested = False
        self._interrupt = asyncio.Event()  # ends a pause
        self._wait_timeout: asyncio.Timeout | None = None

    @property
    def name(self) -> str:
        """Name of the subscription."""
        return self.definition.name

    @property
    def state(self) -> State:
        """State of the subscription in this process."""
        if self._step == "backing_off" or (self.error is not None and self._step in ("waiting", "catching_up", "live")):
            return "failing"
        return self._step

    @property
    def position(self) -> int:
        """Position up to which all events are processed; 0 while unknown."""
        return self.position_signal.position

    @property
    def fencing_token(self) -> int:
        """Fencing token of the lease; 0 while this process does not own it."""
        return self._lease.fencing_token if self._lease else 0

    @property
    def conflicts(self) -> int:
        """Number of consecutive records that were in conflict with appends of others."""
        return self._failures.conflicts

    @property
    def stopping(self) -> bool:
        """Whether the subscription must not start to handle another event."""
        return self._stop_requested or self._lease is None

    def confirm_leases(self, keys: Collection[RangeKey], heartbeat_at: float) -> None:
        """Detect from the result of a heartbeat that the lease was lost.

        Args:
            keys: ranges that the heartbeat found to be owned by this process.
            heartbeat_at: monotonic time at which the heartbeat began. It says nothing about a lease acquired later.
        """
        if self.range_key not in keys and self._lease is not None and self._acquired_at < heartbeat_at:
            self._lose_lease("the heartbeat did not find it")

    def observe_range(self, current: Range) -> None:
        """Detect from the current range that another process acquired it or reset the checkpoint."""
        if self._lease is not None and current.fencing_token > self._lease.fencing_token:
            self._lose_lease("its fencing token has increased")

    def restart(self) -> None:
        """Start again from the checkpoint, after this process has reset it."""
        self._failures = Failures()
        self._one_by_one_until = 0
        self.error = None
        self._lose_lease("the checkpoint was reset")
        self._interrupt.set()

    def stop(self) -> None:
        """Finish the current event, then stop."""
        self._stop_requested = True
        self._interrupt.set()
        self._wake()

    def _wake(self) -> None:
        """End the wait for events."""
        if self._wait_timeout is not None and not self._wait_timeout.expired():
            self._wait_timeout.reschedule(asyncio.get_running_loop().time())

    async def run(self) -> None:
        """Run the state machine until it has stopped."""
        self.started = True
        try:
            await self._run()
        except Exception as error:  # an error in this module: another process shall continue
            self._step, self.error = "stopped", error
            await self._release_lease()
            raise

    async def _run(self) -> None:
        while self._step != "stopped":
            try:
                following = await self._STEPS[self._step](self)
            except Exception as error:
                following = self._fail(error)
            assert following in TRANSITIONS[self._step], f"{self._step} to {following}"
            self._step = following

    def _next(self, step: Step) -> Step:
        """Return a state, unless the processor was stopped or has lost the lease."""
        if self._stop_requested:
            return "stopping"
        return "waiting" if self._lease is None else step

    # States

    async def _wait_for_lease(self) -> Step:
        """Wait until the lease is free, or its worker's heartbeat has stood still for its duration; then acquire it."""
        previous, unchanged_since = None, time.monotonic()
        while not self._stop_requested:
            self._interrupt.clear()
            current = await self._range()
            if (current.worker, current.heartbeat) != previous:
                previous, unchanged_since = (current.worker, current.heartbeat), time.monotonic()
            # fault: lease-of-live-owner-acquired
            # fault: lease-never-expires
            stands_still = time.monotonic() - unchanged_since > self._lease_s
            is_free = current.heartbeat is None or current.worker == self._worker
            if stands_still and not is_free:
                assert current.heartbeat is not None
                await self._store.leases.expire(current.worker, current.heartbeat)
            if stands_still or is_free:
                if await self._acquire(current):
                    return self._next("catching_up")
            else:
                self.error = None  # a failure in this process now concerns another owner
                self.lease_expires_at = unchanged_since + self._lease_s
            await self._pause(LEASE_POLL_SHARE * self._lease_s)
        return "stopping"

    async def _catch_up(self) -> Step:
        """Process pages up to the head. The next page is read while one is processed."""
        after, next_page, step = self.position, None, None
        try:
            while step is None and not self.stopping:
                page = await (next_page or self._read(after))
                after, next_page = page.position, None
                if page.more:
                    next_page = asyncio.create_task(self._read(after))
                step = await self._process_page(page) or (None if page.more else "live")
        finally:
            if next_page is not None:
                next_page.cancel()
                await asyncio.gather(next_page, return_exceptions=True)
        return step or self._next("catching_up")

    async def _follow(self) -> Step:
        """Wait for events, and process a page of them."""
        after = self.position
        await self._wait_for_events(after)
        if self.stopping:
            return self._next("live")
        page = await self._read(after)
        return await self._process_page(page) or self._next("catching_up" if page.more else "live")

    async def _back_off(self) -> Step:
        """Wait before a retry. During a long wait another process, perhaps with other code, may acquire the lease."""
        delay_s, takeover_s = self._failures.delay_s, 2 * LEASE_POLL_SHARE * self._lease_s
        is_outage = isinstance(self.error, StoreUnavailable)
        # fault: failing-worker-keeps-lease
        if delay_s >= takeover_s or isinstance(self.error, EventTooNew):
            await self._release_lease()
            delay_s = max(delay_s, takeover_s)
        await self._pause(delay_s)
        # fault: token-kept-after-unknown-outcome
        if is_outage:  # after an unknown outcome only a new fencing token excludes a late record
            self._forget_lease()
        return self._next("catching_up")

    async def _stand_by(self) -> Step:
        """Do nothing until the subscription is restarted or stopped, after the attempts at an event are used up."""
        while not self._interrupt.is_set():
            # fault: failed-subscription-keeps-lease
            await self._release_lease()  # in a loop, because the store may be unavailable
            await self._pause(self._lease_s)
        return self._next("waiting")

    async def _stop(self) -> Step:
        """Write the checkpoint of a skip, and release the lease."""
        try:
            await self._write_checkpoint()
        except Exception as error:  # the events after it are skipped again
            logger.info("failed to write a checkpoint: subscription=%s error=%r", self.name, error)
        await self._release_lease()  # now: other subscriptions of this process may need longer to stop
        return "stopped"

    _STEPS: ClassVar[Mapping[Step, Callable[[Any], Awaitable[Step]]]] = {
        "waiting": _wait_for_lease,
        "catching_up": _catch_up,
        "live": _follow,
        "backing_off": _back_off,
        "failed": _stand_by,
        "stopping": _stop,
    }

    # Events

    async def _read(self, after: int) -> Page:
        """Read a page of the events that the registration names: processes of other versions may handle more types."""
        # fault: worker-reads-its-own-types
        types = self._lease.handled_types if self._lease else self.definition.handled_types
        return await self._store.log.read(after, query=_query_of_types(types))

    async def _process_page(self, page: Page) -> Step | None:
        """Handle and record the events of a page.

        Returns:
            The next state, if it does not depend on what follows the page.
        """
        events, unknown = self._handled_events(page.events)
        while events:
            if self.stopping:
                return self._next("waiting")
            batch = events[:1] if events[0].position <= self._one_by_one_until else events[: self.definition.batch]
            finished, error = await self._process(batch)
            events = events[finished:]
            if error is not None:
                if (step := await self._handle_failure(events[0], error)) is not None:
                    return step
                events = events[1:]
        if self.stopping:
            return self._next("waiting")
        if unknown is not None:
            raise unknown
        self._advance(page.position)
        if self._checkpoint_due_in_s() == 0:
            await self._write_checkpoint()
        return None

    def _handled_events(self, events: Sequence[RecordedEvent]) -> tuple[Sequence[RecordedEvent], EventTooNew | None]:
        """Return the events to handle, and an error for the event after them if only other code handles its type."""
        definition = self.definition
        if not definition.handled_types:
            return [each for each in events if each.type not in definition.ignored_types], None
        if self._lease is None or self._lease.handled_types == definition.handled_types:
            return events, None
        for number, event in enumerate(events):
            if event.type not in definition.handled_types:
                reason = (
                    f"another version of the app has declared that {self.name!r} handles it. Deploy that version, or "
                    f"open the app with accept=[{self.name!r}] to no longer handle it"
                )
                return events[:number], EventTooNew(event.stream, event.version, event.type, reason)
        return events, None

    async def _process(self, batch: Sequence[RecordedEvent]) -> tuple[int, Exception | None]:
        """Handle and record a batch.

        Returns:
            The number of events that are recorded, and why the next one is not. 0 and no error: the events must be
            handled one by one, or the lease was lost.
        """
        context = _Context(self, self._failures.attempt(batch[0].position))
        try:
            outcome = await self._subscription.handle(batch, context)
            # fault: recorded-part-repeated
            if outcome.finished and not await self._record(batch[outcome.finished - 1].position, outcome):
                return 0, None
        except StoreUnavailable as error:
            if error.outcome == "not_written":  # perhaps because of one statement
                self._one_by_one_until = batch[-1].position
            raise
        except (asyncio.CancelledError, KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:
            return 0, self._split(batch, error)
        # fault: outage-counts-as-attempt
        if isinstance(outcome.error, StoreUnavailable):
            raise outcome.error
        return outcome.finished, outcome.error

    def _split(self, batch: Sequence[RecordedEvent], error: BaseException) -> Exception | None:
        """Return the error of a single event; None for several events, which are handled one by one from now on."""
        if len(batch) == 1:
            return error if isinstance(error, Exception) else RuntimeError(f"the handler raised {error!r}")
        self._one_by_one_until = batch[-1].position
        logger.info(
            "batch failed, handling its events one by one: subscription=%s position=%d last_position=%d error=%r",
            self.name, batch[0].position, self._one_by_one_until, error,
        )  # fmt: skip
        return None

    async def _record(self, position: int, outcome: Outcome = NOTHING) -> bool:
        """Record the work of the events up to a position, and move the checkpoint, in one transaction.

        Returns:
            False if nothing was recorded: the lease was lost, the definition has changed, or events of a handler are
            in conflict with appends of others. Without a lost lease, the events must be handled again.
        """
        if (lease := self._lease) is None:
            return False
        move = RangeMove(self.range_key, lease.fencing_token, lease.revision, position)
        work = UnitOfWork(move, outcome.rows, outcome.statements, outcome.append)
        result = await self._store.recorder.record(work)
        if result == "refused":
            if self._lease is lease:
                self._lose_lease("another process acquired it, or the checkpoint or the definition was changed")
            return False
        # fault: conflict-counts-as-recorded
        if result != "recorded":
            await self._wait_after_conflict(position, result)
            return False
        if self._lease is lease:
            self._checkpoint = position
            self._advance(position)
        return True

    def _advance(self, position: int) -> None:
        """Move past events that are handled, or that need not be."""
        if self.position == self._checkpoint:
            self._skipping_since = time.monotonic()
        self.position_signal.advance(position)
        self._failures.outages = self._failures.conflicts = 0
        self.error = None

    def _checkpoint_due_in_s(self) -> float | None:
        """Return the time until the checkpoint of a skip must be written; None if there is none."""
        if self.position <= self._checkpoint:
            return None
        return max(0, self._skipping_since + CHECKPOINT_DELAY_S - time.monotonic())

    async def _wait_for_events(self, after: int) -> None:
        """Wait for events or a stop, and write the checkpoint of a skip when it is due."""
        while not self.stopping:
            try:
                async with asyncio.timeout(self._checkpoint_due_in_s()) as self._wait_timeout:
                    await self._store.log.wait_for_events(after)
                return
            except TimeoutError:
                await self._write_checkpoint()
            finally:
                self._wait_timeout = None

    async def _write_checkpoint(self) -> None:
        if self._lease is not None and self.position > self._checkpoint:
            await self._record(self.position)

    # Failures

    def _fail(self, error: Exception) -> Step:
        """Plan the retry of a failure that is not that of an event, or of an event that newer code must handle."""
        self.error = error
        if self._stop_requested:
            return "stopping"
        failures = self._failures.count_outage(OUTAGE_POLICY)
        logger.log(
            logging.ERROR if failures == 1 else logging.WARNING,
            "subscription failed, retrying in %.2f s: subscription=%s position=%d failures=%d error=%r",
            self._failures.delay_s, self.name, self._checkpoint, failures, error,
            exc_info=error if failures == 1 else None,
        )  # fmt: skip
        return "backing_off"

    async def _wait_after_conflict(self, position: int, conflict: Conflict) -> None:
        """Back off before events up to a position are handled again. A conflict is not a failure of an event."""
        self._failures.conflicts += 1
        self._one_by_one_until = max(self._one_by_one_until, position)  # a shorter attempt meets fewer appends
        error = conflict_error(conflict)
        logger.debug(
            "events of a handler are in conflict with others, handling its event again: subscription=%s position=%d "
            "conflicts=%d error=%r",
            self.name, position, self._failures.conflicts, error,
        )  # fmt: skip
        if self._failures.conflicts == MAX_SILENT_CONFLICTS:
            logger.warning(
                "event is handled again because of conflicts: subscription=%s position=%d conflicts=%d error=%r",
                self.name, position, self._failures.conflicts, error,
            )  # fmt: skip
        if self._failures.conflicts >= MAX_SILENT_CONFLICTS:
            self.error = error
        if self._failures.conflicts > 1:
            await back_off(self._failures.conflicts)

    async def _handle_failure(self, event: RecordedEvent, error: Exception) -> Step | None:
        """Apply the failure policy to an event. Returns the next state; None if the event was skipped."""
        policy, is_too_new = self.definition.policy, isinstance(error, EventTooNew)
        if is_too_new and policy.too_new == "wait":
            raise error
        self.error = error
        failures, action = self._failures.count(event.position, policy)
        action = "skip" if is_too_new else action
        step, outcome = _STEP_AFTER_FAILURE[action]
        logger.log(
            logging.WARNING if step == "backing_off" else logging.ERROR,
            "event failed, %s: subscription=%s position=%d stream=%s type=%s event_id=%s attempt=%d error=%r",
            outcome.format(self._failures.delay_s), self.name, event.position, event.stream, event.type, event.id,
            failures, error,
            exc_info=error if failures == 1 or step != "backing_off" else None,
        )  # fmt: skip
        if step is None and not await self._record(event.position):
            return self._next("waiting")
        return None if step is None else self._next(step)

    # The lease

    async def _range(self) -> Range:
        current = await self._store.leases.range(self.range_key)
        if current is None:
            reason = "it was deleted while the subscription was running; opening the app again creates one"
            raise CheckpointMismatch(self.name, reason)
        return current

    async def _acquire(self, current: Range) -> bool:
        """Acquire a free range. If that is impossible because of its definition or epoch, show why."""
        leases, identity = self._store.leases, self._store.log.identity
        lease = await leases.acquire(current, self._worker, self.definition.definition_hash, identity.epoch_id)
        if lease is None:
            await self._explain_refusal()
            return False
        if lease.position < self._checkpoint:  # after a reset
            self._one_by_one_until = 0
        self._lease, self._acquired_at = lease, time.monotonic()
        self._checkpoint = self.position_signal.position = lease.position
        return True

    async def _explain_refusal(self) -> None:
        registration = await self._store.registrations.registration(self.name)
        if registration is None:
            return
        refusal: Exception | None = None
        if registration.definition_hash != self.definition.definition_hash:
            refusal = ReadModelChanged(self.name)
        elif registration.epoch_id != self._store.log.identity.epoch_id:
            reason = "its epoch ended while the subscription was running; open the app again"
            refusal = CheckpointMismatch(self.name, reason)
        if refusal is not None and type(refusal) is not type(self.error):
            logger.warning("lease refused, waiting: subscription=%s error=%s", self.name, refusal)
            self.error = refusal

    async def _release_lease(self) -> None:
        """Release the lease, if that is possible."""
        if self._lease is None:
            return
        try:
            await self._store.leases.release(self._lease)
        except Exception as error:  # the lease remains valid, and this process retries under it
            logger.info("failed to release a lease: subscription=%s error=%r", self.name, error)
            return
        self._forget_lease()

    def _lose_lease(self, reason: str) -> None:
        if self._lease is not None:
            logger.info(
                "lease lost, waiting to acquire it again: subscription=%s position=%d reason=%s",
                self.name, self._checkpoint, reason,
            )  # fmt: skip
        self._forget_lease()

    def _forget_lease(self) -> None:
        self._lease = None
        self.position_signal.position = 0  # unknown until the checkpoint is read again
        self._wake()

    async def _pause(self, seconds: float) -> None:
        """Wait, or return early if the processor is stopped or restarted."""
        try:
            async with asyncio.timeout(seconds):
                await self._interrupt.wait()
        except TimeoutError:
            pass


class _Context:
    """The `ProcessingContext` of one call."""

    __slots__ = ("_processor", "attempt")

    def __init__(self, processor: Processor, attempt: int) -> None:
        self._processor = processor
        self.attempt = attempt

    @property
    def conflicts(self) -> int:
        return self._processor.conflicts

    @property
    def stopping(self) -> bool:
        return self._processor.stopping


assert frozenset(get_args(Step)) == TRANSITIONS.keys()
