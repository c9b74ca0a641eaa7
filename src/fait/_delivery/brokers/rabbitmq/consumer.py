"""Receives the messages of queues. Each lane has a channel, on which an acknowledgment covers all earlier messages.

A message of a quorum queue that was not acknowledged is delivered again when its channel is closed, before all later
ones. A stream keeps its messages; there, an acknowledgment only asks for more.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, Final
from uuid import uuid4

from aiormq import Channel
from aiormq.abc import DeliveredMessage
from msgspec import Struct
from msgspec.structs import replace

from fait._broker_errors import OffsetLost
from fait._delivery.brokers.offset_forms import require_form
from fait._delivery.brokers.port import ConsumedBatch, ConsumedMessage, ConsumerSpec, Lane, LaneRevoked
from fait._delivery.brokers.rabbitmq.connection import RabbitmqConnection, ServerRefusal
from fait._delivery.brokers.rabbitmq.queues import LaneKind, fingerprint_of, lane_name, message_of
from fait._delivery.brokers.ready_lanes import ReadyLanes
from fait._errors import FaitError

__all__ = ["RabbitmqConsumer"]

MAX_UNACKNOWLEDGED: Final = 2_000
"""Maximum number of messages of all lanes that are delivered and not acknowledged, if each lane has enough.

The server delivers so many again to each new consumer, before that has handled one. More could take a busy process
longer than its lease lasts, so that no owner of the lease would get any further.
"""

MIN_UNACKNOWLEDGED: Final = 50
"""The same of one lane, however many lanes there are."""

LOCK_WAIT_S: Final = 3.0
"""Maximum time for which a consumer waits for a former one, which may not know yet that it has lost its lease."""

LOCK_POLL_S: Final = 0.1
"""Interval between two attempts to lock a queue."""

LOCKED: Final = "RESOURCE_LOCKED"
"""Beginning of the server's reason if another connection has locked a queue."""


_NUMBER_AND_FINGERPRINT: Final = re.compile(r"\d+@[0-9a-f]{16}")


class LaneReader(Struct):
    """What a consumer knows of a lane.

    Attributes:
        channel: its channel.
        received: number of messages that `receive` has returned: the delivery tag of the last one.
        acknowledged: delivery tag up to which messages are acknowledged.
        after: offset of the last message that is not read; "" if there is none.
        first: offset of the first message that was delivered; "" before that.
    """

    channel: Channel
    after: str = ""
    first: str = ""
    received: int = 0
    acknowledged: int = 0

    @property
    def has_lost_messages(self) -> bool:
        """Whether the stream ends before the last message that is not read, or has another one in its place."""
        if not self.first:
            # fault: end-of-stream-not-noticed
            return True
        # fault: replaced-message-of-a-stream-not-noticed
        return self.first != self.after and number_of(self.first) <= number_of(self.after)


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
        # fault: messages-of-lanes-not-bounded-together
        self._prefetch = max(MIN_UNACKNOWLEDGED, MAX_UNACKNOWLEDGED // max(1, len(spec.lanes)))
        self._readers: dict[Lane, LaneReader] = {}
        self._locks: list[str] = []
        self._revoked: list[Lane] = []
        self._counter: Channel | None = None  # asks for the numbers of messages
        self._arrival = asyncio.Event()
        connection.on_failure.append(self._arrival.set)

    async def open(self, offsets: Mapping[Lane, str]) -> None:
        """Let the server deliver messages.

        Args:
            offsets: offset of the last message of each lane of streams that is not read; "": read from the beginning.

        Raises:
            OffsetLost: a stream ends before an offset, or has another message there.
        """
        if self._kind == "stream":
            require_form(_NUMBER_AND_FINGERPRINT, offsets, self._connection.name, self._spec.name)
        if self._kind == "quorum":
            # fault: second-consumer-waits-silently
            await self._lock_queues()
        await asyncio.gather(*(self._open(lane, offsets.get(lane)) for lane in self._spec.lanes))

    async def _lock_queues(self) -> None:
        """Lock the queues for this connection. Otherwise, a second consumer would wait, and say nothing.

        All consumers lock in the same order, so that one of two that begin at the same time gets all of its queues.
        """
        end = asyncio.get_running_loop().time() + min(LOCK_WAIT_S, self._connection.timeout_s / 2)
        for lane in sorted(self._spec.lanes):
            queue = lane_name(lane.topic, lane.number)
            while not await self._lock(lock_name(queue)):
                # fault: former-consumer-not-awaited
                if asyncio.get_running_loop().time() >= end:
                    raise self._connection.failed(
                        f"the queue {queue!r} has another consumer. A queue has one; streams (?queues=stream) have "
                        "several"
                    )
                await asyncio.sleep(LOCK_POLL_S)

    async def _lock(self, name: str) -> bool:
        """Lock a queue. Returns whether no other connection has locked it."""
        try:
            await self._connection.ask(lambda channel: channel.queue_declare(name, exclusive=True))
        except ServerRefusal as refusal:
            if refusal.text.startswith(LOCKED):
                return False
            raise self._connection.failed(refusal.text) from None
        self._locks.append(name)
        return True

    async def _open(self, lane: Lane, offset: str | None) -> None:
        channel: Any = await self._open_channel(lane)
        after = offset if offset and self._kind == "stream" else ""
        reader = self._readers[lane] = LaneReader(channel, after)
        # Also when the queue is deleted: the server then ends the delivery, or closes the channel.
        channel.closing.add_done_callback(partial(self._revoke, lane))
        channel.on_consumer_cancel_callbacks.add(partial(self._revoke, lane))
        await self._set_prefetch(channel)
        arguments = start_of(offset, self._spec) if self._kind == "stream" else None
        queue, handle = lane_name(lane.topic, lane.number), partial(self._handle, lane, reader)
        await self._connection.run(lambda: channel.basic_consume(queue, handle, arguments=arguments))
        if reader.after:
            await self._require_last_message(lane, reader)

    async def _set_prefetch(self, channel: Any) -> None:
        await self._connection.run(lambda: channel.basic_qos(prefetch_count=self._prefetch))

    async def _require_last_message(self, lane: Lane, reader: LaneReader) -> None:
        """Wait for the last message that was read, or a later one if it was deleted in order, as by a limit."""
        try:
            async with asyncio.timeout(self._connection.timeout_s / 2):
                while not (reader.first or lane in self._revoked):
                    self._connection.require()
                    self._arrival.clear()
                    await self._arrival.wait()
        except TimeoutError:
            # fault: outage-taken-for-lost-messages
            await self._set_prefetch(reader.channel)  # only for the answer: without one, this is an outage
        if lane not in self._revoked and reader.has_lost_messages:
            raise OffsetLost(self._connection.name, self._spec.name, lane.topic, lane.number, reader.after)

    async def _handle(self, lane: Lane, reader: LaneReader, delivered: DeliveredMessage) -> None:
        message = self._message_of(delivered)
        reader.first = reader.first or message.offset
        if message.offset == reader.after:
            reader.received += 1  # acknowledged with the next ones
        else:
            self._ready.add(lane, [message])
        self._arrival.set()

    def _message_of(self, delivered: DeliveredMessage) -> ConsumedMessage:
        """Return a message with its offset in a stream; for a queue, with one that no other delivery has."""
        if self._kind != "stream":
            # fault: offsets-of-queues-repeat
            return message_of(delivered, f"{self._session}-{delivered.delivery_tag}")
        message = message_of(delivered, "")
        number = (delivered.header.properties.headers or {})["x-stream-offset"]
        return replace(message, offset=f"{number}@{fingerprint_of(message)}")

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

    async def backlog(self) -> int | None:
        """Return how many messages of the queues are not delivered, with those that have arrived.

        The server does not tell where a stream ends.
        """
        if self._kind == "stream":
            return None
        counter, self._counter = self._counter, None
        try:
            # Before a request ends the connection. The channel of a request that is canceled is of no more use.
            async with asyncio.timeout(self._connection.timeout_s / 2):
                counter = counter or await self._connection.channel()
                undelivered = sum([await self._count(lane, counter) for lane in self._spec.lanes])
        except (ServerRefusal, FaitError, TimeoutError):
            return None
        self._counter = counter
        return undelivered + self._ready.count

    async def _count(self, lane: Lane, channel: Any) -> int:
        """Return the number of messages of a queue; its share of them, if others receive from it."""
        queue = lane_name(lane.topic, lane.number)
        found = await self._connection.run(lambda: channel.queue_declare(queue, passive=True))
        return -(-found.message_count // max(1, found.consumer_count))

    def pause(self, lane: Lane) -> None:
        """Deliver no messages of a lane."""
        self._ready.pause(lane)

    def resume(self, lane: Lane) -> None:
        """Deliver messages of a lane again."""
        self._ready.resume(lane)
        self._arrival.set()

    async def close(self) -> None:
        """Close its channels: what is not acknowledged is delivered again to the next consumer."""
        channels = [each.channel for each in self._readers.values()] + ([self._counter] if self._counter else [])
        self._readers, self._counter = {}, None
        await asyncio.gather(*(self._connection.finish(each.close) for each in channels))
        if self._locks:
            await self._connection.finish(self._unlock_queues)

    async def _unlock_queues(self) -> None:
        async def unlock(channel: Channel) -> None:
            while self._locks:
                await channel.queue_delete(self._locks.pop())

        await self._connection.ask(unlock)


def lock_name(queue: str) -> str:
    """Return the name of the queue that only the connection of a queue's consumer may use."""
    return f"{queue}:consumer"


def number_of(offset: str) -> int:
    """Return the number of a message in its stream."""
    return int(offset.partition("@")[0])


def start_of(offset: str | None, spec: ConsumerSpec) -> dict[str, Any]:
    """Return where the server begins to deliver a stream."""
    if offset:
        return {"x-stream-offset": number_of(offset)}
    return {"x-stream-offset": "next" if spec.start == "end" and offset is None else "first"}
