"""An open transaction delays only appends that need its locks, and only up to a timeout."""

import asyncio
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TypeVar
from uuid import uuid4

import asyncpg
import pytest

from fait._events.append import AppendCondition, Appended, AppendResult, ConditionFailed, StreamWrite
from fait._events.query import Query
from fait._store.open import open_store
from fait._store.ports.store import Store
from fait._store.postgres import appender
from fait._store.postgres.append_protocol import batch_arguments
from fait._store.postgres.identifiers import statements
from tests.faults.appends import ANY, append_external, append_of, assert_versions_contiguous, event, write
from tests.servers.postgres import PostgresServer

ROOT = Path(__file__).parents[2]
R = TypeVar("R")

HELD_S = 4.0
"""Duration for which other transactions hold their locks."""

UNAFFECTED_S = 2.5
"""Maximum time of an append that is not blocked. It takes milliseconds; the rest is for a busy machine."""


class Stage:
    """A log, any number of stores that have it open, and connections of other applications."""

    def __init__(self, url: str, schema: str, stack: AsyncExitStack) -> None:
        self.url, self.schema = url, schema
        self._stack = stack

    async def store(self, **options: int) -> Store:
        query = "&".join(f"{name}={value}" for name, value in {"schema": self.schema, **options}.items())
        store = await open_store(f"{self.url}?{query}")
        self._stack.push_async_callback(store.close)
        return store

    async def connection(self) -> asyncpg.Connection:
        connection = await asyncpg.connect(self.url, server_settings={"search_path": self.schema})
        self._stack.push_async_callback(connection.close)
        return connection


@pytest.fixture
async def stage(postgres_servers: Callable[..., PostgresServer]) -> AsyncIterator[Stage]:
    async with AsyncExitStack() as stack:
        made = Stage(postgres_servers().url, f"locks_{uuid4().hex}", stack)
        store = await made.store()
        await store.log.append([write("held-1"), write("held-2")])
        yield made
        await assert_versions_contiguous(made.url, made.schema)


async def timed(awaitable: Awaitable[R]) -> tuple[float, R]:
    start = time.monotonic()
    result = await awaitable
    return time.monotonic() - start, result


def all_appended(results: Sequence[AppendResult]) -> bool:
    return all(isinstance(each, Appended) for each in results)


@pytest.mark.parametrize("stream", ["held-1", "created-1"])
async def test_open_transaction_delays_only_its_stream(stage: Stage, stream: str) -> None:
    """The transaction has appended to the stream, or created it; batches of several processes contain it."""
    stores = [await stage.store() for _ in range(3)]
    other = await stage.connection()
    await other.execute("BEGIN")
    await append_external(other, stream, 60_000)

    async def free(store: Store, number: int) -> float:
        slowest, end, count = 0.0, time.monotonic() + HELD_S, 0
        while time.monotonic() < end:
            count += 1
            took, result = await timed(store.log.append([write(f"free-{number}-{count % 3}")]))
            assert isinstance(result, Appended)
            slowest = max(slowest, took)
        return slowest

    async def held(store: Store) -> float:
        took, result = await timed(store.log.append([write(stream)]))
        assert isinstance(result, Appended)
        return took

    waiting = [asyncio.create_task(held(store)) for store in stores for _ in range(3)]
    slowest = await asyncio.gather(*(free(store, each * 10 + n) for each, store in enumerate(stores) for n in range(8)))
    await other.execute("COMMIT")
    waited = await asyncio.gather(*waiting)

    print("slowest of the others", max(slowest), "waited", waited)
    assert max(slowest) < UNAFFECTED_S
    assert min(waited) > HELD_S - UNAFFECTED_S
    assert max(waited) < HELD_S + 2.0


async def test_waiting_appends_leave_connections_to_others(stage: Stage) -> None:
    """A pool of three connections, and eight streams locked by another transaction."""
    store = await stage.store(pool=3)
    held = [f"busy-{number}" for number in range(8)]
    await store.log.append([write(stream) for stream in held])
    other = await stage.connection()
    await other.execute("BEGIN")
    for stream in held:
        await append_external(other, stream, 60_000)
    waiting = [asyncio.create_task(store.log.append([write(stream)])) for stream in held for _ in range(4)]
    await asyncio.sleep(1.0)

    slowest, end = 0.0, time.monotonic() + HELD_S
    while time.monotonic() < end:
        appends = [append_of(kind, "free-1", 0) for kind in ("any", "many", "streams")]
        for each in (store.log.append(appends[0][0]), store.log.read_stream("held-1"), store.log.read(0, limit=1)):
            took, _ = await timed(each)
            slowest = max(slowest, took)

    assert not any(each.done() for each in waiting)
    await other.execute("COMMIT")
    assert all_appended(await asyncio.gather(*waiting))
    print("slowest", slowest)
    assert slowest < UNAFFECTED_S


async def test_locked_stream_does_not_delay_rest_of_batch(stage: Stage) -> None:
    store = await stage.store(pool=3)
    other = await stage.connection()
    await other.execute("BEGIN")
    await append_external(other, "held-1", 60_000)

    waiting = asyncio.create_task(store.log.append([write("held-1")]))
    unblocked = [asyncio.create_task(timed(store.log.append([write(f"free-{number}")]))) for number in range(63)]
    found = await asyncio.gather(*unblocked)

    assert not waiting.done()
    await other.execute("ROLLBACK")
    assert all_appended([await waiting, *(result for _, result in found)])
    assert max(took for took, _ in found) < UNAFFECTED_S


async def test_deadlock_with_user_transaction_ends(stage: Stage) -> None:
    """The transaction holds held-2 and waits for held-1, the append vice versa. The append gives up and retries."""
    store = await stage.store()
    other = await stage.connection()
    await other.execute("BEGIN")
    await other.execute("UPDATE fait_streams SET version = version WHERE stream = 'held-2'")
    append = asyncio.create_task(store.log.append([write("held-1"), write("held-2")]))
    unblocked = asyncio.create_task(timed(store.log.append([write("free-1")])))
    await asyncio.sleep(0.3)

    took, _ = await timed(other.execute("UPDATE fait_streams SET version = version WHERE stream = 'held-1'"))
    assert took < 5
    assert not append.done()
    await other.execute("COMMIT")

    assert isinstance(await append, Appended)
    assert (await unblocked)[0] < UNAFFECTED_S


@pytest.mark.parametrize("what", ["external", "loaded", "copying"])
async def test_stopped_appender_delays_others_until_idle_timeout(stage: Stage, what: str) -> None:
    """The transaction of the stopped process holds a ticket and a stream until the server terminates its session."""
    store = await stage.store()
    await store.log.append([write("held-1")])
    head = await store.log.head()
    where = (what, stage.url, stage.schema, "held-1")
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.faults.stopped", *where, stdout=subprocess.PIPE, cwd=ROOT
    )
    assert child.stdout is not None
    try:
        assert await child.stdout.readline() == b"stopped\n"
        start = time.monotonic()

        took, result = await timed(store.log.append([write("free-1")]))
        assert isinstance(result, Appended)
        assert took < UNAFFECTED_S
        if what != "copying":  # a copying process holds no ticket yet
            assert (await store.log.read(head)).events == []
        assert isinstance(await store.log.append([write("held-1")]), Appended)
        await asyncio.wait_for(store.log.wait_for_events(result.position), 20)

        events = (await store.log.read(head)).events
        assert [each.stream for each in events] == ["free-1", "held-1"]
        assert time.monotonic() - start < 15
    finally:
        child.kill()
        await child.communicate()


async def test_rolled_back_transaction_delays_no_reader(stage: Stage) -> None:
    store = await stage.store()
    other = await stage.connection()
    for number in range(20):
        await other.execute("BEGIN")
        await append_external(other, f"never-{number}", 60_000)
        await other.execute("ROLLBACK")
        result = await store.log.append([write("free-1")])
        assert isinstance(result, Appended)
        page = await store.log.read(result.position - 1)
        assert [each.position for each in page.events] == [result.position]


async def test_transaction_without_append_delays_no_reader(stage: Stage) -> None:
    """The transaction changes the database schema, writes to another table and stays open."""
    writer, reader = await stage.store(), await stage.store()
    position = await reader.log.head()
    other = await stage.connection()
    await other.execute("BEGIN")
    await other.execute("CREATE TABLE others (number integer); INSERT INTO others VALUES (1)")

    slowest = 0.0
    for _ in range(50):
        waiting = asyncio.create_task(reader.log.wait_for_events(position))
        await asyncio.sleep(0.01)
        result = await writer.log.append([write("free-1")])
        assert isinstance(result, Appended)
        took, _ = await timed(waiting)
        slowest = max(slowest, took)
        position = (await reader.log.read(position)).position
        assert position == result.position

    print("slowest", slowest)
    assert slowest < UNAFFECTED_S


async def test_conditional_append_waits_for_open_append_of_its_type(stage: Stage) -> None:
    """Unrelated appends are not delayed."""
    store = await stage.store()
    other = await stage.connection()
    await other.execute("BEGIN")
    await append_external(other, "held-1", 60_000)
    head = await store.log.head()
    on_it, on_others = [AppendCondition((Query(types=(name,)),), head) for name in ("fault.external", "fault.never")]
    waiting = asyncio.create_task(store.log.append([write("guarded-1")], on_it))

    slowest, end = 0.0, time.monotonic() + HELD_S
    while time.monotonic() < end:
        took, result = await timed(store.log.append([StreamWrite("free-1", (event("fault.other"),), ANY)], on_others))
        assert isinstance(result, Appended)
        slowest = max(slowest, took)

    assert not waiting.done()
    await other.execute("COMMIT")
    assert isinstance(await waiting, ConditionFailed)
    print("slowest", slowest)
    assert slowest < UNAFFECTED_S


async def test_bulk_append_waits_for_open_append_with_matching_condition(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(appender, "MIN_BULK_EVENTS", 5)
    store, other = await stage.store(), await stage.connection()
    head = await store.log.head()
    for query in (Query(types=("fault.happened",)), Query(tags=("seat:1",))):
        guarded = ([StreamWrite("guarded-1", (event("fault.guarded"),), ANY)], AppendCondition((query,), head))
        await other.execute("BEGIN")
        await other.fetch(
            statements(stage.schema)["append"], *batch_arguments([guarded], None, check_ids=False, lock_timeout_ms=None)
        )
        many = tuple(event("fault.happened", "seat:1") for _ in range(7))
        waiting = asyncio.create_task(store.log.append([StreamWrite("many-1", many, ANY)]))
        await asyncio.sleep(0.3)

        assert not waiting.done()
        await other.execute("COMMIT")
        assert isinstance(await waiting, Appended)
        head = await store.log.head()
