"""Publishes to queues, and waits for the confirmation of each message before the next one of its key is sent.

A server may refuse a message and accept a later one, for example when a queue is full for a moment. With one
unconfirmed message for each key, that cannot change the order of a key. Many keys are sent at the same time.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final

from aiormq import Channel
from aiormq.exceptions import ChannelClosed, DeliveryError, PublishError

from fait._broker_errors import BrokerUnavailable
from fait._delivery.brokers.outcomes import check_call
from fait._delivery.brokers.port import (
    Accepted,
    BrokerFeatures,
    Lane,
    Message,
    Progress,
    PublishOutcome,
    Refused,
    Unsent,
    lane_of,
)
from fait._delivery.brokers.rabbitmq.connection import RabbitmqConnection
from fait._delivery.brokers.rabbitmq.queues import lane_name, properties_of

__all__ = ["RabbitmqPublisher"]

LARGE_BYTES: Final = 64 * 1024
"""Number of bytes of a body from which on a message is sent alone on a channel of its own.

The server does not tell its limit. It closes the channel of a message that is too large, and with it all others that
are not confirmed.
"""

HEADROOM_BYTES: Final = 4_096
"""Difference between the maximum size of a frame and that of headers: for other properties, and encoding."""

HEADER_BYTES: Final = 8
"""Number of bytes that encode the lengths and the type of a header."""

TOO_LARGE: Final = "message size"
"""Part of the server's reason if it refuses a message because of its size."""


class RabbitmqPublisher:
    """A publisher with channels of its own.

    Args:
        lanes: the lanes of the topic.
        buckets: the buckets.
        connection: the connection.
        features: features of the broker.
    """

    def __init__(
        self, lanes: Sequence[Lane], buckets: range, connection: RabbitmqConnection, features: BrokerFeatures
    ) -> None:
        self._lanes = lanes
        self._buckets = buckets
        self._connection = connection
        self._features = features
        self._channel: Channel | None = None
        self._large_channel: Channel | None = None
        self._one_large = asyncio.Lock()
        self._failure: BrokerUnavailable | None = None

    async def open(self) -> None:
        """Open its channel."""
        self._channel = await self._connection.channel(confirms=True)

    async def progress(self) -> Mapping[int, Progress]:
        """Return nothing: queues store no position."""
        self._require()
        return {}

    async def publish(self, batch: Sequence[Message], *, after: int, upto: int) -> Sequence[PublishOutcome]:
        """Publish the messages of all keys at the same time, those of a key one after another."""
        refused = check_call(batch, self._features, self._buckets)
        self._require()
        outcomes: list[PublishOutcome] = [Unsent()] * len(batch)
        keys = dict[str, list[int]]()
        for at, each in enumerate(batch):
            if problem := refused.get(at) or self._wrong_headers(each):
                outcomes[at] = problem
            # fault: key-not-awaited
            keys.setdefault(each.key, []).append(at)
        try:
            await self._connection.run(
                lambda: asyncio.gather(*(self._publish_key(batch, key, outcomes) for key in keys.values())), "unknown"
            )
        except BrokerUnavailable as error:
            self._failure = self._connection.unavailable(error.reason, "unknown")
            raise self._failure from None
        return outcomes

    async def _publish_key(self, batch: Sequence[Message], key: Sequence[int], outcomes: list[PublishOutcome]) -> None:
        for at in key:
            if not isinstance(outcomes[at], Refused):
                outcomes[at] = await self._send(batch[at])
            # fault: message-behind-refused-one-sent
            if isinstance(outcomes[at], Refused):
                return

    def _wrong_headers(self, message: Message) -> Refused | None:
        size = message.size - len(message.body) + len(message.key.encode()) + HEADER_BYTES * len(message.headers)
        maximum = self._connection.maximum_frame_bytes - HEADROOM_BYTES
        if size <= maximum:
            return None
        return Refused(f"the headers have {size:,} bytes, and the server accepts {maximum:,}", "header")

    async def _send(self, message: Message) -> PublishOutcome:
        if len(message.body) >= LARGE_BYTES:
            return await self._send_large(message)
        assert self._channel is not None
        try:
            return await self._confirmed(self._channel, message)
        except ChannelClosed as refusal:
            raise self._connection.failed(str(refusal)) from None

    async def _send_large(self, message: Message) -> PublishOutcome:
        async with self._one_large:
            self._large_channel = self._large_channel or await self._connection.channel(confirms=True)
            try:
                return await self._confirmed(self._large_channel, message)
            except ChannelClosed as refusal:
                self._large_channel = None
                # fault: too-large-is-an-outage
                if TOO_LARGE in str(refusal):
                    return Refused(f"the server refuses it: {refusal}", "too-large")
                raise self._connection.failed(str(refusal)) from None

    async def _confirmed(self, channel: Channel, message: Message) -> Accepted:
        lane = lane_of(message.bucket, len(self._lanes))
        queue = lane_name(self._lanes[lane].topic, lane)
        try:
            # fault: message-may-be-unroutable
            await channel.basic_publish(
                message.body, routing_key=queue, properties=properties_of(message), mandatory=True, wait=False
            )
        except PublishError:
            raise self._connection.failed(f"there is no queue {queue!r}") from None
        except DeliveryError:
            raise self._connection.failed(f"the queue {queue!r} is full or not available") from None
        return Accepted()

    def _require(self) -> None:
        if self._failure:
            raise self._failure
        self._connection.require()

    async def close(self) -> None:
        """Close its channels."""
        self._failure = self._failure or self._connection.unavailable("the publisher is closed")
        channels, self._channel, self._large_channel = (self._channel, self._large_channel), None, None
        await asyncio.gather(*(self._connection.finish(each.close) for each in channels if each is not None))
