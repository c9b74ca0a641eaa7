"""Outages of a process that has several ranges: each waits for its own, and for no longer than it lasts."""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest

import fait
from fait._errors import StoreUnavailable
from fait._subscriptions.fleet import WorkerCounts
from fait._subscriptions.processor_group import ProcessorGroup
from fait.testing.contract.processors import until

pytestmark = pytest.mark.anyio

RANGES = 8


@fait.event("outage.counted")
class Counted:
    number: int


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
            monkeypatch.setattr(each._records, "_recorder", _Recorder(record))
        await s.append(*(fait.NewEvents(f"case-{number}", [Counted(number)]) for number in range(100)))
        await until(lambda: refused >= RANGES)
        is_away, ended_at = False, time.monotonic()
        await s.settle(timeout_s=30)

        assert len(handled) == 100
        assert len(group.tokens) == RANGES  # none was released
        assert time.monotonic() - ended_at < 5


class _Recorder:
    def __init__(self, record: Any) -> None:
        self.record = record


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
        for number in range(200):
            await s.publish(Counted(number), stream=f"case-{number}")
            await asyncio.sleep(0.01)
            assert group.run.rests_until == 0.0
            assert len(group.tokens) >= RANGES - 1
        errors = [each.error for each in await s.status()]
        is_away, calls_in_outage = False, calls
        await s.settle(timeout_s=30)

    assert handled == 201
    assert [type(each) for each in errors] == [fait.Unavailable]
    assert 2 <= calls_in_outage <= 12  # within two seconds, with growing delays
    for words in ("subscription waits", "subscription continues"):
        assert len([each for each in caplog.records if words in each.message]) == 1
