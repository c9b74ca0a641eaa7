"""Reads Redis Streams from offsets of its own, without a consumer group: groups do not keep the order over a takeover.

A read blocks its connection, and a canceled command would break it. So reads run in a task, which continues over calls.
"""

import asyncio
import contextlib
from collections.abc import Mapping
from typing import Final

from fait._delivery.brokers.port import ConsumedBatch, ConsumerSpec, Lane
from fait._delivery.brokers.ready_lanes import ReadyLanes
from fait._delivery.brokers.redis.connection import RedisConnection, ServerError
from fait._delivery.brokers.redis.keys import message_of, stream_key

__all__ = ["RedisConsumer"]

BLOCK_S: Final = 0.2
"""Maximum time that the server waits for an entry. A lane that is resumed during a read is not part of it."""


class RedisConsumer:
    """A consumer with a connection of its own.

    Args:
        spec: what it reads.
        connection: an open connection.
        offsets: id of the last entry of each lane that is not read.
    """

    def __init__(self, spec: ConsumerSpec, connection: RedisConnection, offsets: Mapping[Lane, str]) -> None:
        self._count = spec.maximum_batch
        self._connection = connection
        self._offsets = dict(offsets)
        self._ready = ReadyLanes(spec.lanes, spec.maximum_batch)
        self._reading: asyncio.Task[None] | None = None

    async def receive(self, timeout_s: float) -> ConsumedBatch | None:
        """Return the next entries of a lane."""
        end = asyncio.get_running_loop().time() + timeout_s
        while (batch := self._ready.next_batch()) is None:
            remaining = end - asyncio.get_running_loop().time()
            if remaining <= 0:
                return None
            await self._read(remaining)
        return batch

    async def _read(self, remaining_s: float) -> None:
        if self._reading is None:
            self._reading = asyncio.create_task(self._read_wanted())
        done, _ = await asyncio.wait({self._reading}, timeout=remaining_s)
        if done:
            finished, self._reading = self._reading, None
            await finished

    async def _read_wanted(self) -> None:
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

    def pause(self, lane: Lane) -> None:
        """Deliver no entries of a lane."""
        self._ready.pause(lane)

    def resume(self, lane: Lane) -> None:
        """Deliver entries of a lane again."""
        self._ready.resume(lane)

    async def close(self) -> None:
        """Close its connection."""
        await self._connection.close()
        if self._reading is not None:
            self._reading.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await self._reading
