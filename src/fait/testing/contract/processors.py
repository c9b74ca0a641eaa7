"""Contract of processors on every store: one worker at a time, back-off, and a checkpoint that skips no event."""
# ruff: noqa: D102 - a test is documented by its name

import asyncio
import math
from collections.abc import AsyncGenerator, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from typing import Any

from fait._clock import Clock, ManualClock, SystemClock
from fait._events.envelope import RecordedEvent
from fait._events.registry import build_registry
from fait._store.ports.registrations import Registration
from fait._store.ports.store import Store
from fait._subscriptions.processor_group import LEASE_DURATION_S, ProcessorGroup, State
from fait._subscriptions.retention import Retention
from fait._subscriptions.runner import Runner
from fait._subscriptions.subscription import Outcome, ProcessingContext, SubscriptionDefinition, Tenure
from fait.testing.contract.store import START, StoreContract, added, everything, new, soon, write
from fait.testing.contract.turns import let_readers_wait

__all__ = [
    "Broken",
    "PositionRecorder",
    "ProcessorContract",
    "register_recorder",
    "running_group",
    "until",
]


class PositionRecorder:
    """A subscription that records the positions of its events, one by one."""

    definition: SubscriptionDefinition = SubscriptionDefinition(
        "recorder", "reactor", ("wanted",), batch=1, order_key="all"
    )

    def __init__(self) -> None:
        self.seen: list[int] = []
        self.resume: asyncio.Event = asyncio.Event()  # its calls hang until it is set
        self.resume.set()
        self.after_event: Callable[[int], object] = lambda number: None

    def key_of(self, event: RecordedEvent) -> str | None:
        return event.stream

    def keys_of(self, event: RecordedEvent) -> Collection[str]:
        return (event.stream,)

    async def begin(self, tenure: Tenure) -> None:
        pass

    async def handle(self, events: Sequence[RecordedEvent], context: ProcessingContext) -> Outcome:
        await self.resume.wait()
        self.seen += [each.position for each in events]
        self.after_event(len(self.seen))
        return Outcome(len(events))


class Broken(PositionRecorder):
    """A recorder that fails a number of times at one position."""

    def __init__(self, fails_at: int, times: float) -> None:
        super().__init__()
        self._fails_at = fails_at
        self._times = times
        self.failed: int = 0

    async def handle(self, events: Sequence[RecordedEvent], context: ProcessingContext) -> Outcome:
        if events[-1].position >= self._fails_at and self.failed < self._times:
            self.failed += 1
            raise ValueError("old code")
        return await super().handle(events, context)


class ProcessorContract(StoreContract):
    """The contract of processors."""

    async def test_owner_with_heartbeat_keeps_lease_of_subscription(self, store: Store) -> None:
        await register_recorder(store)
        clock, lease_s = ManualClock(START), 60.0
        owner, other = (_runner(PositionRecorder(), store, lease_s, clock) for _ in range(2))
        await owner.start()
        await until(lambda: _state(owner) == "live")
        await other.start()
        for _ in range(10):  # a quarter of the lease each
            clock.advance(seconds=lease_s / 4)
            await until(lambda: all(each.alive_until > clock.monotonic() + 0.9 * lease_s for each in (owner, other)))
            await let_readers_wait(store.log)  # until both have looked at the ranges

        [current] = await store.leases.ranges()

        await _stopped(owner, other)
        assert (current.worker, current.fencing_token) == (owner.worker, 1)

    async def test_owner_without_heartbeat_loses_lease_and_its_work_is_rejected(self, store: Store) -> None:
        await register_recorder(store)
        await added(store.log, write("a", [new("wanted") for _ in range(3)]))
        stalled, successor = PositionRecorder(), PositionRecorder()
        stalled.resume.clear()
        old, new_owner = _runner(stalled, store, lease_s=0.5), _runner(successor, store, lease_s=0.5)
        await old.start()
        await until(lambda: _state(old) == "catching_up")
        for each in old.background_tasks:
            each.cancel()
        await new_owner.start()
        await until(lambda: len(successor.seen) == 3)

        stalled.resume.set()
        await until(lambda: not old.groups["recorder"].tokens)

        await _stopped(old, new_owner)
        assert successor.seen == [each.position for each in await everything(store.log)]
        [current] = await store.leases.ranges()
        assert current.position == await store.log.head()

    async def test_successor_continues_with_the_failed_key_of_a_stopped_owner(self, store: Store) -> None:
        await register_recorder(store)
        await added(store.log, write("a", [new("wanted") for _ in range(5)]))
        positions = [each.position for each in await everything(store.log)]
        broken, healthy = Broken(positions[2], math.inf), PositionRecorder()
        owner, successor = _runner(broken, store, lease_s=2), _runner(healthy, store, lease_s=2)
        await owner.start()
        await until(lambda: broken.failed == 3)
        await _stopped(owner)
        await successor.start()
        group = successor.groups["recorder"]

        await until(lambda: group.position == positions[-1] and not list(group.failures))

        await _stopped(successor)
        assert broken.seen + healthy.seen == positions

    async def test_owner_keeps_the_lease_while_it_retries_a_key_and_reports_the_error(self, store: Store) -> None:
        await register_recorder(store)
        await added(store.log, write("a", [new("wanted")]))
        alone = Broken(0, times=4)
        owner = _runner(alone, store, lease_s=2)
        await owner.start()
        group, reported = owner.groups["recorder"], set[tuple[str, str]]()
        while not alone.seen:
            if alone.failed and list(group.failures):
                reported.add((group.state, str(group.error)))
            await asyncio.sleep(0.01)
        await until(lambda: group.state == "live")
        [current] = await store.leases.ranges()

        await _stopped(owner)
        assert ("failing", "old code") in reported
        assert group.error is None
        assert (current.worker, current.fencing_token) == (owner.worker, 1)

    async def test_runner_stopped_within_page_skips_no_event(self, store: Store) -> None:
        await register_recorder(store)
        await added(store.log, write("a", [new("wanted") for _ in range(1000)]), write("b", [new("other")]))
        stopped, continued = PositionRecorder(), PositionRecorder()
        owner, successor = _runner(stopped, store), _runner(continued, store)
        stopped.after_event = lambda number: owner.groups["recorder"].stop() if number == 3 else None
        await owner.start()
        await until(lambda: _state(owner) == "stopping")
        await _stopped(owner)
        [checkpoint] = await store.leases.ranges()
        await successor.start()
        await until(lambda: successor.groups["recorder"].position >= 1001)

        await _stopped(successor)
        assert checkpoint.position == stopped.seen[-1]
        assert len(stopped.seen + continued.seen) == 1000


async def register_recorder(store: Store) -> None:
    """Register the subscription of a `PositionRecorder`, and workers, without an app."""
    identity = store.log.identity
    registration = Registration("recorder", "contract", "reactor", "", ("wanted",), identity.log_id, identity.epoch_id)
    await store.registrations.register(registration, 0)


def _runner(
    subscription: PositionRecorder, store: Store, lease_s: float = LEASE_DURATION_S, clock: Clock | None = None
) -> Runner:
    """Return what runs a subscription in a process."""
    retention = Retention("contract", build_registry(()), store, clock or SystemClock())
    return Runner([subscription], store, retention, clock=clock, lease_s=lease_s)


@asynccontextmanager
async def running_group(
    subscription: PositionRecorder, store: Store, lease_s: float = LEASE_DURATION_S
) -> AsyncGenerator[ProcessorGroup, None]:
    """Run a subscription in a process."""
    runner = _runner(subscription, store, lease_s)
    await runner.start()
    try:
        yield runner.groups["recorder"]
    finally:
        await runner.stop()


def _state(runner: Runner) -> State:
    """Return the state of the subscription of a runner."""
    return runner.groups["recorder"].state


async def until(condition: Any) -> None:
    """Wait until a condition is true."""
    async with soon():
        while not condition():  # noqa: ASYNC110 - there is no event to wait for
            await asyncio.sleep(0.005)


async def _stopped(*runners: Runner) -> None:
    async with soon():
        for each in runners:
            await each.stop()
