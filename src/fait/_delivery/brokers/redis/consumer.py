"""Reads Redis Streams from own offsets, without a consumer group: groups do not keep the order over a takeover."""

import asyncio
from collections.abc import Mapping
from typing import Final

from fait._delivery.brokers.polling_consumer import PollingConsumer
from fait._delivery.brokers.port import ConsumerSpec, Lane
from fait._delivery.brokers.redis.connection import RedisConnection, ServerError
from fait._delivery.brokers.redis.keys import message_of, stream_key

__all__ = ["RedisConsumer"]

BLOCK_S: Final = 0.2
"""Maximum time that the server waits for an entry. A lane that is resumed during a read is not part of it."""


class RedisConsumer(PollingConsumer):
    """A consumer with a connection of its own.

    Args:
        spec: what it reads.
        connection: an open connection.
        offsets: id of the last entry of each lane that is not read.
    """

    def __init__(self, spec: ConsumerSpec, connection: RedisConnection, offsets: Mapping[Lane, str]) -> None:
        super().__init__(spec)
        self._count = spec.maximum_batch
        self._connection = connection
        self._offsets = dict(offsets)

    async def _read(self) -> None:
        if not (wanted := self._ready.wanted):
            return await asyncio.sleep(BLOCK_S)
        keys = {stream_key(lane).encode(): lane for lane in wanted}
        options = ("COUNT", self._count, "BLOCK", round(BLOCK_S * 1000), "STREAMS")
        offsets = [self._offsets[lane] for lane in wanted]
        try:
            streams = await self._connection.call("XREAD", *options, *keys, *offsets, wait_s=BLOCK_S)
        except ServerError as error:
            await self._connection.close()
            raise self._connection.unavailable(error.text) from None
        for key, entries in streams or ():
            lane = keys[key]
            self._ready.add(lane, (message_of(entry_id, fields) for entry_id, fields in entries))
            self._offsets[lane] = entries[-1][0].decode()
        return None

    async def acknowledge(self, lane: Lane, offset: str) -> None:
        """Do nothing: a stream stores no offsets without a group."""

    async def close(self) -> None:
        """Close its connection."""
        await self._connection.close()
        await self._end_reading()
