"""Consumers without order: several processes receive messages of the same queues, and each takes effect once."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from msgspec.structs import replace

import fait
from fait._clock import SystemClock
from fait._delivery.brokers.rabbitmq.connection import RabbitmqConnection
from fait._delivery.brokers.rabbitmq.queues import lane_name
from fait._delivery.inbox import source
from fait._delivery.inbox.received_event import Reception
from fait._delivery.inbox.source import InboxSource, SourceSpec
from fait._events.query import Query
from fait._store.ports.failures import FailureRequest
from fait._store.ports.leases import Lease
from fait._store.ports.registrations import SLOTS, RangeKey, slot_of
from fait.broker import Broker, open_broker
from tests.inbox.topics import (
    SHORT_RETRY,
    Placed,
    Reserved,
    Topic,
    eventually,
    new_topic,
    placed,
    reserved,
    until,
)
from tests.servers.rabbitmq import RabbitmqServer

LEASE_S = 0.2
COUNT = 60


@pytest.fixture
async def topic(rabbitmq_server: RabbitmqServer) -> AsyncIterator[Topic]:
    async with new_topic(f"{rabbitmq_server.url}?order=none", lanes=2) as created:
        yield created


@pytest.fixture(params=["sqlite", "postgres 18"])
def url(request: pytest.FixtureRequest, store_url: Callable[[str], str]) -> str:
    return store_url(request.param)


class Process:
    """An app with a consumer that reserves stock.

    Attributes:
        numbers: numbers of the events with which it was called.
        failing: numbers with which it fails.
        release: lets calls end.
    """

    def __init__(self, topic: Topic) -> None:
        self.app = fait.App("stock")
        self.app.include(Reserved)
        self.numbers, self.failing, self.release = list[int](), set[int](), asyncio.Event()
        self.release.set()
        options: dict[str, Any] = {"as_": Placed, "trusts": ["log-1"], "on_failure": SHORT_RETRY}
        self.app.consume(topic.name, from_=topic.url, name="consumer", **options)(self.handle)

    async def handle(self, event: Placed, ctx: fait.Context) -> None:
        self.numbers.append(event.number)
        await self.release.wait()
        if event.number in self.failing:
            raise ValueError("out of stock")
        await ctx.publish(Reserved(event.order, event.number), stream=f"stock-{event.order}")


async def opened(processes: list[Process], url: str, closing: AsyncExitStack) -> list[fait.System]:
    return [await closing.enter_async_context(each.app.open(url, lease_s=LEASE_S)) for each in processes]


async def until_shared(systems: list[fait.System]) -> None:
    """Wait until each process has a range, and reads the queues."""

    async def is_shared() -> bool:
        owners = {each.worker for each in await systems[0].store.leases.ranges("consumer")}
        states = {status.state for each in systems for status in await each.status()}
        return len(owners - {""}) == len(systems) and states == {"live"}

    await eventually(is_shared)


async def are_delivered(topic: Topic) -> bool:
    """Whether all messages were delivered."""
    broker: Any = topic._broker
    for name in (lane_name(topic.name, number) for number in range(2)):
        queue = await broker._connection.ask(lambda channel, name=name: channel.queue_declare(name, passive=True))
        if queue.message_count:
            return False
    return True


async def until_reserved(system: fait.System, count: int) -> list[int]:
    async def are_reserved() -> bool:
        return len(await reserved(system)) >= count

    await eventually(are_reserved)
    return sorted(each.number for each in await reserved(system))


async def publish_while_held(topic: Topic, systems: list[fait.System], processes: list[Process]) -> None:
    """Publish messages of one key, which no process finishes before it is released."""
    await until_shared(systems)
    for each in processes:
        each.release.clear()
    await topic.publish(*[placed(position, "a") for position in range(1, COUNT + 1)])


async def test_processes_handle_messages_of_one_key_at_the_same_time_and_each_takes_effect_once(
    topic: Topic, url: str
) -> None:
    processes = [Process(topic) for _ in range(2)]
    async with AsyncExitStack() as closing:
        systems = await opened(processes, url, closing)
        await publish_while_held(topic, systems, processes)
        await until(lambda: all(each.numbers for each in processes))
        for each in processes:
            each.release.set()

        assert await until_reserved(systems[0], COUNT) == list(range(1, COUNT + 1))


async def test_backlog_is_that_of_all_processes(topic: Topic, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "BACKLOG_INTERVAL_S", 0.05)
    processes = [Process(topic) for _ in range(2)]
    async with AsyncExitStack() as closing:
        systems = await opened(processes, url, closing)
        await publish_while_held(topic, systems, processes)

        async def have_backlog(count: int) -> bool:
            return {status.lag for each in systems for status in await each.status()} == {count}

        await eventually(lambda: have_backlog(COUNT))
        for each in processes:
            each.release.set()
        await eventually(lambda: have_backlog(0))


async def test_event_that_is_published_again_takes_effect_once_without_order(topic: Topic, url: str) -> None:
    processes = [Process(topic) for _ in range(2)]
    events = [placed(position, f"{position % 3}") for position in range(1, COUNT + 1)]
    async with AsyncExitStack() as closing:
        systems = await opened(processes, url, closing)
        await until_shared(systems)
        await topic.publish(*events)
        await topic.publish(*reversed(events))
        await topic.publish(placed(COUNT + 1, "end"))

        await until_reserved(systems[0], COUNT + 1)
        await eventually(lambda: are_delivered(topic))
    async with processes[0].app.open(url, run="elsewhere") as s:  # they have finished what was delivered to them
        assert sorted(each.number for each in await reserved(s)) == list(range(1, COUNT + 2))


async def test_process_that_ends_leaves_its_messages_to_others_and_ranges_are_merged(topic: Topic, url: str) -> None:
    processes = [Process(topic) for _ in range(3)]
    async with AsyncExitStack() as closing:
        systems = await opened(processes[:1], url, closing)
        async with AsyncExitStack() as ending:
            systems += await opened(processes[1:], url, ending)
            await until_shared(systems)
            await topic.publish(*[placed(position, "a") for position in range(1, COUNT + 1)])
        await topic.publish(*[placed(position, "b") for position in range(COUNT + 1, 2 * COUNT + 1)])

        assert await until_reserved(systems[0], 2 * COUNT) == list(range(1, 2 * COUNT + 1))

        async def are_merged() -> bool:
            return len(await systems[0].store.leases.ranges("consumer")) == 1

        await eventually(are_merged)
        await topic.publish(placed(2 * COUNT + 1, "c"))
        assert len(await until_reserved(systems[0], 2 * COUNT + 1)) == 2 * COUNT + 1


async def test_failed_message_is_parked_alone_and_redriven_by_the_owner_of_its_range(topic: Topic, url: str) -> None:
    processes = [Process(topic) for _ in range(2)]
    for each in processes:
        each.failing = {5, 6, 7}
    async with AsyncExitStack() as closing:
        systems = await opened(processes, url, closing)
        await until_shared(systems)
        await topic.publish(*[placed(position, "a") for position in range(1, COUNT + 1)])
        await until_reserved(systems[0], COUNT - 3)
        failures = systems[0].store.failures

        async def are_parked() -> bool:
            return [each.state for each in await failures.failures("consumer")] == ["parked"] * 3

        async def are_handed_back() -> bool:
            return not await failures.failures("consumer")

        await eventually(are_parked)
        for each in processes:
            each.failing.clear()
        keys = tuple(each.key for each in await failures.failures("consumer"))
        assert await failures.request(FailureRequest("consumer", keys, "redriving", by="test")) == 3

        assert await until_reserved(systems[0], COUNT) == list(range(1, COUNT + 1))
        await eventually(are_handed_back)


async def test_each_message_has_an_order_key_of_its_own_in_the_range_that_received_it(topic: Topic) -> None:
    lease = Lease(RangeKey("consumer", 1, SLOTS // 4), "worker", 1, 0, 1, (), high=SLOTS // 2)
    reception = Reception(frozenset(), frozenset({"log-1"}))
    spec = SourceSpec("consumer", topic.name, partial(open_broker, topic.url), reception, timedelta(days=7))
    await topic.publish(*[placed(position, "a") for position in range(1, 21)])
    async with fait.App("stock").open("memory:") as system:
        store, events = system.store, list[fait.RecordedEvent]()
        source = InboxSource(spec, store.inbox, store.registrations, SystemClock(), lease)
        while len(events) < 20:
            page = await source.read(len(events), Query(), 100)
            assert page is not None
            events += page.events
        await source.close()

    assert len({each.stream for each in events}) == 20
    assert all(SLOTS // 4 <= slot_of(each.stream) < SLOTS // 2 for each in events)


async def test_message_that_two_processes_handle_takes_effect_once(
    topic: Topic, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    processes, connections = [Process(topic) for _ in range(2)], list[tuple[str, RabbitmqConnection]]()
    open_source = InboxSource.__init__

    def remember(self: InboxSource, spec: SourceSpec, inbox: Any, registrations: Any, clock: Any, lease: Lease) -> None:
        async def connect() -> Broker:
            broker: Any = await spec.open_broker()
            connections.append((lease.worker, broker._connection))
            return broker

        open_source(self, replace(spec, open_broker=connect), inbox, registrations, clock, lease)

    monkeypatch.setattr(InboxSource, "__init__", remember)
    async with AsyncExitStack() as closing:
        systems = await opened(processes, url, closing)
        await until_shared(systems)
        for each in processes:
            each.release.clear()
        await topic.publish(placed(1, "a"))
        await until(lambda: any(each.numbers for each in processes))
        first, second = sorted(processes, key=lambda each: not each.numbers)
        worker = systems[processes.index(first)]._subscription_runner.worker
        for owner, connection in connections:
            if owner == worker:
                connection.fail("the test closes it")
        await until(lambda: second.numbers)
        second.release.set()
        assert await until_reserved(systems[0], 1) == [1]
        first.release.set()
        await topic.publish(placed(2, "a"))

        assert await until_reserved(systems[0], 2) == [1, 2]
        assert first.numbers.count(1) == second.numbers.count(1) == 1
