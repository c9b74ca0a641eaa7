"""A processor runs one subscription, as a state machine that is safe to run in any number of processes.

    waiting ──► catching_up ──► live ──► stopping ──► stopped
       ▲             │  ▲         │
       └── lease ◄───┴──┼─────────┤
           lost         └ failing ◄┘

Only the owner of the subscription's lease works. If it stops showing signs of life, another process takes the lease
over and goes on from the checkpoint; what the former owner still had in hand is refused when it tries to record it.

An owner that lives and gets no further makes way: it may be the one process that still runs old code. It gives the
lease back, and asks for it again once others had the time to take it.
"""

import asyncio
import time
from collections.abc import Collection
from typing import Final, Literal, Protocol

from fait._errors import CheckpointMismatch, EventTooNew, LeaseLost
from fait._events.append import Page
from fait._events.query import Query
from fait._store.ledger import Lease, Ledger, UnitOfWork
from fait._store.log import Log
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
"""How long an owner may show no sign of life before another process takes over."""

LEASE_POLL_SHARE: Final = 1 / 20
"""How often a process looks whether the lease is free, as a part of the time that a lease lasts."""

MAX_FAILURES_BEFORE_RELEASE: Final = 3
"""After so many in a row without getting further, an owner makes way; at once if the event is from newer code."""

CHECKPOINT_DELAY_S: Final = 0.1
"""How soon a checkpoint is written when only events that do not concern the subscription have passed."""


class LeaseReleased(LeaseLost):
    """The lease was given back of our own will."""


class ProcessingContext(Protocol):
    """Where a subscription works: knows its place, and records what is done."""

    @property
    def position(self) -> int:
        """Everything up to here is done."""
        ...

    @property
    def fencing_token(self) -> int:
        """Of the lease in hand."""
        ...

    @property
    def stopping(self) -> bool:
        """Whether to begin nothing new."""
        ...

    async def record(self, work: UnitOfWork) -> None:
        """Record work and move the checkpoint, together."""
        ...

    def skip_to(self, position: int) -> None:
        """Nothing was to be done up to here; the checkpoint follows a little later."""
        ...

    def failed(self, problem: Exception) -> None:
        """The event in hand has failed and will be tried again."""
        ...

    def recovered(self) -> None:
        """What failed works again."""
        ...

    async def back_off(self, seconds: float) -> None:
        """Wait before what failed is tried again, but not longer than until the system stops.

        In a long pause the lease is given back: another process may know better. Then `MadeWay` is raised.
        """
        ...


class Subscription(Protocol):
    """What a processor runs: a projection, a reactor, later a relay."""

    @property
    def name(self) -> str:
        """Unique in its log; names the checkpoint and the lease."""
        ...

    @property
    def query(self) -> Query:
        """The events that concern it."""
        ...

    async def handle(self, page: Page, context: ProcessingContext) -> None:
        """Do what a page of events asks for, and record it at the desk."""
        ...


class Processor:
    """Runs one subscription until it is told to stop."""

    def __init__(
        self, subscription: Subscription, log: Log, ledger: Ledger, owner: str, *, lease_s: float = LEASE_DURATION_S
    ) -> None:
        self.subscription = subscription
        self.state: State = "waiting"
        self.error: Exception | None = None
        self.position_signal = PositionSignal()
        self._log = log
        self._ledger = ledger
        self._owner = owner
        self._lease_s = lease_s
        self._lease = Lease(subscription.name, "", 0, 0)
        self._acquired_at = time.monotonic()
        self._lease_lost = False
        self._waiting: asyncio.Timeout | None = None
        self._checkpoint = 0
        self._stop = asyncio.Event()
        self._retry = Retry()

    @property
    def position(self) -> int:
        """Everything up to here is done."""
        return self.position_signal.position

    @property
    def fencing_token(self) -> int:
        """Of the lease in hand."""
        return self._lease.fencing_token

    @property
    def stopping(self) -> bool:
        """Whether to begin nothing new."""
        return self._stop.is_set() or self._lease_lost

    def confirm_leases(self, names: Collection[str], asked: float) -> None:
        """Learn from a sign of life, begun at a moment of this process's clock, which leases were ours then."""
        if self.subscription.name not in names and self.fencing_token and self._acquired_at < asked:
            self._lose_lease()

    def observe_lease(self, lease: Lease) -> None:
        """Learn from the lease as it is now whether it was taken from us, or the checkpoint set anew."""
        if lease.fencing_token > self.fencing_token:
            self._lose_lease()

    def restart(self) -> None:
        """Begin again from the checkpoint, which somebody has set anew."""
        self._lose_lease()

    def stop(self) -> None:
        """Finish the event in hand, then stop."""
        self._stop.set()
        self._wake()

    def _lose_lease(self) -> None:
        self._lease_lost = True
        self.position_signal.position = 0  # what is known of the position is what the checkpoint says
        self._wake()

    def _wake(self) -> None:
        if self._waiting is not None and not self._waiting.expired():
            self._waiting.reschedule(asyncio.get_running_loop().time())

    async def run(self) -> None:
        """Work whenever the lease is ours; survive every failure, and say so."""
        failures = reached = 0
        while not self._stop.is_set():
            try:
                if await self._acquire_lease():
                    await self._process()
            except LeaseReleased:
                pass  # what failed here is still to be seen
            except LeaseLost as lost:
                self._lose_lease()
                self.state, self.error = "waiting", None
                logger.info("%s", lost)
            except Exception as problem:
                failures = failures + 1 if self._checkpoint == reached else 1  # elsewhere it is a new trouble
                reached = self._checkpoint
                self.failed(problem)
                logger.error("%s stopped and will start again", self.subscription.name, exc_info=problem)
                # fault: failing-worker-keeps-lease
                if failures >= MAX_FAILURES_BEFORE_RELEASE or isinstance(problem, EventTooNew):
                    await self._release_lease()
                await self.pause(self._retry.delay_s(failures))
        self.state = "stopped"

    async def _release_lease(self) -> None:
        """Give the lease back, and let others look twice before it is asked for again."""
        if not self.fencing_token or self._lease_lost:
            return
        try:
            await self._ledger.release(self._lease)
        except Exception as problem:  # then the lease stays here, and is tried again under
            logger.info("the lease of %s could not be given back: %s", self.subscription.name, problem)
            return
        self._lose_lease()
        await self.pause(2 * LEASE_POLL_SHARE * self._lease_s)

    async def record(self, work: UnitOfWork) -> None:
        """Record work and move the checkpoint, together. Raises `LeaseLost` if another process has taken over."""
        if work.after != self._checkpoint:  # events were passed over since: the checkpoint still stands before them
            work = UnitOfWork(
                work.subscription, self._checkpoint, work.position, work.fencing_token, work.rows, work.statements
            )
        await self._ledger.record(work)
        self._checkpoint = work.position
        self.position_signal.advance(work.position)

    def skip_to(self, position: int) -> None:
        """Nothing was to be done up to here; the checkpoint follows a little later."""
        self.position_signal.advance(position)

    def failed(self, problem: Exception) -> None:
        """Something went wrong and will be tried again."""
        self.state, self.error = "failing", problem

    def recovered(self) -> None:
        """What failed works again."""
        if self.state == "failing":
            self.state, self.error = "live", None

    async def back_off(self, seconds: float) -> None:
        """Wait before what failed is tried again; raises `MadeWay` if others may try meanwhile."""
        others_need = 2 * LEASE_POLL_SHARE * self._lease_s
        if seconds < others_need:
            await self.pause(seconds)
            return
        await self._release_lease()
        await self.pause(seconds - others_need)
        if self._lease_lost:
            raise LeaseReleased(f"{self.subscription.name!r} failed and may be run by another process now")

    async def pause(self, seconds: float) -> None:
        """Wait, but not longer than until the system stops."""
        try:
            async with asyncio.timeout(seconds):
                await self._stop.wait()
        except TimeoutError:
            pass

    async def _acquire_lease(self) -> bool:
        """Wait until the lease is ours: it is free, or its owner has shown no sign of life for long enough."""
        watched, since = self._lease, time.monotonic()
        while not self._stop.is_set():
            seen = await self._ledger.lease(self.subscription.name)
            if seen != watched:
                watched, since = seen, time.monotonic()
            # fault: lease-of-live-owner-acquired
            # fault: lease-never-expires
            if seen.owner in ("", self._owner) or time.monotonic() - since > self._lease_s:
                taken = await self._ledger.acquire(seen, self._owner)
                if taken is not None:
                    self._lease, self._acquired_at, self._lease_lost = taken, time.monotonic(), False
                    self.position_signal.position = 0  # what was known under another lease may have been set back since
                    return True
            else:
                self.state, self.error = "waiting", None  # whatever failed here is another's to do now
            await self.pause(LEASE_POLL_SHARE * self._lease_s)
        return False

    async def _process(self) -> None:
        """Follow the log from the checkpoint."""
        checkpoint = await self._ledger.checkpoint(self.subscription.name)
        if checkpoint is None:
            raise CheckpointMismatch(self.subscription.name, "it is gone")
        self._checkpoint = checkpoint.position
        self.position_signal.position = checkpoint.position
        self.state = "catching_up"
        after, ahead = checkpoint.position, None
        try:
            while not self.stopping:
                page = await (ahead or self._log.read(after, query=self.subscription.query))
                after = page.position
                # While it catches up, the next page is read as this one is handled.
                ahead = asyncio.create_task(self._log.read(after, query=self.subscription.query)) if page.more else None
                await self._process_page(page)
                if ahead is None:
                    await self._wait_for_events(after)
        finally:
            if ahead is not None:
                ahead.cancel()
                await asyncio.gather(ahead, return_exceptions=True)
        if self._lease_lost:
            raise LeaseLost(f"{self.subscription.name!r} is run by another process now; this one stopped in time")
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
        """Wait for events, but not past a stop; bring the checkpoint up when none come for a while."""
        while not self.stopping:
            try:
                async with asyncio.timeout(
                    CHECKPOINT_DELAY_S if self.position > self._checkpoint else None
                ) as self._waiting:
                    await self._log.wait_for_events(after)
                return
            except TimeoutError:
                if not self._lease_lost:
                    await self._write_checkpoint()
            finally:
                self._waiting = None

    async def _write_checkpoint(self) -> None:
        if self.position > self._checkpoint:
            await self.record(UnitOfWork(self.subscription.name, self._checkpoint, self.position, self.fencing_token))
