"""A handler that says `batch` has many events recorded at once, and loses nothing of what it is promised by that."""

import asyncio
import functools
import threading
import time
from collections import Counter
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

import fait
from fait._app import App, System
from fait._store.ledger import UnitOfWork
from fait._store.open import BACKENDS
from fait._store.postgres.identifiers import quote
from fait._store.postgres.ledger import PostgresLedger
from fait._store.sqlite.connection import SqliteConnection
from fait._subscriptions import reactor

SQL = [name for name in sorted(BACKENDS) if name != "memory"]
QUICKLY = fait.Retry(initial_s=0.005, max_s=0.01)
SEEN = "CREATE TABLE IF NOT EXISTS seen (number INTEGER, position BIGINT)"
NOTE = "INSERT INTO seen (number, position) VALUES ($1, $2)"


@fait.event("batches.counted")
class Counted:
    number: int


@fait.event("batches.answered")
class Answered:
    number: int


@pytest.fixture(params=sorted(BACKENDS))
def url(request: pytest.FixtureRequest, store_url: Callable[[str], str]) -> str:
    return store_url(request.param)


@pytest.fixture(params=SQL)
def sql_url(request: pytest.FixtureRequest, store_url: Callable[[str], str]) -> str:
    return store_url(request.param)


@asynccontextmanager
async def opened(app: App, url: str, counted: int) -> AsyncGenerator[System]:
    """A system whose handlers find that many events when they begin."""
    if url.startswith("memory"):
        async with app.open(url) as s:
            await s.append(fait.NewEvents("counter-1", [Counted(number) for number in range(counted)]))
            yield s
        return
    async with App("filling").open(url) as s:
        await s.append(fait.NewEvents("counter-1", [Counted(number) for number in range(counted)]))
    async with app.open(url) as s:
        yield s


def records(monkeypatch: pytest.MonkeyPatch) -> list[UnitOfWork]:
    """What every reactor records from now on."""
    made = list[UnitOfWork]()

    def work(*what: Any, **more: Any) -> UnitOfWork:
        made.append(UnitOfWork(*what, **more))
        return made[-1]

    monkeypatch.setattr(reactor, "UnitOfWork", work)
    return made


async def seen(s: System) -> list[tuple[int, int]]:
    ledger: Any = s.store.ledger
    if isinstance(ledger, PostgresLedger):
        database: Any = ledger._database  # pyright: ignore[reportPrivateUsage]
        async with database.connection() as connection:
            rows = await connection.fetch(f"SELECT * FROM {quote(database.schema)}.seen ORDER BY position")
            return [tuple(row) for row in rows]

    def read(connection: SqliteConnection) -> list[tuple[int, int]]:
        return connection.execute("SELECT * FROM seen ORDER BY position").fetchall()

    return await ledger._readers.run(read)


@pytest.mark.parametrize("waits", [True, False])
async def test_a_batch_is_handled_in_order_and_recorded_at_once(
    url: str, waits: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    app, numbers, works = App("batches"), list[int](), records(monkeypatch)
    app.on(Counted, start="beginning", batch=20)(_noting(numbers, waits=waits))

    async with opened(app, url, 90) as s:
        await s.wait(timeout_s=20)

    assert numbers == list(range(90))
    if not url.startswith("memory"):
        assert [work.position - work.after for work in works] == [20, 20, 20, 20, 10]


def _noting(numbers: list[int], *, waits: bool) -> Any:
    async def note(event: Counted) -> None:
        await asyncio.sleep(0)
        numbers.append(event.number)

    def note_in_thread(event: Counted) -> None:
        numbers.append(event.number)

    return note if waits else note_in_thread


async def test_a_handler_without_batch_has_each_event_recorded_before_the_next(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    app, works, recorded = App("batches"), records(monkeypatch), list[int]()

    @app.on(Counted, start="beginning")
    async def note(event: Counted) -> None:
        recorded.append(len(works))

    async with opened(app, url, 10) as s:
        await s.wait(timeout_s=20)

    assert recorded == list(range(10))


async def test_one_that_fails_in_a_batch_holds_up_what_comes_after_it_and_repeats_nothing_else(sql_url: str) -> None:
    app, calls, attempts = App("batches"), Counter[int](), list[int]()

    @app.on(Counted, start="beginning", batch=10, retry=QUICKLY)
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


async def test_a_statement_that_fails_in_a_batch_lets_pass_what_came_before_it(sql_url: str) -> None:
    app = App("batches")

    @app.on(Counted, start="beginning", batch=10, retry=QUICKLY)
    def note(event: Counted, ctx: fait.Context) -> None:
        ctx.execute(SEEN)
        ctx.execute(NOTE, event.number, ctx.envelope.position)
        if event.number == 6:
            ctx.execute("INSERT INTO not_there VALUES (1)")

    async with opened(app, sql_url, 10) as s:
        with pytest.raises(fait.Stale):
            await s.wait(timeout_s=1)
        [status] = await s.status()

        assert [number for number, _ in await seen(s)] == list(range(6))
    assert status.state == "failing"


async def test_an_outage_in_a_batch_is_no_attempt_of_the_event(sql_url: str) -> None:
    app, attempts = App("batches"), list[tuple[int, int]]()

    @app.on(Counted, start="beginning", batch=6)
    async def note(event: Counted, ctx: fait.Context) -> None:
        attempts.append((event.number, ctx.attempt))
        if event.number == 3 and len(attempts) == 4:
            raise fait.StoreUnavailable("another store is away.")

    async with opened(app, sql_url, 6) as s:
        await s.wait(timeout_s=20)

    assert attempts == [(number, 1) for number in (0, 1, 2, 3, 3, 4, 5)]


async def test_a_batch_that_takes_too_long_in_its_thread_repeats_no_event_before(sql_url: str) -> None:
    app, calls, go_on = App("batches"), list[int](), threading.Event()

    @app.on(Counted, start="beginning", batch=6, timeout_s=0.2, retry=QUICKLY)
    def note(event: Counted) -> None:
        calls.append(event.number)
        if event.number == 3 and calls.count(3) == 1:
            go_on.wait(10)

    async with opened(app, sql_url, 6) as s:
        await s.wait(timeout_s=20)
        go_on.set()

    assert calls == [0, 1, 2, 3, 3, 4, 5]


async def test_statements_run_in_the_order_in_which_they_were_asked_for(sql_url: str) -> None:
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


async def test_a_small_handler_is_called_in_one_thread_for_all(url: str) -> None:
    app, threads = App("batches"), list[int]()

    @app.on(Counted, start="beginning", batch=50)
    def note(event: Counted) -> None:
        threads.append(threading.get_ident())

    async with opened(app, url, 50) as s:
        await s.wait(timeout_s=20)

    assert len(threads) == 50
    assert threading.get_ident() not in threads


@pytest.mark.parametrize("waits", [True, False])
async def test_a_batch_gathers_no_longer_than_it_may(
    sql_url: str, waits: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reactor, "MAX_BATCH_DURATION_S", 0.1)
    app, numbers, works = App("batches"), list[int](), records(monkeypatch)
    app.on(Counted, start="beginning", batch=30)(_slow(numbers, waits=waits))

    async with opened(app, sql_url, 30) as s:
        await s.wait(timeout_s=20)

    assert numbers == list(range(30))
    assert 2 <= len(works) <= 10


def _slow(numbers: list[int], *, waits: bool) -> Any:
    async def note(event: Counted) -> None:
        await asyncio.sleep(0.02)
        numbers.append(event.number)

    def note_in_thread(event: Counted) -> None:
        time.sleep(0.02)
        numbers.append(event.number)

    return note if waits else note_in_thread


@pytest.mark.parametrize("waits", [True, False])
async def test_whoever_is_stopped_in_a_batch_records_what_is_done(sql_url: str, waits: bool) -> None:
    app, numbers = App("batches"), list[int]()
    app.on(Counted, start="beginning", batch=100)(_slow(numbers, waits=waits))
    async with opened(app, sql_url, 100):
        while len(numbers) < 3:  # noqa: ASYNC110 - a thread adds to it
            await asyncio.sleep(0.01)
    stopped_at = len(numbers)
    async with app.open(sql_url) as s:
        await s.wait(timeout_s=20)

    assert stopped_at < 100
    assert numbers == list(range(100))


async def test_what_a_handler_does_in_a_batch_is_caused_by_its_event(url: str) -> None:
    app = App("batches")

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


async def test_a_coroutine_function_that_does_not_look_like_one_is_awaited_for_each_event(url: str) -> None:
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
def test_a_batch_is_a_number_of_events(batch: int) -> None:
    with pytest.raises(fait.DeclarationError, match="1 to 1,000"):

        @App("batches").on(Counted, batch=batch)
        def note(event: Counted) -> None: ...
