"""Subscriptions that fail: retries, takeover by other processes, and the reported error."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Any, Self

import pytest

import fait
from fait._errors import StoreUnavailable
from fait._store.open import open_store
from fait._store.ports.failures import FailureRequest
from fait._store.ports.leases import Worker
from fait._store.ports.store import Store
from fait._store.ports.unit_of_work import UnitOfWork
from fait._subscriptions.runner import HEARTBEAT_SHARE, LOOK_SHARE, Runner
from fait._subscriptions.subscription import Outcome
from fait._subscriptions.worker_observer import WorkerObserver
from fait.testing.contract.leases import range_of
from fait.testing.contract.processors import PositionRecorder, register_recorder, running_group
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


async def test_other_process_continues_with_the_attempts_of_a_failing_key(url: str) -> None:
    broken, repaired, attempts, handled = deployed(), deployed(), list[int](), list[tuple[int, int]]()

    @broken.on(Moved, name="move")
    def fail(event: Moved, ctx: fait.Context) -> None:
        attempts.append(ctx.attempt)
        raise ValueError("broken")

    @repaired.on(Moved, name="move")
    def move(event: Moved, ctx: fait.Context) -> None:
        handled.append((event.steps, ctx.attempt))

    async with broken.open(url) as old:
        await old.publish(Moved(1), stream="parcel-1")
        result = await old.publish(Moved(2), stream="parcel-1")
        async with asyncio.timeout(30):
            while len(attempts) < 2:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
    async with repaired.open(url) as s:
        await s.wait(result, timeout_s=30)

    assert attempts == list(range(1, len(attempts) + 1))
    assert handled == [(1, len(attempts) + 1), (2, 1)]


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


async def test_error_of_a_statement_that_the_policy_names_as_an_outage_counts_no_attempt(url: str) -> None:
    app = deployed()

    @app.on(ChangeRequested)
    def change(event: ChangeRequested, ctx: fait.Context) -> None:
        ctx.execute(event.sql)

    @app.on(Moved, on_failure=fait.FailurePolicy(attempts=1, outages=lambda error: "later" in str(error)))
    def note(event: Moved, ctx: fait.Context) -> None:
        ctx.execute("INSERT INTO later VALUES (1)")

    async with app.open(url) as s:
        await s.publish(Moved(7), stream="parcel-1")
        async with asyncio.timeout(30):
            while not (await status_of(s, "note")).outage:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        await s.publish(ChangeRequested("CREATE TABLE later (number INTEGER)"), stream="change-1")
        await s.settle(timeout_s=30)

        assert await s.store.failures.failures() == []


async def test_row_refused_by_an_added_constraint_is_parked_and_redriven(url: str) -> None:
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
        with pytest.raises(fait.Stale, match=r"parked since .*UsageError: a constraint or trigger \(unique.*'moves'"):
            await s.get(Moves, "2", after=result, timeout_s=30)
        assert [row.parcel for row in await s.find(Moves)] == ["1"]

        dropped = await s.publish(ChangeRequested("DROP INDEX one_of_each"), stream="change-1")
        async with asyncio.timeout(30):
            while (await status_of(s, "change")).position < dropped.position:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
            await s.store.failures.request(FailureRequest("moves", ("parcel-2",), "redriving", "ada"))
            while await s.store.failures.failures():  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        assert [row.parcel for row in await s.find(Moves)] == ["1", "2"]


@pytest.fixture
async def store() -> AsyncIterator[Store]:
    """A store with a subscription at position 0 and three events for it."""
    store = await open_store("memory:", clock=fait.SystemClock())
    await register_recorder(store)
    await added(store.log, write("a", [new("wanted") for _ in range(3)]))
    yield store
    await store.close()


async def test_late_record_after_an_unknown_outcome_is_refused(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    recorder: Any = store.recorder
    record, lost = recorder.record, list[UnitOfWork]()

    async def lose_first(work: UnitOfWork) -> Any:
        if not lost:
            lost.append(work)
            raise fait.StoreUnavailable("connection lost", "unknown")
        return await record(work)

    monkeypatch.setattr(recorder, "record", lose_first)
    async with running_group(PositionRecorder(), store) as group, asyncio.timeout(30):
        while group.position < 3:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        late = await record(lost[0])
        current = await range_of(store, "recorder")

    assert late == "refused"
    assert current.position == 3


async def handle_all(store: Store) -> None:
    async with running_group(PositionRecorder(), store) as group, asyncio.timeout(30):
        while group.position < 3:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_outage_of_a_former_worker_ends_although_no_event_is_left(store: Store) -> None:
    await handle_all(store)
    await store.leases.heartbeat(Worker("me"))
    free = await range_of(store, "recorder")
    lease = await store.leases.acquire(free, "me", "", store.log.identity.epoch_id)
    assert lease is not None
    await store.leases.report(lease, '{"since": "2026-01-02T03:04:05Z", "error_type": "", "error": "", "location": ""}')
    await store.leases.deregister("me")
    assert (await range_of(store, "recorder")).health

    async with running_group(PositionRecorder(), store), asyncio.timeout(5):
        while (await range_of(store, "recorder")).health:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_outage_of_the_store_ends_although_no_event_is_left(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    await handle_all(store)
    log: Any = store.log
    wait, lost = log.wait_for_events, list[int]()

    async def lose_first(after: int) -> None:
        if after >= 3 and not lost:
            lost.append(after)
            raise fait.StoreUnavailable("connection lost")
        await wait(after)

    monkeypatch.setattr(log, "wait_for_events", lose_first)
    async with running_group(PositionRecorder(), store) as group, asyncio.timeout(10):
        while group.error is None:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
        while group.state != "live":  # noqa: ASYNC110
            await asyncio.sleep(0.01)


class Unavailable(PositionRecorder):
    """Its service does not answer."""

    async def handle(self, events: Any, context: Any) -> Outcome:
        raise fait.Unavailable("the mail server does not answer", retry_after_s=2)


async def test_release_in_an_outage_gives_others_time_for_two_reads(store: Store) -> None:
    async with running_group(Unavailable(), store, lease_s=10), asyncio.timeout(30):
        while not (lease := await range_of(store, "recorder")).fencing_token or lease.worker:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        free_since = time.monotonic()

        while (await range_of(store, "recorder")).fencing_token == lease.fencing_token:  # noqa: ASYNC110
            await asyncio.sleep(0.01)

    assert time.monotonic() - free_since > 2 * LOOK_SHARE * 10


async def test_look_that_fails_is_repeated_at_intervals_and_logged_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    looks, done = list[float](), asyncio.Event()

    async def fail(runner: Runner) -> bool:
        looks.append(time.monotonic())
        if len(looks) == 5:
            done.set()
        raise StoreUnavailable("disk I/O error", "not_written")

    monkeypatch.setattr(WorkerObserver, "expires_at", 0.0)  # a worker that cannot be expired now
    app, lease_s = fait.App("parcels"), 0.4
    app.include(Moves)
    async with app.open("memory:", lease_s=lease_s):
        monkeypatch.setattr(Runner, "_look", fail)
        await asyncio.wait_for(done.wait(), 10)

    assert looks[-1] - looks[0] >= 3 * HEARTBEAT_SHARE * lease_s
    assert caplog.text.count("failed to look at the ranges") == 1
