"""What publishers of a topic record in a compacted topic: who they are, and up to which position they have published.

A publisher records itself when it opens, before it reads the records of others. So of two that open at the same time at
least one knows the other, and fences it. Positions are recorded in the transaction of their messages. After ranges of
buckets were split or merged, several records have a position of a bucket; the last one counts, because its publisher
has fenced the others.
"""

import time
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Final

import msgspec
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, Message, TopicPartition
from msgspec import Struct

from fait._delivery.brokers.kafka.connection import KafkaConnection, KafkaFailure
from fait._delivery.brokers.kafka.names import publisher_name, records_topic
from fait._delivery.brokers.kafka.producer import ProducerRecord
from fait._delivery.brokers.port import Progress, Source
from fait._delivery.brokers.stored_positions import PositionRun, StoredPositions

__all__ = ["RECORDS_SETTINGS", "PublisherRegistration", "RecordReader", "RecordedPublishers"]

RECORDS_SETTINGS: Final = {
    "cleanup.policy": "compact",
    "segment.bytes": str(1 << 20),  # only full segments are compacted, and a publisher that opens reads all of them
    "min.cleanable.dirty.ratio": "0.1",
}
"""Settings of the topic with the records."""


class PublisherRegistration(Struct, frozen=True):
    """The record of a publisher that opened.

    Attributes:
        token: its fencing token.
        lanes: number of lanes of the topic.
    """

    token: int
    lanes: int


class RecordedPublishers:
    """The records of a topic, for one publisher.

    Args:
        topic: name of the topic.
        source: the source of the publisher.
        buckets: its buckets.

    Attributes:
        registrations: the publishers of the source that share a bucket, by their buckets.
        lanes: numbers of lanes with which publishers of any source have opened.
        positions: the positions by bucket.
    """

    def __init__(self, topic: str, source: Source, buckets: range) -> None:
        self._topic = records_topic(topic)
        self._source = source
        self._buckets = buckets
        self.registrations: dict[range, PublisherRegistration] = {}
        self.lanes: set[int] = set()
        self.positions: dict[int, Progress] = {}

    def registration(self, registration: PublisherRegistration) -> ProducerRecord:
        """Return the record of the publisher itself."""
        return self._entry(self._buckets, "open", msgspec.json.encode(registration))

    def position(self, stored: StoredPositions) -> ProducerRecord:
        """Return the record of the positions of the publisher."""
        return self._entry(self._buckets, "position", msgspec.json.encode(stored.runs))

    def removal(self, buckets: range) -> list[ProducerRecord]:
        """Return what deletes the records of a publisher."""
        return [self._entry(buckets, kind, None) for kind in ("open", "position")]

    def _entry(self, buckets: range, kind: str, value: bytes | None) -> ProducerRecord:
        return ProducerRecord(self._topic, 0, f"{publisher_name(self._source, buckets)}/{kind}".encode(), value)

    def add(self, messages: Iterable[Message]) -> None:
        """Add records, in order of their offsets."""
        for each in messages:
            self._add(each)

    def _add(self, message: Message) -> None:
        name, _, kind = (message.key() or b"").decode().rpartition("/")
        source, _, numbers = name.rpartition("/")
        start, _, stop = numbers.partition("-")
        buckets, value = range(int(start), int(stop)), message.value()
        if kind == "open" and value is not None:
            self.lanes.add(msgspec.json.decode(value, type=PublisherRegistration).lanes)
        if source != publisher_name(self._source, buckets).rpartition("/")[0] or not set(buckets) & set(self._buckets):
            return
        if kind == "open":
            self._add_registration(buckets, value)
        elif value is not None:
            self.positions |= self._of_buckets(buckets, value)

    def _add_registration(self, buckets: range, value: bytes | None) -> None:
        if value is None:
            self.registrations.pop(buckets, None)
        else:
            self.registrations[buckets] = msgspec.json.decode(value, type=PublisherRegistration)

    def _of_buckets(self, buckets: range, value: bytes) -> Mapping[int, Progress]:
        runs = msgspec.json.decode(value, type=list[PositionRun])
        stored = StoredPositions.from_runs(self._source.epoch_id, buckets, runs)
        return {bucket: progress for bucket, progress in stored.by_bucket.items() if bucket in self._buckets}


class RecordReader:
    """Reads the records of a topic from the beginning.

    Args:
        connection: the URL of the cluster.
        topic: name of the topic.
        isolation: "read_uncommitted"; or "read_committed" to wait for the end of transactions.
    """

    def __init__(self, connection: KafkaConnection, topic: str, isolation: str) -> None:
        settings = {"group_id": "fait", "enable_auto_commit": False, "auto_offset_reset": "earliest"}
        settings |= {"isolation_level": isolation, "enable_partition_eof": True, "fetch_wait_max_ms": 10}
        self._client = connection.client(Consumer, **settings)
        self._timeout_s = connection.timeout_s
        self._partition = TopicPartition(records_topic(topic), 0, OFFSET_BEGINNING)
        self._next: int | None = None

    async def read(self, up_to: int | None) -> list[Message]:
        """Return the next records.

        Args:
            up_to: offset of the last one; None: all that there are.

        Raises:
            BrokerUnavailable: the cluster cannot be reached, or a transaction did not end in time.
            KafkaFailure: it answered with an error.
        """
        return await self._client.call(partial(self._read, up_to))

    def _read(self, up_to: int | None, consumer: Consumer) -> list[Message]:
        end = time.monotonic() + self._timeout_s
        if self._next is None:
            consumer.list_topics(self._partition.topic, self._timeout_s)  # else the first fetch waits for half a second
            consumer.assign([self._partition])
            self._next = 0
        stop = consumer.get_watermark_offsets(self._partition, self._timeout_s)[1] if up_to is None else up_to + 1
        messages = list[Message]()
        while self._next < stop:
            message = consumer.poll(max(0.0, end - time.monotonic()))
            if message is None:
                raise KafkaFailure(KafkaError(KafkaError._TIMED_OUT))  # pyright: ignore[reportPrivateUsage]
            offset = message.offset() or 0
            if error := message.error():
                if error.code() != KafkaError._PARTITION_EOF:  # pyright: ignore[reportPrivateUsage]
                    raise KafkaFailure(error)
                self._next = offset
            else:
                self._next = offset + 1
                messages.append(message)
        return messages

    async def close(self) -> None:
        """Close it. Never raises."""
        await self._client.close()
