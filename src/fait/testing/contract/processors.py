"""Contract of processors on every store: one worker at a time, back-off, and a checkpoint that skips no event."""
# ruff: noqa: D102 - a test is documented by its name

import asyncio
import math
import time
from collections.abc import Callable, Sequence
from typing import Any

from fait._events.envelope import RecordedEvent
from fait._store.ports.registrations import RangeKey, Registration
from fait._store.ports.store import Store
from fait._subscriptions.processor import Processor
from fait._subscriptions.subscription import Outcome, ProcessingContext, SubscriptionDefinition
from fait.testing.contract.store import StoreContract, added, everything, new, soon, write

__all__ = ["Broken", "PositionRecorder", "ProcessorContract", "register_recorder", "until"]


class PositionRecorder:
    """A subscription that records the positions of its events, one by one."""

    definition: SubscriptionDefinition = SubscriptionDefinition("recorder", "reactor", ("wanted",), batch=1)

    def __init__(self, work_s: float = 0) -> None:
        self.seen: list[int] = []
        self.after_event: Callable[[int], object] = lambda number: None
        self._work_s = work_s

    async def handle(self, events: Sequence[RecordedEvent], context: ProcessingContext) -> Outcome:
        await asyncio.sleep(self._work_s)
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
        owner = Processor(PositionRecorder(), store, "owner", lease_s=0.4)
        other = Processor(PositionRecorder(), store, "other", lease_s=0.4)
        running = [asyncio.create_task(owner.run())]
        await until(lambda: owner.state == "live")
        running += [asyncio.create_task(other.run()), asyncio.create_task(_send_heartbeats(store, "owner"))]
        started = time.monotonic()
        await until(lambda: time.monotonic() - started > 2.5 * 0.4)  # durations of the lease

        lease = await store.leases.range(RangeKey("recorder"))

        running.pop().cancel()
        await _stopped(running, owner, other)
        assert lease is not None
        assert (lease.worker, lease.fencing_token) == ("owner", 1)

    async def test_owner_without_heartbeat_loses_lease_and_its_work_is_rejected(self, store: Store) -> None:
        await register_recorder(store)
        await added(store.log, write("a", [new("wanted") for _ in range(3)]))
        stalled, successor = PositionRecorder(work_s=0.5), PositionRecorder()
        old = Processor(stalled, store, "stalled", lease_s=0.1)
        running = [asyncio.create_task(old.run())]
        await until(lambda: old.state == "catching_up")
        new_owner = Processor(successor, store, "successor", lease_s=0.1)
        running.append(asyncio.create_task(new_owner.run()))
        await until(lambda: len(successor.seen) == 3)

        await until(lambda: old.fencing_token == 0)

        await _stopped(running, old, new_owner)
        assert successor.seen == [each.position for each in await everything(store.log)]
        checkpoint = await store.leases.range(RangeKey("recorder"))
        assert checkpoint is not None
        assert checkpoint.position == await store.log.head()

    async def test_repeatedly_failing_owner_releases_lease_to_other_process(self, store: Store) -> None:
        await register_recorder(store)
        await added(store.log, write("a", [new("wanted") for _ in range(5)]))
        positions = [each.position for each in await everything(store.log)]
        broken, healthy = Broken(positions[2], math.inf), PositionRecorder()
        owner = Processor(broken, store, "owner", lease_s=2)
        successor = Processor(healthy, store, "successor", lease_s=2)
        running = [asyncio.create_task(owner.run()), asyncio.create_task(_send_heartbeats(store, "owner"))]
        await until(lambda: owner.state == "failing")
        running.append(asyncio.create_task(successor.run()))

        await until(lambda: successor.position == positions[-1])
        await until(lambda: owner.state == "waiting")

        running.pop(1).cancel()
        await _stopped(running, owner, successor)
        assert broken.seen + healthy.seen == positions
        assert owner.error is None

    async def test_failing_owner_without_successor_retries_and_reports_error(self, store: Store) -> None:
        await register_recorder(store)
        await added(store.log, write("a", [new("wanted")]))
        alone = Broken(0, times=4)
        owner = Processor(alone, store, "owner", lease_s=2)
        running = [asyncio.create_task(owner.run()), asyncio.create_task(_send_heartbeats(store, "owner"))]
        released = list[tuple[int, str, str]]()
        while not alone.seen:
            status = (alone.failed, owner.state, str(owner.error))
            lease = await store.leases.range(RangeKey("recorder"))
            if (
                lease
                and lease.fencing_token
                and not lease.worker
                and status == (alone.failed, owner.state, str(owner.error))
            ):
                released.append(status)
            await asyncio.sleep(0.01)
        await until(lambda: owner.state == "live")

        running.pop().cancel()
        await _stopped(running, owner)
        assert set(released) == {(3, "failing", "old code"), (4, "failing", "old code")}
        assert owner.error is None

    async def test_processor_stopped_within_page_skips_no_event(self, store: Store) -> None:
        await register_recorder(store)
        await added(store.log, write("a", [new("wanted") for _ in range(1000)]), write("b", [new("other")]))
        stopped, continued = PositionRecorder(), PositionRecorder()

        processor = Processor(stopped, store, "one")
        stopped.after_event = lambda number: processor.stop() if number == 3 else None
        async with soon():
            await processor.run()
        checkpoint = await store.leases.range(RangeKey("recorder"))
        await store.leases.deregister("one")
        successor = Processor(continued, store, "two")
        running = [asyncio.create_task(successor.run())]
        await until(lambda: successor.position >= 1001)

        await _stopped(running, successor)
        assert checkpoint is not None
        assert checkpoint.position == stopped.seen[-1]
        assert len(stopped.seen + continued.seen) == 1000


async def register_recorder(store: Store) -> None:
    """Register the subscription of a `PositionRecorder`, and workers, without an app."""
    identity = store.log.identity
    registration = Registration("recorder", "contract", "reactor", "", ("wanted",), identity.log_id, identity.epoch_id)
    await store.registrations.register(registration, 0)
    for worker in ("owner", "other", "stalled", "successor", "one", "two"):
        await store.leases.heartbeat(worker)


async def _send_heartbeats(store: Store, owner: str) -> None:
    while True:
        await store.leases.heartbeat(owner)
        await asyncio.sleep(0.1)


async def until(condition: Any) -> None:
    """Wait until a condition is true."""
    async with soon():
        while not condition():  # noqa: ASYNC110 - there is no event to wait for
            await asyncio.sleep(0.005)


async def _stopped(running: list["asyncio.Task[None]"], *processors: Processor) -> None:
    for processor in processors:
        processor.stop()
    async with soon():
        await asyncio.gather(*running)
