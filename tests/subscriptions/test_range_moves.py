"""What a change of the ranges of a subscription does to calls that run, and what it costs when nothing can be done."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import pytest

import fait
from fait._events.append import PAGE_SIZE
from fait._events.envelope import RecordedEvent
from fait._store.open import open_store
from fait._store.ports.leases import Range, Worker
from fait._store.ports.registrations import SLOTS, RangeKey, slot_of
from fait._store.ports.unit_of_work import RangeMove, UnitOfWork
from fait._subscriptions import processor_group
from fait._subscriptions.processor import Processor
from fait._subscriptions.subscription import Outcome, ProcessingContext, SubscriptionDefinition
from fait.testing.contract.leases import split
from fait.testing.contract.processors import PositionRecorder, register_recorder, running_group, until
from fait.testing.contract.store import START, added, new, write
from fait.testing.contract.turns import let_readers_wait
from tests.subscriptions.stepped_clock import SteppedClock, pass_time_until

pytestmark = pytest.mark.anyio

LEASE_S = 0.2


@fait.event("valve.opened")
class Opened:
    number: int


@pytest.fixture
def url(store_url: Callable[[str], str]) -> str:
    return store_url("sqlite")


async def until_ranges(system: fait.System, name: str, is_so: Callable[[int], bool]) -> None:
    async with asyncio.timeout(30):
        while True:
            if is_so(len(await system.store.leases.ranges(name))):
                return
            await asyncio.sleep(0.02)


async def test_call_that_takes_longer_than_the_drain_timeout_is_not_canceled_by_a_split_or_merge(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processor_group, "DRAIN_TIMEOUT_S", 0.0)
    app, clock, release = fait.App("valves"), SteppedClock(START), asyncio.Event()
    calls, canceled = list[int](), list[int]()

    @app.on(Opened, name="slow", start="beginning", concurrency=4)
    async def handle(event: Opened) -> None:
        calls.append(event.number)
        try:
            await release.wait()
        except asyncio.CancelledError:
            canceled.append(event.number)
            raise

    async with app.open(url, lease_s=LEASE_S, clock=clock) as first:

        async def is_moving() -> bool:
            return bool(first._subscription_runner.groups["slow"]._moving)

        async def is_merged() -> bool:
            return len(await first.store.leases.ranges("slow")) == 1

        async def is_split() -> bool:
            return len(await first.store.leases.ranges("slow")) == 8

        async def finish_call() -> None:
            for _ in range(100):  # a call that is canceled by the move ends within these iterations
                await asyncio.sleep(0)
            release.set()

        await first.publish(Opened(1), stream="valve-1")
        async with app.open(url, lease_s=LEASE_S, clock=clock) as second:
            await until(lambda: calls == [1])
            await pass_time_until(clock, [first, second], is_moving)
            await finish_call()
            await pass_time_until(clock, [first, second], is_split)
            await second.wait(timeout_s=20)
        release.clear()
        await first.publish(Opened(2), stream="valve-1")
        await until(lambda: calls == [1, 2])
        await pass_time_until(clock, [first], is_moving)
        await finish_call()
        await pass_time_until(clock, [first], is_merged)
        await first.wait(timeout_s=20)

    assert canceled == []
    assert calls == [1, 2]


async def test_call_that_waits_for_others_is_not_begun_after_the_lease_may_have_expired(url: str) -> None:
    app, calls, release = fait.App("valves"), list[str](), asyncio.Event()

    @app.on(Opened, name="slow", start="beginning")
    async def handle(event: Opened, ctx: fait.Context) -> None:
        calls.append(ctx.envelope.stream)
        await release.wait()

    async with app.open(url, lease_s=LEASE_S) as first:
        async with app.open(url, lease_s=LEASE_S):
            await until_ranges(first, "slow", lambda count: count == 8)
        for number in range(20):
            await first.publish(Opened(number), stream=f"valve-{number}")
        runner = first._subscription_runner
        await until(lambda: bool(calls and runner.groups["slow"].run.calls._waiters))
        runner.background_tasks[0].cancel()  # no further heartbeat
        await until(lambda: not runner._is_alive())
        release.set()
        await until(lambda: not runner.groups["slow"].run.calls._waiters)
        assert len(calls) == 1


class NeverRetried(PositionRecorder):
    """A recorder that fails at the first event, and then waits for something that does not happen."""

    definition = SubscriptionDefinition(
        "recorder", "reactor", ("wanted",), policy=fait.FailurePolicy(initial_s=0, attempts=None)
    )

    async def handle(self, events: Sequence[RecordedEvent], context: ProcessingContext) -> Outcome:
        await asyncio.sleep(0)
        if context.failed_key is not None:
            return Outcome(0)
        raise ValueError


async def test_key_that_has_failed_does_not_delay_a_merge() -> None:
    store = await open_store("memory:")
    await register_recorder(store)
    await added(store.log, write("a", [new("wanted")]))
    async with running_group(NeverRetried(), store) as group:
        await until(lambda: group.state == "failing")

        async with asyncio.timeout(10):
            lease = await group._drain(RangeKey("recorder"), at=1)

    await store.close()
    assert lease is not None


async def test_ranges_are_stopped_for_a_merge_before_they_can_read_on(monkeypatch: pytest.MonkeyPatch) -> None:
    store, turns = await open_store("memory:"), list[str]()
    await register_recorder(store)
    async with running_group(PositionRecorder(), store) as group:
        lower, upper = await split_range_of(group)
        stop = Processor.stop

        def note_and_stop(processor: Processor, **options: Any) -> None:
            turns.append("stop")
            stop(processor, **options)

        monkeypatch.setattr(Processor, "stop", note_and_stop)
        group._move(group._merge(lower, upper), lower.key, upper.key)
        asyncio.get_running_loop().call_soon(turns.append, "next task")
        await until(lambda: not group._moves)

        assert turns == ["stop", "stop", "next task"]
        assert len(await store.leases.ranges()) == 1
        monkeypatch.undo()
    await store.close()


class AnyOrder(PositionRecorder):
    """A recorder whose ranges are merged as those of a consumer without order."""

    definition = SubscriptionDefinition("recorder", "reactor", ("wanted",), order_key="any")


async def test_late_record_of_a_range_of_a_consumer_is_refused_when_the_range_is_merged() -> None:
    store, late, results, recorder = await open_store("memory:"), list[UnitOfWork](), list[Any](), AnyOrder()
    await register_recorder(store)
    record, merge = store.recorder.record, store.leases.merge

    async def lose(work: UnitOfWork) -> Any:
        store.recorder.record = record  # type: ignore[method-assign]
        late.append(work)
        raise fait.StoreUnavailable("the connection was lost", outcome="unknown")

    async def record_late_and_merge(*leases: Any) -> Any:
        results.append(await record(late[0]))
        return await merge(*leases)

    async with running_group(recorder, store) as group:
        lower, upper = await split_range_of(group)
        recorder.resume.clear()
        store.recorder.record = lose  # type: ignore[method-assign]
        store.leases.merge = record_late_and_merge  # type: ignore[method-assign]
        await added(store.log, write("a", [new("wanted")]))
        await until(lambda: any(each.work and each.work._jobs for each in group._processors.values()))
        group._move(group._merge(lower, upper), lower.key, upper.key)
        await let_readers_wait(store.log)
        recorder.resume.set()
        await until(lambda: not group._moves)

        assert results == ["refused"]
        assert len(await store.leases.ranges()) == 1
    await store.close()


async def split_range_of(group: processor_group.ProcessorGroup) -> list[Range]:
    """Let a group split its only range. Returns both halves when it works on them, and has read all events."""
    await until(lambda: group.state == "live")
    leases = group.run.store.leases
    [whole] = await leases.ranges()
    group._move(group._split(whole), whole.key)
    await until(lambda: len(group.tokens) == 2 and group.state == "live")
    return await leases.ranges()


async def test_worker_asks_rarely_for_the_ranges_of_a_paused_subscription(url: str) -> None:
    app, clock, asked = fait.App("valves"), SteppedClock(START), 0

    @app.on(Opened, name="slow")
    async def handle(event: Opened) -> None:
        pass

    async with app.open(url, lease_s=LEASE_S, clock=clock) as first:

        async def is_split() -> bool:
            return len(await first.store.leases.ranges("slow")) == 8

        async def pass_leases(count: int) -> None:
            end = clock.monotonic() + count * LEASE_S

            async def is_over() -> bool:
                await let_readers_wait(first.store.log)  # the worker looks at the ranges
                return clock.monotonic() >= end

            await pass_time_until(clock, [first], is_over)

        async with app.open(url, lease_s=LEASE_S, clock=clock) as second:
            await pass_time_until(clock, [first, second], is_split)
        store = first._subscription_runner.groups["slow"].run.store
        acquire = store.leases.acquire

        async def count_and_acquire(*arguments: Any) -> Any:
            nonlocal asked
            asked += 1
            return await acquire(*arguments)

        store.leases.acquire = count_and_acquire  # type: ignore[method-assign]
        await store.registrations.pause("slow", by="test", reason="none")
        await pass_leases(2)
        asked = 0
        await pass_leases(4)
        assert 1 <= asked <= 20
        await store.registrations.resume("slow", by="test", reason="none")
        await first.wait(timeout_s=10)


async def test_event_that_an_earlier_owner_left_pending_is_not_handled_again_after_its_key_is_handed_back(
    url: str,
) -> None:
    app, calls = fait.App("valves"), list[int]()

    @app.on(Opened, name="once", start="beginning", on_failure=fait.FailurePolicy(initial_s=0.001, max_s=0.001))
    async def handle(event: Opened, ctx: fait.Context) -> None:
        if event.number == 1 and ctx.attempt == 1:
            raise RuntimeError("the first attempt")
        calls.append(event.number)

    async with app.open(url, run="elsewhere") as s:
        first = await s.publish(Opened(1), stream="valve-1")
        await s.append(fait.NewEvents("valve-2", [Opened(0)] * (PAGE_SIZE + 10)))
        last = await s.publish(Opened(2), stream="valve-1")
        await leave_pending(s, "once", last.position, (first.position, last.position))

    async with app.open(url, run="elsewhere") as s:
        runner, read = s._subscription_runner, s._store.log.read

        async def read_late(after: int, **options: Any) -> Any:
            if first.position < after < last.position:
                with suppress(TimeoutError):
                    async with asyncio.timeout(3):
                        await until(lambda: calls == [1, 2])
            return await read(after, **options)

        s._store.log.read = read_late  # type: ignore[method-assign]
        await runner.start()
        async with asyncio.timeout(20):
            while (await s.store.leases.ranges("once"))[0].finished < last.position:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        await until(lambda: runner.groups["once"].state == "live")

    assert calls == [1, 2]


async def leave_pending(system: fait.System, name: str, frontier: int, pending: tuple[int, ...]) -> None:
    """Record as a worker does that has finished all events of a range up to a position except for some, and ends."""
    leases = system.store.leases
    await leases.heartbeat(Worker("earlier"))
    (range,) = await leases.ranges(name)
    lease = await leases.acquire(range, "earlier", "", system.store.log.identity.epoch_id)
    assert lease is not None
    move = RangeMove(lease.key, lease.fencing_token, lease.revision, frontier, pending)
    assert await system.store.recorder.record(UnitOfWork(move)) == "recorded"
    await leases.deregister("earlier")


class Valves(fait.ReadModel, key="valve"):
    """Keyed by the stream."""

    valve: str
    number: int

    @classmethod
    def evolve(cls, row: "Valves | None", event: Opened, at: fait.Envelope) -> "Valves":
        return cls(valve=at.stream_id, number=event.number)


class Numbers(fait.ReadModel, key="number"):
    """Keyed by a field of its events."""

    number: int
    valve: str

    @classmethod
    def key_of(cls, event: Opened, at: fait.Envelope) -> int:
        return event.number

    @classmethod
    def evolve(cls, row: "Numbers | None", event: Opened, at: fait.Envelope) -> "Numbers":
        return cls(number=event.number, valve=at.stream_id)


@pytest.mark.parametrize("model", [Valves, Numbers])
async def test_read_of_one_row_does_not_wait_for_the_ranges_of_other_keys(
    url: str, model: type[Valves | Numbers]
) -> None:
    app = fait.App("valves")
    app.include(model)
    name = f"{model.__name__.lower()}"
    async with app.open(url, run="elsewhere") as s:
        await hold_upper_half(s, name)
        async with app.open(url):
            by_slot = {(slot_of(text_of(model, n)) < SLOTS // 2): n for n in range(20)}
            lower, upper = by_slot[True], by_slot[False]
            seen = await s.publish(Opened(lower), stream=f"valve-{lower}")
            late = await s.publish(Opened(upper), stream=f"valve-{upper}")

            assert await s.get(model, key_in(model, lower), after=seen, timeout_s=3) is not None
            with pytest.raises(fait.Stale):
                await s.get(model, key_in(model, upper), after=late, timeout_s=0.2)
            with pytest.raises(fait.Stale):
                await s.find(model, after=seen, timeout_s=0.2)


def key_in(model: type, number: int) -> str | int:
    return str(number) if model is Valves else number


def text_of(model: type, number: int) -> str:
    """Return the order key of an event."""
    return f"valve-{number}" if model is Valves else str(number)


async def hold_upper_half(system: fait.System, name: str) -> None:
    """Own the upper half of a subscription, as a worker that does nothing."""
    leases = system.store.leases
    await leases.heartbeat(Worker("idle", runs={name: ""}))
    (range,) = await leases.ranges(name)
    registration = await system.store.registrations.registration(name)
    assert registration is not None
    epoch_id = system.store.log.identity.epoch_id
    lease = await leases.acquire(range, "idle", registration.definition_hash, epoch_id)
    assert lease is not None
    lower, _ = await split(system.store, lease, SLOTS // 2)
    await leases.release(lower)
