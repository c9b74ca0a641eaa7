"""A NATS server as a broker: features, topology, and what it opens, on one connection."""

import re
from collections.abc import Collection, Mapping
from datetime import datetime
from operator import itemgetter
from typing import Any, Final

from fait._broker_errors import OffsetLost
from fait._delivery.brokers.destination import Destination
from fait._delivery.brokers.nats.connection import ApiError, NatsConnection
from fait._delivery.brokers.nats.consumer import NatsConsumer
from fait._delivery.brokers.nats.publisher import HEADROOM_BYTES, MAXIMUM_BATCH, NatsPublisher, NatsTopic
from fait._delivery.brokers.nats.records import NO_MESSAGE, PublisherRecords, position_of
from fait._delivery.brokers.nats.settings import find_problems, stream_settings
from fait._delivery.brokers.nats.subjects import lane_filters, stream_name
from fait._delivery.brokers.offset_forms import require_form
from fait._delivery.brokers.port import (
    MAX_MESSAGE_BYTES,
    BrokerFeatures,
    ConsumerSpec,
    Lane,
    Progress,
    Source,
    Topology,
)
from fait._delivery.brokers.topics import Topics
from fait._errors import UsageError
from fait._store.ports.store import Finding

__all__ = ["NatsBroker"]

NO_STREAM: Final = 10059
"""Error code of the server: there is no such stream."""

_SEQUENCE_AND_TIME: Final = re.compile(r"\d+@\d{19}")  # in nanoseconds since 1970

_LOSSES: Final = (
    "A power failure, if sync_interval is not always and the stream has fewer than 3 replicas. Limits of the stream, "
    "and purging it."
)


class NatsBroker:
    """An open server."""

    def __init__(self, destination: Destination, timeout_s: float) -> None:
        self._name = destination.name
        self._timeout_s = timeout_s
        self._connection = NatsConnection(destination, timeout_s)
        self._topics = Topics(destination.name, self._read_lanes)

    @classmethod
    async def open(cls, destination: Destination, timeout_s: float) -> "NatsBroker":
        """Connect."""
        broker = cls(destination, timeout_s)
        await broker._connection.open()
        return broker

    @property
    def features(self) -> BrokerFeatures:
        """What the server promises."""
        return features_of(self._connection.maximum_payload)

    async def check(self, topology: Topology, *, create: bool) -> list[Finding]:
        """Compare the topics with the streams, and read the settings of these."""
        findings = await self._topics.findings(topology, self._create if create else None)
        for topic in topology.topics:
            if settings := await self._settings(topic):
                findings += find_problems(topic, settings)
        return findings

    async def lanes(self, topic: str) -> tuple[Lane, ...]:
        """Return the lanes of a topic."""
        return await self._topics.lanes(topic)

    async def publisher(self, topic: str, source: Source, buckets: range, fencing_token: int) -> NatsPublisher:
        """Open a publisher."""
        stream = await self._stream(topic)
        publisher = NatsPublisher(self._name, stream, source, self._connection, self.features, buckets)
        await publisher.take_over(fencing_token)
        return publisher

    async def _stream(self, topic: str) -> NatsTopic:
        lanes, settings = await self._topics.lanes(topic), await self._settings(topic)
        if settings is None:
            raise self._topics.mismatch({topic: "is missing"})
        maximum, limit = self._connection.maximum_payload, settings.get("max_msg_size", -1)
        return NatsTopic(topic, len(lanes), min(maximum, limit) if limit >= 0 else maximum)

    async def progress(self, topic: str, source: Source, buckets: range) -> Mapping[int, Progress]:
        """Return the position of each bucket that has one, from the records of its publishers."""
        await self._topics.lanes(topic)
        publishers = PublisherRecords(self._connection, topic, source, buckets)
        try:
            records = await publishers.read(await publishers.ranges())
        except ApiError as error:
            raise self._connection.unavailable(reason=error.text) from None
        return {bucket: stored for bucket in buckets if (stored := position_of(bucket, records))}

    async def consumer(self, spec: ConsumerSpec, offsets: Mapping[Lane, str]) -> NatsConsumer:
        """Open a consumer."""
        if spec.start == "acknowledged":
            raise UsageError("NATS stores no acknowledged offsets here: start at the beginning or the end")
        await self._topics.require_lanes(spec.lanes)
        require_form(_SEQUENCE_AND_TIME, offsets, self._name, spec.name)
        for lane, offset in offsets.items():
            if offset and await self._is_lost(lane.topic, *offset.split("@")):
                raise OffsetLost(self._name, spec.name, lane.topic, lane.number, offset)
        consumer = NatsConsumer(spec, self._connection, self._timeout_s)
        await consumer.open(offsets)
        return consumer

    async def ends(self, lanes: Collection[Lane]) -> dict[Lane, str]:
        """Return sequence and time of the last message of each lane."""
        await self._topics.require_lanes(lanes)
        return {lane: await self._last_offset(lane) for lane in lanes}

    async def _last_offset(self, lane: Lane) -> str:
        found = [await self._message(lane.topic, {"last_by_subj": each}) for each in lane_filters(lane)]
        last = max((each for each in found if each), key=itemgetter("seq"), default=None)
        return f"{last['seq']}@{nanoseconds_of(last['time'])}" if last else ""

    async def _is_lost(self, topic: str, sequence: str, time_ns: str) -> bool:
        """Whether the stream ends before an offset, has another message there, or was created after it."""
        info = await self._connection.api(f"STREAM.INFO.{stream_name(topic)}")
        if int(sequence) > info["state"]["last_seq"] or int(time_ns) < nanoseconds_of(info["created"]):
            return True
        message = await self._message(topic, {"seq": int(sequence)})
        # fault: replaced-message-not-noticed
        return message is not None and nanoseconds_of(message["time"]) != int(time_ns)

    async def _message(self, topic: str, which: Mapping[str, Any]) -> dict[str, Any] | None:
        try:
            return (await self._connection.api(f"STREAM.MSG.GET.{stream_name(topic)}", which))["message"]
        except ApiError as error:
            if error.code == NO_MESSAGE:
                return None
            raise self._connection.unavailable(reason=error.text) from None

    async def _read_lanes(self, topic: str) -> int | None:
        settings = await self._settings(topic)
        return None if settings is None else int(settings.get("metadata", {}).get("fait.lanes", 0))

    async def _settings(self, topic: str) -> dict[str, Any] | None:
        try:
            return (await self._connection.api(f"STREAM.INFO.{stream_name(topic)}"))["config"]
        except ApiError as error:
            if error.code == NO_STREAM:
                return None
            raise self._connection.unavailable(reason=error.text) from None

    async def _create(self, topic: str, lanes: int) -> None:
        name = stream_name(topic)
        try:
            await self._connection.api(f"STREAM.CREATE.{name}", stream_settings(name, lanes))
        except ApiError as error:
            raise self._topics.mismatch({topic: f"cannot be created: {error.text}"}) from None

    async def close(self) -> None:
        """Close the connection."""
        await self._connection.close()


def nanoseconds_of(time: str) -> int:
    """Return a time of the server, in UTC and with up to nine digits of a second, as nanoseconds since 1970."""
    second, _, fraction = time.rstrip("Z").partition(".")
    return int(datetime.fromisoformat(f"{second}+00:00").timestamp()) * 10**9 + int(fraction.ljust(9, "0"))


def features_of(maximum_payload: int) -> BrokerFeatures:
    """Return what JetStream promises."""
    return BrokerFeatures(
        batch="atomic",
        maximum_batch=MAXIMUM_BATCH,
        maximum_message_bytes=min(MAX_MESSAGE_BYTES, maximum_payload - HEADROOM_BYTES),
        fence="token",
        stores_position=True,
        deduplicates=False,
        order="lane",
        seekable=True,
        acknowledges="none",
        exclusive_lanes=False,
        header_prefix="ce-",
        lanes="subject",
        backlog="exact",
        loses_acknowledged=_LOSSES,
    )
