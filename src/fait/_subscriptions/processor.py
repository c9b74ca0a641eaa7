"""Runs one subscription as a state machine that is safe in any number of processes.

    waiting ──► catching_up ──► live ──► stopping ──► stopped
       ▲             │  ▲         │
       └── lease ◄───┴──┼─────────┤
           lost         └ failing ◄┘

Only the owner of the subscription's lease handles events. If the owner's heartbeat stops, another process acquires the
lease and continues from the checkpoint. Work of the former owner that is not yet recorded is rejected by its fencing
token.

An owner that fails repeatedly without progress releases its lease, because it may be the only process that still runs
old code. It tries to acquire the lease again after other processes had time to do so.
"""

import asyncio
import time
from collections.abc import Collection, Sequence
from typing import Final, Literal, Protocol

from fait._errors import CheckpointMismatch, EventTooNew, LeaseLost
from fait._events.append import Page
from fait._events.query import Query
from fait._store.ports.leases import Lease, Range
from fait._store.ports.registrations import RangeKey
from fait._store.ports.store import Store
from fait._store.ports.tables import RowChange
from fait._store.ports.unit_of_work import HandlerStatement, UnitOfWork
from fait._store.position_signal import PositionSignal
from fait._subscriptions.failure import Retry
from fait._telemetry import logger

__all__ = [
    "CHECKPOINT_DELAY_S",
    "LEASE_DURATION_S",
    "LeaseReleased",
    "ProcessingContext",
    "Processor",
    "State",
    "Subscription",
]

State = Literal["waiting", "catching_up", "live", "failing", "stopping", "stopped"]

LEASE_DURATION_S: Final = 5.0
"""Default time without a heartbeat after which another process may acquire a lease."""

LEASE_POLL_SHARE: Final = 1 / 20
"""Interval between two reads of a lease by a waiting process, as a fraction of the lease duration."""

MAX_FAILURES_BEFORE_RELEASE: Final = 3
"""Maximum number of consecutive failures without progress before an owner releases its lease.

An event of a newer schema version causes a release after the first failure.
"""

CHECKPOINT_DELAY_S: Final = 0.1
"""Maximum delay before the checkpoint is written after a skip over events that the subscription does not handle."""


class LeaseReleased(LeaseLost):
    """This process released the lease itself, after a failure."""


class ProcessingContext(Protocol):
    """The part of a processor that its subscription uses: its position, and the recording of work."""

    @property
    def position(self) -> int:
        """Position up to which all events are processed."""
        ...

    @property
    def stopping(self) -> bool:
        """Whether the subscription must not start to handle another event."""
        ...

    async def record(
        self, position: int, rows: Sequence[RowChange] = (), statements: Sequence[HandlerStatement] = ()
    ) -> None:
        """Record the work of the events up to a position, and move the checkpoint, in one transaction.

        Args:
            position: the checkpoint afterwards.
            rows: changes of read models.
            statements: SQL statements of handlers.

        Raises:
            LeaseLost: another process acquired the lease, or the checkpoint was reset. Nothing was recorded.
        """
        ...

    def skip_to(self, position: int) -> None:
        """Skip to a position without recording work; the checkpoint is written lazily."""
        ...

    def failed(self, error: Exception) -> None:
        """Report that the current event failed and will be retried."""
        ...

    def recovered(self) -> None:
        """Report that the failed event has been handled."""
        ...

    async def back_off(self, seconds: float) -> None:
        """Wait before a retry, or until the processor is stopped.

        During a long wait the lease is released, so that a process with other code can handle the event.

        Raises:
            LeaseReleased: the lease was released.
        """
        ...


class Subscription(Protocol):
    """A projection or a reactor, as a processor sees it."""

    @property
    def name(self) -> str:
        """Name of the checkpoint and of the lease, unique in the log."""
        ...

    @property
    def definition_hash(self) -> str:
        """Hash of its definition; "" if it has none."""
        ...

    @property
    def query(self) -> Query:
        """The events to read."""
        ...

    async def handle(self, page: Page, context: ProcessingContext) -> None:
        """Handle the events of a page and record the work with the context."""
        ...


class Processor:
    """Runs one subscription until it is stopped."""

    def __init__(
        self, subscription: Subscription, store: Store, worker: str, *, lease_s: float = LEASE_DURATION_S
    ) -> None:
        self.subscription = subscription
        self.state: State = "waiting"
        self.error: Exception | None = None
        self.started = False
        self.position_signal = PositionSignal()
        self.range_key = RangeKey(subscription.name)
        self._log = store.log
        self._leases = store.leases
        self._recorder = store.recorder
        self._worker = worker
        self._lease_s = lease_s
        self._lease: Lease | None = None
        self._acquired_at = time.monotonic()
        self._lease_lost = False
        self._wait_timeout: asyncio.Timeout | None = None
        self._checkpoint = 0
        self._stop = asyncio.Event()
        self._retry = Retry()

    @property
    def position(self) -> int:
        """Position up to which all events are processed; 0 while unknown."""
        return self.position_signal.position

    @property
    def fencing_token(self) -> int:
        """Fencing token of the last lease; 0 before the first one."""
        return self._lease.fencing_token if self._lease else 0

    @property
    def stopping(self) -> bool:
        """Whether the subscription must not start to handle another event."""
        return self._stop.is_set() or self._lease_lost

    def confirm_leases(self, keys: Collection[RangeKey], heartbeat_at: float) -> None:
        """Detect from the result of a heartbeat that the lease was lost.

        Args:
            keys: ranges that the heartbeat found to be owned by this process.
            heartbeat_at: monotonic time at which the heartbeat began. It says nothing about a lease acquired later.
        """
        if self.range_key not in keys and self.fencing_token and self._acquired_at < heartbeat_at:
            self._lose_lease()

    def observe_range(self, current: Range) -> None:
        """Detect from the current range that another process acquired it or reset the checkpoint."""
        if current.fencing_token > self.fencing_token:
            self._lose_lease()

    def restart(self) -> None:
        """Start again from the checkpoint, after this process has reset it."""
        self._lose_lease()

    def stop(self) -> None:
        """Finish the current event, then stop."""
        self._stop.set()
        self._wake()

    def _lose_lease(self) -> None:
        self._lease_lost = True
        self.position_signal.position = 0  # unknown until the checkpoint is read again
        self._wake()

    def _wake(self) -> None:
        if self._wait_timeout is not None and not self._wait_timeout.expired():
            self._wait_timeout.reschedule(asyncio.get_running_loop().time())

    async def run(self) -> None:
        """Process events whenever this process owns the lease; retry after every failure."""
        failures = failed_checkpoint = 0
        self.started = True
        while not self._stop.is_set():
            try:
                if await self._acquire_lease():
                    await self._process()
            except LeaseReleased:
                pass  # state and error still describe the failure
            except LeaseLost as error:
                self._lose_lease()
                self.state, self.error = "waiting", None
                logger.info(
                    "lease lost, waiting to acquire it again: subscription=%s position=%d reason=%s",
                    self.subscription.name, self._checkpoint, error,
                )  # fmt: skip
            except Exception as error:
                failures = failures + 1 if self._checkpoint == failed_checkpoint else 1
                failed_checkpoint = self._checkpoint
                self.failed(error)
                logger.error(
                    "subscription failed, restarting from its checkpoint: subscription=%s position=%d failures=%d",
                    self.subscription.name, self._checkpoint, failures, exc_info=error,
                )  # fmt: skip
                # fault: failing-worker-keeps-lease
                if failures >= MAX_FAILURES_BEFORE_RELEASE or isinstance(error, EventTooNew):
                    await self._release_lease()
                await self.pause(self._retry.delay_s(failures))
        self.state = "stopped"

    async def _release_lease(self) -> None:
        """Release the lease and give other processes time for two reads of it."""
        if self._lease is None or self._lease_lost:
            return
        try:
            await self._leases.release(self._lease)
        except Exception as error:  # the lease remains valid, and this process retries under it
            logger.info("failed to release a lease: subscription=%s error=%r", self.subscription.name, error)
            return
        self._lose_lease()
        await self.pause(2 * LEASE_POLL_SHARE * self._lease_s)

    async def record(
        self, position: int, rows: Sequence[RowChange] = (), statements: Sequence[HandlerStatement] = ()
    ) -> None:
        """Record the work of the events up to a position, and move the checkpoint, in one transaction.

        Args:
            position: the checkpoint afterwards.
            rows: changes of read models.
            statements: SQL statements of handlers.

        Raises:
            LeaseLost: another process acquired the lease, or the checkpoint was reset. Nothing was recorded.
        """
        lease = self._lease
        if lease is None or not await self._recorder.record(
            UnitOfWork(self.range_key, lease.fencing_token, lease.revision, position, rows, statements)
        ):
            raise _lease_lost(self.subscription.name)
        self._checkpoint = position
        self.position_signal.advance(position)

    def skip_to(self, position: int) -> None:
        """Skip to a position without recording work; the checkpoint is written lazily."""
        self.position_signal.advance(position)

    def failed(self, error: Exception) -> None:
        """Report a failure that will be retried."""
        self.state, self.error = "failing", error

    def recovered(self) -> None:
        """Report that the failed event has been handled."""
        if self.state == "failing":
            self.state, self.error = "live", None

    async def back_off(self, seconds: float) -> None:
        """Wait before a retry, or until the processor is stopped.

        Raises:
            LeaseReleased: the lease was released, and another process may acquire it.
        """
        takeover_s = 2 * LEASE_POLL_SHARE * self._lease_s
        if seconds < takeover_s:
            await self.pause(seconds)
            return
        await self._release_lease()
        await self.pause(seconds - takeover_s)
        if self._lease_lost:
            raise LeaseReleased(f"the lease of subscription {self.subscription.name!r} was released after a failure")

    async def pause(self, seconds: float) -> None:
        """Wait, or return early if the processor is stopped."""
        try:
            async with asyncio.timeout(seconds):
                await self._stop.wait()
        except TimeoutError:
            pass

    async def _acquire_lease(self) -> bool:
        """Wait until the lease is free or its heartbeat has stood still for the lease duration, then acquire it.

        Returns False if the processor was stopped.
        """
        previous, unchanged_since = None, time.monotonic()
        while not self._stop.is_set():
            current = await self._leases.range(self.range_key)
            if current is None:
                reason = "it was deleted while the subscription was running; opening the app again creates one"
                raise CheckpointMismatch(self.subscription.name, reason)
            if (current.worker, current.heartbeat) != previous:
                previous, unchanged_since = (current.worker, current.heartbeat), time.monotonic()
            # fault: lease-of-live-owner-acquired
            # fault: lease-never-expires
            stands_still = time.monotonic() - unchanged_since > self._lease_s
            if current.heartbeat is not None and current.worker != self._worker and stands_still:
                await self._leases.expire(current.worker, current.heartbeat)
            if stands_still or current.heartbeat is None or current.worker == self._worker:
                if await self._acquire(current):
                    return True
            else:
                self.state, self.error = "waiting", None  # a failure in this process now concerns another owner
            await self.pause(LEASE_POLL_SHARE * self._lease_s)
        return False

    async def _acquire(self, current: Range) -> bool:
        definition_hash, epoch_id = self.subscription.definition_hash, self._log.identity.epoch_id
        lease = await self._leases.acquire(current, self._worker, definition_hash, epoch_id)
        if lease is None:
            return False
        self._lease, self._acquired_at, self._lease_lost = lease, time.monotonic(), False
        self._checkpoint = self.position_signal.position = lease.position  # lower than before, after a reset
        return True

    async def _process(self) -> None:
        """Process the log from the checkpoint."""
        self.state = "catching_up"
        after, next_page = self._checkpoint, None
        try:
            while not self.stopping:
                page = await (next_page or self._log.read(after, query=self.subscription.query))
                after, next_page = page.position, None
                if page.more:  # read ahead while this page is processed
                    next_page = asyncio.create_task(self._log.read(after, query=self.subscription.query))
                await self._process_page(page)
                if next_page is None:
                    await self._wait_for_events(after)
        finally:
            if next_page is not None:
                next_page.cancel()
                await asyncio.gather(next_page, return_exceptions=True)
        if self._lease_lost:
            raise _lease_lost(self.subscription.name)
        self.state = "stopping"
        await self._write_checkpoint()

    async def _process_page(self, page: Page) -> None:
        if page.events:
            await self.subscription.handle(page, self)
        elif page.position > self.position:
            self.skip_to(page.position)
        if not page.more:
            self.state, self.error = "live", None

    async def _wait_for_events(self, after: int) -> None:
        """Wait for events or a stop. If none arrive for a while, write the checkpoint of a skip."""
        while not self.stopping:
            try:
                async with asyncio.timeout(
                    CHECKPOINT_DELAY_S if self.position > self._checkpoint else None
                ) as self._wait_timeout:
                    await self._log.wait_for_events(after)
                return
            except TimeoutError:
                if not self._lease_lost:
                    await self._write_checkpoint()
            finally:
                self._wait_timeout = None

    async def _write_checkpoint(self) -> None:
        if self.position > self._checkpoint:
            await self.record(self.position)


def _lease_lost(subscription: str) -> LeaseLost:
    return LeaseLost(
        f"the lease of subscription {subscription!r} was lost: another process acquired it, or the checkpoint was "
        "reset. Work not yet recorded was discarded; its events are processed again from the checkpoint."
    )
