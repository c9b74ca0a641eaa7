"""Reads partitions from offsets of its own: it is no member of a group, so no rebalance takes a partition from it.

The offsets that it acknowledges are committed to the group with its name once in a second, for tools that show the
lag. Reads run in the thread of the client.

The offset of a message has the id of its topic, as `OFFSET@ID`: a topic that was deleted and created again has other
messages at the same offsets, and the library reads on in it, at the offset or at the beginning.
"""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from contextlib import suppress
from functools import partial
from typing import Any, Final

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, Message, TopicPartition

from fait._broker_errors import BrokerUnavailable, OffsetLost, TopologyMismatch
from fait._delivery.brokers.kafka.admin import KafkaAdmin
from fait._delivery.brokers.kafka.connection import KafkaConnection, KafkaFailure
from fait._delivery.brokers.kafka.names import topic_name
from fait._delivery.brokers.offset_forms import require_form
from fait._delivery.brokers.polling_consumer import PollingConsumer
from fait._delivery.brokers.port import CLOSE_TIMEOUT_S, ConsumedMessage, ConsumerSpec, Lane
from fait._errors import FaitError

__all__ = ["KafkaConsumer"]

POLL_S: Final = 0.1
"""Maximum time that a read waits. A lane that is resumed during a read is not part of it."""

COMMIT_INTERVAL_S: Final = 1.0
"""Minimum time between two commits of acknowledged offsets. Each is written to the disk of the server."""

TOPIC_CHECK_S: Final = 5.0
"""Interval between two looks at whether a topic was created again."""

PREFETCHED_KBYTES: Final = 16 * 1024
"""Maximum size of the messages that the library reads ahead, in KiB."""

_NUMBER_AND_TOPIC: Final = re.compile(r"\d+(@.{22})?")

ReadTopicIds = Callable[[Collection[str]], Awaitable[Mapping[str, str]]]

_MISSING: Final = {
    KafkaError._UNKNOWN_PARTITION,  # pyright: ignore[reportPrivateUsage]
    KafkaError._UNKNOWN_TOPIC,  # pyright: ignore[reportPrivateUsage]
    KafkaError.UNKNOWN_TOPIC_OR_PART,
}


class KafkaConsumer(PollingConsumer):
    """A consumer.

    Args:
        spec: what it reads.
        connection: the URL of the cluster.
        read_topic_ids: returns the ids of topics by name; "": the cluster has none.
        admin: asks the cluster for offsets, without delaying the client that reads.
    """

    def __init__(
        self, spec: ConsumerSpec, connection: KafkaConnection, read_topic_ids: ReadTopicIds, admin: KafkaAdmin
    ) -> None:
        super().__init__(spec)
        settings: dict[str, Any] = {
            "group_id": spec.name,
            "enable_auto_commit": False,
            "isolation_level": "read_committed",
            "auto_offset_reset": "earliest",  # of a lane whose messages at the offset are deleted
            "queued_max_messages_kbytes": PREFETCHED_KBYTES,
        }
        self._spec = spec
        self._connection = connection
        self._client = connection.client(Consumer, **settings)
        self._lanes = {(topic_name(lane.topic), lane.number): lane for lane in spec.lanes}
        self._paused = set[Lane]()
        self._acknowledged: dict[Lane, int] = {}  # the first offsets that are not acknowledged
        self._committed: dict[Lane, int] = {}
        self._committed_at = 0.0
        self._read_topic_ids = read_topic_ids
        self._admin = admin
        self._first: dict[Lane, int] = {}  # offsets at which it begins, negative before all messages
        self._topic_ids: Mapping[str, str] = {}
        self._check_at = 0.0
        self._received: dict[Lane, str] = {}

    async def open(self, offsets: Mapping[Lane, str]) -> None:
        """Begin to read.

        Args:
            offsets: offset of the last message of each lane that is not read; "": read from the beginning.

        Raises:
            OffsetLost: a topic was created again, or ends before an offset.
        """
        require_form(_NUMBER_AND_TOPIC, offsets, self._connection.name, self._spec.name)
        self._received.update(offsets)
        await self._look_at_topics()
        numbers = {lane: number_of(offset) for lane, offset in offsets.items()}
        try:
            await self._client.call(partial(self._open, numbers))
        except KafkaFailure as failure:
            raise self._error(failure) from None

    async def ends(self) -> dict[Lane, str]:
        """Return the last offset of each lane; "" if it has no message."""
        await self._look_at_topics()
        try:
            ends = await self._client.call(lambda consumer: [self._end(each, consumer) for each in self._spec.lanes])
        except KafkaFailure as failure:
            raise self._error(failure) from None
        last = zip(self._spec.lanes, ends, strict=True)
        return {lane: self._offset(lane, number) if number >= 0 else "" for lane, number in last}

    def _end(self, lane: Lane, consumer: Consumer) -> int:
        return consumer.get_watermark_offsets(self._partition(lane), self._connection.timeout_s)[1] - 1

    async def _look_at_topics(self) -> None:
        """Read the ids of the topics, and raise `OffsetLost` if one of them was created again."""
        ids = await self._read_topic_ids({lane.topic for lane in self._spec.lanes})
        self._check_at = asyncio.get_running_loop().time() + TOPIC_CHECK_S
        for lane, offset in self._received.items():
            # fault: kafka-topic-created-again-is-read-on
            if topic_id_of(offset) not in ("", ids[lane.topic]):
                raise self._offset_lost(lane, offset)
        self._topic_ids = ids

    def _open(self, offsets: Mapping[Lane, int], consumer: Consumer) -> None:
        for topic in {lane.topic for lane in self._spec.lanes}:
            # Without the partitions of the topic, the first fetch would wait for half a second.
            consumer.list_topics(topic_name(topic), self._connection.timeout_s)
        partitions = [self._partition(lane) for lane in self._spec.lanes]
        if self._spec.start == "acknowledged":
            partitions = consumer.committed(partitions, self._connection.timeout_s)
        self._require_offsets(offsets, consumer)
        for lane, each in zip(self._spec.lanes, partitions, strict=True):
            if lane in offsets:
                each.offset = offsets[lane] + 1 if offsets[lane] >= 0 else OFFSET_BEGINNING
            elif self._spec.start == "end":
                # The first message that no transaction has committed yet; after it, some can be older than this call.
                each.offset = consumer.get_watermark_offsets(each, self._connection.timeout_s)[1]
            elif each.offset < 0:
                each.offset = OFFSET_BEGINNING
        self._first = {lane: each.offset for lane, each in zip(self._spec.lanes, partitions, strict=True)}
        consumer.assign(partitions)

    def _require_offsets(self, offsets: Mapping[Lane, int], consumer: Consumer) -> None:
        """Raise `OffsetLost` if a lane ends before an offset."""
        for lane, number in offsets.items():
            if number > self._end(lane, consumer):
                raise self._offset_lost(lane, self._offset(lane, number))

    def _offset_lost(self, lane: Lane, offset: str) -> OffsetLost:
        return OffsetLost(self._connection.name, self._spec.name, lane.topic, lane.number, offset)

    def _offset(self, lane: Lane, number: int) -> str:
        return f"{number}@{topic_id}" if (topic_id := self._topic_ids[lane.topic]) else str(number)

    def _partition(self, lane: Lane, offset: int = OFFSET_BEGINNING) -> TopicPartition:
        return TopicPartition(topic_name(lane.topic), lane.number, offset)

    async def _read(self) -> None:
        if asyncio.get_running_loop().time() >= self._check_at:
            await self._look_at_topics()
        try:
            self._add(await self._client.call(partial(self._poll, set(self._ready.wanted))))
        except KafkaFailure as failure:
            raise self._error(failure) from None

    def _poll(self, wanted: set[Lane], consumer: Consumer) -> list[Message]:
        if time.monotonic() >= self._committed_at + COMMIT_INTERVAL_S:
            self._commit(consumer)
        self._pause(set(self._spec.lanes) - wanted, consumer)
        first = consumer.poll(POLL_S)
        self._client.require()
        return [] if first is None else [first, *consumer.consume(self._spec.maximum_batch - 1, 0)]

    def _pause(self, paused: set[Lane], consumer: Consumer) -> None:
        """Let the library read no more of paused lanes."""
        if paused != self._paused:
            consumer.pause(list(map(self._partition, paused - self._paused)))
            consumer.resume(list(map(self._partition, self._paused - paused)))
            self._paused = paused

    def _add(self, messages: list[Message]) -> None:
        for each in messages:
            if error := each.error():
                raise KafkaFailure(error)
            lane = self._lanes[each.topic() or "", each.partition() or 0]
            offset = self._received[lane] = self._offset(lane, each.offset() or 0)
            self._ready.add(lane, [message_of(each, offset)])

    def _error(self, failure: KafkaFailure) -> FaitError:
        if failure.code in _MISSING:
            return TopologyMismatch(self._connection.name, {lane.topic: "is missing" for lane in self._spec.lanes})
        return self._connection.unavailable(failure.reason)

    async def acknowledge(self, lane: Lane, offset: str) -> None:
        """Commit an offset to the group, unless a later one was committed: within a second, and before it is closed."""
        # fault: kafka-acknowledgment-moves-back
        self._acknowledged[lane] = max(number_of(offset) + 1, self._acknowledged.get(lane, 0))

    async def backlog(self) -> int | None:
        """Return the difference of offsets to the ends of the partitions, where transactions have markers, too."""
        partitions = [self._partition(lane) for lane in self._spec.lanes]
        try:
            async with asyncio.timeout(self._connection.timeout_s / 2):
                bounds = await self._admin.bounds(partitions)
                positions = await self._client.call(lambda consumer: consumer.position(partitions))
        except (FaitError, KafkaFailure, TimeoutError):
            return None
        waiting = self._ready.count
        for lane, (first, end), position in zip(self._spec.lanes, bounds, positions, strict=True):
            waiting += max(0, end - max(first, position.offset, self._first[lane]))
        return waiting

    def _commit(self, consumer: Consumer, *, at_end: bool = False) -> None:
        """Commit what is acknowledged. Until the end, no answer is awaited, as that can last for an outage."""
        known, acknowledged = {} if at_end else self._committed, self._acknowledged.copy()
        changed = [self._partition(lane, at) for lane, at in acknowledged.items() if known.get(lane) != at]
        self._committed_at = time.monotonic()
        if changed:
            # fault: kafka-commit-delays-an-outage
            consumer.commit(offsets=changed, asynchronous=not at_end)
            self._committed = acknowledged

    async def close(self) -> None:
        """Commit what is acknowledged, and close its client."""
        with suppress(BrokerUnavailable, KafkaFailure, TimeoutError):
            async with asyncio.timeout(CLOSE_TIMEOUT_S / 4):
                await self._client.call(partial(self._commit, at_end=True))
        await self._client.close()
        await self._end_reading()


def number_of(offset: str) -> int:
    """Return the number of an offset; -1: before all messages."""
    return int(offset.partition("@")[0] or -1)


def topic_id_of(offset: str) -> str:
    """Return the id of the topic of an offset; "" if it has none."""
    return offset.partition("@")[2]


def message_of(message: Message, offset: str) -> ConsumedMessage:
    """Return a message, which any program may have published."""
    key = message.key()
    return ConsumedMessage(
        offset=offset,
        key=None if key is None else key.decode(errors="replace"),
        headers={name.lower(): text_of(value) for name, value in message.headers() or ()},
        body=message.value() or b"",
    )


def text_of(value: str | bytes | None) -> str:
    """Return the value of a header."""
    return value.decode(errors="replace") if isinstance(value, bytes) else value or ""
