"""What happens to a subscription that cannot go on: who else may try, and what its owner is told."""

import asyncio
import contextlib
import math
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import Any, Self

import pytest

import fait
from fait._store.ledger import Checkpoint
from fait._store.open import Store, open_store
from fait._subscriptions.processor import LEASE_POLL_SHARE, Processor
from fait.testing.contract.store import added, new, write
from fait.testing.contract.subscriptions import Broken

SHARED = ["sqlite", "postgresql"]

pytestmark = pytest.mark.anyio


@fait.event("parcel.moved")
class MovedOnce:
    steps: int


@fait.event("parcel.moved", version=2)
class Moved:
    steps: int
    to: str = "somewhere"


@fait.event("parcel.told")
class Told:
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


async def of(s: fait.System, name: str) -> fait.SubscriptionStatus:
    return next(each for each in await s.status() if each.name == name)


@pytest.fixture
async def old(url: str) -> AsyncIterator[fait.System]:
    """A process that was there first, and owns what it runs."""
    old_app, heard = deployed(OldMoves), list[int]()

    @old_app.on(MovedOnce)
    def hear(event: MovedOnce) -> None:
        heard.append(event.steps)

    async with old_app.open(url) as s:
        await s.wait(await s.publish(MovedOnce(1), stream="parcel-1"))
        assert heard == [1]
        yield s
        assert heard == [1]


async def test_an_event_of_newer_code_is_handled_by_the_newer_process_and_once(old: fait.System, url: str) -> None:
    app, heard = deployed(Moves), list[int]()

    @app.on(Moved)
    def hear(event: Moved) -> None:
        heard.append(event.steps)

    async with app.open(url) as s:
        done = await s.publish(Moved(2, "there"), stream="parcel-1")
        row = await s.get(Moves, "1", after=done, timeout_s=30)
        await s.wait(done, timeout_s=30)
        async with asyncio.timeout(30):
            while [each.state for each in await old.status()] != ["waiting"] * 2:  # noqa: ASYNC110
                await asyncio.sleep(0.02)

        assert row == Moves(parcel="1", steps=3, seen=2)
        assert heard == [2]
        assert [each.error for each in await old.status()] == [None, None]


async def test_a_handler_that_fails_lets_another_process_try(url: str) -> None:
    broken, repaired, tried, heard = deployed(), deployed(), list[int](), list[int]()

    @broken.on(Moved, name="hear")
    def fail(event: Moved, ctx: fait.Context) -> None:
        tried.append(ctx.attempt)
        raise ValueError("broken")

    @repaired.on(Moved, name="hear")
    def hear(event: Moved) -> None:
        heard.append(event.steps)

    async with broken.open(url) as old:
        done = await old.publish(Moved(1), stream="parcel-1")
        async with asyncio.timeout(30):
            while len(tried) < 2:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        async with repaired.open(url) as new:
            await new.wait(done, timeout_s=30)

        assert heard == [1]
        assert tried == list(range(1, len(tried) + 1))
        assert len(tried) < 8


async def test_a_handler_that_fails_alone_is_tried_on_and_says_why(url: str) -> None:
    app, tried = deployed(), list[int]()

    @app.on(Moved, retry=fait.Retry(initial_s=0.6, max_s=0.6))
    def hear(event: Moved, ctx: fait.Context) -> None:
        tried.append(ctx.attempt)
        if ctx.attempt < 4:
            raise ValueError("not yet")

    async with app.open(url) as s:
        done = await s.publish(Moved(1), stream="parcel-1")
        async with asyncio.timeout(30):
            while (told := await of(s, "hear")).error is None:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        await s.wait(done, timeout_s=20)

    assert tried == [1, 2, 3, 4]
    assert told.state == "failing"
    assert isinstance(told.error, ValueError)


async def test_where_nobody_can_handle_it_the_old_process_goes_on_and_says_why(old: fait.System, url: str) -> None:
    async with fait.App("newer").open(url, run="elsewhere") as s:
        done = await s.publish(Moved(2, "there"), stream="parcel-1")

    with pytest.raises(fait.Stale, match="EventTooNew"):
        await old.get(OldMoves, "1", after=done, timeout_s=1.5)

    told = await of(old, "moves")
    assert isinstance(told.error, fait.EventTooNew)
    assert told.position < done.position


async def test_a_constraint_that_somebody_added_to_a_read_model_is_told_and_can_be_taken_away(url: str) -> None:
    app = deployed(Moves)

    @app.on(Told)
    def change(event: Told, ctx: fait.Context) -> None:
        ctx.execute(event.sql)

    async with app.open(url) as s:
        await s.wait(await s.publish(Told("CREATE UNIQUE INDEX one_of_each ON moves (steps)"), stream="told-1"))
        await s.get(Moves, "1", after=await s.publish(Moved(7), stream="parcel-1"))
        done = await s.publish(Moved(7), stream="parcel-2")
        with pytest.raises(fait.Stale, match=r"UsageError: a constraint or trigger \(unique.*'moves'"):
            await s.get(Moves, "2", after=done, timeout_s=0.5)

        assert (await of(s, "moves")).state == "failing"
        assert [row.parcel for row in await s.find(Moves)] == ["1"]

        await s.wait(await s.publish(Told("DROP INDEX one_of_each"), stream="told-1"), timeout_s=30)
        assert [row.parcel for row in await s.find(Moves)] == ["1", "2"]


@pytest.fixture
async def store() -> AsyncIterator[Store]:
    """With a subscription at the beginning, and three events for it."""
    store = await open_store("memory:", clock=fait.SystemClock())
    mine = store.log.identity
    await store.ledger.start_checkpoint(Checkpoint("recorder", "parcels", 0, mine.log_id, mine.epoch))
    await added(store.log, write("a", [new("wanted") for _ in range(3)]))
    yield store
    await store.close()


@contextlib.asynccontextmanager
async def running(processor: Processor) -> AsyncGenerator[None]:
    task = asyncio.create_task(processor.run())
    yield
    processor.stop()
    await task


async def test_who_makes_way_leaves_others_the_time_to_look_twice(store: Store) -> None:
    broken = Processor(Broken(1, math.inf), store.log, store.ledger, "owner", lease_s=10)
    async with running(broken), asyncio.timeout(30):
        while not (lease := await store.ledger.lease("recorder")).fencing_token or lease.owner:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        free_since = time.monotonic()

        while (await store.ledger.lease("recorder")).fencing_token == lease.fencing_token:  # noqa: ASYNC110
            await asyncio.sleep(0.01)

    assert time.monotonic() - free_since > 2 * LEASE_POLL_SHARE * 10


async def test_under_a_new_lease_nothing_is_known_of_the_position_until_the_checkpoint_is_read(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    processor, known = Processor(Broken(3, times=1), store.log, store.ledger, "owner"), list[int]()
    checkpoint = store.ledger.checkpoint

    async def watched(subscription: str) -> Checkpoint | None:
        known.append(processor.position)
        return await checkpoint(subscription)

    monkeypatch.setattr(store.ledger, "checkpoint", watched)
    async with running(processor), asyncio.timeout(30):
        while processor.position < 3:  # noqa: ASYNC110
            await asyncio.sleep(0.01)

    assert known == [0, 0]
