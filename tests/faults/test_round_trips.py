"""Any append is one round trip, counted on the wire."""

import asyncio
from collections.abc import AsyncIterator, Callable
from uuid import uuid4

import pytest

from fait.events.append import AppendCondition, Appended, ConditionFailed, Conflict, Write
from fait.events.query import Query
from fait.store.open import Store, open_store
from tests.faults.appends import KINDS, append_of, event, write
from tests.faults.wire import Proxy
from tests.servers.postgres import PostgresServer

Counted = tuple[Proxy, Store]


@pytest.fixture
async def counted(postgres_servers: Callable[..., PostgresServer]) -> AsyncIterator[Counted]:
    """A store whose statements are prepared, with nobody who reads."""
    async with Proxy(postgres_servers().port) as proxy:
        store = await open_store(proxy.url(schema=f"counted_{uuid4().hex}"))
        try:
            await store.log.append([write("kept-1", count=3)])
            yield proxy, store
        finally:
            await store.close()


@pytest.mark.parametrize("kind", KINDS)
async def test_an_append_is_one_round_trip(counted: Counted, kind: str) -> None:
    proxy, store = counted
    before = proxy.round_trips, proxy.simple

    verdict = await store.log.append(*append_of(kind, "kept-1", 3))

    assert isinstance(verdict, Appended)
    assert (proxy.round_trips, proxy.simple) == (before[0] + 1, before[1])


async def test_one_that_is_refused_is_one_round_trip(counted: Counted) -> None:
    proxy, store = counted
    await store.log.append([Write("sold-1", (event("fault.sold", "seat:1"),), 0)])
    condition = AppendCondition((Query(types=("fault.sold",), tags=("seat:1",)),), 0)
    before = proxy.round_trips

    verdicts = [
        await store.log.append([write("kept-1", expected=1)]),
        await store.log.append([write("kept-1", expected=1, count=3)]),
        await store.log.append([write("sold-2")], condition),
    ]

    assert [type(each) for each in verdicts] == [Conflict, Conflict, ConditionFailed]
    assert proxy.round_trips == before + len(verdicts)


async def test_appends_of_many_callers_share_round_trips(counted: Counted) -> None:
    proxy, store = counted
    before = proxy.round_trips

    verdicts = await asyncio.gather(*(store.log.append([write(f"mine-{number}")]) for number in range(64)))

    assert all(isinstance(each, Appended) for each in verdicts)
    assert proxy.round_trips <= before + 2  # the first goes at once, the others together


async def test_a_repetition_takes_few(counted: Counted) -> None:
    proxy, store = counted
    writes = [write("kept-1")]
    first = await store.log.append(writes)
    await store.log.append(writes)  # and now all connections that it takes know the statement
    before = proxy.round_trips

    verdict = await store.log.append(writes)

    assert isinstance(first, Appended)
    assert verdict == Appended(first.position, first.versions, repeated=True)
    assert proxy.round_trips <= before + 3


async def test_a_page_of_the_log_is_one_round_trip_and_its_mark_another(counted: Counted) -> None:
    proxy, store = counted
    await store.log.read(0)
    await asyncio.sleep(0.05)
    before = proxy.round_trips

    page = await store.log.read(0)

    assert len(page.events) == 3
    assert proxy.round_trips == before + 2
