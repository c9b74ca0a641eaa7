"""Relays as tutorials write them, as programs on PostgreSQL and Redis: `naive.py NAME STORE BROKER`.

They prove that a round finds their faults. Each marks an event after it is published, so all of them may repeat events;
and each has one fault more. `tests.relay.naive_relays` has the same relays over rows in memory.
"""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import asyncpg
import redis.asyncio

from fait._delivery.brokers.redis.keys import encode_headers, stream_key
from fait._delivery.wire.outgoing import message_of
from fait._events.envelope import RecordedEvent
from fait._store.open import open_store
from fait.broker import Lane, Source, lane_of
from tests.delivery.apps import LANES, RELAY, TOPIC
from tests.delivery.process import end_with_parent

POLL_S = 0.02
OUTAGES = (OSError, redis.RedisError, asyncpg.PostgresError, asyncpg.InterfaceError)

CREATE_MARKS = "CREATE TABLE naive_marks (position bigint PRIMARY KEY)"
MARK = "INSERT INTO naive_marks VALUES ($1) ON CONFLICT DO NOTHING"
ROWS = "SELECT position, stream, version, type, id::text, data, recorded_at FROM fait_events e WHERE "
IS_AFTER_CURSOR = "position > (SELECT coalesce(max(position), 0) FROM naive_marks)"
IS_UNMARKED = "NOT EXISTS (SELECT FROM naive_marks m WHERE m.position = e.position)"

LEFT = "SELECT count(*) FROM fait_events e WHERE "
LEFT_OF = {
    "id cursor": LEFT + IS_AFTER_CURSOR,
    "skip locked": LEFT + IS_UNMARKED,
    "marks without order": LEFT + IS_UNMARKED,
}
"""How many events a relay has still to publish, as it sees it."""

Publish = Callable[[RecordedEvent], Awaitable[Any]]
Relay = Callable[[Any, Publish], Awaitable[int]]


async def id_cursor(database: Any, publish: Publish) -> int:
    """Publish what is committed above the greatest position that was published."""
    return await _in_order(database, f"{ROWS} {IS_AFTER_CURSOR} ORDER BY position LIMIT 50", publish)


async def skip_locked(database: Any, publish: Publish) -> int:
    """Publish rows that no other process has locked."""
    async with database.transaction():
        rows = f"{ROWS} {IS_UNMARKED} ORDER BY position LIMIT 5 FOR UPDATE OF e SKIP LOCKED"
        return await _in_order(database, rows, publish)


async def marks_without_order(database: Any, publish: Publish) -> int:
    """Publish rows at the same time, on several connections; mark those that were confirmed."""
    events = await _events(database, f"{ROWS} {IS_UNMARKED} ORDER BY position LIMIT 50")
    confirmed = await asyncio.gather(*map(publish, events), return_exceptions=True)
    for event, result in zip(events, confirmed, strict=True):
        if not isinstance(result, BaseException):
            await database.execute(MARK, event.position)
    return len(events)


RELAYS: Mapping[str, Relay] = {
    "id cursor": id_cursor,
    "skip locked": skip_locked,
    "marks without order": marks_without_order,
}


async def _in_order(database: Any, sql: str, publish: Publish) -> int:
    events = await _events(database, sql)
    for event in events:
        await publish(event)
        await database.execute(MARK, event.position)
    return len(events)


async def _events(database: Any, sql: str) -> Sequence[RecordedEvent]:
    return [
        RecordedEvent(position, stream, version, type, 1, id, data, "{}", (), recorded_at, recorded_at)
        for position, stream, version, type, id, data, recorded_at in await database.fetch(sql)
    ]


async def main(name: str, store: str, broker: str) -> None:
    """Run a relay until the process is killed."""
    source = await _source(store)
    while True:
        with suppress(*OUTAGES):
            await _run(name, store, broker, source)
        await asyncio.sleep(POLL_S)


async def _source(store: str) -> Source:
    opened = await open_store(store, create=False)
    try:
        return Source(opened.log.identity.log_id, opened.log.identity.epoch_id, RELAY)
    finally:
        await opened.close()


async def _run(name: str, store: str, broker: str, source: Source) -> None:
    url, schema = store.split("?schema=")
    database: Any = await asyncpg.connect(url, server_settings={"search_path": schema})
    client: Any = redis.asyncio.Redis.from_url(broker)

    async def publish(event: RecordedEvent) -> None:
        message = message_of(event, source, event.stream, 0, "ce-")
        lane = Lane(TOPIC, lane_of(message.bucket, LANES))
        await client.xadd(stream_key(lane), {"headers": encode_headers(message), "data": message.body})

    try:
        if name != "skip locked":  # one process publishes
            await database.execute("SELECT pg_advisory_lock(1)")
        while True:
            if not await RELAYS[name](database, publish):
                await asyncio.sleep(POLL_S)
    finally:
        database.terminate()
        await client.aclose()


if __name__ == "__main__":
    end_with_parent()
    asyncio.run(main(*sys.argv[1:]))
