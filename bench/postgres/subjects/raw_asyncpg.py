"""PostgreSQL through asyncpg, without a library."""

import asyncio
import os
import random
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
from measure import Outcome, check, concurrently, outcome, timed_async
from order import EVENTS_PER_ORDER
from postgres.crowd import PART_CALLERS, Follower, begin, keep_reading, own_numbers, ready, report
from postgres.subjects.raw import (
    BULK,
    FOLLOW,
    PAGE,
    READ,
    READ_MANY,
    UPSERT,
    UPSERT_MANY,
    VIEW,
    Event,
    bare,
    decode,
    event,
    events,
    layout,
    prepare,
    table,
)

__all__ = ["POSITION", "WORKLOADS", "table"]

POSITION = "position"
CONNECTIONS = 16
PART_CONNECTIONS = 4
HELD_S = 0.02
NEWS = "bench_news"
Connection = Pool = Any
"""A connection and a pool of asyncpg."""


@asynccontextmanager
async def connected(url: str) -> AsyncGenerator[Connection]:
    await prepare(url)
    connection = await asyncpg.connect(bare(url))
    try:
        yield connection
    finally:
        await connection.close()


@asynccontextmanager
async def pooled(url: str, connections: int = CONNECTIONS) -> AsyncGenerator[Pool]:
    await prepare(url)
    async with asyncpg.create_pool(bare(url), min_size=connections, max_size=connections) as pool:
        yield pool


async def fill(connection: Connection, given: Sequence[Event], url: str) -> None:
    form = layout(url)
    for first in range(0, len(given), BULK):
        records = [form.row(each) for each in given[first : first + BULK]]
        await connection.copy_records_to_table(form.table, columns=form.columns, records=records)


async def w1(url: str, n: int) -> Outcome:
    form = layout(url)
    async with connected(url) as connection:

        async def act(given: Event) -> None:
            await connection.execute(form.insert, *form.row(given))

        await timed_async(act, events(range(n, n + n // 10), 1))
        seconds, latencies = await timed_async(act, events(range(n), 1))
    return outcome(n, seconds, latencies, stored=n + n // 10)


async def w2(url: str, n: int) -> Outcome:
    form = layout(url)
    async with pooled(url) as pool:

        async def act(given: Event) -> None:
            await pool.execute(form.insert, *form.row(given))

        await concurrently(act, events(range(n, n + n // 10), 1))
        seconds, latencies = await concurrently(act, events(range(n), 1))
    return outcome(n, seconds, latencies, stored=n + n // 10)


async def w3_part(url: str, n: int) -> dict[str, Any]:
    form, numbers = layout(url), own_numbers(n + n // 10)
    warm_up, given = events(numbers[n:], 1), events(numbers[:n], 1)
    async with pooled(url, PART_CONNECTIONS) as pool:

        async def act(one: Event) -> None:
            await pool.execute(form.insert, *form.row(one))

        await concurrently(act, warm_up, PART_CALLERS)
        await asyncio.to_thread(begin)
        return report(*await concurrently(act, given, PART_CALLERS))


async def w4(url: str, n: int) -> Outcome:
    form, streams, warm_up = layout(url), n // EVENTS_PER_ORDER, n // EVENTS_PER_ORDER // 10
    async with pooled(url) as pool:

        async def act(given: Sequence[Event]) -> None:
            rows = [form.row(each) for each in given]
            await pool.execute(form.insert_many, *map(list, zip(*rows, strict=True)))

        appends = [events(range(number, number + 1), EVENTS_PER_ORDER) for number in range(streams + warm_up)]
        await concurrently(act, appends[streams:])
        seconds, latencies = await concurrently(act, appends[:streams])
    return outcome(streams * 10, seconds, latencies, stored=(streams + warm_up) * 10)


async def w4_bulk(url: str, n: int) -> Outcome:
    streams, warm_up = n // EVENTS_PER_ORDER, n // EVENTS_PER_ORDER // 10
    given, before = events(range(streams), 10), events(range(streams, streams + warm_up), 10)
    async with connected(url) as connection:
        await fill(connection, before, url)
        started = time.perf_counter()
        await fill(connection, given, url)
        seconds = time.perf_counter() - started
    return outcome(streams * 10, seconds, stored=(streams + warm_up) * 10)


async def w5_one(url: str, n: int) -> Outcome:
    loads = 10
    async with connected(url) as connection:
        await fill(connection, [event(number, "order-0", number + 1) for number in range(n)], url)

        async def act(_: int) -> None:
            check("events decoded", len([decode(row[2]) for row in await connection.fetch(READ, "order-0")]), n)

        await act(0)
        seconds, latencies = await timed_async(act, range(loads))
    return outcome(loads * n, seconds, latencies, stored=n)


async def w5_many(url: str, n: int) -> Outcome:
    async with connected(url) as connection:
        await fill(connection, events(range(n), EVENTS_PER_ORDER), url)

        async def act(number: int) -> None:
            found = [decode(row[2]) for row in await connection.fetch(READ, f"order-{number}")]
            check("events decoded", len(found), EVENTS_PER_ORDER)

        await timed_async(act, range(n // 10))
        seconds, latencies = await timed_async(act, range(n))
    return outcome(n * EVENTS_PER_ORDER, seconds, latencies, stored=n * EVENTS_PER_ORDER)


async def w5_load_many(url: str, n: int) -> Outcome:
    async with connected(url) as connection:
        await fill(connection, events(range(n), EVENTS_PER_ORDER), url)
        names = [f"order-{number}" for number in range(n)]
        await connection.fetch(READ_MANY, names[:100])
        started, decoded = time.perf_counter(), 0
        for first in range(0, n, 100):
            rows = await connection.fetch(READ_MANY, names[first : first + 100])
            decoded += len([decode(row[3]) for row in rows])
        seconds = time.perf_counter() - started
    check("events decoded", decoded, n * EVENTS_PER_ORDER)
    return outcome(n * EVENTS_PER_ORDER, seconds, stored=n * EVENTS_PER_ORDER)


async def w6(url: str, n: int) -> Outcome:
    streams, form = 200, layout(url)
    async with connected(url) as connection:
        await fill(connection, events(range(streams), 20), url)
        stored = streams * 20

        async def act(given: Event) -> None:
            found = [decode(row[2]) for row in await connection.fetch(READ, given.stream)]
            await connection.execute(form.insert, *form.row(given._replace(version=len(found) + 1)))

        changes = [event(stored + number, f"order-{number % streams}", 0) for number in range(n // 10 + n)]
        await timed_async(act, changes[: n // 10])
        seconds, latencies = await timed_async(act, changes[n // 10 :])
    return outcome(n, seconds, latencies, stored=stored + len(changes))


async def w7(url: str, n: int) -> Outcome:
    """Fold a page in memory, and write one row per order."""

    async def write(connection: Connection, rows: Sequence[Any]) -> None:
        folded = dict[str, tuple[str, str, float, int]]()
        for row in rows:
            order = decode(row[4])
            before = folded.get(order.order_id)
            folded[order.order_id] = (order.order_id, order.customer_id, order.total, before[3] + 1 if before else 1)
        await connection.execute(UPSERT_MANY, *map(list, zip(*folded.values(), strict=True)))

    return await catch_up(url, n, write)


async def w7_sql(url: str, n: int) -> Outcome:
    """Execute one statement per event, sent together."""

    async def write(connection: Connection, rows: Sequence[Any]) -> None:
        orders = [decode(row[4]) for row in rows]
        await connection.executemany(UPSERT, [(each.order_id, each.customer_id, each.total) for each in orders])

    return await catch_up(url, n, write)


async def catch_up(url: str, n: int, write: Any) -> Outcome:
    position, streams = 0, n // EVENTS_PER_ORDER
    async with connected(url) as connection:
        await fill(connection, events(range(streams), EVENTS_PER_ORDER), url)
        await connection.execute(VIEW)
        started = time.perf_counter()
        while rows := await connection.fetch(FOLLOW, position, PAGE):
            position = rows[-1][0]
            async with connection.transaction():
                await write(connection, rows)
                await connection.execute("UPDATE done SET position = $1", position)
        seconds = time.perf_counter() - started
    return outcome(streams * EVENTS_PER_ORDER, seconds, stored=streams * EVENTS_PER_ORDER)


async def w8_notify(url: str, n: int) -> Outcome:
    form, latencies = layout(url), list[float]()
    statement = f"WITH stored AS ({form.insert}) SELECT pg_notify('{NEWS}', '')"
    async with connected(url) as connection:
        with Follower(os.environ["BENCH_SUBJECT"], url) as follower:
            for given in events(range(n + n // 10), 1):
                await asyncio.sleep(0.02)
                started = time.perf_counter()
                await connection.fetch(statement, *form.row(given))
                latencies.append(await asyncio.to_thread(follower.handled_at) - started)
    return outcome(n, None, latencies[n // 10 :], stored=n + n // 10)


async def follow(url: str, _n: int) -> None:
    ready()
    async for row in tail(url, poll_interval_s=1.0):
        decode(row[4])
        print(time.perf_counter(), flush=True)


async def tail(url: str, poll_interval_s: float) -> AsyncGenerator[Any]:
    """Yield rows after the last one, at each notification or after the poll interval."""
    async with connected(url) as connection:
        news, position = asyncio.Event(), 0
        await connection.add_listener(NEWS, lambda *_: news.set())
        while True:
            news.clear()
            while rows := await connection.fetch(FOLLOW, position, PAGE):
                position = rows[-1][0]
                for row in rows:
                    yield row
            try:
                await asyncio.wait_for(news.wait(), poll_interval_s)
            except TimeoutError:
                continue


async def probe_write(url: str, n: int) -> dict[str, Any]:
    """Insert rows, some of them in transactions that stay open for a while."""
    form, numbers, acknowledged = layout(url), own_numbers(n), 0
    given = events(numbers, 1)

    async def call(caller: int) -> None:
        nonlocal acknowledged
        chance = random.Random(f"{numbers[0]}/{caller}")
        for each in given[caller::PART_CALLERS]:
            if chance.randrange(4):
                await pool.execute(form.insert, *form.row(each))
                acknowledged += 1
            else:
                committed = await in_transaction(each, chance)
                acknowledged += committed

    async def in_transaction(each: Event, chance: random.Random) -> int:
        async with pool.acquire() as connection:
            transaction = connection.transaction()
            await transaction.start()
            await connection.execute(form.insert, *form.row(each))
            await asyncio.sleep(chance.uniform(0, HELD_S))
            if chance.random() < 0.5:
                await transaction.rollback()
                return 0
            await transaction.commit()
            return 1

    async with pooled(url, 8) as pool:
        await asyncio.to_thread(begin)
        await asyncio.gather(*(call(caller) for caller in range(PART_CALLERS)))
    return {"acknowledged": acknowledged}


async def probe_read(url: str, _n: int) -> dict[str, Any]:
    seen = list[int]()

    async def read() -> None:
        async for row in tail(url, poll_interval_s=0.005):
            seen.append(row[0])

    async with connected(url) as connection:
        await fill(connection, events(range(1), 1), url)
    await keep_reading(read(), seen)
    return {"seen": seen}


WORKLOADS = {
    "W1": w1,
    "W2": w2,
    "W3-part": w3_part,
    "W4": w4,
    "W4-bulk": w4_bulk,
    "W5-one": w5_one,
    "W5-many": w5_many,
    "W5-load-many": w5_load_many,
    "W6": w6,
    "W7": w7,
    "W7-sql": w7_sql,
    "W8-notify": w8_notify,
    "follow": follow,
    "probe-write": probe_write,
    "probe-read": probe_read,
}
