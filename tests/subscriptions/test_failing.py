"""Subscriptions that fail: retries, takeover by other processes, and the reported error."""

import asyncio
import contextlib
import math
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import Any, Self

import pytest

import fait
from fait._store.open import open_store
from fait._store.ports.store import Store
from fait._subscriptions.processor import LEASE_POLL_SHARE, Processor
from fait.testing.contract.leases import range_of
from fait.testing.contract.processors import Broken, register_recorder
from fait.testing.contract.store import added, new, write

SHARED = ["sqlite", "postgresql"]

pytestmark = pytest.mark.anyio


@fait.event("parcel.moved")
class MovedOnce:
    steps: int


@fait.event("parcel.moved", version=2)
class Moved:
    steps: int
    to: str = "warehouse"


@fait.event("parcel.change-requested")
class ChangeRequested:
    sql: str


class OldMoves(fait.ReadModel, key="parcel", table="moves"):
    parcel: str
    steps: int
    seen: int

    @classmethod
    def evolve(cls, row: Self | None, event: MovedOnce, at: fait.Envelope) -> Self | None:
        return moved(cls, row, event, at)


class Moves(fait.ReadModel, key="parcel", table="moves"):
    parcel: str
    steps: int
    seen: int

    @classmethod
    def evolve(cls, row: Self | None, event: Moved, at: fait.Envelope) -> Self | None:
        return moved(cls, row, event, at)


def moved(cls: Any, row: Any, event: Moved | MovedOnce, at: fait.Envelope) -> Any:
    return cls(parcel=at.stream_id, steps=event.steps + (row.steps if row else 0), seen=1 + (row.seen if row else 0))


def deployed(*things: Any) -> fait.App:
    app = fait.App("parcels")
    app.include(*things)
    return app


@pytest.fixture(params=SHARED)
def url(request: pytest.FixtureRequest, store_url: Callable[[str], str]) -> str:
    return store_url(request.param)


async def status_of(s: fait.System, name: str) -> fait.SubscriptionStatus:
    return next(each for each in await s.status() if each.name == name)


@pytest.fixture
async def old(url: str) -> AsyncIterator[fait.System]:
    """A process that runs old code and owns the leases of its subscriptions."""
    old_app, handled = deployed(OldMoves), list[int]()

    @old_app.on(MovedOnce)
    def move(event: MovedOnce) -> None:
        handled.append(event.steps)

    async with old_app.open(url) as s:
        await s.wait(await s.publish(MovedOnce(1), stream="parcel-1"))
        assert handled == [1]
        yield s
        assert handled == [1]


async def test_event_of_newer_schema_version_is_handled_once_by_newer_process(old: fait.System, url: str) -> None:
    app, handled = deployed(Moves), list[int]()

    @app.on(Moved)
    def move(event: Moved) -> None:
        handled.append(event.steps)

    async with app.open(url, rebuild=["moves"]) as s:  # the schema version is part of the read model's definition
        result = await s.publish(Moved(2, "there"), stream="parcel-1")
        row = await s.get(Moves, "1", after=result, timeout_s=30)
        await s.wait(result, timeout_s=30)
        async with asyncio.timeout(30):
            while [each.state for each in await old.status()] != ["waiting"] * 2:  # noqa: ASYNC110
                await asyncio.sleep(0.02)

        assert row == Moves(parcel="1", steps=3, seen=2)
        assert handled == [2]
        assert [each.error for each in await old.status()] == [None, None]


async def test_failing_handler_releases_lease_to_other_process(url: str) -> None:
    broken, repaired, attempts, handled = deployed(), deployed(), list[int](), list[int]()

    @broken.on(Moved, name="move")
    def fail(event: Moved, ctx: fait.Context) -> None:
        attempts.append(ctx.attempt)
        raise ValueError("broken")

    @repaired.on(Moved, name="move")
    def move(event: Moved) -> None:
        handled.append(event.steps)

    async with broken.open(url) as old:
        result = await old.publish(Moved(1), stream="parcel-1")
        async with asyncio.timeout(30):
            while len(attempts) < 2:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        async with repaired.open(url) as new:
            await new.wait(result, timeout_s=30)

        assert handled == [1]
        assert attempts == list(range(1, len(attempts) + 1))
        assert len(attempts) < 8


async def test_failing_handler_without_successor_is_retried_and_reports_error(url: str) -> None:
    app, attempts = deployed(), list[int]()

    @app.on(Moved, on_failure=fait.FailurePolicy(initial_s=0.6, max_s=0.6))
    def move(event: Moved, ctx: fait.Context) -> None:
        attempts.append(ctx.attempt)
        if ctx.attempt < 4:
            raise ValueError("not yet")

    async with app.open(url) as s:
        result = await s.publish(Moved(1), stream="parcel-1")
        async with asyncio.timeout(30):
            while (status := await status_of(s, "move")).error is None:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        await s.wait(result, timeout_s=20)

    assert attempts == [1, 2, 3, 4]
    assert status.state == "failing"
    assert isinstance(status.error, ValueError)


async def test_event_that_no_process_can_handle_is_reported_by_old_process(old: fait.System, url: str) -> None:
    newer = fait.App("newer")
    newer.include(Moved)
    async with newer.open(url, run="elsewhere") as s:
        result = await s.publish(Moved(2, "there"), stream="parcel-1")

    with pytest.raises(fait.Stale, match="EventTooNew"):
        await old.get(OldMoves, "1", after=result, timeout_s=1.5)

    status = await status_of(old, "moves")
    assert isinstance(status.error, fait.EventTooNew)
    assert status.position < result.position


async def test_constraint_added_to_read_model_is_reported_until_dropped(url: str) -> None:
    app = deployed(Moves)

    @app.on(ChangeRequested)
    def change(event: ChangeRequested, ctx: fait.Context) -> None:
        ctx.execute(event.sql)

    async with app.open(url) as s:
        await s.wait(
            await s.publish(ChangeRequested("CREATE UNIQUE INDEX one_of_each ON moves (steps)"), stream="change-1")
        )
        await s.get(Moves, "1", after=await s.publish(Moved(7), stream="parcel-1"))
        result = await s.publish(Moved(7), stream="parcel-2")
        with pytest.raises(fait.Stale, match=r"UsageError: a constraint or trigger \(unique.*'moves'"):
            await s.get(Moves, "2", after=result, timeout_s=0.5)

        assert (await status_of(s, "moves")).state == "failing"
        assert [row.parcel for row in await s.find(Moves)] == ["1"]

        await s.wait(await s.publish(ChangeRequested("DROP INDEX one_of_each"), stream="change-1"), timeout_s=30)
        assert [row.parcel for row in await s.find(Moves)] == ["1", "2"]


@pytest.fixture
async def store() -> AsyncIterator[Store]:
    """A store with a subscription at position 0 and three events for it."""
    store = await open_store("memory:", clock=fait.SystemClock())
    await register_recorder(store)
    await added(store.log, write("a", [new("wanted") for _ in range(3)]))
    yield store
    await store.close()


@contextlib.asynccontextmanager
async def running(processor: Processor) -> AsyncGenerator[None]:
    task = asyncio.create_task(processor.run())
    yield
    processor.stop()
    await task


async def test_release_after_failure_gives_others_time_for_two_reads(store: Store) -> None:
    broken = Processor(Broken(1, math.inf), store, "owner", lease_s=10)
    async with running(broken), asyncio.timeout(30):
        while not (lease := await range_of(store, "recorder")).fencing_token or lease.worker:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        free_since = time.monotonic()

        while (await range_of(store, "recorder")).fencing_token == lease.fencing_token:  # noqa: ASYNC110
            await asyncio.sleep(0.01)

    assert time.monotonic() - free_since > 2 * LEASE_POLL_SHARE * 10
