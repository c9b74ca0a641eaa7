"""A relay and a consumer need as much memory for many events as for few: they keep none that they have passed."""

import gc
import tracemalloc
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any
from uuid import uuid4

import pytest

import fait
from fait._subscriptions import lane
from fait.broker import Topology
from tests.inbox.topics import idle
from tests.relay.published import Noted, opened, relay_app
from tests.servers.redis import RedisServer

FEW, MANY = 1_000, 5_000
MAX_RATIO = 1.5
TEXT = "x" * 1_000

Url = Callable[[str], str]


@pytest.fixture(autouse=True)
def _short_queues(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the usual bounds, the queues of `FEW` events would not be full."""
    monkeypatch.setattr(lane, "PAGE_SIZE", 100)


async def test_relay_of_many_events_needs_as_much_memory_as_one_of_few(
    redis_server: RedisServer, store_url: Url
) -> None:
    few, many = [await relayed_bytes(redis_server.url, await new_topic(redis_server.url), store_url, count)
                 for count in (FEW, MANY)]  # fmt: skip

    assert many < few * MAX_RATIO


async def test_consumer_of_many_messages_needs_as_much_memory_as_one_of_few(
    redis_server: RedisServer, store_url: Url
) -> None:
    few, many = [await consumed_bytes(redis_server.url, await new_topic(redis_server.url), store_url, count)
                 for count in (FEW, MANY)]  # fmt: skip

    assert many < few * MAX_RATIO


async def new_topic(url: str) -> str:
    name = f"memory-{uuid4().hex}"
    async with opened(url) as broker:
        await broker.check(Topology({name: 4}), create=True)
    return name


async def relayed_bytes(url: str, topic: str, store_url: Url, count: int) -> int:
    """Return the peak memory of a relay that publishes so many events."""
    app, store = relay_app(url, topic=topic), store_url("sqlite")
    async with app.open(store, run="elsewhere") as shop:
        for _ in range(count // 500):
            await shop.append(*(fait.NewEvents(f"note-{n}", [Noted(TEXT)] * 5) for n in range(100)))
    return await peak_bytes(app.open(store), lambda shop: shop.wait(timeout_s=60))


async def consumed_bytes(url: str, topic: str, store_url: Url, count: int) -> int:
    """Return the peak memory of a consumer that handles so many messages."""
    await relayed_bytes(url, topic, store_url, count)
    stock = fait.App("stock")

    @stock.consume(topic, from_=url, as_=Noted, name="consumer", batch=50)
    async def handle(event: Noted) -> None:
        pass

    return await peak_bytes(stock.open(store_url("sqlite")), lambda system: idle(system, count))


async def peak_bytes(opening: AbstractAsyncContextManager[fait.System], work: Callable[[fait.System], Any]) -> int:
    """Return the peak memory of the Python objects that are allocated while a system works."""
    gc.collect()
    tracemalloc.start()
    try:
        async with opening as system:
            await work(system)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
