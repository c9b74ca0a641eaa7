"""Works on one range of a subscription, as a state machine, from the acquisition of its lease to the end of it.

    acquiring ─────────────► working             any state ──► stopping ──► stopped
       ▲    lease acquired      │
       │                        │          refused, or lease lost: stopped
       └────── backing_off ◄────┘          backing_off: the store, or a service that a handler uses, is unavailable

Each state is a method that returns the next state. Only the owner of the lease handles events. If the worker's
heartbeat stops, another one acquires the lease and continues from the checkpoint. Work of the former owner that is not
yet recorded is rejected by its fencing token.

`LaneWorker` does the work under a lease, and isolates the keys whose events fail. It ends with the errors that concern
the whole subscription: those of the store, and outages of services. They are retried without limit. A worker that backs
off for long releases the lease, because it may be the only one that still runs old code.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from contextlib import suppress
from typing import Any, ClassVar, Final, Literal, get_args

from msgspec.structs import replace

from fait._errors import CheckpointMismatch, DefinitionChanged, EventTooNew, StoreUnavailable
from fait._store.ports.leases import Lease, Range
from fait._store.ports.registrations import RangeKey
from fait._subscriptions.definition_change import definition_changed
from fait._subscriptions.lane import RangeLane
from fait._subscriptions.lane_worker import LaneWorker
from fait._subscriptions.subscription_run import SubscriptionRun
from fait._telemetry import logger

__all__ = ["Processor", "Step"]

Step = Literal["acquiring", "working", "backing_off", "stopping", "stopped"]
"""State of a processor."""

TRANSITIONS: Final[Mapping[Step, frozenset[Step]]] = {
    "acquiring": frozenset({"working", "backing_off", "stopping", "stopped"}),
    "working": frozenset({"backing_off", "stopping"}),
    "backing_off": frozenset({"acquiring", "stopping", "stopped"}),
    "stopping": frozenset({"stopped"}),
    "stopped": frozenset(),
}
"""The states that may follow each state."""

REST_SHARE: Final = 1 / 10
"""Delay of a retry from which on a worker releases its lease, as a fraction of the lease duration."""


class Processor:
    """Works on one range, from `acquire` until it is stopped, or its lease is refused or lost.

    Args:
        run: what the processors of the subscription share.
        seen: the range, as this process has read it.
        report: called whenever the position may have changed.

    Attributes:
        key: the range.
        lease: the lease; None while this process has none.
        work: the work under the lease; None before it.
        was_refused: whether the range could not be acquired.
    """

    def __init__(self, run: SubscriptionRun, seen: Range, report: Callable[[], None]) -> None:
        self.key = seen.key
        self.lease: Lease | None = None
        self.work: LaneWorker | None = None
        self.was_refused = False
        self._run = run
        self._seen = seen
        self._report_position = report
        self._step: Step = "acquiring"
        self._delay_s = 0.0
        self._acquired_at = 0.0
        self._stop_requested = False
        self._keeps_lease = False
        self._stop_at: int | None = None
        self._interrupt = asyncio.Event()  # may end a pause

    @property
    def position(self) -> int:
        """Position up to which all events of the range are processed; 0 while this process has no lease."""
        return self.work.lane.position if self.lease and self.work else 0

    @property
    def is_live(self) -> bool:
        """Whether the end of the log has been reached."""
        return self.lease is not None and self.work is not None and self.work.is_live

    @property
    def is_failing(self) -> bool:
        """Whether an error is being retried, or the key of an event."""
        return self._step == "backing_off" or (self.work is not None and self.work.is_failing)

    def confirm_lease(self, owned: Collection[RangeKey], heartbeat_at: float) -> None:
        """Detect from the result of a heartbeat that the lease was lost.

        Args:
            owned: ranges that the heartbeat found to be owned by this process.
            heartbeat_at: monotonic time at which the heartbeat began. It says nothing about a lease acquired later.
        """
        if self.lease is not None and self.key not in owned and self._acquired_at < heartbeat_at:
            self.lose_lease("the heartbeat did not find it")

    def observe(self, current: Range) -> None:
        """Detect from the current range that another process acquired it or reset the checkpoint."""
        if self.lease is not None and current.fencing_token > self.lease.fencing_token:
            self.lose_lease("its fencing token has increased")

    def wake(self) -> None:
        """Look again whether something is due."""
        self._interrupt.set()
        if self.work is not None:
            self.work.wake()

    def stop(self, *, keep_lease: bool = False, at: int | None = None) -> None:
        """Finish the current events, then stop.

        Args:
            keep_lease: whether not to release the lease, for a change of the range under it.
            at: position up to which all events are to be handled before; None: where it is.
        """
        self._stop_requested, self._keeps_lease, self._stop_at = True, keep_lease, at
        self._interrupt.set()
        if self.work is not None:
            self.work.stop(at)

    async def run(self) -> None:
        """Run the state machine until it has stopped."""
        try:
            await self._run_steps()
        except Exception:  # an error in this module: another process shall continue
            self._step = "stopped"
            await self._release_lease()
            raise

    async def _run_steps(self) -> None:
        while self._step != "stopped":
            try:
                following = await self._STEPS[self._step](self)
            except Exception as error:
                following = self._fail(error)
            assert following in TRANSITIONS[self._step], f"{self._step} to {following}"
            self._step = following

    # States

    async def _acquire(self) -> Step:
        """Acquire the range. If that is impossible because of its definition or epoch, show why."""
        run = self._run
        if self._stop_requested:
            return "stopping"
        leases, epoch_id = run.store.leases, run.store.log.identity.epoch_id
        seen = self._seen
        lease = await leases.acquire(seen, run.worker, run.definition.definition_hash, epoch_id)
        if lease is None:
            self.was_refused = True
            await self._explain_refusal()
            return "stopped"
        self.lease, self._acquired_at, run.is_paused = lease, run.clock.monotonic(), False
        run.owned.add(self.key)
        if isinstance(run.refusal, DefinitionChanged | CheckpointMismatch):
            run.refusal = None
        return "working"

    async def _explain_refusal(self) -> None:
        run, name = self._run, self._run.definition.name
        registration = await run.store.registrations.registration(name)
        if registration is None:
            return
        run.is_paused = registration.paused
        refusal: Exception | None = None
        if registration.definition_hash != run.definition.definition_hash:
            if isinstance(run.refusal, DefinitionChanged):
                return
            refusal = await definition_changed(run.store.registrations, run.definition)
        elif registration.epoch_id != run.store.log.identity.epoch_id:
            reason = "its epoch ended while the subscription was running; open the app again"
            refusal = CheckpointMismatch(name, reason)
        if refusal is not None:
            run.refuse(refusal)

    async def _do_work(self) -> Step:
        """Work under the lease until it is lost, or this is stopped."""
        assert self.lease is not None
        lease = self._lease_of_source()
        lane = RangeLane(lease, self._run.subscription.key_of, self._run.definition.concurrency)
        self.work = LaneWorker(self._run, lane, self._report)
        self.work.shows_outage = bool(self._seen.health)
        if self._stop_requested:
            self.work.stop(self._stop_at)
        self._report()
        await self.work.run()
        if self.work.lease_lost:
            self.lose_lease(self.work.lease_lost)
        return "stopping"

    def _lease_of_source(self) -> Lease:
        """Return the lease as its source sees it: a broker delivers unfinished messages again, with other numbers."""
        assert self.lease is not None
        if not self._run.definition.is_received:
            return self.lease
        return replace(self.lease, position=self.lease.frontier, pending=())

    def _report(self) -> None:
        """Take over how far the work has come."""
        if self.work is not None and self.lease is not None:
            if self.work.lane.frontier > self.lease.frontier and not self._run.failing_keys:
                self._run.end_outage(self.key)
            self._report_position()

    async def _back_off(self) -> Step:
        """Wait before a retry. Before a long wait the lease is released: another process may have other code."""
        # fault: published-events-not-recorded-in-an-outage
        if self.work is not None and self.work.lane.has_unrecorded_events:
            await self._write_checkpoint()
        # fault: outage-not-reported
        await self._report_outage()
        run, delay_s = self._run, self._delay_s
        is_long = delay_s >= REST_SHARE * run.lease_s and run.makes_no_progress
        # fault: failing-worker-keeps-lease
        if is_long or isinstance(run.outage_error(self.key), EventTooNew):
            await self._release_lease()
            run.rests_until = run.clock.monotonic() + max(delay_s, REST_SHARE * run.lease_s)
            return "stopped"
        await self._pause(delay_s)
        self._forget_lease()  # after an unknown outcome only a new fencing token excludes a late record
        current = await run.store.leases.range(self.key)
        if current is None or self._stop_requested:
            return "stopping"
        self._seen = current
        return "acquiring"

    async def _report_outage(self) -> None:
        """Show other processes why this one waits. The next record removes it."""
        run = self._run
        error = run.outage_error(self.key)
        if self.lease is None or error is None or isinstance(error, StoreUnavailable):
            return
        try:
            await run.store.leases.report(self.lease, run.describe_outage(self.key))
            run.is_reported = True
        except StoreUnavailable as error:
            logger.info("failed to report an outage: subscription=%s error=%r", run.definition.name, error)

    async def _stop(self) -> Step:
        """Write the checkpoint, and release the lease."""
        await self._write_checkpoint()
        if not self._keeps_lease:
            await self._release_lease()  # now: other subscriptions of this process may need longer to stop
        return "stopped"

    async def _write_checkpoint(self) -> None:
        """Record what is passed or finished and not recorded. If that fails, it is passed or handled again."""
        if self.work is None:
            return
        try:
            await self.work.write_checkpoint()
        except Exception as error:
            logger.info("failed to write a checkpoint: subscription=%s error=%r", self._run.definition.name, error)

    _STEPS: ClassVar[Mapping[Step, Callable[[Any], Awaitable[Step]]]] = {
        "acquiring": _acquire,
        "working": _do_work,
        "backing_off": _back_off,
        "stopping": _stop,
    }

    def _fail(self, error: Exception) -> Step:
        """Plan the retry after an error that is not that of an event, or of an event that newer code must handle."""
        if self._stop_requested:
            self._run.refusal = error
            return "stopping" if self._step != "stopping" else "stopped"
        self._delay_s = self._run.begin_outage(self.key, error)
        return "backing_off" if self._step != "backing_off" else "stopping"

    # The lease

    async def _release_lease(self) -> None:
        """Release the lease, if that is possible."""
        if self.lease is None:
            return
        try:
            await self._run.store.leases.release(self.lease)
        except Exception as error:  # the lease remains valid, and this process acquires it again
            logger.info("failed to release a lease: subscription=%s error=%r", self._run.definition.name, error)
        self._forget_lease()

    def lose_lease(self, reason: str) -> None:
        """Stop, because the lease was lost."""
        if self.lease is not None:
            logger.info(
                "lease lost, waiting to acquire it again: subscription=%s position=%d reason=%s",
                self._run.definition.name, self.lease.position, reason,
            )  # fmt: skip
        self._forget_lease()

    def _forget_lease(self) -> None:
        self.lease = None
        self._run.owned.discard(self.key)
        if self.work is not None:
            self.work.lose_lease("it was released")
        self._report_position()

    async def _pause(self, seconds: float) -> None:
        """Wait, or return early if the processor is stopped."""
        clock = self._run.clock
        end = clock.monotonic() + seconds
        while not self._stop_requested and (left_s := end - clock.monotonic()) > 0:
            self._interrupt.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(left_s):
                    await self._interrupt.wait()


assert frozenset(get_args(Step)) == TRANSITIONS.keys()
