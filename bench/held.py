"""Measures a relay while transactions of other programs are held open on PostgreSQL, next to one without.

`make bench-held` takes five minutes; options are passed as in `make bench-held ARGS="--minutes 1 --rate 100"`.

Two databases on one server get the same load at the same time: events at a fixed rate, which a relay publishes to
Redis. In one of them, a transaction that has written a row and one with a snapshot stay open. They hold back vacuum in
their database: a row version that an update replaces there stays as a dead one.

The delay of an event is that from its commit until a consumer has its message. At the end each relay publishes
backlogs, which show its rate, and the row versions that were replaced are counted, by table of fait.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from statistics import median
from typing import Any

import asyncpg
from machine import machine
from measure import percentile
from msgspec import Struct
from relay import KEYS, LANES, SETTINGS, TEXT, Placed

import fait
from fait.broker import ConsumedBatch, Consumer, ConsumerSpec, Topology, open_broker
from tests.servers.postgres import PostgresServer
from tests.servers.redis import RedisServer

__all__ = ["main"]

CHUNK = 100
"""Number of events of the backlog that are appended at once."""

BACKLOGS = 5
"""Number of backlogs that each relay publishes, in turns; the median of their rates counts."""

REPORT_TIMEOUT_S = 30
"""Timeout for the reports of closed connections: a connection reports its last statements before it is gone."""

CLOSING = """SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
    AND backend_type = 'client backend' AND pid <> pg_backend_pid() AND state <> 'idle in transaction'"""
REPLACED = """SELECT relname, n_tup_upd + n_tup_del AS replaced, n_dead_tup AS dead
    FROM pg_stat_user_tables WHERE relname LIKE 'fait_%'"""


class Result(Struct):
    """What was measured in one database.

    Attributes:
        rate: events per second that were published while they were appended.
        delays_s: time from commit to consumer of each event.
        backlog_rate: events per second of a backlog, the median.
        replaced: number of row versions that updates and deletions replaced until the end of the load, by table.
        dead: number of dead row versions at that time, by table.
    """

    rate: float
    delays_s: list[float]
    backlog_rate: float
    replaced: dict[str, int]
    dead: dict[str, int]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=5, help="minutes of the load (default: 5)")
    parser.add_argument("--rate", type=int, default=300, help="events per second in each database (default: 300)")
    parser.add_argument("--backlog", type=int, default=30_000, help="events of the backlog (default: 30,000)")
    options = parser.parse_args(arguments)
    print(", ".join(f"{name}: {value}" for name, value in machine(Path(tempfile.gettempdir())).items()))
    count = int(options.rate * options.minutes * 60)
    print(f"events of {len(TEXT)} bytes, {KEYS:,} keys, {options.rate:,} events/s for {options.minutes:g} minutes\n")
    with PostgresServer(options=SETTINGS) as server, RedisServer() as broker:
        plain, held = asyncio.run(measured(server, broker.url, options.rate, count, options.backlog))
    for name, result in (("without", plain), ("held", held)):
        print_result(name, result, count)
    print(f"rate of the backlog {held.backlog_rate / plain.backlog_rate:.2f} times that without, ", end="")
    print(f"p99 {percentile(held.delays_s, 0.99) / percentile(plain.delays_s, 0.99):.2f} times")
    return 0


def print_result(name: str, result: Result, count: int) -> None:
    p50, p99 = (percentile(result.delays_s, share) / 1_000 for share in (0.5, 0.99))
    print(f"{name}: {result.rate:,.0f} events/s, commit to consumer p50 {p50:.1f} ms, p99 {p99:.1f} ms")
    print(f"  backlog {result.backlog_rate:,.0f} events/s")
    for table, replaced in sorted(result.replaced.items()):
        if replaced:
            dead = result.dead[table]
            print(f"  {table}: {100 * replaced / count:.1f} replaced, {100 * dead / count:.1f} dead per 100 events")


async def measured(server: PostgresServer, broker: str, rate: int, count: int, backlog: int) -> Sequence[Result]:
    """Return the results without and with held transactions."""
    async with AsyncExitStack() as opened:
        databases = [await created(server, name) for name in ("plain", "held")]
        for name, url in zip(("plain", "held"), databases, strict=True):
            async with app(broker, name).open(url, run="elsewhere"):
                pass
        await opened.enter_async_context(held_transactions(databases[1]))
        loads = [load(url, broker, name, rate, count) for name, url in zip(("plain", "held"), databases, strict=True)]
        results = await asyncio.gather(*loads)
        rates: dict[str, list[float]] = {url: [] for url in databases}
        for _ in range(BACKLOGS):
            for name, url in zip(("plain", "held"), databases, strict=True):
                rates[url].append(await backlog_rate(url, broker, name, backlog))
        for url, result in zip(databases, results, strict=True):
            result.backlog_rate = median(rates[url])
    return results


async def created(server: PostgresServer, name: str) -> str:
    connection: Any = await asyncpg.connect(server.url)
    await connection.execute(f"CREATE DATABASE {name}")
    await connection.close()
    return server.url.removesuffix("postgres") + name


@asynccontextmanager
async def held_transactions(url: str) -> AsyncGenerator[None, None]:
    """Keep a transaction open that has written a row, and one that has a snapshot."""
    writer: Any = await asyncpg.connect(url)
    reader: Any = await asyncpg.connect(url)
    await writer.execute("CREATE TABLE of_another_program (id int)")
    async with writer.transaction(), reader.transaction(isolation="repeatable_read"):
        await writer.execute("INSERT INTO of_another_program VALUES (1)")
        await reader.fetch("SELECT count(*) FROM of_another_program")
        yield
    await writer.close()
    await reader.close()


def app(broker: str, topic: str) -> fait.App:
    declared = fait.App("bench")
    declared.include(Placed)
    declared.relay(Placed, to=broker, topic=topic, start="beginning")
    return declared


async def load(url: str, broker: str, topic: str, rate: int, count: int) -> Result:
    """Append events at a fixed rate, and consume their messages."""
    connection = await open_broker(broker)
    await connection.check(Topology({topic: LANES}), create=True)
    lanes = await connection.lanes(topic)
    consumer = await connection.consumer(ConsumerSpec(name="bench", lanes=lanes, start="end"), {})
    async with app(broker, topic).open(url) as system:
        consuming = asyncio.create_task(received(consumer, count))
        started = time.perf_counter()
        committed = await append(system, rate, count)
        arrived = await asyncio.wait_for(consuming, 300)
        seconds = time.perf_counter() - started
    await connection.close()
    replaced, dead = await counts(url)
    delays = [arrived[position] - at for position, at in committed.items()]
    return Result(count / seconds, delays, 0.0, replaced, dead)


async def append(system: fait.System, rate: int, count: int) -> dict[int, float]:
    committed, started, commands = dict[int, float](), time.perf_counter(), set[asyncio.Task[None]]()

    async def place(number: int) -> None:
        result = await system.publish(Placed(TEXT), stream=f"order-{number % KEYS}")
        committed[result.position] = time.perf_counter()

    for number in range(count):
        await asyncio.sleep(started + number / rate - time.perf_counter())
        commands.add(task := asyncio.create_task(place(number)))
        task.add_done_callback(commands.discard)
    await asyncio.gather(*commands)
    return committed


async def received(consumer: Consumer, count: int) -> dict[int, float]:
    """Return the time at which each message was received, by position."""
    arrived = dict[int, float]()
    while len(arrived) < count:
        if isinstance(batch := await consumer.receive(1), ConsumedBatch):
            now = time.perf_counter()
            arrived.update((int(each.headers["ce-sequence"]), now) for each in batch.messages)
    return arrived


async def counts(url: str) -> tuple[dict[str, int], dict[str, int]]:
    """Return the numbers of row versions that were replaced, and of those that are dead, by table."""
    connection: Any = await asyncpg.connect(url)
    async with asyncio.timeout(REPORT_TIMEOUT_S):
        while await connection.fetchval(CLOSING):  # noqa: ASYNC110 - nothing signals it
            await asyncio.sleep(0.02)
    rows = await connection.fetch(REPLACED)
    await connection.close()
    return {row["relname"]: row["replaced"] for row in rows}, {row["relname"]: row["dead"] for row in rows}


async def backlog_rate(url: str, broker: str, topic: str, count: int) -> float:
    """Return the rate at which a relay publishes events that were appended before it starts."""
    async with app(broker, topic).open(url, run="elsewhere") as system:
        for start in range(0, count, CHUNK):
            new = [fait.NewEvents(f"order-{n % KEYS}", [Placed(TEXT)]) for n in range(start, start + CHUNK)]
            await system.append(*new)
    started = time.perf_counter()
    async with app(broker, topic).open(url) as system:
        await system.wait(timeout_s=300)
        return count / (time.perf_counter() - started)


if __name__ == "__main__":
    sys.exit(main())
