"""PgBouncer in transaction mode: supported operations, and the errors of the others."""

import asyncio
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest

import fait
from fait._errors import StoreUnavailable
from fait._events.append import AppendCondition, Appended, ConditionFailed, VersionConflict
from fait._events.query import Query
from fait._store.open import open_store
from fait._store.ports.store import Store
from fait._store.ports.tables import Column, RowChange, Table
from fait.testing.contract.leases import acquired, range_of, work_of
from fait.testing.contract.store import added, everything, new, write
from tests.servers.pgbouncer import PgBouncer
from tests.servers.postgres import PostgresServer

Poolers = Callable[..., PgBouncer]
Servers = Callable[..., PostgresServer]


@pytest.fixture
def pooler(pgbouncer: Poolers, postgres_servers: Servers) -> PgBouncer:
    return pgbouncer(postgres_servers(), pool_size=3)


@pytest.fixture
def schema() -> str:
    return f"pooled_{uuid4().hex}"


@pytest.fixture
async def store(pooler: PgBouncer, schema: str) -> Any:
    store = await open_store(f"{pooler.url}?schema={schema}&prepare=no")
    yield store
    await store.close()


async def test_every_kind_of_append_gets_its_result(store: Store) -> None:
    log = store.log
    await added(log, write("a", 3), write("b", [new(tags=("t:1",))]))
    await added(log, write("many", 700))

    assert isinstance(await log.append([write("a", 1, "no_stream")]), VersionConflict)
    failed = await log.append([write("c")], AppendCondition((Query(tags=("t:1",)),), 0))
    assert isinstance(failed, ConditionFailed)
    assert [event.stream for event in failed.events] == ["b"]
    assert len(await everything(log)) == 704


async def test_many_callers_over_few_connections_lose_nothing_and_keep_order(
    store: Store, pooler: PgBouncer, schema: str
) -> None:
    other = await open_store(f"{pooler.url}?schema={schema}&prepare=no")
    try:
        logs = [store.log, other.log] * 40
        verdicts = await asyncio.gather(*(log.append([write(f"s-{n % 9}", 2)]) for n, log in enumerate(logs)))
        assert all(isinstance(verdict, Appended) for verdict in verdicts)
        stored = await everything(other.log)
    finally:
        await other.close()

    assert len(stored) == 160
    for name in {event.stream for event in stored}:
        versions = [event.version for event in stored if event.stream == name]
        assert versions == list(range(1, len(versions) + 1))


async def test_rows_and_checkpoints_are_recorded_together(store: Store) -> None:
    table = Table("pooled", (Column("id", "text", False),), "id")
    await store.tables.create_table(table)
    lease = await acquired(store, "pooled")

    assert await store.recorder.record(work_of(lease, 5, (RowChange(table, [("x",)]),))) == "recorded"

    assert await store.tables.rows(table, ["x"]) == [("x",)]
    assert (await range_of(store, "pooled")).position == 5


async def test_events_of_other_processes_are_found_by_polling(
    store: Store, pooler: PgBouncer, schema: str, caplog: pytest.LogCaptureFixture
) -> None:
    other = await open_store(f"{pooler.url}?schema={schema}&prepare=no")
    try:
        waiting = asyncio.create_task(store.log.wait_for_events(0))
        async with asyncio.timeout(30):
            while "LISTEN receives nothing" not in caplog.text:  # noqa: ASYNC110 - a log has no event to wait for
                await asyncio.sleep(0.02)
        appended = await added(other.log, write("a"))
        async with asyncio.timeout(2):
            await waiting
    finally:
        await other.close()

    assert appended.position == await store.log.head()


async def test_prepared_statements_error_names_url_option(pooler: PgBouncer, schema: str) -> None:
    async def use(n: int) -> None:
        store = await open_store(f"{pooler.url}?schema={schema}")
        try:
            for _ in range(20):
                await store.log.append([write(f"s-{n}")])
                await store.log.read(0)
        finally:
            await store.close()

    outcomes = await asyncio.gather(*map(use, range(3)), return_exceptions=True)

    problems = [each for each in outcomes if each is not None]  # which statement fails first varies
    assert problems
    assert all(isinstance(each, StoreUnavailable) and "Add prepare=no to the URL" in str(each) for each in problems)


async def test_app_runs_behind_pgbouncer(pooler: PgBouncer, schema: str) -> None:
    app, rung = fait.App("pooled"), asyncio.Event()

    @fait.event("pooled.rung")
    class Rung:
        times: int

    @app.on(Rung)
    async def hear(event: Rung) -> None:
        rung.set()

    async with app.open(f"{pooler.url}?schema={schema}&prepare=no") as s:
        await s.publish(Rung(1), stream="bell-1")
        async with asyncio.timeout(30):
            await rung.wait()
