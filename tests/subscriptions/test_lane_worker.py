"""Work of a lane in rare cases: keys that fail while others are behind, conflicts, and its end."""

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, Self

import pytest

import fait
from fait._store.ports.failures import FailureRequest
from fait._subscriptions.lane_worker import LaneWorker
from fait._subscriptions.reactor import Reactor
from fait._subscriptions.subscription import Tenure
from fait.testing.contract.policies import eventually
from fait.testing.contract.processors import until
from fait.testing.contract.turns import turns

pytestmark = pytest.mark.anyio


@fait.event("lane.counted")
class Counted:
    number: int
    key: str = ""


@fait.event("lane.renamed")
class Renamed:
    key: str


@fait.event("lane.charged")
class Charged:
    number: int


@pytest.fixture(params=["sqlite", "postgresql"])
def shared_url(request: pytest.FixtureRequest, store_url: Callable[[str], str]) -> str:
    return store_url(request.param)


async def until_failed(s: fait.System, state: str, number: int = 1) -> None:
    async def have_failed() -> bool:
        return [each.state for each in await s.store.failures.failures()] == [state] * number

    await eventually(have_failed)


async def test_discarded_event_is_not_folded_although_it_was_taken_up_before(shared_url: str) -> None:
    folded = list[int]()

    class Totals(fait.ReadModel, key="key", on_failure=fait.FailurePolicy(attempts=1)):
        key: str
        number: int

        @classmethod
        def key_of(cls, event: Counted, envelope: fait.Envelope) -> str:
            return event.key

        @classmethod
        def evolve(cls, row: Self | None, event: Counted, envelope: fait.Envelope) -> Self | None:
            if event.number < 0:
                raise ValueError("negative")
            if event.key == "bad":
                folded.append(envelope.position)
            return cls(key=event.key, number=event.number)

    app = fait.App("totals")
    app.include(Totals)
    async with app.open(shared_url) as s:
        await s.publish(Counted(-1, "bad"), stream="s-1")
        await until_failed(s, "parked")
    async with app.open(shared_url, run="elsewhere") as s:
        for _ in range(4):
            many = [Counted(number, "bad" if number % 2 else "fine") for number in range(900)]
            await s.append(fait.NewEvents("s-1", many))
        discarded = FailureRequest("totals", ('"bad"',), "discarding", "ada", discard_until=1_700)
        assert await s.store.failures.request(discarded)
    async with app.open(shared_url) as s:
        await s.settle(timeout_s=30)

    assert folded == [position for position in range(1_701, 3_602) if position % 2]


async def test_old_code_that_takes_over_a_key_with_a_newer_event_says_so(shared_url: str) -> None:
    fails, gate, policy = True, asyncio.Event(), fait.FailurePolicy(initial_s=0.1, max_s=0.1, attempts=None)

    def app_of(*types: Any) -> fait.App:
        app = fait.App("lane")

        @app.on(*types, name="note", concurrency=4, on_failure=policy)
        async def note(event: Any, ctx: fait.Context) -> None:
            if ctx.envelope.stream == "bad-1" and fails:
                raise ValueError("no")
            if ctx.envelope.stream == "slow-1":
                await gate.wait()

        return app

    old, new = app_of(Counted), app_of(Counted, Renamed)
    async with new.open(shared_url) as s:
        await s.publish(Counted(1), stream="bad-1")
        await s.publish(Renamed("x"), stream="bad-1")
        await until_failed(s, "retrying")
    fails = False
    async with new.open(shared_url, run="elsewhere") as writer, old.open(shared_url) as s:
        await writer.publish(Counted(2), stream="slow-1")
        for number in range(20):
            await turns(50)
            await writer.publish(Counted(number), stream=f"other-{number}")
        gate.set()
        await eventually(lambda: _has_error(s, fait.EventTooNew))


async def _has_error(s: fait.System, kind: type[Exception]) -> bool:
    [status] = await s.status()
    assert status.error is None or isinstance(status.error, kind | ValueError), status.error
    return isinstance(status.error, kind)


async def test_worker_that_cannot_begin_waits_although_a_key_is_to_be_retried(
    shared_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    app, waits, begun = fait.App("lane"), 0, asyncio.Event()

    @app.on(Counted, on_failure=fait.FailurePolicy(initial_s=0.01, max_s=0.01, attempts=None))
    async def fail(event: Counted) -> None:
        raise ValueError("no")

    async with app.open(shared_url) as s:
        await s.publish(Counted(1), stream="bad-1")
        await until_failed(s, "retrying")
    wait = LaneWorker._wait

    async def counted_wait(self: LaneWorker) -> None:
        nonlocal waits
        waits += 1
        await wait(self)

    async def begin(self: Reactor, tenure: Tenure) -> None:
        begun.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(LaneWorker, "_wait", counted_wait)
    monkeypatch.setattr(Reactor, "begin", begin)
    async with app.open(shared_url):
        await begun.wait()
        await turns(200)

    assert waits < 20


async def test_conflict_of_one_key_is_remembered_while_others_are_recorded() -> None:
    app, calls = fait.App("lane"), 0
    app.include(Charged)

    @app.on(Counted, concurrency=4, name="charge")
    async def charge(event: Counted, ctx: fait.Context) -> None:
        nonlocal calls
        if ctx.envelope.stream == "order-1":
            calls += 1
            await ctx.using(key="charge-1").publish(Charged(1), stream="charges-1")
        await turns(3)

    async with app.open("memory:") as s:
        await s.using(key="charge-1").publish(Charged(1), stream="charges-1")
        orders = [fait.NewEvents("order-1", [Counted(1)])]
        await s.append(*[fait.NewEvents(f"noise-{n}", [Counted(n)] * 40) for n in range(12)], *orders)
        await s.settle(timeout_s=30)

    assert calls == 2


async def test_call_is_canceled_with_its_worker_while_that_records(monkeypatch: pytest.MonkeyPatch) -> None:
    app, ended, running, recording = fait.App("lane"), list[str](), asyncio.Event(), asyncio.Event()

    @app.on(Counted, concurrency=4, on_failure=fait.FailurePolicy(initial_s=60, max_s=60))
    async def handle(event: Counted, ctx: fait.Context) -> None:
        if ctx.envelope.stream == "bad-1":
            raise ValueError("no")
        running.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            ended.append("canceled")
            raise

    async def hang(_: object) -> None:
        recording.set()
        await asyncio.Event().wait()

    async with app.open("memory:") as s:
        await s.publish(Counted(1), stream="bad-1")
        await until_failed(s, "retrying")
        await s.publish(Counted(2), stream="slow-1")
        await running.wait()
        [processor] = s._subscription_runner.groups["handle"]._processors.values()
        assert processor.work is not None
        monkeypatch.setattr(processor.work._records, "_recorder", SimpleNamespace(record=hang))
        await s.publish(Counted(3), stream="bad-1")  # it is set aside, which is recorded
        await recording.wait()

    assert ended == ["canceled"]


async def test_error_of_a_key_that_was_handled_is_not_shown_while_another_is_parked() -> None:
    app, attempts = fait.App("lane"), dict[str, int]()

    @app.on(Counted, name="note", on_failure=fait.FailurePolicy(initial_s=0.01, max_s=0.01, attempts=2))
    async def note(event: Counted, ctx: fait.Context) -> None:
        stream = ctx.envelope.stream
        attempts[stream] = attempts.get(stream, 0) + 1
        if stream == "bad-1":
            raise ValueError("parked")
        if stream == "good-1" and attempts[stream] == 1:
            raise KeyError("transient")

    async with app.open("memory:") as s:
        await s.publish(Counted(1), stream="bad-1")
        await until_failed(s, "parked")
        await s.publish(Counted(2), stream="good-1")
        await until(lambda: attempts.get("good-1") == 2)
        await until_failed(s, "parked")
        await s.wait(await s.publish(Counted(3), stream="other-1"))
        [status] = await s.status()

    assert isinstance(status.error, ValueError)
