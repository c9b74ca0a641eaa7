"""Measures the size of a log whose messages expire: each day adds messages and drops those older than a week.

    retention.py URL [DAYS] [MESSAGES]

URL names a new store: sqlite:///file.db or postgresql://…?schema=name. On PostgreSQL each day ends with a VACUUM, as
autovacuum would run it, and from day 20 to 25 a foreign transaction holds its snapshot.
"""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import apsw
import asyncpg
from measure import check

from fait._clock import ManualClock, SystemClock, new_id
from fait._events.append import Appended, StreamWrite
from fait._events.envelope import EncodedEvent
from fait._events.version import expected_number
from fait._store.open import open_store
from fait._store.ports.store import Store

__all__ = ["main"]

DAY = timedelta(days=1)
KEPT_DAYS = 7
STREAMS = 50
HELD = range(20, 26)
SIZES = """
SELECT n_live_tup, n_dead_tup, pg_table_size(relid) / 1024, pg_indexes_size(relid) / 1024
FROM pg_stat_user_tables WHERE schemaname = $1 AND relname = $2
"""

Measure = Callable[[int], Awaitable[dict[str, Any]]]


async def main(url: str, days: int, messages: int) -> None:
    clock = ManualClock(SystemClock().now())
    store = await open_store(url, clock=clock)
    async with (_sqlite if url.startswith("sqlite") else _postgres)(url, store) as measure:
        for day in range(1, days + 1):
            await _publish(store, messages)
            clock.moment += DAY
            dropped = await _expire(store, clock)
            check("messages dropped", dropped, messages if day > KEPT_DAYS else 0)
            if day % 5 == 0 or day in (HELD[0], HELD[-1], days):
                print({"day": day, "messages": messages * min(day, KEPT_DAYS), **await measure(day)})
            else:
                await measure(day)
    await store.close()


async def _publish(store: Store, messages: int) -> None:
    """Append a day's messages, 20 at a time. A permanent event ends each stream, so all messages can be dropped."""
    for stream in range(STREAMS):
        for first in range(0, messages // STREAMS, 20):
            events = [_message(stream) for _ in range(min(20, messages // STREAMS - first))]
            await _append(store, f"mail-{stream}", events)
        await _append(store, f"mail-{stream}", [EncodedEvent("bench.fact", 1, new_id(), "{}")])


def _message(stream: int) -> EncodedEvent:
    data = f'{{"to":"customer-{stream}@example.org","text":"{"x" * 300}"}}'
    return EncodedEvent("bench.mail-wanted", 1, new_id(), data, tags=(f"customer:{stream}",), expires=True)


async def _append(store: Store, stream: str, events: list[EncodedEvent]) -> None:
    verdict = await store.log.append([StreamWrite(stream, tuple(events), expected_number("any"))])
    check("an append", type(verdict), Appended)


async def _expire(store: Store, clock: ManualClock) -> int:
    total, after, more = 0, 0, True
    before = clock.now() - KEPT_DAYS * DAY
    while more:
        done = await store.log.expire("bench.mail-wanted", before, await store.log.head(), after=after)
        total, after, more = total + done.dropped, done.position, done.more
    return total


@asynccontextmanager
async def _sqlite(url: str, store: Store) -> Any:
    file = apsw.Connection(url.removeprefix("sqlite:///"))

    async def measure(day: int) -> dict[str, Any]:
        pages, free, size = (file.pragma(name) for name in ("page_count", "freelist_count", "page_size"))
        return {"file_kb": pages * size // 1024, "free_kb": free * size // 1024}

    yield measure
    file.close()


@asynccontextmanager
async def _postgres(url: str, store: Store) -> Any:
    schema = parse_qs(urlsplit(url).query)["schema"][0]
    connection, foreign = [await asyncpg.connect(url.partition("?")[0]) for _ in range(2)]

    async def measure(day: int) -> dict[str, Any]:
        if day == HELD[0] - 1:
            await foreign.execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1")
        elif day == HELD[-1]:
            await foreign.execute("ROLLBACK")
        found = dict[str, Any]()
        for table in ("fait_messages", "fait_tags", "fait_log"):
            await connection.execute(f'VACUUM (ANALYZE) "{schema}".{table}')
            [(live, dead, size, indexes)] = await connection.fetch(SIZES, schema, table)
            found[table] = {"live": live, "dead": dead, "table_kb": size, "indexes_kb": indexes}
        return found

    yield measure
    for each in (connection, foreign):
        await each.close()


if __name__ == "__main__":
    url, days, messages = [*sys.argv[1:], "30", "5000"][:3] if len(sys.argv) < 4 else sys.argv[1:4]
    asyncio.run(main(url, int(days), int(messages)))
