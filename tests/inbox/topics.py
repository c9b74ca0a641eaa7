"""What the tests of consumers use: a topic of a broker, events of a log, and messages of other programs."""

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from datetime import UTC, datetime
from uuid import uuid4

import fait
from fait._delivery.brokers.open import open_broker
from fait._delivery.brokers.port import BUCKETS, Accepted, Broker, Message, Publisher, Source, Topology
from fait._delivery.wire.outgoing import bucket_of, message_of

TIME = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
SOURCE = Source("log-1", "epoch-1", "relay")
SHORT_RETRY = fait.FailurePolicy(initial_s=0.005, max_s=0.02, attempts=3)


@fait.event("orders.placed")
class Placed:
    order: str
    number: int


@fait.event("stock.reserved")
class Reserved:
    order: str
    number: int


def placed(position: int, key: str, number: int | None = None) -> fait.RecordedEvent:
    """Return an event of the log of orders."""
    data = json.dumps({"order": key, "number": position if number is None else number})
    id = f"00000000-0000-4000-8000-{position:012}"
    return fait.RecordedEvent(position, key, position, "orders.placed", 1, id, data, "{}", (), TIME, TIME)


def foreign(key: str, headers: dict[str, str], body: bytes = b"") -> Message:
    """Return a message of another program."""
    return Message(key=key, bucket=bucket_of(key), position=1, id=uuid4().hex, headers=headers, body=body)


def cloud_event(id: str, key: str, data: str = "{}", *, type: str = "shop.sold", source: str = "/shop") -> Message:
    """Return a CloudEvent of another program, in structured mode."""
    event = {"specversion": "1.0", "id": id, "source": source, "type": type, "partitionkey": key}
    body = json.dumps(event)[:-1] + f', "data": {data}}}'
    return foreign(key, {"content-type": "application/cloudevents+json"}, body.encode())


class Topic:
    """A topic with an open publisher.

    Attributes:
        url: URL of the broker.
        name: name of the topic.
    """

    def __init__(self, url: str, name: str, broker: Broker) -> None:
        self.url = url
        self.name = name
        self._broker = broker
        self._publisher: Publisher | None = None
        self._position = 0

    async def publish(self, *events: fait.RecordedEvent, source: Source = SOURCE, floor: int = 0) -> None:
        """Publish events of a log, as a relay does."""
        prefix = self._broker.features.header_prefix
        await self.send([message_of(each, source, each.stream, floor, prefix) for each in events])

    async def send(self, messages: Sequence[Message]) -> None:
        """Publish messages of any form."""
        if self._publisher is None:
            source = Source(uuid4().hex, "epoch", "tests")
            self._publisher = await self._broker.publisher(self.name, source, range(BUCKETS), 1)
        outcomes = await self._publisher.publish(messages, after=self._position, upto=self._position + 1)
        self._position += 1
        assert all(isinstance(each, Accepted) for each in outcomes), outcomes


@contextlib.asynccontextmanager
async def new_topic(url: str, lanes: int = 3) -> AsyncGenerator[Topic, None]:
    """Create a topic that no other test uses."""
    broker, name = await open_broker(url), f"orders-{uuid4().hex}"
    try:
        await broker.check(Topology({name: lanes}), create=True)
        yield Topic(url, name, broker)
    finally:
        await broker.close()


async def until(condition: Callable[[], object], timeout_s: float = 20.0) -> None:
    """Wait until a condition holds."""
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110 - nothing signals it
            await asyncio.sleep(0.005)


async def eventually(condition: Callable[[], Awaitable[object]]) -> None:
    """Wait until a condition holds that is asked for."""
    async with asyncio.timeout(10):
        while not await condition():  # noqa: ASYNC110 - nothing signals it
            await asyncio.sleep(0.02)


async def idle(system: fait.System, received: int, name: str = "consumer") -> None:
    """Wait until a consumer has received messages and nothing of them is left to do, except for parked keys."""
    async with asyncio.timeout(20):
        while True:
            ranges = await system.store.leases.ranges(name)
            failures = await system.store.failures.failures(name)
            if min(each.position for each in ranges) >= received and all(each.state == "parked" for each in failures):
                return
            await asyncio.sleep(0.01)


async def reserved(system: fait.System) -> list[Reserved]:
    """Return the events that handlers have appended, in order."""
    return [each.event async for each in system.events() if isinstance(each.event, Reserved)]


def by_key(numbers: Sequence[tuple[str, int]]) -> dict[str, list[int]]:
    """Return numbers by key, in order."""
    keys = dict.fromkeys(key for key, _ in numbers)
    return {each: [number for key, number in numbers if key == each] for each in keys}
