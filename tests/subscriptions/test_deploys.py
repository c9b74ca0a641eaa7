"""Rolling deploys: processes with old and with new code overlap in both orders, while events are published."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Self

import pytest

import fait

pytestmark = pytest.mark.anyio

LEASE_S = 0.4

Calls = list[tuple[str, str, int]]
"""Version of the code, stream and number of each call."""


@fait.event("tank.filled")
class Filled:
    number: int


@fait.event("tank.drained")
class Drained:
    number: int


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, store_url: Callable[[str], str]) -> str:
    return store_url(request.param)


def handling(version: str, calls: Calls, *types: type[Any], concurrency: int = 1) -> fait.App:
    """Return an app with a handler of event types."""
    app = fait.App("tanks")

    @app.on(*types, name="watch", concurrency=concurrency)
    async def watch(event: Any, ctx: fait.Context) -> None:
        calls.append((version, ctx.envelope.stream, event.number))

    return app


def counting(step: int) -> tuple[fait.App, Any]:
    """Return an app with a read model that adds a number for each event."""

    class Levels(fait.ReadModel, key="tank"):
        tank: str
        number: int = 0

        @classmethod
        def evolve(cls, row: Self | None, event: Filled, at: fait.Envelope) -> Self | None:
            return cls(tank=at.stream_id, number=(row.number if row else 0) + step)

    app = fait.App("tanks")
    app.include(Filled, Levels)
    return app, Levels


@asynccontextmanager
async def publishing(system: fait.System, category: str, *types: type[Any]) -> AsyncGenerator[list[int]]:
    """Publish events to ten streams all the time; the list has the number of events of each."""
    counts, stopped = [0] * 10, False

    async def publish() -> None:
        while not stopped:
            for tank in range(10):
                counts[tank] += 1
                event = types[counts[tank] % len(types)](counts[tank])
                await system.publish(event, stream=f"{category}-{tank}")
            await asyncio.sleep(0.01)

    task = asyncio.create_task(publish())
    try:
        yield counts
    finally:
        stopped = True
        await task


Works = Callable[[fait.System], Awaitable[bool]]
"""Whether a process has done something."""


async def overlap(
    old: fait.App, new: fait.App, url: str, order: str, *, old_works: Works, new_works: Works, **options: Any
) -> None:
    """Replace the process with old code by one with new code, which runs at the end. Both work before they end."""
    if order == "new first":
        async with old.open(url, lease_s=LEASE_S) as former, new.open(url, lease_s=LEASE_S, **options) as latter:
            await eventually(former, old_works)
            await eventually(latter, new_works)
        return
    async with old.open(url, lease_s=LEASE_S) as former:
        await eventually(former, old_works)
    async with new.open(url, lease_s=LEASE_S, **options) as latter:
        await eventually(latter, new_works)


async def eventually(system: fait.System, works: Works) -> None:
    async with asyncio.timeout(60):
        while not await works(system):  # noqa: ASYNC110 - there is no event to wait for
            await asyncio.sleep(0.02)


async def has_waited(system: fait.System) -> bool:
    """Wait until all that is published now is handled."""
    await system.wait(timeout_s=60)
    return True


def calling(calls: Calls, version: str) -> Works:
    """Return whether a version of the code has called its handler from now on, or has met an unknown type."""
    start = len(calls)

    async def works(system: fait.System) -> bool:
        [status] = await system.status()
        return isinstance(status.error, fait.EventTooNew) or version in {each for each, _, _ in calls[start:]}

    return works


def check_order(calls: Calls, category: str, counts: list[int]) -> None:
    """Check that each event of a stream was handled, in order; a call may be repeated by the next owner."""
    for tank, count in enumerate(counts):
        numbers = [number for _, stream, number in calls if stream == f"{category}-{tank}"]
        assert list(dict.fromkeys(numbers)) == list(range(1, count + 1))


@pytest.mark.parametrize("order", ["new first", "old first"])
async def test_added_event_type_is_handled_by_new_code_and_no_event_is_lost(url: str, order: str) -> None:
    calls = Calls()
    old, new = handling("old", calls, Filled), handling("new", calls, Filled, Drained)
    async with old.open(url, run="elsewhere") as s, publishing(s, "tank", Filled) as counts:
        works = {"old_works": calling(calls, "old"), "new_works": calling(calls, "new")}
        await overlap(old, new, url, order, **works)
        async with new.open(url, run="elsewhere") as web, publishing(web, "pool", Filled, Drained) as new_counts:
            works = {"old_works": calling(calls, "old"), "new_works": calling(calls, "new")}
            await overlap(old, new, url, order, **works)  # as after a roll-back and a second deploy
    async with new.open(url, lease_s=LEASE_S) as last:
        await last.wait(timeout_s=60)

    check_order(calls, "tank", counts)
    check_order(calls, "pool", new_counts)
    drained = [(version, number) for version, stream, number in calls if stream.startswith("pool") and number % 2]
    assert {version for version, _ in drained} == {"new"}
    assert {version for version, stream, _ in calls if stream.startswith("tank")} == {"old", "new"}


@pytest.mark.parametrize("writer", ["old", "new"])
@pytest.mark.parametrize("concurrency", [1, 8])
async def test_running_worker_calls_no_handler_for_what_follows_an_event_of_an_added_type(
    url: str, concurrency: int, writer: str
) -> None:
    calls, streams = Calls(), [f"tank-{number}" for number in range(10)]
    old = handling("old", calls, Filled, concurrency=concurrency)
    old.include(Drained)
    new = handling("new", calls, Filled, Drained)
    async with old.open(url, lease_s=30) as former:  # it does not look at registrations before the end
        for stream in streams:
            await former.publish(Filled(1), stream=stream)
        await former.wait(timeout_s=30)
        async with new.open(url, run="elsewhere") as web:
            for event in (Drained(2), Filled(3)):
                for stream in streams:
                    await (web if writer == "new" else former).publish(event, stream=stream)

        async def has_stopped(system: fait.System) -> bool:
            [status] = await system.status()
            return isinstance(status.error, fait.EventTooNew)

        await eventually(former, has_stopped)
        assert {number for _, _, number in calls} == {1}
    async with new.open(url, lease_s=LEASE_S) as last:
        await last.wait(timeout_s=30)
    check_order(calls, "tank", [3] * 10)


@pytest.mark.parametrize("order", ["new first", "old first"])
async def test_changed_fold_computes_all_rows_again_and_old_code_writes_none(url: str, order: str) -> None:
    (old, old_levels), (new, levels) = counting(1), counting(1000)
    async with old.open(url, run="elsewhere") as s, publishing(s, "tank", Filled) as counts:
        works = {"old_works": has_waited, "new_works": has_waited}
        await overlap(old, new, url, order, rebuild=["levels"], **works)
        with pytest.raises(fait.ReadModelChanged):
            async with old.open(url):
                pass
        async with old.open(url, run="elsewhere") as web:  # its write side works
            result = await web.publish(Filled(1), stream="pool-1")
            with pytest.raises(fait.ReadModelChanged):
                await web.find(old_levels)
    async with new.open(url, lease_s=LEASE_S) as last:
        await last.wait(result, timeout_s=60)
        await last.wait(timeout_s=60)
        rows = {each.tank: each.number for each in await last.find(levels, limit=100) if each.tank != "pool"}

    pool = rows.get("1", 0) - 1000 * counts[1]  # the streams tank-1 and pool-1 have one row
    assert pool == 1000
    assert rows | {"1": rows["1"] - 1000} == {str(tank): 1000 * count for tank, count in enumerate(counts)}


async def test_read_model_can_be_read_when_it_is_rebuilt_elsewhere(url: str) -> None:
    (old, _), (new, levels) = counting(1), counting(1000)
    async with old.open(url, run="elsewhere") as s:
        result = await s.publish(Filled(1), stream="tank-1")
    async with new.open(url, run="elsewhere") as web:
        with pytest.raises(fait.ReadModelChanged, match="rebuild levels"):
            await web.find(levels)
        async with new.open(url, rebuild=["levels"]):
            rows = await web.find(levels, after=result, timeout_s=30)

        assert [each.number for each in rows] == [1000]


@pytest.mark.parametrize(
    "change", [{"renamed": {"watch": "look"}}, {"forget": ["watch"]}], ids=["renamed", "forgotten"]
)
async def test_old_process_says_that_its_subscription_was_renamed_or_forgotten(
    url: str, change: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    old, new = handling("old", [], Filled), fait.App("tanks")
    if "renamed" in change:
        new.on(Filled, name="look")(lambda event: None)

    async def is_refused(system: fait.System) -> bool:
        return isinstance((await system.status())[0].error, fait.CheckpointMismatch)

    async def is_live(system: fait.System) -> bool:
        return (await system.status())[0].state == "live"

    async with old.open(url, lease_s=LEASE_S) as s:
        await eventually(s, is_live)
        async with new.open(url, lease_s=LEASE_S, **change):
            await eventually(s, is_refused)
            result = await s.publish(Filled(1), stream="tank-1")
            with pytest.raises(fait.Stale, match="it was renamed or forgotten"):
                await s.wait(result, timeout_s=0.5)
            [status] = await s.status()
        if "forget" in change:  # and registered again
            async with old.open(url, run="elsewhere"):
                await eventually(s, is_live)

    assert (status.state, status.outage) == ("failing", True)
    assert "Restart this process with the code that the others run." in status.error_text
    assert caplog.text.count("it was renamed or forgotten") == 1
