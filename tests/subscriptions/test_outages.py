"""Outages of a process that has several ranges: each waits for its own, and for no longer than it lasts."""

import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from itertools import count
from types import SimpleNamespace
from typing import Any

import pytest

import fait
from fait._errors import StoreUnavailable
from fait._store.ports.registrations import SLOTS, slot_of
from fait._subscriptions.fleet import WorkerCounts
from fait._subscriptions.processor_group import ProcessorGroup
from fait.testing.contract.policies import eventually
from fait.testing.contract.processors import until

pytestmark = pytest.mark.anyio

RANGES = 8


@fait.event("outage.counted")
class Counted:
    number: int


def range_of(stream: str) -> int:
    return slot_of(stream) * RANGES // SLOTS


@asynccontextmanager
async def opened(app: fait.App, monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[tuple[fait.System, ProcessorGroup]]:
    """Open an app with one subscription, whose ranges this process has all."""
    monkeypatch.setattr(WorkerCounts, "ranges_to_split", lambda _self, _now: RANGES)  # pyright: ignore[reportUnknownLambdaType, reportUnknownArgumentType]
    async with app.open("memory:", lease_s=0.5) as s:
        [group] = s._subscription_runner.groups.values()
        await until(lambda: len(group.tokens) == RANGES)
        yield s, group


async def test_short_outage_of_many_ranges_counts_once(monkeypatch: pytest.MonkeyPatch) -> None:
    app, handled = fait.App("outages"), set[int]()

    @app.on(Counted)
    async def note(event: Counted) -> None:
        handled.add(event.number)

    async with opened(app, monkeypatch) as (s, group):
        recorder, is_away, refused = s.store.recorder, True, 0

        async def record(work: Any) -> Any:
            nonlocal refused
            if is_away:
                refused += 1
                raise StoreUnavailable("it is away", "not_written")
            return await recorder.record(work)

        works = [each.work for each in group._processors.values()]
        for each in works:
            assert each is not None
            monkeypatch.setattr(each._records, "_recorder", SimpleNamespace(record=record))
        await s.append(*(fait.NewEvents(f"case-{number}", [Counted(number)]) for number in range(100)))
        await until(lambda: refused >= RANGES)
        is_away, ended_at = False, time.monotonic()
        await s.settle(timeout_s=30)

        assert len(handled) == 100
        assert len(group.tokens) == RANGES  # none was released
        assert time.monotonic() - ended_at < 5


async def test_outage_of_one_range_lasts_while_others_make_progress(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    app, calls, handled, is_away = fait.App("outages"), 0, 0, True

    @app.on(Counted, name="note", concurrency=4)
    async def note(event: Counted, ctx: fait.Context) -> None:
        nonlocal calls, handled
        if ctx.envelope.stream == "away-1":
            calls += 1
            if is_away:
                raise fait.Unavailable("the service of one customer")
        handled += 1

    async with opened(app, monkeypatch) as (s, group):
        await s.publish(Counted(0), stream="away-1")
        others = (f"case-{number}" for number in count() if range_of(f"case-{number}") != range_of("away-1"))
        while calls < 5:
            await s.publish(Counted(published := handled), stream=next(others))
            await until(lambda before=published: handled > before)
            assert group.run.rests_until == 0.0
            assert len(group.tokens) >= RANGES - 1
        errors = [each.error for each in await s.status()]
        is_away, calls_in_outage = False, calls
        await s.settle(timeout_s=30)

    assert [type(each) for each in errors] == [fait.Unavailable]
    assert handled > calls_in_outage
    for words in ("subscription waits", "subscription continues"):
        assert len([each for each in caplog.records if words in each.message]) == 1


async def test_event_is_handled_after_one_wait_although_many_keys_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fait._subscriptions.retry_plan.MAX_FAILURES_IN_A_ROW", 3)
    app, handled = fait.App("outages"), list[str]()

    @app.on(Counted, name="note", on_failure=fait.FailurePolicy(attempts=None, initial_s=0.001, max_s=0.001))
    async def note(event: Counted, ctx: fait.Context) -> None:
        if ctx.envelope.stream.startswith("bad"):
            raise ValueError("no")
        handled.append(ctx.envelope.stream)

    async with app.open("memory:") as s:
        await s.append(*(fait.NewEvents(f"bad-{number}", [Counted(number)]) for number in range(5)))
        await eventually(lambda: _waits(s))
        for number in range(3):
            await s.wait(await s.publish(Counted(number), stream=f"good-{number}"), timeout_s=30)

    assert handled == ["good-0", "good-1", "good-2"]


async def _waits(s: fait.System) -> bool:
    [status] = await s.status()
    return isinstance(status.error, fait.Unavailable)


async def test_function_of_a_policy_that_fails_makes_no_error_an_outage(caplog: pytest.LogCaptureFixture) -> None:
    app, handled = fait.App("outages"), list[str]()

    def is_busy(error: Any) -> bool:
        return error.response.status_code == 503

    @app.on(Counted, name="note", on_failure=fait.FailurePolicy(attempts=1, outages=is_busy))
    async def note(event: Counted, ctx: fait.Context) -> None:
        if event.number == 0:
            raise ValueError("no")
        handled.append(ctx.envelope.stream)

    async with app.open("memory:") as s:
        await s.publish(Counted(0), stream="bad-1")
        await s.wait(await s.publish(Counted(1), stream="good-1"), timeout_s=20)
        [failure] = await s.store.failures.failures()

    assert (failure.key, failure.state, failure.error_type) == ("bad-1", "parked", "builtins.ValueError")
    assert handled == ["good-1"]
    assert "outages= of a policy has failed" in caplog.text


async def test_handler_of_all_events_in_order_is_paused_at_one_that_would_be_parked() -> None:
    app, works, handled = fait.App("outages"), False, list[int]()

    @app.on(Counted, name="note", order_key="all", on_failure=fait.FailurePolicy(attempts=1))
    async def note(event: Counted) -> None:
        if not works:
            raise ValueError("no")
        handled.append(event.number)

    async with app.open("memory:", lease_s=0.2) as s:
        await s.publish(Counted(1), stream="a-1")
        await eventually(lambda: _is_paused(s))
        await s.publish(Counted(2), stream="b-1")
        works = True
        assert await s.store.registrations.resume("note", by="ada", reason="mended")
        await s.settle(timeout_s=20)

    assert handled == [1, 2]


async def _is_paused(s: fait.System) -> bool:
    return [each.state for each in await s.status()] == ["paused"]
