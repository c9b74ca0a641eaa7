"""A RabbitMQ server as a broker: features, topology, and what it opens, on one connection."""

from collections.abc import Collection, Mapping
from typing import Any, Final

from aiormq import Channel

from fait._delivery.brokers.destination import Destination
from fait._delivery.brokers.port import (
    MAX_MESSAGE_BYTES,
    BrokerFeatures,
    ConsumerSpec,
    Lane,
    Progress,
    Source,
    Topology,
)
from fait._delivery.brokers.rabbitmq.connection import RabbitmqConnection, ServerRefusal
from fait._delivery.brokers.rabbitmq.consumer import RabbitmqConsumer
from fait._delivery.brokers.rabbitmq.publisher import RabbitmqPublisher
from fait._delivery.brokers.rabbitmq.queues import LaneKind, kind_of, lane_name, queue_arguments
from fait._delivery.brokers.rabbitmq.settings import POLICIES, find_mismatch, find_problems, read_arguments
from fait._delivery.brokers.topics import Topics
from fait._errors import UsageError
from fait._store.ports.store import Finding

__all__ = ["RabbitmqBroker"]

MAXIMUM_BATCH: Final = 500
"""Maximum number of messages of a call. If all have the same key, one waits for the confirmation of another."""

_LOST_BY_QUEUE: Final = (
    "Limits of the queue, by its arguments or by a policy. A queue that was declared moments before a crash."
)

_LOSSES: Final[Mapping[LaneKind, str]] = {
    "quorum": _LOST_BY_QUEUE,
    "unordered": _LOST_BY_QUEUE,
    "stream": "A power failure of all replicas. Limits of the stream, by its arguments or by a policy.",
}


class RabbitmqBroker:
    """An open server."""

    def __init__(self, destination: Destination, timeout_s: float) -> None:
        self._kind: LaneKind = kind_of(destination)
        self._connection = RabbitmqConnection(destination, timeout_s)
        self._topics = Topics(destination.name, self._read_lanes)
        self.features = features_of(self._kind)

    @classmethod
    async def open(cls, destination: Destination, timeout_s: float) -> "RabbitmqBroker":
        """Connect."""
        broker = cls(destination, timeout_s)
        await broker._connection.open()
        return broker

    async def check(self, topology: Topology, *, create: bool) -> list[Finding]:
        """Compare the topics with the queues, and read the arguments of these."""
        findings = await self._topics.findings(topology, self._create if create else None)
        for topic in topology.topics:
            findings += await self._problems(topic)
        return [*findings, POLICIES]

    async def _problems(self, topic: str) -> list[Finding]:
        worst = dict[str, Finding]()
        for number in range(await self._read_lanes(topic) or 0):
            for each in find_problems(topic, self._kind, await self._arguments(Lane(topic, number))):
                if worst.setdefault(each.name, each).status == "ok":
                    worst[each.name] = each
        return list(worst.values())

    async def lanes(self, topic: str) -> tuple[Lane, ...]:
        """Return the lanes of a topic."""
        return await self._topics.lanes(topic)

    async def publisher(self, topic: str, source: Source, buckets: range, fencing_token: int) -> RabbitmqPublisher:
        """Open a publisher. It fences no other one."""
        publisher = RabbitmqPublisher(await self._topics.lanes(topic), buckets, self._connection, self.features)
        await publisher.open()
        return publisher

    async def progress(self, topic: str, source: Source, buckets: range) -> Mapping[int, Progress]:
        """Return nothing: the server stores no position."""
        await self._topics.lanes(topic)
        return {}

    async def ends(self, lanes: Collection[Lane]) -> None:
        """Return None: the server does not tell."""
        await self._topics.require_lanes(lanes)

    async def consumer(self, spec: ConsumerSpec, offsets: Mapping[Lane, str]) -> RabbitmqConsumer:
        """Open a consumer."""
        if (spec.start == "acknowledged") is self.features.seekable:
            start = "at the beginning or the end" if self.features.seekable else "with what is not acknowledged"
            raise UsageError(f"RabbitMQ has no such start for queues of type {self._kind}: start {start}")
        consumer = RabbitmqConsumer(spec, self._connection, self._kind, self._channel_of)
        await consumer.open(offsets)
        return consumer

    async def _channel_of(self, lane: Lane) -> Channel:
        """Open a channel for a consumer of a lane, whose queue must exist and keep the order."""
        channel, name = await self._connection.channel(), lane_name(lane.topic, lane.number)
        try:
            await self._connection.run(lambda: channel.queue_declare(name, passive=True))
            await self._connection.run(
                lambda: channel.queue_declare(name, durable=True, arguments=self._expected_arguments)
            )
        except ServerRefusal as refusal:  # it has closed the channel
            if refusal.is_missing:
                raise self._topics.mismatch({lane.topic: f"has no lane {lane.number}"}) from None
            if refusal.is_outage:
                raise self._connection.failed(refusal.text) from None
        else:
            return channel
        if mismatch := find_mismatch(self._kind, await self._arguments(lane)):
            raise self._topics.mismatch({lane.topic: mismatch})
        return await self._connection.channel()

    async def _read_lanes(self, topic: str) -> int | None:
        """Return the number of lanes; None if a queue is missing, or the exchange after the last one."""
        lanes = 0
        while await self._exists(lane_name(topic, lanes), queue=True):
            lanes += 1
        # fault: missing-lane-ends-topic
        return lanes if await self._exists(lane_name(topic, lanes), queue=False) else None

    async def _exists(self, name: str, *, queue: bool) -> bool:
        async def declare(channel: Channel) -> None:
            if queue:
                await channel.queue_declare(name, passive=True)
            else:
                await channel.exchange_declare(name, passive=True)

        try:
            await self._connection.ask(declare)
        except ServerRefusal as refusal:
            if refusal.is_missing:
                return False
            raise self._connection.failed(refusal.text) from None
        return True

    async def _create(self, topic: str, lanes: int) -> None:
        try:
            await self._connection.ask(
                lambda channel: channel.exchange_declare(lane_name(topic, lanes), durable=True, internal=True)
            )
            for number in range(lanes):
                await self._declare(lane_name(topic, number), self._expected_arguments, durable=True)
        except ServerRefusal as refusal:
            raise self._topics.mismatch({topic: f"cannot be created: {refusal.text}"}) from None

    @property
    def _expected_arguments(self) -> dict[str, Any]:
        return queue_arguments(self._kind, self._connection.server_version)

    async def _arguments(self, lane: Lane) -> dict[str, Any]:
        name = lane_name(lane.topic, lane.number)
        try:
            return await read_arguments(
                self._expected_arguments, lambda arguments, durable: self._declare(name, arguments, durable=durable)
            )
        except ServerRefusal as refusal:
            if refusal.is_outage:
                raise self._connection.failed(refusal.text) from None
            raise self._topics.mismatch({lane.topic: f"has a queue that cannot be read: {refusal.text}"}) from None

    async def _declare(self, queue: str, arguments: Mapping[str, Any], *, durable: bool) -> None:
        async def declare(channel: Channel) -> None:
            await channel.queue_declare(queue, durable=durable, arguments=dict(arguments))

        await self._connection.ask(declare)

    async def close(self) -> None:
        """Close the connection."""
        await self._connection.close()


def features_of(kind: LaneKind) -> BrokerFeatures:
    """Return what RabbitMQ promises."""
    is_stream = kind == "stream"
    return BrokerFeatures(
        batch="single",
        maximum_batch=MAXIMUM_BATCH,
        maximum_message_bytes=MAX_MESSAGE_BYTES,
        fence="none",
        stores_position=False,
        deduplicates=False,
        order="none" if kind == "unordered" else "lane",
        seekable=is_stream,
        acknowledges="none" if is_stream else "removal",
        exclusive_lanes=False,
        header_prefix="ce-",
        lanes="stream" if is_stream else "queue",
        backlog="unknown" if is_stream else "exact",
        loses_acknowledged=_LOSSES[kind],
    )
