"""A Kafka cluster as a broker: features, topology, and what it opens. Publishers and consumers have own clients."""

from collections.abc import Collection, Mapping
from typing import Final

from msgspec.structs import replace

from fait._broker_errors import BrokerUnavailable
from fait._delivery.brokers.destination import Destination
from fait._delivery.brokers.kafka.admin import KafkaAdmin, topic_id
from fait._delivery.brokers.kafka.connection import KafkaConnection, KafkaFailure
from fait._delivery.brokers.kafka.consumer import KafkaConsumer
from fait._delivery.brokers.kafka.names import records_topic, topic_name
from fait._delivery.brokers.kafka.publisher import HEADROOM_BYTES, KafkaPublisher, KafkaTopic, TransactionalPublisher
from fait._delivery.brokers.kafka.records import RECORDS_SETTINGS, RecordedPublishers, RecordReader
from fait._delivery.brokers.kafka.settings import TOPIC_SETTINGS, find_problems, find_topic_problems
from fait._delivery.brokers.port import (
    MAX_MESSAGE_BYTES,
    BrokerFeatures,
    ConsumerSpec,
    Lane,
    Progress,
    Publisher,
    Source,
    Topology,
)
from fait._delivery.brokers.topics import Topics
from fait._store.ports.store import Finding

__all__ = ["KafkaBroker"]

MAXIMUM_BATCH: Final = 1_000
"""Maximum number of messages in a transaction, which consumers receive when it has ended."""

DEFAULT_MESSAGE_BYTES: Final = 1_000_000
"""Limit of messages, if the user may not read the settings of the cluster."""

_LOSSES: Final = (
    "The loss of disks or a power failure, with fewer than 2 in-sync replicas (min.insync.replicas). Unclean leader "
    "elections, retention and compaction of the topic."
)


class KafkaBroker:
    """An open cluster."""

    def __init__(self, destination: Destination, timeout_s: float) -> None:
        self._connection = KafkaConnection(destination, timeout_s)
        self._is_transactional = uses_transactions(destination)
        self._admin = KafkaAdmin(self._connection)
        self._topics = Topics(destination.name, self._read_lanes)
        self._nodes: list[int] = []
        self.features = features_of(DEFAULT_MESSAGE_BYTES, transactional=self._is_transactional)

    @classmethod
    async def open(cls, destination: Destination, timeout_s: float) -> "KafkaBroker":
        """Connect, and ask the cluster for its limits."""
        broker = cls(destination, timeout_s)
        try:
            await broker._read_limits()
        except (BrokerUnavailable, KafkaFailure) as failure:
            await broker.close()
            raise broker._connection.unavailable(failure.reason) from None
        except BaseException:
            await broker.close()
            raise
        return broker

    async def _read_limits(self) -> None:
        self._nodes = await self._admin.nodes()
        limit = int((await self._admin.node_settings(self._nodes[0])).get("message.max.bytes", DEFAULT_MESSAGE_BYTES))
        self.features = features_of(limit, transactional=self._is_transactional)

    async def check(self, topology: Topology, *, create: bool) -> list[Finding]:
        """Compare the topics, and read the settings under which messages are lost."""
        findings = await self._topics.findings(topology, self._create if create else None)
        for topic in topology.topics:
            findings += await self._check_topic(topic, create)
        return [*findings, *find_problems(await self._admin.node_settings(self._nodes[0]))]

    async def _check_topic(self, topic: str, create: bool) -> list[Finding]:
        if (found := await self._admin.topic(topic_name(topic))) is None:
            return []
        settings = await self._admin.topic_settings(topic_name(topic))
        findings = find_topic_problems(topic, settings, min(len(each.replicas) for each in found.partitions))
        return [*findings, await self._check_records(topic, create)] if self._is_transactional else findings

    async def _check_records(self, topic: str, create: bool) -> Finding:
        name, records = f"publishers {topic}", records_topic(topic)
        if create:
            await self._create_topic(records, 1, RECORDS_SETTINGS)
        if await self._admin.topic(records) is None:
            detail = f"the topic {records} is missing, in which publishers record their positions"
            return Finding(name, "problem", detail, "create it: fait broker check --create")
        if (policy := (await self._admin.topic_settings(records)).get("cleanup.policy", "compact")) != "compact":
            detail = f"cleanup.policy of {records} is {policy}: the server deletes positions"
            return Finding(name, "problem", detail, "set cleanup.policy=compact")
        return Finding(name, "ok", f"positions in the topic {records}")

    async def lanes(self, topic: str) -> tuple[Lane, ...]:
        """Return the lanes of a topic."""
        return await self._topics.lanes(topic)

    async def publisher(self, topic: str, source: Source, buckets: range, fencing_token: int) -> Publisher:
        """Open a publisher."""
        known = await self._topic(topic)
        # A topic can have a higher limit than others; a lower one is that of the message with its key and its headers.
        limit = max(self.features.maximum_message_bytes, maximum_message_bytes(known.maximum_wire_bytes))
        features = replace(self.features, maximum_message_bytes=limit)
        kind = TransactionalPublisher if self._is_transactional else KafkaPublisher
        publisher = kind(self._connection, known, source, features, buckets)
        await publisher.open(fencing_token)
        return publisher

    async def progress(self, topic: str, source: Source, buckets: range) -> Mapping[int, Progress]:
        """Return the position of each bucket that has one, from the transactions that have ended."""
        await self._topic(topic)
        if not self._is_transactional:
            return {}
        reader = RecordReader(self._connection, topic, "read_committed")
        records = RecordedPublishers(topic, source, buckets)
        try:
            records.add(await reader.read(None))
        except KafkaFailure as failure:
            raise self._connection.unavailable(failure.reason) from None
        finally:
            await reader.close()
        return records.positions

    async def _topic(self, topic: str) -> KafkaTopic:
        lanes = await self._topics.lanes(topic)
        if self._is_transactional and await self._admin.topic(records_topic(topic)) is None:
            raise self._topics.mismatch({topic: f"has no topic {records_topic(topic)} for its publishers"})
        limit = (await self._admin.topic_settings(topic_name(topic))).get("max.message.bytes", DEFAULT_MESSAGE_BYTES)
        return KafkaTopic(topic, len(lanes), int(limit))

    async def ends(self, lanes: Collection[Lane]) -> dict[Lane, str]:
        """Return the last offset of each partition."""
        await self._topics.require_lanes(lanes)
        consumer = KafkaConsumer(
            ConsumerSpec(name="fait", lanes=tuple(lanes), start="end"), self._connection, self._topic_ids, self._admin
        )
        try:
            return await consumer.ends()
        finally:
            await consumer.close()

    async def consumer(self, spec: ConsumerSpec, offsets: Mapping[Lane, str]) -> KafkaConsumer:
        """Open a consumer."""
        await self._topics.require_lanes(spec.lanes)
        consumer = KafkaConsumer(spec, self._connection, self._topic_ids, self._admin)
        await consumer.open(offsets)
        return consumer

    async def _read_lanes(self, topic: str) -> int | None:
        found = await self._admin.topic(topic_name(topic))
        return None if found is None else len(found.partitions)

    async def _topic_ids(self, topics: Collection[str]) -> dict[str, str]:
        found = {topic: await self._admin.topic(topic_name(topic)) for topic in topics}
        if missing := [topic for topic, each in found.items() if each is None]:
            raise self._topics.mismatch(dict.fromkeys(missing, "is missing"))
        return {topic: topic_id(each) for topic, each in found.items()}

    async def _create(self, topic: str, lanes: int) -> None:
        await self._create_topic(topic_name(topic), lanes, TOPIC_SETTINGS)

    async def _create_topic(self, name: str, partitions: int, settings: Mapping[str, str]) -> None:
        try:
            await self._admin.create(name, partitions, settings)
        except KafkaFailure as failure:
            raise self._topics.mismatch({name: f"cannot be created: {failure.reason}"}) from None

    async def close(self) -> None:
        """Close all clients."""
        self._admin.close()
        await self._connection.close()


def uses_transactions(destination: Destination) -> bool:
    """Whether the URL has transactions, which is the default."""
    value = destination.options.get("transactions", "on")
    if value not in ("on", "off"):
        destination.refuse("transactions= must be on or off")
    return value == "on"


def maximum_message_bytes(limit: int) -> int:
    """Return the maximum size of a message."""
    return min(MAX_MESSAGE_BYTES, limit - HEADROOM_BYTES)


def features_of(limit: int, *, transactional: bool) -> BrokerFeatures:
    """Return what Kafka promises.

    Args:
        limit: maximum number of bytes of a message with its key and its headers.
        transactional: whether each call is a transaction.
    """
    return BrokerFeatures(
        batch="atomic" if transactional else "single",
        maximum_batch=MAXIMUM_BATCH,
        maximum_message_bytes=maximum_message_bytes(limit),
        fence="transactional-id" if transactional else "none",
        stores_position=transactional,
        deduplicates=False,
        order="lane",
        seekable=True,
        acknowledges="prefix",
        exclusive_lanes=False,
        header_prefix="ce_",
        lanes="partition",
        backlog="maximum",
        loses_acknowledged=_LOSSES,
    )
