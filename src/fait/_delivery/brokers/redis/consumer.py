"""Reads Redis Streams from own offsets, without a consumer group: groups do not keep the order over a takeover."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final

from fait._delivery.brokers.polling_consumer import PollingConsumer
from fait._delivery.brokers.port import ConsumerSpec, Lane
from fait._delivery.brokers.redis.connection import RedisConnection, ServerError
from fait._delivery.brokers.redis.keys import id_of, message_of, stream_key
from fait._errors import FaitError

__all__ = ["RedisConsumer"]

BLOCK_S: Final = 0.2
"""Maximum time that the server waits for an entry. A lane that is resumed during a read is not part of it."""


COUNT_ENTRIES: Final = """
local entries = redis.call('XRANGE', KEYS[1], '(' .. ARGV[1], '+', 'COUNT', ARGV[2])
return {#entries, #entries > 0 and entries[#entries][1] or ARGV[1]}
"""
"""Counts the entries after an id. Redis does not know their number, so each one is counted once."""

COUNTED_ENTRIES: Final = 50
"""Maximum number of entries that a script counts, during which the server does nothing else."""

MAX_COUNTS: Final = 1_000
"""Maximum number of scripts of one call of `backlog` that count as many as they may. The next call continues."""


class RedisConsumer(PollingConsumer):
    """A consumer with two connections of its own.

    Args:
        spec: what it reads.
        connection: an open connection.
        counting: another one, so that reads are not delayed by counts of entries, nor ended by a failure of one.
        offsets: id of the last entry of each lane that is not read.
    """

    def __init__(
        self, spec: ConsumerSpec, connection: RedisConnection, counting: RedisConnection, offsets: Mapping[Lane, str]
    ) -> None:
        super().__init__(spec)
        self._count = spec.maximum_batch
        self._connection = connection
        self._counting = counting
        self._offsets = dict(offsets)
        # The id up to which entries are counted, and the number of those that are not received.
        self._counted = {lane: (offset, 0) for lane, offset in offsets.items()}

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
        received = {keys[key]: entries for key, entries in streams or ()}
        for lane in wanted:
            self._add(lane, received.get(lane, ()))
        return None

    def _add(self, lane: Lane, entries: Sequence[tuple[bytes, list[bytes]]]) -> None:
        self._ready.add(lane, (message_of(entry_id, fields) for entry_id, fields in entries))
        if entries:
            self._offsets[lane] = entries[-1][0].decode()
        last, number = self._counted[lane]
        is_passed = id_of(self._offsets[lane]) >= id_of(last)
        # Without entries there are none, whatever was counted: they were deleted since.
        self._counted[lane] = (self._offsets[lane], 0) if is_passed or not entries else (last, number - len(entries))

    async def backlog(self) -> int | None:
        """Return the number of entries after the received ones; None while they are not all counted."""
        left = MAX_COUNTS
        try:
            for lane in self._counted:
                while not await self._count_entries(lane):
                    if (left := left - 1) == 0:
                        return None
        except (ServerError, FaitError):
            return None
        return sum(number for _, number in self._counted.values()) + self._ready.count

    async def _count_entries(self, lane: Lane) -> bool:
        """Count further entries of a lane. Returns whether these were the last ones."""
        after, _ = self._counted[lane]
        script = ("EVAL_RO", COUNT_ENTRIES, 1, stream_key(lane), after, COUNTED_ENTRIES)
        found, last = await self._counting.call(*script)
        counted, number = self._counted[lane]
        # fault: redis-entries-received-during-a-count-counted
        if counted != after:
            return False
        self._counted[lane] = last.decode(), number + found
        return found < COUNTED_ENTRIES

    async def acknowledge(self, lane: Lane, offset: str) -> None:
        """Do nothing: a stream stores no offsets without a group."""

    async def close(self) -> None:
        """Close its connections."""
        await asyncio.gather(self._connection.close(), self._counting.close())
        await self._end_reading()
