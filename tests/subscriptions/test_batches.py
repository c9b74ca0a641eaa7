"""Handlers with `batch`: several events are recorded in one transaction, under the same guarantees as single events."""

import asyncio
import functools
import threading
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest

import fait
from fait._app import App
from fait._store.open import backend_names
from fait._store.ports.unit_of_work import UnitOfWork
from fait._store.postgres.identifiers import quote
from fait._store.postgres.tables import PostgresTables
from fait._store.sqlite.connection import SqliteConnection
from fait._subscriptions import reactor, record_queue
from fait._system import System
from fait.testing.contract.processors import until

SQL = [name for name in sorted(backend_names()) if name != "memory"]
SHORT_RETRY = fait.FailurePolicy(initial_s=0.005, max_s=0.01)
SEEN = "CREATE TABLE IF NOT EXISTS seen (number INTEGER, position BIGINT)"
NOTE = "INSERT INTO seen (number, position) VALUES ($1, $2)"


@fait.event("batches.counted")
class Counted:
    number: int


@fait.event("batches.answered")
class Answered:
    number: int


@pytest.fixture(params=sorted(backend_names()))
def url(request: pytest.FixtureRequest, store_url: Callable[[str], str]) -> str:
    return store_url(request.param)


@pytest.fixture(params=SQL)
def sql_url(request: pytest.FixtureRequest, store_url: Callable[[str], str]) -> str:
    return store_url(request.param)


@asynccontextmanager
async def opened(app: App, url: str, counted: int) -> AsyncGenerator[System]:
    """Open a system whose log already holds this number of events when its handlers start."""
    if url.startswith("memory"):
        async with app.open(url) as s:
            await s.append(fait.NewEvents("counter-1", [Counted(number) for number in range(counted)]))
            yield s
        return
    filling = App("filling")
    filling.include(Counted)
    async with filling.open(url) as s:
        await s.append(fait.NewEvents("counter-1", [Counted(number) for number in range(counted)]))
    async with app.open(url) as s:
        yield s


def records(monkeypatch: pytest.MonkeyPatch) -> list[UnitOfWork]:
    """Return a list that collects the units of work of all reactors."""
    works = list[UnitOfWork]()

    def work(*arguments: Any, **options: Any) -> UnitOfWork:
        works.append(UnitOfWork(*arguments, **options))
        return works[-1]

    monkeypatch.setattr(record_queue, "UnitOfWork", work)
    return works


async def seen(s: System) -> list[tuple[int, int]]:
    tables: Any = s._store.tables
    if isinstance(tables, PostgresTables):
        database: Any = tables._database  # pyright: ignore[reportPrivateUsage]
        async with database.connection() as connection:
            rows = await connection.fetch(f"SELECT * FROM {quote(database.schema)}.seen ORDER BY position")
            return [tuple(row) for row in rows]

    def read(connection: SqliteConnection) -> list[tuple[int, int]]:
        return connection.execute("SELECT * FROM seen ORDER BY position").fetchall()

    return await tables._readers.run(read)


@pytest.mark.parametrize("is_async", [True, False])
async def test_batch_is_handled_in_order_and_recorded_together(
    url: str, is_async: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    app, numbers, works = App("batches"), list[int](), records(monkeypatch)
    app.on(Counted, start="beginning", batch=20)(_noting(numbers, is_async=is_async))

    async with opened(app, url, 90) as s:
        await s.wait(timeout_s=20)

    assert numbers == list(range(90))
    if not url.startswith("memory"):
        assert [work.move.position for work in works] == [20, 40, 60, 80, 90]


def _noting(numbers: list[int], *, is_async: bool) -> Any:
    async def note(event: Counted) -> None:
        await asyncio.sleep(0)
        numbers.append(event.number)

    def note_in_thread(event: Counted) -> None:
        numbers.append(event.number)

    return note if is_async else note_in_thread


async def test_events_without_batch_are_recorded_one_by_one(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    app, works, recorded = App("batches"), records(monkeypatch), list[int]()

    @app.on(Counted, start="beginning")
    async def note(event: Counted) -> None:
        recorded.append(len(works))

    async with opened(app, url, 10) as s:
        await s.wait(timeout_s=20)

    assert recorded == list(range(10))


async def test_failing_event_in_batch_blocks_later_events_and_repeats_only_itself(sql_url: str) -> None:
    app, calls, attempts = App("batches"), Counter[int](), list[int]()

    @app.on(Counted, start="beginning", batch=10, on_failure=SHORT_RETRY)
    def note(event: Counted, ctx: fait.Context) -> None:
        calls[event.number] += 1
        ctx.execute(SEEN)
        ctx.execute(NOTE, event.number, ctx.envelope.position)
        if event.number == 5:
            attempts.append(ctx.attempt)
        if event.number == 5 and calls[5] < 4:
            raise ValueError("not yet")

    async with opened(app, sql_url, 10) as s:
        await s.wait(timeout_s=20)

        assert [number for number, _ in await seen(s)] == list(range(10))
    assert attempts == [1, 2, 3, 4]
    assert all(calls[number] == 1 for number in range(10) if number != 5)


async def test_failing_statement_in_batch_does_not_block_earlier_events(sql_url: str) -> None:
    app = App("batches")

    @app.on(Counted, start="beginning", batch=10, on_failure=SHORT_RETRY)
    def note(event: Counted, ctx: fait.Context) -> None:
        ctx.execute(SEEN)
        ctx.execute(NOTE, event.number, ctx.envelope.position)
        if event.number == 6:
            ctx.execute("INSERT INTO not_there VALUES (1)")

    async with opened(app, sql_url, 10) as s:
        async with asyncio.timeout(20):
            while not (failures := await s.store.failures.failures()):  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        [status] = await s.status()

        assert [number for number, _ in await seen(s)] == list(range(6))
    assert (failures[0].key, failures[0].next_position) == ("counter-1", 7)
    assert status.state == "failing"


async def test_outage_in_batch_does_not_count_as_attempt(sql_url: str) -> None:
    app, attempts = App("batches"), list[tuple[int, int]]()

    @app.on(Counted, start="beginning", batch=6)
    async def note(event: Counted, ctx: fait.Context) -> None:
        attempts.append((event.number, ctx.attempt))
        if event.number == 3 and len(attempts) == 4:
            raise fait.StoreUnavailable("another store is unavailable.")

    async with opened(app, sql_url, 6) as s:
        await s.wait(timeout_s=20)

    assert attempts == [(number, 1) for number in (0, 1, 2, 3, 3, 4, 5)]


async def test_timeout_in_batch_repeats_no_earlier_event(sql_url: str) -> None:
    app, calls, resume = App("batches"), list[int](), threading.Event()

    @app.on(Counted, start="beginning", batch=6, timeout_s=0.2, on_failure=SHORT_RETRY)
    def note(event: Counted) -> None:
        calls.append(event.number)
        if event.number == 3 and calls.count(3) == 1:
            resume.wait(10)

    async with opened(app, sql_url, 6) as s:
        async with asyncio.timeout(20):
            while (await s.status())[0].state != "failing":  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        resume.set()
        await s.wait(timeout_s=20)

    assert calls == [0, 1, 2, 3, 3, 4, 5]


async def test_statements_of_batch_run_in_order_of_execute(sql_url: str) -> None:
    app = App("batches")

    @app.on(Counted, start="beginning", batch=100)
    def note(event: Counted, ctx: fait.Context) -> None:
        if event.number == 0:
            ctx.execute("CREATE TABLE seen (number INTEGER, position BIGINT)")
            ctx.execute("INSERT INTO seen VALUES (0, 0)")
        if event.number % 7:
            ctx.execute("UPDATE seen SET number = number * 3 + $1", event.number)
        else:
            ctx.execute("UPDATE seen SET number = number % 1000")
        ctx.execute("UPDATE seen SET position = position + 1")

    async with opened(app, sql_url, 60) as s:
        await s.wait(timeout_s=20)
        [(number, position)] = await seen(s)

    def step(before: int, number: int) -> int:
        return before * 3 + number if number % 7 else before % 1000

    assert (number, position) == (functools.reduce(step, range(60), 0), 60)


async def test_synchronous_handler_runs_outside_event_loop_thread(url: str) -> None:
    app, threads = App("batches"), list[int]()

    @app.on(Counted, start="beginning", batch=50)
    def note(event: Counted) -> None:
        threads.append(threading.get_ident())

    async with opened(app, url, 50) as s:
        await s.wait(timeout_s=20)

    assert len(threads) == 50
    assert threading.get_ident() not in threads


@pytest.mark.parametrize("is_async", [True, False])
async def test_batch_is_recorded_after_maximum_duration(
    sql_url: str, is_async: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reactor, "MAX_BATCH_DURATION_S", 5)
    app, numbers, works = App("batches"), list[int](), records(monkeypatch)
    monkeypatch.setattr(reactor, "time", SimpleNamespace(monotonic=lambda: len(numbers)))  # a call takes a second

    def note(event: Counted) -> None:
        numbers.append(event.number)

    app.on(Counted, start="beginning", batch=30, name="note")(_in_loop(note) if is_async else note)

    async with opened(app, sql_url, 30) as s:
        await s.wait(timeout_s=20)

    assert numbers == list(range(30))
    assert 6 <= len(works) <= 10


def _in_loop(note: Callable[[Counted], None]) -> Callable[[Counted], Awaitable[None]]:
    """Return a coroutine function that calls a function in a thread, which may wait."""

    async def handle(event: Counted) -> None:
        await asyncio.to_thread(note, event)

    return handle


@pytest.mark.parametrize("is_async", [True, False])
async def test_processor_stopped_within_batch_records_handled_events(sql_url: str, is_async: bool) -> None:
    app, numbers, resume = App("batches"), list[int](), threading.Event()

    def note(event: Counted) -> None:
        numbers.append(event.number)
        if event.number == 3:
            resume.wait(20)

    app.on(Counted, start="beginning", batch=100, name="note")(_in_loop(note) if is_async else note)
    async with opened(app, sql_url, 100) as s:
        await until(lambda: len(numbers) == 4)
        s._subscription_runner.groups["note"].stop()
        resume.set()
    stopped_at = len(numbers)
    async with app.open(sql_url) as s:
        await s.wait(timeout_s=20)

    assert stopped_at == 4
    assert numbers == list(range(100))


async def test_event_published_in_batch_carries_its_causation_id(url: str) -> None:
    app = App("batches")
    app.include(Answered)

    @app.on(Counted, start="beginning", batch=10)
    async def answer(event: Counted, ctx: fait.Context) -> None:
        await ctx.publish(Answered(event.number), stream=f"answer-{event.number}")

    async with opened(app, url, 10) as s:
        await s.wait(timeout_s=20)
        ids = {each.event.number: each.id async for each in s.events() if isinstance(each.event, Counted)}
        causes = {
            each.event.number: each.metadata.causation_id
            async for each in s.events()
            if isinstance(each.event, Answered)
        }

    assert causes == ids


async def test_awaitable_of_plain_function_in_batch_is_awaited(url: str) -> None:
    app, numbers = App("batches"), list[int]()

    async def note(event: Counted) -> None:
        await asyncio.sleep(0)
        numbers.append(event.number)

    def hidden(event: Counted) -> Any:
        return note(event)

    app.on(Counted, start="beginning", batch=10, name="note")(hidden)

    async with opened(app, url, 25) as s:
        await s.wait(timeout_s=20)

    assert numbers == list(range(25))


@pytest.mark.parametrize("batch", [0, -1, 1001])
def test_invalid_batch_raises_declaration_error(batch: int) -> None:
    with pytest.raises(fait.DeclarationError, match="1 to 1,000"):

        @App("batches").on(Counted, batch=batch)
        def note(event: Counted) -> None: ...
