"""fait on PostgreSQL: the SQLite workloads with another URL, and those that need several processes."""

import asyncio
import os
import random
import time
from contextlib import AsyncExitStack
from typing import Any

import asyncpg
from measure import Outcome, concurrently, outcome
from order import EVENTS_PER_ORDER
from postgres.crowd import PART_CALLERS, Follower, begin, keep_reading, own_numbers, ready, report
from subjects import fait_system as same
from subjects.fait_system import Order, OrderPlaced, OrderUpdated, fill, made, new_events, opened, placed, updated

import fait

__all__ = ["POSITION", "TABLE", "WORKLOADS"]

TABLE, POSITION = "fait_all_events", "position"
CONTENDED = 8
HELD_S = 0.02
UPSERT = (
    "INSERT INTO order_view AS v (order_id, customer_id, total, n) VALUES ($1, $2, $3, 1) "
    "ON CONFLICT (order_id) DO UPDATE SET total = excluded.total, n = v.n + 1"
)
VIEW = "CREATE TABLE order_view (order_id text PRIMARY KEY, customer_id text, total float8, n bigint)"


async def w3_part(url: str, n: int) -> dict[str, Any]:
    numbers = own_numbers(n + n // 10)
    warm_up, given = made(numbers[n:], 1), made(numbers[:n], 1)
    async with opened(url) as s:
        await concurrently(s.append, warm_up, PART_CALLERS)
        await asyncio.to_thread(begin)
        return report(*await concurrently(s.append, given, PART_CALLERS))


async def w7_sql(url: str, n: int) -> Outcome:
    app, streams = fait.App("bench"), n // EVENTS_PER_ORDER

    @app.on(OrderPlaced, OrderUpdated, name="order_view", start="beginning", batch=1000)
    def show(event: OrderPlaced | OrderUpdated, ctx: fait.Context) -> None:
        ctx.execute(UPSERT, event.order_id, event.customer_id, event.total)

    async with opened(url) as s:
        await fill(s, range(streams), EVENTS_PER_ORDER)
    connection = await asyncpg.connect(url)
    await connection.execute(VIEW)
    await connection.close()
    started = time.perf_counter()
    async with app.open(url) as s:
        await s.wait(timeout_s=3600)
        seconds = time.perf_counter() - started
    return outcome(streams * EVENTS_PER_ORDER, seconds, stored=streams * EVENTS_PER_ORDER)


async def w8_notify(url: str, n: int) -> Outcome:
    latencies = list[float]()
    async with opened(url) as s:
        with Follower(os.environ["BENCH_SUBJECT"], url) as follower:
            for number in range(n + n // 10):
                await asyncio.sleep(0.02)
                new = new_events(number, 1)
                started = time.perf_counter()
                await s.append(new)
                latencies.append(await asyncio.to_thread(follower.handled_at) - started)
    return outcome(n, None, latencies[n // 10 :], stored=n + n // 10)


async def follow(url: str, _n: int) -> None:
    app = fait.App("bench")

    @app.on(OrderPlaced)
    async def note(_event: OrderPlaced) -> None:
        print(time.perf_counter(), flush=True)

    async with app.open(url):
        ready()
        await asyncio.Event().wait()


async def probe_write(url: str, n: int) -> dict[str, Any]:
    """Append, decide on a few contended streams, and append in transactions that stay open for a while."""
    app, acknowledged = fait.App("bench"), 0
    app.include(Order)
    numbers = own_numbers(n)

    async def call(caller: int) -> None:
        nonlocal acknowledged
        chance = random.Random(f"{numbers[0]}/{caller}")
        for number in numbers[caller::PART_CALLERS]:
            match chance.randrange(4):
                case 0:
                    contended = str(chance.randrange(CONTENDED))
                    try:
                        await s.transact(Order.update, contended, updated(number))
                    except fait.WrongExpectedVersion:
                        continue
                    acknowledged += 1
                case 1:
                    committed = await in_transaction(number, chance)
                    acknowledged += committed
                case _:
                    await s.append(new_events(number, 1 + number % 3))
                    acknowledged += 1 + number % 3

    async def in_transaction(number: int, chance: random.Random) -> int:
        async with pool.acquire() as connection:
            transaction = connection.transaction()
            await transaction.start()
            await app.outbox(connection).add(placed(number), stream=f"order-{number}")
            await asyncio.sleep(chance.uniform(0, HELD_S))
            if chance.random() < 0.5:
                await transaction.rollback()
                return 0
            await transaction.commit()
            return 1

    async with AsyncExitStack() as stack:
        s = await stack.enter_async_context(app.open(url, run="elsewhere"))
        pool = await stack.enter_async_context(asyncpg.create_pool(url, min_size=4, max_size=4))
        await asyncio.to_thread(begin)
        await asyncio.gather(*(call(caller) for caller in range(PART_CALLERS)))
    return {"acknowledged": acknowledged}


async def probe_read(url: str, _n: int) -> dict[str, Any]:
    seen = list[int]()

    async def read() -> None:
        async for each in s.events(follow_on=True):
            seen.append(each.position)

    async with opened(url) as s:
        await s.append(*[new_events(number, 1) for number in range(CONTENDED)])
        await keep_reading(read(), seen)
    return {"seen": seen}


WORKLOADS = {
    **same.WORKLOADS,
    "W3-part": w3_part,
    "W7-sql": w7_sql,
    "W8-notify": w8_notify,
    "follow": follow,
    "probe-write": probe_write,
    "probe-read": probe_read,
}
