"""What tests of relays share: an app, brokers that tests stop and limit, and what is at a broker."""

import asyncio
import copy
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, ClassVar

import aiormq
import nats
import pytest
import redis.asyncio
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType
from msgspec.structs import replace

import fait
from fait._delivery.brokers.memory import broker as memory
from fait._delivery.brokers.memory.server import server_of
from fait._delivery.brokers.rabbitmq import consumer as rabbitmq
from fait._delivery.brokers.rabbitmq.queues import lane_name
from fait.broker import Broker, ConsumedBatch, ConsumedMessage, ConsumerSpec, Topology, open_broker
from tests.relay.checker import Arrival, problems
from tests.servers.broker import BrokerServer
from tests.servers.rabbitmq import RabbitmqServer

TOPIC = "orders"
SOON_S = 30.0
SETTLE_S = 1.0
"""A queue of RabbitMQ that is declared just before its server is killed can be unusable after that."""


@fait.event("relay.counted")
class Counted:
    number: int


@fait.event("relay.noted")
class Noted:
    text: str


def relay_app(to: str, *, topic: Any = TOPIC, name: str = "relay-orders", **options: Any) -> fait.App:
    """Return an app that publishes all of its events, from the beginning."""
    app = fait.App("shop")
    app.include(Counted, Noted)
    app.relay(Counted, Noted, to=to, topic=topic, name=name, **{"start": "beginning", **options})
    return app


class TestedBroker(ABC):
    """A broker that a test stops, kills and limits."""

    __test__ = False
    limited_bytes: ClassVar[int]
    """Size of a body that a limited broker refuses."""
    ordered: ClassVar[bool] = True
    """Whether the messages of a key are delivered in order."""
    repeats: ClassVar[bool] = False
    """Whether messages are there several times after an outage, because the broker stores no position."""
    kills: ClassVar[int] = 3
    """How many times a test kills it."""

    def __init__(self, url: str) -> None:
        self.url = url

    @abstractmethod
    def down(self) -> AbstractContextManager[None]:
        """Nothing is answered, until the end of the block. Messages that are on their way are lost."""

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Keep a copy of what is at the broker."""

    @abstractmethod
    def lose(self, folder: Path) -> None:
        """Lose what was published since the copy was made."""

    @abstractmethod
    def limited(self) -> "Any":
        """Refuse messages of `limited_bytes` until the end of the block: an asynchronous context manager."""

    async def prepare(self, lanes: int = 4, topics: Iterable[str] = (TOPIC,)) -> None:
        async with opened(self.url) as broker:
            await broker.check(Topology(dict.fromkeys(topics, lanes)), create=True)

    async def messages(self, topic: str = TOPIC) -> list[ConsumedMessage]:
        """Return all messages of a topic, in order for each lane."""
        async with opened(self.url) as broker:
            start = "beginning" if broker.features.seekable else "acknowledged"
            spec = ConsumerSpec(name="test", lanes=await broker.lanes(topic), start=start)
            consumer, found = await broker.consumer(spec, {}), list[ConsumedMessage]()
            while isinstance(batch := await consumer.receive(1 if found else 3), ConsumedBatch):
                found += batch.messages
            await consumer.close()
        return found

    async def arrived(self, topic: str = TOPIC) -> list[Arrival]:
        return list(map(arrival_of, await self.messages(topic)))


class MemoryUnderTest(TestedBroker):
    limited_bytes = 20_000

    @contextmanager
    def down(self) -> Any:
        server = server_of(self.url.partition(":")[2])
        server.frozen = True
        yield
        server.frozen = False

    def save(self, folder: Path) -> None:
        server = server_of(self.url.partition(":")[2])
        self.saved = copy.deepcopy((server._topics, server._states))

    def lose(self, folder: Path) -> None:
        server = server_of(self.url.partition(":")[2])
        server._topics, server._states = copy.deepcopy(self.saved)

    @asynccontextmanager
    async def limited(self) -> AsyncIterator[None]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(memory, "FEATURES", replace(memory.FEATURES, maximum_message_bytes=10_000))
            yield


class ServerUnderTest(TestedBroker):
    def __init__(self, server: BrokerServer) -> None:
        super().__init__(server.url)  # type: ignore[attr-defined]
        self.server = server

    @contextmanager
    def down(self) -> Any:
        self.server.kill()
        try:
            yield
        finally:
            self.server.start()

    def save(self, folder: Path) -> None:
        self.server.save(folder)

    def lose(self, folder: Path) -> None:
        self.server.restore(folder)


class KafkaUnderTest(ServerUnderTest):
    limited_bytes = 20_000

    @asynccontextmanager
    async def limited(self) -> AsyncIterator[None]:
        self._limit(10_000)
        yield
        self._limit(1 << 20)

    def _limit(self, maximum: int) -> None:
        client = AdminClient({"bootstrap.servers": f"127.0.0.1:{self.server.port}", "log_level": 0})
        entry = ConfigEntry("max.message.bytes", str(maximum), incremental_operation=AlterConfigOpType.SET)
        topic = ConfigResource(ResourceType.TOPIC, TOPIC, incremental_configs=[entry])
        client.incremental_alter_configs([topic])[topic].result()


class NatsUnderTest(ServerUnderTest):
    limited_bytes = 20_000

    @asynccontextmanager
    async def limited(self) -> AsyncIterator[None]:
        await self._limit(10_000)
        try:
            yield
        finally:
            await self._limit(-1)

    async def _limit(self, size: int) -> None:
        client = await nats.connect(self.url)
        try:
            settings = (await client.jetstream().stream_info(TOPIC)).config
            await client.jetstream().update_stream(settings.evolve(max_msg_size=size))
        finally:
            await client.close()


class RedisUnderTest(ServerUnderTest):
    limited_bytes = 1_048_500

    @asynccontextmanager
    async def limited(self) -> AsyncIterator[None]:
        await self._limit(1 << 20)
        try:
            yield
        finally:
            await self._limit(512 << 20)

    async def _limit(self, size: int) -> None:
        client: Any = redis.asyncio.Redis.from_url(self.url)
        try:
            await client.config_set("proto-max-bulk-len", size)
        finally:
            await client.aclose()


class RabbitmqUnderTest(ServerUnderTest):
    """The server that all tests share. Its topics are deleted before each test."""

    limited_bytes = 100_001
    repeats = True
    kills = 1  # it takes seconds to start
    server: RabbitmqServer

    async def messages(self, topic: str = TOPIC) -> list[ConsumedMessage]:
        with pytest.MonkeyPatch.context() as patch:
            # They are not acknowledged, because that would delete them.
            patch.setattr(rabbitmq, "MAX_UNACKNOWLEDGED", 1 << 15)
            return await super().messages(topic)

    async def prepare(self, lanes: int = 4, topics: Iterable[str] = (TOPIC,)) -> None:
        async with aiormq.connect(self.url) as connection:
            channel = await connection.channel()
            for topic in topics:
                for number in range(lanes):
                    await channel.queue_delete(lane_name(topic, number))
        await super().prepare(lanes, topics)
        await asyncio.sleep(SETTLE_S)

    @asynccontextmanager
    async def limited(self) -> AsyncIterator[None]:
        await self._limit(100_000)
        try:
            yield
        finally:
            await self._limit(134_217_728)

    async def _limit(self, size: int) -> None:
        await self.server.control("eval", f"application:set_env(rabbit, max_message_size, {size}).")


class UnorderedRabbitmqUnderTest(RabbitmqUnderTest):
    ordered = False


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Broker]:
    broker = await open_broker(url, timeout_s=5)
    try:
        yield broker
    finally:
        await broker.close()


def arrival_of(message: ConsumedMessage) -> Arrival:
    """Return key and position of a message, as its attributes say them."""
    headers = {name.replace("ce_", "ce-"): value for name, value in message.headers.items()}
    return Arrival(headers["ce-partitionkey"], int(headers["ce-sequence"]))


async def recorded(system: fait.System, key: Callable[[Any], str] = lambda each: each.stream) -> list[Arrival]:
    """Return the events of a log."""
    return [Arrival(key(each), each.position) async for each in system.events()]


async def append(system: fait.System, count: int, keys: int = 5, start: int = 0) -> None:
    for number in range(start, start + count):
        await system.publish(Counted(number), stream=f"order-{number % keys}")


async def until_published(system: fait.System, broker: TestedBroker) -> None:
    """Wait until the relay has passed the log; then compare what is at the broker."""
    await system.wait(timeout_s=SOON_S)
    assert problems(await recorded(system), await broker.arrived(), repeats=broker.repeats) == []


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(SOON_S):
        while not await condition():  # noqa: ASYNC110 - there is no event to wait for
            await asyncio.sleep(0.02)
