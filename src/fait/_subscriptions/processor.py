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

from fait._errors import CheckpointMismatch, EventFromTheFuture, LeaseLost
from fait._events.append import Page
from fait._events.query import Query
from fait._store.ledger import Lease, Ledger, Work
from fait._store.log import Log
from fait._store.position_signal import Doorbell
from fait._subscriptions.failure import Retry
from fait._telemetry import logger

__all__ = ["LEASE_S", "PASS_OVER_S", "Desk", "MadeWay", "Processor", "State", "Subscription"]

State = Literal["waiting", "catching_up", "live", "failing", "stopping", "stopped"]

LEASE_S: Final = 5.0
"""How long an owner may show no sign of life before another process takes over."""

LOOK: Final = 1 / 20
"""How often a process looks whether the lease is free, as a part of the time that a lease lasts."""

FAILURES: Final = 3
"""After so many in a row without getting further, an owner makes way; at once if the event is from newer code."""

PASS_OVER_S: Final = 0.1
"""How soon a checkpoint is written when only events that do not concern the subscription have passed."""


class MadeWay(LeaseLost):
    """The lease was given back of our own will."""


class Desk(Protocol):
    """Where a subscription works: knows its place, and records what is done."""

    @property
    def position(self) -> int:
        """Everything up to here is done."""
        ...

    @property
    def fence(self) -> int:
        """Of the lease in hand."""
        ...

    @property
    def stopping(self) -> bool:
        """Whether to begin nothing new."""
        ...

    async def record(self, work: Work) -> None:
        """Record work and move the checkpoint, together."""
        ...

    def pass_over(self, position: int) -> None:
        """Nothing was to be done up to here; the checkpoint follows a little later."""
        ...

    def failed(self, problem: Exception) -> None:
        """The event in hand has failed and will be tried again."""
        ...

    def working(self) -> None:
        """What failed works again."""
        ...

    async def rest(self, seconds: float) -> None:
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

    async def handle(self, page: Page, desk: Desk) -> None:
        """Do what a page of events asks for, and record it at the desk."""
        ...


class Processor:
    """Runs one subscription until it is told to stop."""

    def __init__(
        self, subscription: Subscription, log: Log, ledger: Ledger, owner: str, *, lease_s: float = LEASE_S
    ) -> None:
        self.subscription = subscription
        self.state: State = "waiting"
        self.problem: Exception | None = None
        self.passed = Doorbell()
        self._log = log
        self._ledger = ledger
        self._owner = owner
        self._lease_s = lease_s
        self._lease = Lease(subscription.name, "", 0, 0)
        self._taken = time.monotonic()
        self._lost = False
        self._waiting: asyncio.Timeout | None = None
        self._recorded = 0
        self._stop = asyncio.Event()
        self._retry = Retry()

    @property
    def position(self) -> int:
        """Everything up to here is done."""
        return self.passed.position

    @property
    def fence(self) -> int:
        """Of the lease in hand."""
        return self._lease.fence

    @property
    def stopping(self) -> bool:
        """Whether to begin nothing new."""
        return self._stop.is_set() or self._lost

    def still_owned(self, names: Collection[str], asked: float) -> None:
        """Learn from a sign of life, begun at a moment of this process's clock, which leases were ours then."""
        if self.subscription.name not in names and self.fence and self._taken < asked:
            self._lose()

    def seen(self, lease: Lease) -> None:
        """Learn from the lease as it is now whether it was taken from us, or the checkpoint set anew."""
        if lease.fence > self.fence:
            self._lose()

    def restart(self) -> None:
        """Begin again from the checkpoint, which somebody has set anew."""
        self._lose()

    def stop(self) -> None:
        """Finish the event in hand, then stop."""
        self._stop.set()
        self._wake()

    def _lose(self) -> None:
        self._lost = True
        self.passed.position = 0  # what is known of the position is what the checkpoint says
        self._wake()

    def _wake(self) -> None:
        if self._waiting is not None and not self._waiting.expired():
            self._waiting.reschedule(asyncio.get_running_loop().time())

    async def run(self) -> None:
        """Work whenever the lease is ours; survive every failure, and say so."""
        failures = reached = 0
        while not self._stop.is_set():
            try:
                if await self._own():
                    await self._work()
            except MadeWay:
                pass  # what failed here is still to be seen
            except LeaseLost as lost:
                self._lose()
                self.state, self.problem = "waiting", None
                logger.info("%s", lost)
            except Exception as problem:
                failures = failures + 1 if self._recorded == reached else 1  # elsewhere it is a new trouble
                reached = self._recorded
                self.failed(problem)
                logger.error("%s stopped and will start again", self.subscription.name, exc_info=problem)
                if failures >= FAILURES or isinstance(problem, EventFromTheFuture):
                    await self._make_way()
                await self.pause(self._retry.pause_s(failures))
        self.state = "stopped"

    async def _make_way(self) -> None:
        """Give the lease back, and let others look twice before it is asked for again."""
        if not self.fence or self._lost:
            return
        try:
            await self._ledger.give_back(self._lease)
        except Exception as problem:  # then the lease stays here, and is tried again under
            logger.info("the lease of %s could not be given back: %s", self.subscription.name, problem)
            return
        self._lose()
        await self.pause(2 * LOOK * self._lease_s)

    async def record(self, work: Work) -> None:
        """Record work and move the checkpoint, together. Raises `LeaseLost` if another process has taken over."""
        if work.after != self._recorded:  # events were passed over since: the checkpoint still stands before them
            work = Work(work.subscription, self._recorded, work.position, work.fence, work.rows, work.statements)
        await self._ledger.record(work)
        self._recorded = work.position
        self.passed.ring(work.position)

    def pass_over(self, position: int) -> None:
        """Nothing was to be done up to here; the checkpoint follows a little later."""
        self.passed.ring(position)

    def failed(self, problem: Exception) -> None:
        """Something went wrong and will be tried again."""
        self.state, self.problem = "failing", problem

    def working(self) -> None:
        """What failed works again."""
        if self.state == "failing":
            self.state, self.problem = "live", None

    async def rest(self, seconds: float) -> None:
        """Wait before what failed is tried again; raises `MadeWay` if others may try meanwhile."""
        others_need = 2 * LOOK * self._lease_s
        if seconds < others_need:
            await self.pause(seconds)
            return
        await self._make_way()
        await self.pause(seconds - others_need)
        if self._lost:
            raise MadeWay(f"{self.subscription.name!r} failed and may be run by another process now")

    async def pause(self, seconds: float) -> None:
        """Wait, but not longer than until the system stops."""
        try:
            async with asyncio.timeout(seconds):
                await self._stop.wait()
        except TimeoutError:
            pass

    async def _own(self) -> bool:
        """Wait until the lease is ours: it is free, or its owner has shown no sign of life for long enough."""
        watched, since = self._lease, time.monotonic()
        while not self._stop.is_set():
            seen = await self._ledger.lease(self.subscription.name)
            if seen != watched:
                watched, since = seen, time.monotonic()
            if seen.owner in ("", self._owner) or time.monotonic() - since > self._lease_s:
                taken = await self._ledger.take(seen, self._owner)
                if taken is not None:
                    self._lease, self._taken, self._lost = taken, time.monotonic(), False
                    self.passed.position = 0  # what was known under another lease may have been set back since
                    return True
            else:
                self.state, self.problem = "waiting", None  # whatever failed here is another's to do now
            await self.pause(LOOK * self._lease_s)
        return False

    async def _work(self) -> None:
        """Follow the log from the checkpoint."""
        checkpoint = await self._ledger.checkpoint(self.subscription.name)
        if checkpoint is None:
            raise CheckpointMismatch(self.subscription.name, "it is gone")
        self._recorded = checkpoint.position
        self.passed.position = checkpoint.position
        self.state = "catching_up"
        after, ahead = checkpoint.position, None
        try:
            while not self.stopping:
                page = await (ahead or self._log.read(after, query=self.subscription.query))
                after = page.position
                # While it catches up, the next page is read as this one is handled.
                ahead = asyncio.create_task(self._log.read(after, query=self.subscription.query)) if page.more else None
                await self._take(page)
                if ahead is None:
                    await self._for_more(after)
        finally:
            if ahead is not None:
                ahead.cancel()
                await asyncio.gather(ahead, return_exceptions=True)
        if self._lost:
            raise LeaseLost(f"{self.subscription.name!r} is run by another process now; this one stopped in time")
        self.state = "stopping"
        await self._catch_up_checkpoint()

    async def _take(self, page: Page) -> None:
        if page.events:
            await self.subscription.handle(page, self)
        elif page.position > self.position:
            self.pass_over(page.position)
        if not page.more:
            self.state, self.problem = "live", None

    async def _for_more(self, after: int) -> None:
        """Wait for events, but not past a stop; bring the checkpoint up when none come for a while."""
        while not self.stopping:
            try:
                async with asyncio.timeout(PASS_OVER_S if self.position > self._recorded else None) as self._waiting:
                    await self._log.changed(after)
                return
            except TimeoutError:
                if not self._lost:
                    await self._catch_up_checkpoint()
            finally:
                self._waiting = None

    async def _catch_up_checkpoint(self) -> None:
        if self.position > self._recorded:
            await self.record(Work(self.subscription.name, self._recorded, self.position, self.fence))
