"""What all parts of the contract of brokers use: an open broker, topics, messages, and the content of a topic.

Messages are read up to a mark, which a publisher of another source has published to each lane. So it is certain which
messages are in a lane, without waiting for those that must not be there.
"""

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import AsyncExitStack
from typing import Any, Final, Protocol
from uuid import uuid4

from fait._delivery.brokers.port import (
    BUCKETS,
    Broker,
    BrokerFeatures,
    ConsumedBatch,
    ConsumedMessage,
    Consumer,
    ConsumerSpec,
    Lane,
    Message,
    Progress,
    Publisher,
    PublishOutcome,
    Source,
    Topology,
    lowest_progress,
)
from fait._delivery.wire.outgoing import bucket_of

__all__ = [
    "ALL_BUCKETS",
    "BrokerUnderTest",
    "ServerControl",
    "bucket_of",
    "has_backlog",
    "kinds",
    "position",
    "publish",
    "received",
    "visible_keys",
]

ALL_BUCKETS: Final = range(BUCKETS)

SOON_S = 20.0
"""Timeout for a message that must arrive."""


class ServerControl(Protocol):
    """Stops the server of a broker, for the tests of outages."""

    async def freeze(self) -> None:
        """Let the server answer no more, without closing its connections, as with SIGSTOP."""
        ...

    async def thaw(self) -> None:
        """Let the server answer again, as with SIGCONT."""
        ...


class BrokerUnderTest:
    """Opens brokers, and makes topics, publishers and consumers that no other test uses.

    Args:
        open_another: opens a broker on the same server.
        server: stops the server; None if it cannot be stopped.

    Attributes:
        broker: an open broker.
        server: stops the server.
        source: a source that no other test uses.
    """

    def __init__(self, open_another: Callable[[], Awaitable[Broker]], server: ServerControl | None) -> None:
        self._open_another = open_another
        self._opened = AsyncExitStack()
        self._topics: dict[str, int] = {}
        self._position = 0
        self.server: ServerControl | None = server
        self.source: Source = Source(uuid4().hex, uuid4().hex, "orders")
        self.broker: Broker

    async def __aenter__(self) -> "BrokerUnderTest":
        self.broker = await self.another()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._opened.aclose()

    async def another(self) -> Broker:
        """Return another broker on the same server, which is closed after the test."""
        broker = await self._open_another()
        self._opened.push_async_callback(broker.close)
        return broker

    async def topic(self, lanes: int = 1, prefix: str = "t") -> str:
        """Create a topic."""
        name = f"{prefix}-{uuid4().hex}"
        await self.create(name, lanes)
        return name

    async def create(self, name: str, lanes: int = 1) -> None:
        """Create a topic by its name."""
        findings = await self.broker.check(Topology({name: lanes}), create=True)
        problems = [each for each in findings if each.name == f"topic {name}" and each.status != "ok"]
        assert not problems, problems
        self._topics[name] = lanes

    def message(self, key: str = "a", body: bytes | None = None, **fields: Any) -> Message:
        """Return a message with the next position; its body is the position, unless one is given."""
        self._position += 1
        given: dict[str, Any] = {"position": self._position, "id": f"id-{self._position}", "headers": self.headers()}
        content = str(self._position).encode() if body is None else body
        return Message(key=key, bucket=bucket_of(key), body=content, **(given | fields))

    def headers(self) -> dict[str, str]:
        """Return headers, if the broker has any."""
        prefix = self.broker.features.header_prefix
        return {f"{prefix}type": "thing-happened"} if prefix else {}

    async def publisher(
        self,
        topic: str,
        *,
        broker: Broker | None = None,
        source: Source | None = None,
        buckets: range = ALL_BUCKETS,
        token: int = 1,
    ) -> Publisher:
        """Open a publisher, which is closed after the test."""
        publisher = await (broker or self.broker).publisher(topic, source or self.source, buckets, token)
        self._opened.push_async_callback(publisher.close)
        return publisher

    async def published(self, topic: str, *messages: Message) -> list[PublishOutcome]:
        """Publish messages with a new publisher, in batches, and require that all are accepted."""
        publisher = await self.publisher(topic)
        size, outcomes = self.broker.features.maximum_batch, list[PublishOutcome]()
        for start in range(0, len(messages), size):
            outcomes += await publish(publisher, messages[start : start + size])
        assert kinds(outcomes) == ["Accepted"] * len(messages), outcomes
        return outcomes

    async def consumer(
        self,
        topic: str,
        *,
        name: str | None = None,
        start: Any = None,
        offsets: dict[Lane, str] | None = None,
        lanes: Sequence[Lane] | None = None,
        maximum_batch: int = 500,
        broker: Broker | None = None,
    ) -> Consumer:
        """Open a consumer, which is closed after the test."""
        broker = broker or self.broker
        start = start or ("beginning" if broker.features.seekable else "acknowledged")
        spec = ConsumerSpec(
            name=name or f"c-{uuid4().hex}",
            lanes=tuple(await broker.lanes(topic) if lanes is None else lanes),
            start=start,
            maximum_batch=maximum_batch,
        )
        consumer = await broker.consumer(spec, offsets or {})
        self._opened.push_async_callback(consumer.close)
        return consumer

    async def visible(self, topic: str) -> dict[Lane, list[ConsumedMessage]]:
        """Return all messages of a topic by lane, in the order in which a new consumer receives them."""
        broker = await self.another()
        lanes = await broker.lanes(topic)
        marks = await self._publish_marks(broker, topic, lanes)
        consumer = await self.consumer(topic, broker=broker)
        seen: dict[Lane, list[ConsumedMessage]] = {lane: [] for lane in lanes}
        async with asyncio.timeout(SOON_S):
            while not all(mark in [each.body for each in seen[lane]] for lane, mark in marks.items()):
                batch = await consumer.receive(1)
                if isinstance(batch, ConsumedBatch):
                    seen[batch.lane] += batch.messages
        await broker.close()
        return {lane: [each for each in found if b"mark " not in each.body] for lane, found in seen.items()}

    async def _publish_marks(self, broker: Broker, topic: str, lanes: Iterable[Lane]) -> dict[Lane, bytes]:
        marks = {lane: f"mark {uuid4().hex}".encode() for lane in lanes}
        source = Source(uuid4().hex, uuid4().hex, "marks")
        publisher = await self.publisher(topic, broker=broker, source=source)
        await publish(publisher, [self._mark(lane, body) for lane, body in marks.items()])
        return marks

    def _mark(self, lane: Lane, body: bytes) -> Message:
        return Message(
            key=f"mark-{lane.number}",
            bucket=lane.number,
            position=1,
            id=body.decode(),
            headers=self.headers(),
            body=body,
        )

    async def bodies(self, topic: str) -> list[str]:
        """Return the bodies of all messages of a topic with one lane, as text."""
        return [each.body.decode() for found in (await self.visible(topic)).values() for each in found]


async def position(publisher: Publisher) -> Progress | None:
    """Return the lowest position that the broker stores; None if it stores none."""
    by_bucket = await publisher.progress()
    return lowest_progress(by_bucket, range(min(by_bucket), max(by_bucket) + 1)) if by_bucket else None


async def publish(publisher: Publisher, batch: Sequence[Message]) -> Sequence[PublishOutcome]:
    """Publish a batch after the stored position, up to that of its last message."""
    progress = await position(publisher)
    after = progress.position if progress else 0
    return await publisher.publish(batch, after=after, upto=max(after, batch[-1].position))


def kinds(outcomes: Iterable[PublishOutcome]) -> list[str]:
    """Return the names of the classes of outcomes."""
    return [type(each).__name__ for each in outcomes]


async def received(consumer: Consumer, count: int) -> list[ConsumedMessage]:
    """Receive batches until there are that many messages, of any lanes."""
    messages: list[ConsumedMessage] = []
    async with asyncio.timeout(SOON_S):
        while len(messages) < count:
            batch = await consumer.receive(1)
            if isinstance(batch, ConsumedBatch):
                messages += batch.messages
    return messages


async def has_backlog(consumer: Consumer, features: BrokerFeatures, number: int) -> bool:
    """Whether the backlog of a consumer becomes a number, as far as the broker tells."""
    if features.backlog == "unknown":
        return await consumer.backlog() is None
    maximum = number if features.backlog == "exact" or number == 0 else sys.maxsize
    end = time.monotonic() + SOON_S
    while time.monotonic() < end:
        if (found := await consumer.backlog()) is not None and number <= found <= maximum:
            return True
        await asyncio.sleep(0.01)
    return False


def visible_keys(found: Iterable[Sequence[ConsumedMessage]]) -> dict[str | None, list[str]]:
    """Return the bodies of messages by key, as text."""
    keys: dict[str | None, list[str]] = {}
    for each in (message for lane in found for message in lane):
        keys.setdefault(each.key, []).append(each.body.decode())
    return keys
