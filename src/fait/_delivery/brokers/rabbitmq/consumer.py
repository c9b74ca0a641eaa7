"""Receives the messages of queues. Each lane has a channel, on which an acknowledgment covers all earlier messages.

A message of a quorum queue that was not acknowledged is delivered again when its channel is closed, before all later
ones. A stream keeps its messages; there, an acknowledgment only asks for more.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, Final
from uuid import uuid4

from aiormq import Channel
from aiormq.abc import DeliveredMessage
from msgspec import Struct

from fait._delivery.brokers.port import ConsumedBatch, ConsumerSpec, Lane, LaneRevoked
from fait._delivery.brokers.rabbitmq.connection import RabbitmqConnection, ServerRefusal
from fait._delivery.brokers.rabbitmq.queues import LaneKind, lane_name, message_of
from fait._delivery.brokers.ready_lanes import ReadyLanes

__all__ = ["RabbitmqConsumer"]

MAX_UNACKNOWLEDGED: Final = 2_000
"""Maximum number of messages of a lane that are delivered and not acknowledged."""


class LaneReader(Struct):
    """What a consumer knows of a lane.

    Attributes:
        channel: its channel.
        received: number of messages that `receive` has returned: the delivery tag of the last one.
        acknowledged: delivery tag up to which messages are acknowledged.
    """

    channel: Channel
    received: int = 0
    acknowledged: int = 0


class RabbitmqConsumer:
    """A consumer with a channel for each lane.

    Args:
        spec: what it reads.
        connection: the connection.
        kind: kind of the queues.
        open_channel: opens a channel for a lane.
    """

    def __init__(
        self,
        spec: ConsumerSpec,
        connection: RabbitmqConnection,
        kind: LaneKind,
        open_channel: Callable[[Lane], Awaitable[Channel]],
    ) -> None:
        self._spec = spec
        self._connection = connection
        self._kind = kind
        self._open_channel = open_channel
        self._session = uuid4().hex
        self._ready = ReadyLanes(spec.lanes, spec.maximum_batch)
        self._readers: dict[Lane, LaneReader] = {}
        self._revoked: list[Lane] = []
        self._arrival = asyncio.Event()
        connection.on_failure.append(self._arrival.set)

    async def open(self, offsets: Mapping[Lane, str]) -> None:
        """Let the server deliver messages.

        Args:
            offsets: offset of the last message of each lane of streams that is not read; "": read from the beginning.
        """
        await asyncio.gather(*(self._open(lane, offsets.get(lane)) for lane in self._spec.lanes))

    async def _open(self, lane: Lane, offset: str | None) -> None:
        channel: Any = await self._open_channel(lane)
        self._readers[lane] = LaneReader(channel)
        # Also when the queue is deleted: the server then ends the delivery, or closes the channel.
        channel.closing.add_done_callback(partial(self._revoke, lane))
        channel.on_consumer_cancel_callbacks.add(partial(self._revoke, lane))
        await self._connection.run(lambda: channel.basic_qos(prefetch_count=MAX_UNACKNOWLEDGED))
        arguments = start_of(offset, self._spec) if self._kind == "stream" else None
        queue, handle = lane_name(lane.topic, lane.number), partial(self._handle, lane)
        if self._kind == "quorum":
            await self._lock(channel, queue)
        await self._connection.run(lambda: channel.basic_consume(queue, handle, arguments=arguments))

    async def _lock(self, channel: Channel, queue: str) -> None:
        """Lock a queue for this connection. Otherwise, a second consumer would wait, and say nothing."""
        try:
            # fault: second-consumer-waits-silently
            await self._connection.run(lambda: channel.queue_declare(lock_name(queue), exclusive=True))
        except ServerRefusal:
            reason = f"the queue {queue!r} has another consumer. A queue has one; streams (?queues=stream) have several"
            raise self._connection.failed(reason) from None

    async def _handle(self, lane: Lane, delivered: DeliveredMessage) -> None:
        self._ready.add(lane, [message_of(delivered, self._offset_of(delivered))])
        self._arrival.set()

    def _offset_of(self, delivered: DeliveredMessage) -> str:
        """Return the offset in a stream; for a queue, one that no other delivery has."""
        headers = delivered.header.properties.headers or {}
        # fault: offsets-of-queues-repeat
        return (
            str(headers["x-stream-offset"]) if self._kind == "stream" else f"{self._session}-{delivered.delivery_tag}"
        )

    def _revoke(self, lane: Lane, _: object) -> None:
        self._revoked.append(lane)
        self._arrival.set()

    async def receive(self, timeout_s: float) -> ConsumedBatch | LaneRevoked | None:
        """Return the next messages of a lane."""
        await self._ask_for_more()
        try:
            async with asyncio.timeout(timeout_s):
                while (batch := self._ready.next_batch()) is None:
                    self._connection.require()
                    if self._revoked:
                        return LaneRevoked(self._revoked.pop(0))
                    self._arrival.clear()
                    await self._arrival.wait()
        except TimeoutError:
            return None
        self._readers[batch.lane].received += len(batch.messages)
        return batch

    async def _ask_for_more(self) -> None:
        """Let the server deliver more messages of streams in the place of those that were returned."""
        if self._kind == "stream":
            for each in self._readers.values():
                await self._acknowledge(each, each.received)

    async def acknowledge(self, lane: Lane, offset: str) -> None:
        """Let the server delete the messages of a quorum queue up to an offset."""
        session, _, tag = offset.partition("-")
        if session == self._session:
            await self._acknowledge(self._readers[lane], int(tag))

    async def _acknowledge(self, reader: LaneReader, tag: int) -> None:
        self._connection.require()
        # The server closes a channel that acknowledges a message again.
        if tag > reader.acknowledged:
            reader.acknowledged = tag
            await self._connection.run(lambda: reader.channel.basic_ack(tag, multiple=True, wait=False))

    def pause(self, lane: Lane) -> None:
        """Deliver no messages of a lane."""
        self._ready.pause(lane)

    def resume(self, lane: Lane) -> None:
        """Deliver messages of a lane again."""
        self._ready.resume(lane)
        self._arrival.set()

    async def close(self) -> None:
        """Close its channels: what is not acknowledged is delivered again to the next consumer."""
        readers, self._readers = self._readers, {}
        await asyncio.gather(*(self._connection.finish(partial(self._end, *each)) for each in readers.items()))

    async def _end(self, lane: Lane, reader: LaneReader) -> None:
        if self._kind == "quorum":
            await reader.channel.queue_delete(lock_name(lane_name(lane.topic, lane.number)))
        await reader.channel.close()


def lock_name(queue: str) -> str:
    """Return the name of the queue that only the connection of a queue's consumer may use."""
    return f"{queue}:consumer"


def start_of(offset: str | None, spec: ConsumerSpec) -> dict[str, Any]:
    """Return where the server begins to deliver a stream."""
    if offset:
        return {"x-stream-offset": int(offset) + 1}
    return {"x-stream-offset": "next" if spec.start == "end" and offset is None else "first"}
