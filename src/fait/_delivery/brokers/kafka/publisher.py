"""Publishes to the partitions of a topic: in a transaction per call that also records the position, or without.

A publisher has a producer whose transactional id names its buckets. One that opens fences the former one with the same
id, and initializes the ids of all others that share a bucket, so that they are fenced, too.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from confluent_kafka import KafkaError
from msgspec import Struct

from fait._broker_errors import BrokerUnavailable, Fenced, TopologyMismatch
from fait._delivery.brokers.kafka.connection import KafkaConnection, KafkaFailure, Outcome
from fait._delivery.brokers.kafka.names import publisher_name, topic_name
from fait._delivery.brokers.kafka.producer import KafkaProducer, ProducerRecord
from fait._delivery.brokers.kafka.records import PublisherRegistration, RecordedPublishers, RecordReader
from fait._delivery.brokers.outcomes import check_call, outcomes_with_refused
from fait._delivery.brokers.port import (
    Accepted,
    BrokerFeatures,
    Message,
    Progress,
    PublishOutcome,
    Refused,
    Source,
    Unsent,
    lane_of,
)
from fait._delivery.brokers.stored_positions import StoredPositions
from fait._errors import FaitError

__all__ = ["HEADROOM_BYTES", "KafkaPublisher", "KafkaTopic", "TransactionalPublisher"]

HEADROOM_BYTES: Final = 4_096
"""Difference between the cluster's limit and `maximum_message_bytes`: for the key, and for lengths of headers."""

ADDED_BYTES: Final = 128
"""Maximum size of what the protocol adds to a message without headers."""

ADDED_HEADER_BYTES: Final = 10
"""Maximum size of what the protocol adds to a header."""

_FENCED: Final = {
    KafkaError._FENCED,  # pyright: ignore[reportPrivateUsage]
    KafkaError.INVALID_PRODUCER_EPOCH,
    KafkaError.PRODUCER_FENCED,
}
_MISSING: Final = {
    KafkaError._UNKNOWN_PARTITION,  # pyright: ignore[reportPrivateUsage]
    KafkaError._UNKNOWN_TOPIC,  # pyright: ignore[reportPrivateUsage]
    KafkaError.UNKNOWN_TOPIC_OR_PART,
}


class KafkaTopic(Struct, frozen=True):
    """A topic.

    Attributes:
        name: its name.
        lanes: its number of lanes.
        maximum_wire_bytes: maximum number of bytes of a message with its key and its headers.
    """

    name: str
    lanes: int
    maximum_wire_bytes: int


class KafkaPublisher:
    """A publisher without transactions, which stores no position and fences no former one.

    Args:
        connection: the URL of the cluster.
        topic: the topic.
        source: the source.
        features: features of the broker.
        buckets: the buckets.
    """

    def __init__(
        self,
        connection: KafkaConnection,
        topic: KafkaTopic,
        source: Source,
        features: BrokerFeatures,
        buckets: range,
    ) -> None:
        self._connection = connection
        self._topic = topic
        self._source = source
        self._features = features
        self._buckets = buckets
        self._producer = KafkaProducer(connection, self._transactional_id(buckets), topic.maximum_wire_bytes)
        self._failure: FaitError | None = None

    def _transactional_id(self, buckets: range) -> str | None:
        return None

    async def open(self, fencing_token: int) -> None:
        """Connect."""
        try:
            await self._producer.open()
        except KafkaFailure as failure:
            raise await self._fail(failure) from None

    async def progress(self) -> Mapping[int, Progress]:
        """Return nothing: it stores no position."""
        self._require()
        return {}

    async def publish(self, batch: Sequence[Message], *, after: int, upto: int) -> Sequence[PublishOutcome]:
        """Send all messages that are not refused, and that no refused one of their key precedes."""
        refused = self._refused(batch)
        outcomes, keys = list[PublishOutcome](), set[str]()
        for at, each in enumerate(batch):
            # fault: sent-behind-refused-message
            outcomes.append(refused.get(at) or (Unsent() if each.key in keys else Accepted()))
            keys.update((each.key,) if at in refused else ())
        return await self._send(batch, outcomes)

    def _refused(self, batch: Sequence[Message]) -> dict[int, Refused]:
        refused = check_call(batch, self._features, self._buckets)
        self._require()
        limit = self._topic.maximum_wire_bytes
        reason = "with its key and headers, the message has {:,} bytes, and the topic accepts {:,}"
        sizes = {at: wire_size(each) for at, each in enumerate(batch)}
        return refused or {
            at: Refused(reason.format(size, limit), "too-large") for at, size in sizes.items() if size > limit
        }

    async def _send(
        self, batch: Sequence[Message], outcomes: list[PublishOutcome], records: Iterable[ProducerRecord] = ()
    ) -> list[PublishOutcome]:
        """Send the messages whose outcome is `Accepted`, with records behind them.

        The outcome has no offset: that of a consumer has the id of the topic, which the cluster does not tell here.
        """
        sent = [at for at, outcome in enumerate(outcomes) if isinstance(outcome, Accepted)]
        try:
            await self._producer.send([*(self._entry(batch[at]) for at in sent), *records])
        except KafkaFailure as failure:
            raise await self._fail(failure) from None
        except BaseException:
            await self._fail(None)
            raise
        return outcomes

    def _entry(self, message: Message) -> ProducerRecord:
        partition = lane_of(message.bucket, self._topic.lanes)
        headers: list[tuple[str, str | bytes | None]] = [
            (name, value.encode()) for name, value in message.headers.items()
        ]
        return ProducerRecord(topic_name(self._topic.name), partition, message.key.encode(), message.body, headers)

    def _require(self) -> None:
        if self._failure:
            raise self._failure

    async def _fail(self, failure: KafkaFailure | None) -> FaitError:
        """Close the producer, so that it sends nothing more by itself, and return the error."""
        self._failure = self._error(failure) if failure else self._unavailable("a call failed", "unknown")
        await self._producer.close()
        return self._failure

    def _error(self, failure: KafkaFailure) -> FaitError:
        if failure.code in _FENCED:
            return self._fenced("another publisher took over its buckets")
        if failure.code in _MISSING:
            return TopologyMismatch(self._connection.name, {self._topic.name: "is missing"})
        return self._unavailable(failure.reason, "unknown")

    def _unavailable(self, reason: str, outcome: Outcome) -> BrokerUnavailable:
        return self._connection.unavailable(reason, outcome)

    def _fenced(self, reason: str) -> FaitError:
        self._failure = Fenced(self._connection.name, self._source.relay, reason)
        return self._failure

    async def close(self) -> None:
        """Publish nothing more."""
        self._failure = self._failure or self._connection.unavailable("the publisher is closed")
        await self._producer.close()


class TransactionalPublisher(KafkaPublisher):
    """A publisher whose calls are transactions. They record the position, and fail once a successor is open."""

    _stored: StoredPositions
    _registration: ProducerRecord

    def _transactional_id(self, buckets: range) -> str | None:
        return f"fait/{self._topic.name}/{publisher_name(self._source, buckets)}"

    async def open(self, fencing_token: int) -> None:
        """Connect, and fence all former publishers of the buckets."""
        registration = PublisherRegistration(fencing_token, self._topic.lanes)
        reader = RecordReader(self._connection, self._topic.name, "read_uncommitted")
        try:
            records = self._records()
            records.add(await reader.read(None))
            self._check(records, registration)
            await super().open(fencing_token)
            await self._take_over(registration, records, reader)
        except KafkaFailure as failure:
            raise await self._fail(failure) from None
        finally:
            await reader.close()

    async def _take_over(
        self, registration: PublisherRegistration, records: RecordedPublishers, reader: RecordReader
    ) -> None:
        self._registration = records.registration(registration)
        [offset] = await self._producer.send([self._registration], "not_sent")
        records.add(await reader.read(offset))
        self._check(records, registration)
        # fault: overlapping-publishers-not-fenced
        others = records.registrations.keys() - {self._buckets}
        if others:
            await asyncio.gather(*map(self._fence, others))
            # Behind all that they have stored, as they can store nothing more.
            [offset] = await self._producer.send([self._registration], "not_sent")
        positions = await self._read_positions(offset)
        self._stored = StoredPositions(self._source.epoch_id, self._buckets, positions)
        if contained := [each for each in others if set(each) <= set(self._buckets)]:
            removed = [entry for each in contained for entry in records.removal(each)]
            await self._producer.send([records.position(self._stored), *removed], "not_sent")

    async def _read_positions(self, up_to: int) -> Mapping[int, Progress]:
        reader, records = RecordReader(self._connection, self._topic.name, "read_committed"), self._records()
        try:
            records.add(await reader.read(up_to))
        finally:
            await reader.close()
        return records.positions

    def _records(self) -> RecordedPublishers:
        return RecordedPublishers(self._topic.name, self._source, self._buckets)

    def _check(self, records: RecordedPublishers, registration: PublisherRegistration) -> None:
        # fault: greater-token-not-noticed
        if any(each.token > registration.token for each in records.registrations.values()):
            raise self._fenced("another publisher has a greater fencing token")
        # fault: changed-lanes-not-noticed
        if other := records.lanes - {registration.lanes}:
            problem = f"has {registration.lanes} lanes, and had {min(other)} when messages were published"
            raise TopologyMismatch(self._connection.name, {self._topic.name: problem})

    async def _fence(self, buckets: range) -> None:
        producer = KafkaProducer(self._connection, self._transactional_id(buckets), self._topic.maximum_wire_bytes)
        try:
            await producer.open()
        finally:
            await producer.close()

    async def progress(self) -> Mapping[int, Progress]:
        """Return the stored positions, if a transaction shows that the publisher is not fenced."""
        self._require()
        await self._send([], [], [self._registration])
        return self._stored.by_bucket

    async def publish(self, batch: Sequence[Message], *, after: int, upto: int) -> Sequence[PublishOutcome]:
        """Store all messages with the position, or none."""
        if refused := self._refused(batch):
            return outcomes_with_refused(batch, refused)
        if (lowest := self._stored.lowest) and lowest.position != after:
            raise self._fenced(f"the broker stores position {lowest.position}, not {after}")
        unpublished = self._stored.unpublished(batch, after, upto)
        stored = self._stored.advanced(after, upto, batch[-1].id)
        outcomes: list[PublishOutcome] = [Accepted()] * len(batch)
        # fault: position-not-in-transaction
        records = [self._records().position(stored)]
        sent = await self._send([batch[at] for at in unpublished], [Accepted()] * len(unpublished), records)
        for at, outcome in zip(unpublished, sent, strict=True):
            outcomes[at] = outcome
        self._stored = stored
        return outcomes


def wire_size(message: Message) -> int:
    """Return an upper bound of the number of bytes of a message with its key and its headers."""
    return ADDED_BYTES + len(message.key.encode()) + message.size + ADDED_HEADER_BYTES * len(message.headers)
