"""A Redis server as a broker: features, topology, and what it opens. Each publisher and consumer has a connection."""

import asyncio
import re
from collections.abc import Collection, Mapping
from typing import Any, Final

from fait._broker_errors import OffsetLost
from fait._delivery.brokers.destination import Destination
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
from fait._delivery.brokers.redis.connection import RedisConnection, ServerError
from fait._delivery.brokers.redis.consumer import RedisConsumer
from fait._delivery.brokers.redis.keys import LANES, id_of, publishers_key, stream_key
from fait._delivery.brokers.redis.publisher import RedisPublisher, stored_progress
from fait._delivery.brokers.redis.settings import find_problems
from fait._delivery.brokers.topics import Topics
from fait._errors import UsageError
from fait._store.ports.store import Finding

__all__ = ["RedisBroker"]

MAXIMUM_BATCH: Final = 1_000
"""Maximum number of messages in a script, during which the server does nothing else."""

_ENTRY_ID: Final = re.compile(r"\d{1,20}-\d{1,20}")

_LOSSES: Final = (
    "A failover to a replica, which lags behind. A power failure, if appendfsync is not always. MAXLEN, XTRIM, XDEL "
    "and the eviction of keys."
)


class RedisBroker:
    """An open server."""

    def __init__(self, destination: Destination, timeout_s: float, control: RedisConnection) -> None:
        self._destination = destination
        self._timeout_s = timeout_s
        self._control = control
        self._topics = Topics(destination.name, self._read_lanes)
        self._opened: list[RedisPublisher | RedisConsumer | RedisConnection] = [control]
        self.features = features_of(MAX_MESSAGE_BYTES)

    @classmethod
    async def open(cls, destination: Destination, timeout_s: float) -> "RedisBroker":
        """Connect, and ask the server for its limits."""
        control = RedisConnection(destination, timeout_s)
        await control.open()
        broker = cls(destination, timeout_s, control)
        limit = (await broker._configuration()).get("proto-max-bulk-len", MAX_MESSAGE_BYTES)
        broker.features = features_of(min(MAX_MESSAGE_BYTES, int(limit)))
        return broker

    async def check(self, topology: Topology, *, create: bool) -> list[Finding]:
        """Compare the topics, and read the settings under which entries are lost."""
        topics = await self._topics.findings(topology, self._create if create else None)
        streams = [stream_key(Lane(topic, at)) for topic, lanes in topology.topics.items() for at in range(lanes)]
        kinds = {stream: await self._control.call("TYPE", stream) for stream in streams}
        return [*topics, *find_problems(await self._configuration(), await self._info(), kinds)]

    async def lanes(self, topic: str) -> tuple[Lane, ...]:
        """Return the lanes of a topic."""
        return await self._topics.lanes(topic)

    async def publisher(self, topic: str, source: Source, buckets: range, fencing_token: int) -> RedisPublisher:
        """Open a publisher."""
        lanes, connection = await self._topics.lanes(topic), await self._connect()
        publisher = RedisPublisher(self._destination.name, lanes, source, connection, self.features)
        await publisher.take_over(buckets, fencing_token)
        return publisher

    async def progress(self, topic: str, source: Source, buckets: range) -> Mapping[int, Progress]:
        """Return the position of each bucket that has one."""
        await self._topics.lanes(topic)
        entries = iter(await self._control.call("HGETALL", publishers_key(topic, source)))
        return stored_progress(dict(zip(entries, entries, strict=True)), buckets)

    async def consumer(self, spec: ConsumerSpec, offsets: Mapping[Lane, str]) -> RedisConsumer:
        """Open a consumer."""
        if spec.start == "acknowledged":
            raise UsageError("Redis stores no acknowledged offsets: start at the beginning or the end")
        await self._topics.require_lanes(spec.lanes)
        require_form(_ENTRY_ID, offsets, self._destination.name, spec.name)
        for lane, offset in offsets.items():
            if offset and id_of(offset) > await self._last_id(lane):
                raise OffsetLost(self._destination.name, spec.name, lane.topic, lane.number, offset)
        first = {lane: offsets.get(lane) or await self._start(lane, spec, offsets) for lane in spec.lanes}
        consumer = RedisConsumer(spec, await self._connect(), await self._connect(), first)
        self._opened.append(consumer)
        return consumer

    async def ends(self, lanes: Collection[Lane]) -> dict[Lane, str]:
        """Return the id of the last entry of each lane."""
        await self._topics.require_lanes(lanes)
        return {lane: await self._last_entry(lane) for lane in lanes}

    async def _start(self, lane: Lane, spec: ConsumerSpec, offsets: Mapping[Lane, str]) -> str:
        last = "" if spec.start == "beginning" or lane in offsets else await self._last_entry(lane)
        return last or "0-0"

    async def _last_entry(self, lane: Lane) -> str:
        last = await self._control.call("XREVRANGE", stream_key(lane), "+", "-", "COUNT", 1)
        return last[0][0].decode() if last else ""

    async def _last_id(self, lane: Lane) -> tuple[int, int]:
        """Return the greatest id that a lane has ever had, also if that entry is deleted."""
        try:
            info = await self._control.call("XINFO", "STREAM", stream_key(lane))
        except ServerError:  # no such key
            return (0, 0)
        return id_of(dict(zip(info[::2], info[1::2], strict=True))[b"last-generated-id"].decode())

    async def _connect(self) -> RedisConnection:
        connection = RedisConnection(self._destination, self._timeout_s)
        await connection.open()
        self._opened.append(connection)
        return connection

    async def _read_lanes(self, topic: str) -> int | None:
        lanes = await self._control.call("HGET", LANES, topic)
        return None if lanes is None else int(lanes)

    async def _create(self, topic: str, lanes: int) -> None:
        try:
            await self._control.call("HSETNX", LANES, topic, lanes)
        except ServerError as error:
            raise self._control.unavailable(error.text) from None

    async def _configuration(self) -> dict[str, str]:
        """Return the settings of the server; none if the user may not read them."""
        try:
            values = await self._control.call("CONFIG", "GET", "*")
        except ServerError:
            return {}
        return {name.decode(): value.decode() for name, value in zip(values[::2], values[1::2], strict=True)}

    async def _info(self) -> dict[str, str]:
        try:
            text: Any = await self._control.call("INFO")
        except ServerError:
            return {}
        lines = [line.partition(":") for line in text.decode().splitlines() if ":" in line]
        return {name: value for name, _, value in lines}

    async def close(self) -> None:
        """Close all connections."""
        await asyncio.gather(*(each.close() for each in self._opened))
        self._opened.clear()


def features_of(maximum_message_bytes: int) -> BrokerFeatures:
    """Return what Redis promises."""
    return BrokerFeatures(
        batch="atomic",
        maximum_batch=MAXIMUM_BATCH,
        maximum_message_bytes=maximum_message_bytes,
        fence="token",
        stores_position=True,
        deduplicates=False,
        order="lane",
        seekable=True,
        acknowledges="none",
        exclusive_lanes=False,
        header_prefix="ce-",
        lanes="stream",
        backlog="exact",
        loses_acknowledged=_LOSSES,
    )
