"""Each kind of append takes one round trip, counted by a proxy."""

import asyncio
from collections.abc import AsyncIterator, Callable
from uuid import uuid4

import pytest

from examples.shop.app import shop
from fait._events.append import AppendCondition, Appended, ConditionFailed, StreamWrite, VersionConflict
from fait._events.query import Query
from fait._store.open import open_store
from fait._store.ports.store import Store
from tests.faults.appends import KINDS, append_of, event, write
from tests.faults.load import until
from tests.faults.wire import Proxy
from tests.servers.postgres import PostgresServer

Counted = tuple[Proxy, Store]


@pytest.fixture
async def counted(postgres_servers: Callable[..., PostgresServer]) -> AsyncIterator[Counted]:
    """A store with prepared statements and without readers."""
    async with Proxy(postgres_servers().port) as proxy:
        store = await open_store(proxy.url(schema=f"counted_{uuid4().hex}"))
        try:
            for count in (1, 2):
                await store.log.append([write("kept-1", count=count)])
            notifier = vars(store.log)["_high_water_mark"].notifier  # the notifier starts in the background
            await until(lambda: notifier.is_listening)
            yield proxy, store
        finally:
            await store.close()


def appends(statements: list[str]) -> int:
    """Return the number of round trips; all must be calls of an append function."""
    assert [each for each in statements if "fait_append" not in each] == []
    return len(statements)


@pytest.mark.parametrize("kind", KINDS)
async def test_an_append_is_one_round_trip(counted: Counted, kind: str) -> None:
    proxy, store = counted
    proxy.statements.clear()

    result = await store.log.append(*append_of(kind, "kept-1", 3))

    assert isinstance(result, Appended)
    assert appends(proxy.statements) == 1


async def test_rejected_append_is_one_round_trip(counted: Counted) -> None:
    proxy, store = counted
    await store.log.append([StreamWrite("sold-1", (event("fault.sold", "seat:1"),), 0)])
    condition = AppendCondition((Query(types=("fault.sold",), tags=("seat:1",)),), 0)
    proxy.statements.clear()

    results = [
        await store.log.append([write("kept-1", expected=1)]),
        await store.log.append([write("kept-1", expected=1, count=3)]),
        await store.log.append([write("sold-2")], condition),
    ]

    assert [type(each) for each in results] == [VersionConflict, VersionConflict, ConditionFailed]
    assert appends(proxy.statements) == len(results)


async def test_appends_of_many_callers_share_round_trips(counted: Counted) -> None:
    proxy, store = counted
    for _ in range(20):
        proxy.statements.clear()
        results = await asyncio.gather(*(store.log.append([write(f"mine-{number}")]) for number in range(64)))
        assert all(isinstance(each, Appended) for each in results)
        if len(proxy.statements) <= 4:
            break  # both connections have prepared the statements now

    assert appends(proxy.statements) <= 4  # the first append is sent immediately, the others in two batches


async def test_repeated_append_takes_few_round_trips(counted: Counted) -> None:
    proxy, store = counted
    writes = [write("kept-1")]
    first = await store.log.append(writes)
    await store.log.append(writes)  # now all connections have prepared the statement
    proxy.statements.clear()

    result = await store.log.append(writes)

    assert isinstance(first, Appended)
    assert result == Appended(first.position, first.versions, repeated=True)
    assert appends(proxy.statements) <= 3


async def test_page_and_mark_take_one_round_trip_each(counted: Counted) -> None:
    proxy, store = counted
    await store.log.read(0)
    await asyncio.sleep(0.05)
    proxy.statements.clear()

    page = await store.log.read(0)

    assert len(page.events) == 3
    assert [("fait_high_water_mark" in each, "fait_all_events" in each) for each in proxy.statements] == [
        (True, False),
        (False, True),
    ]


async def test_open_of_a_known_app_writes_nothing_and_takes_few_round_trips(counted: Counted) -> None:
    proxy, _ = counted
    url = proxy.url(schema=f"counted_{uuid4().hex}")
    async with shop.open(url, run="elsewhere"):
        pass
    proxy.statements.clear()

    async with shop.open(url, run="elsewhere"):
        statements = list(proxy.statements)

    assert not [each for each in statements if "INSERT" in each or "CREATE" in each]
    assert not [each for each in statements if "SELECT definition " in each]
    assert len(statements) <= 4  # two for each of two statements, as the connection prepares it
