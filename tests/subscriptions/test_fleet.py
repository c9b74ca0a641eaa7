"""Several processes share the ranges of a subscription: all events are handled once, in order per key."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

import fait
from fait._clock import ManualClock
from fait._store.ports.failures import FailureRequest
from fait._store.ports.leases import Range, Worker
from fait._store.ports.registrations import SLOTS
from fait._subscriptions.fleet import RangePlan
from fait.testing.contract.processors import until
from fait.testing.contract.store import START
from fait.testing.contract.turns import let_readers_wait, turns
from tests.subscriptions.stepped_clock import SteppedClock, pass_time_until

pytestmark = pytest.mark.anyio

LEASE_S = 0.4


@fait.event("meter.read")
class Read:
    number: int
    district: str


class Meters(fait.ReadModel, key="meter"):
    """Keyed by the stream."""

    meter: str
    numbers: list[int]

    @classmethod
    def evolve(cls, row: "Meters | None", event: Read, at: fait.Envelope) -> "Meters":
        return cls(meter=at.stream_id, numbers=[*(row.numbers if row else []), event.number])


class Districts(fait.ReadModel, key="district"):
    """Keyed by a field of its events."""

    district: str
    count: int

    @classmethod
    def key_of(cls, event: Read, at: fait.Envelope) -> str:
        return event.district

    @classmethod
    def evolve(cls, row: "Districts | None", event: Read, at: fait.Envelope) -> "Districts":
        return cls(district=event.district, count=1 + (row.count if row else 0))


def metering(calls: list[tuple[str, int]]) -> fait.App:
    app = fait.App("metering")
    app.include(Meters, Districts)

    @app.on(Read, name="calls", concurrency=4)
    async def call(event: Read, ctx: fait.Context) -> None:
        calls.append((ctx.envelope.stream, event.number))
        await asyncio.sleep(0)

    @app.on(Read, name="in order", order_key="all")
    async def in_order(event: Read) -> None:
        pass

    return app


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, store_url: Callable[[str], str]) -> str:
    return store_url(request.param)


async def ranges_of(system: fait.System, name: str) -> list[Range]:
    ranges = await system.store.leases.ranges(name)
    assert [each.key.low for each in ranges] == [0, *(each.high for each in ranges[:-1])]
    assert ranges[-1].high == SLOTS
    return ranges


async def eventually(system: fait.System, name: str, count: int, owners: int) -> None:
    """Wait until a subscription has a number of ranges, of a number of live workers."""
    async with asyncio.timeout(60):
        while True:
            ranges = await ranges_of(system, name)
            live = {each.worker for each in ranges if each.heartbeat is not None}
            if len(ranges) == count and len(live) == owners and all(each.heartbeat for each in ranges):
                return
            await asyncio.sleep(0.02)


class Publisher:
    """Publishes events to 20 streams all the time."""

    def __init__(self, system: fait.System) -> None:
        self.numbers = [0] * 20
        self._system = system
        self._stopped = False

    async def run(self) -> None:
        while not self._stopped:
            for meter in range(20):
                self.numbers[meter] += 1
                event = Read(self.numbers[meter], f"d-{self.numbers[meter] % 7}")
                await self._system.publish(event, stream=f"meter-{meter}")
            await asyncio.sleep(0.01)

    def stop(self) -> None:
        self._stopped = True


async def check(system: fait.System, numbers: list[int], calls: list[tuple[str, int]]) -> None:
    """Check that all events were handled, those of a key in order. Calls are repeated if a worker loses its lease."""
    await system.wait(timeout_s=60)
    expected = {str(meter): list(range(1, count + 1)) for meter, count in enumerate(numbers)}
    assert {each.meter: each.numbers for each in await system.find(Meters, limit=100)} == expected
    assert sum(each.count for each in await system.find(Districts)) == sum(numbers)
    for meter, handled in expected.items():
        own = [number for stream, number in calls if stream == f"meter-{meter}"]
        assert list(dict.fromkeys(own)) == handled


async def test_workers_join_and_leave_and_every_event_is_handled_in_order(url: str) -> None:
    calls = list[tuple[str, int]]()
    app = metering(calls)
    async with app.open(url, lease_s=LEASE_S) as first:
        publisher = Publisher(first)
        publishing = asyncio.create_task(publisher.run())
        await eventually(first, "calls", 1, owners=1)
        async with app.open(url, lease_s=LEASE_S) as second:
            for name in ("calls", "meters", "districts"):
                await eventually(first, name, 8, owners=2)
            assert len(await ranges_of(first, "in order")) == 1
            await second.wait(timeout_s=60)
            async with app.open(url, lease_s=LEASE_S):
                await eventually(first, "calls", 16, owners=3)
        for name in ("calls", "meters", "districts"):
            await eventually(first, name, 1, owners=1)
        publisher.stop()
        await publishing
        await check(first, publisher.numbers, calls)


async def test_failed_keys_stay_with_their_ranges(url: str) -> None:
    calls = list[tuple[str, int]]()
    app, broken = fait.App("metering"), True

    @app.on(Read, name="calls", on_failure=fait.FailurePolicy(attempts=1))
    async def call(event: Read, ctx: fait.Context) -> None:
        if broken and ctx.envelope.stream in ("meter-3", "meter-11"):
            raise ValueError("broken")
        calls.append((ctx.envelope.stream, event.number))

    async with app.open(url, lease_s=LEASE_S) as first:
        publisher = Publisher(first)
        publishing = asyncio.create_task(publisher.run())
        async with app.open(url, lease_s=LEASE_S):
            await eventually(first, "calls", 8, owners=2)
            failures = {each.key: each.state for each in await first.store.failures.failures("calls")}
            assert failures == {"meter-3": "parked", "meter-11": "parked"}
        await eventually(first, "calls", 1, owners=1)
        publisher.stop()
        await publishing
        broken = False
        await first.store.failures.request(FailureRequest("calls", ("meter-3", "meter-11"), "redriving", by="me"))
        await first.wait(timeout_s=60)
        for meter, count in enumerate(publisher.numbers):
            assert [number for stream, number in calls if stream == f"meter-{meter}"] == list(range(1, count + 1))


async def test_worker_without_a_recent_heartbeat_starts_no_call(url: str) -> None:
    app, calls, clock = fait.App("metering"), list[int](), ManualClock(START)

    @app.on(Read, name="calls")
    async def call(event: Read) -> None:
        calls.append(event.number)

    async with app.open(url, lease_s=60, clock=clock) as system:
        await system.wait(await system.publish(Read(1, "d"), stream="meter-1"), timeout_s=30)
        runner = system._subscription_runner
        for each in runner.background_tasks:
            each.cancel()
        clock.advance(seconds=90)
        result = await system.publish(Read(2, "d"), stream="meter-1")
        await let_readers_wait(system.store.log)  # the worker has read the event
        assert calls == [1]

        await runner._send_heartbeat()
        await system.wait(result, timeout_s=30)
        assert calls == [1, 2]


async def test_ranges_of_a_dead_worker_are_acquired_in_the_look_that_finds_it(url: str) -> None:
    clock, looks = SteppedClock(START), list[str | int]()
    async with metering([]).open(url, lease_s=LEASE_S, clock=clock) as first:
        leases, group = first._subscription_runner._leases, first._subscription_runner.groups["calls"]
        expire, apply = leases.expire, group._apply

        async def note_and_expire(worker: str, heartbeat: int) -> None:
            looks.append("expire")
            await expire(worker, heartbeat)

        def note_and_apply(plan: RangePlan) -> None:
            looks.append(len(plan.acquire))
            apply(plan)

        async def owns_all() -> bool:
            return len(group.tokens) == 8

        async with metering([]).open(url, lease_s=LEASE_S, clock=clock) as second:
            other = second._subscription_runner.groups["calls"]

            async def are_shared() -> bool:
                return len(group.tokens) == len(other.tokens) == 4

            await pass_time_until(clock, [first, second], are_shared)
            for each in second._subscription_runner.background_tasks:
                each.cancel()
            leases.expire, group._apply = note_and_expire, note_and_apply  # type: ignore[method-assign]
            await pass_time_until(clock, [first], owns_all)

    assert looks[looks.index("expire") + 1] == 4


async def test_failed_read_of_requests_is_not_logged_as_a_failed_heartbeat(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = SteppedClock(START)
    async with metering([]).open("memory:", lease_s=60, clock=clock) as system:
        runner = system._subscription_runner

        async def requested() -> Any:
            raise ValueError("a row cannot be decoded")

        monkeypatch.setattr(runner._failures, "requested", requested)
        clock.advance(seconds=15)
        await until(lambda: "a row cannot be decoded" in caplog.text)

        assert runner.alive_until == 75
    assert [each.getMessage().partition(":")[0] for each in caplog.records] == [
        "failed to read the requests of operators, retrying"
    ]


async def test_time_that_passes_during_a_heartbeat_leads_to_another_one(monkeypatch: pytest.MonkeyPatch) -> None:
    app, clock = metering([]), SteppedClock(START)
    async with app.open("memory:", lease_s=60, clock=clock) as system:
        runner = system._subscription_runner
        heartbeat = runner._leases.heartbeat

        async def send(worker: Worker) -> Any:
            if clock.monotonic() == 40:
                clock.advance(seconds=40)
                await turns()
            return await heartbeat(worker)

        monkeypatch.setattr(runner._leases, "heartbeat", send)
        clock.advance(seconds=40)
        await until(lambda: runner.alive_until >= 100)
        await turns(1_000)

        assert runner.alive_until == 140
