"""Measures how cost grows with the log: append, conditional append, reads, feed, catch-up and disk, at several sizes.

growth.py fill|grown|catch-up|cold URL N      the parts, each in its own process

Logs are filled by appends of thousands of events, which use COPY. Two appends run concurrently, so that events are
created while others are stored. All sizes are measured in turn; a catch-up reads the whole log and runs once per size.
"""

import asyncio
import json
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import psycopg
from measure import check, percentile, timed_async
from order import EVENTS_PER_ORDER
from postgres.servers import Servers
from subjects import fait_system

import fait
from fait._clock import new_id
from fait._events.append import AppendCondition, StreamWrite
from fait._events.codec import Codec
from fait._events.query import Query
from fait._events.registry import build_registry

__all__ = ["growth"]

OPERATIONS = 500
FED = 20_000
BYTES_PER_EVENT = 1500
FILLING = 2
PROGRESS_S = 20.0
TIMEOUT_S = 3600
TABLES = ("fait_events", "fait_messages", "fait_streams", "fait_tags")
MEASURED = ("append_p50_us", "conditional_p50_us", "read_p50_us", "feed_events_s", "catch_up_events_s")


def growth(servers: Servers, sizes: Sequence[int], rounds: int) -> list[dict[str, Any]]:
    """Return a row for each size: medians, ratios to the smallest, bytes per event, and figures after a cold start."""
    with ExitStack() as stack:
        urls = {size: stack.enter_context(servers.database()) for size in sizes}
        filled = {size: _run("fill", url, size)["events_s"] for size, url in urls.items()}
        disk = {size: _bytes(url) / size for size, url in urls.items()}
        found = [{size: _run("grown", url, size) for size, url in urls.items()} for _ in range(rounds)]
        catch_ups = {size: _run("catch-up", url, size) for size, url in urls.items()}
        cold = dict[int, dict[str, float]]()
        for size, url in urls.items():
            servers.restart_cold()
            cold[size] = _run("cold", url, size)
    rows = list[dict[str, Any]]()
    for size in sizes:
        row: dict[str, Any] = {"events": size, "rounds": rounds, "import_events_s": round(filled[size])}
        for name in MEASURED:
            what = name.removesuffix("_p50_us").removesuffix("_events_s")
            turns = [catch_ups] if name in catch_ups[size] else found
            row[name] = round(statistics.median(each[size][name] for each in turns), 1)
            ratios = [each[size][name] / each[sizes[0]][name] for each in turns]
            row[f"{what}_ratio"] = round(statistics.median(ratios), 3)
        rows.append({**row, "bytes_per_event": round(disk[size]), **cold[size]})
    return rows


def _bytes(url: str) -> int:
    """Return the size of the log's tables and indexes after a vacuum and a checkpoint."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("VACUUM (ANALYZE)")
        connection.execute("CHECKPOINT")
        sizes = "SELECT sum(pg_total_relation_size(c::regclass)) FROM unnest(%s::text[]) AS c"
        [(found,)] = connection.execute(sizes, (list(TABLES),)).fetchall()
        return int(found)


def _run(part: str, url: str, n: int) -> dict[str, Any]:
    print(f"… growth: {part}, {n:,} events", file=sys.stderr, flush=True)
    command = [sys.executable, "-m", "postgres.growth", part, url, str(n)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, timeout=TIMEOUT_S)
    return json.loads(done.stdout)


async def fill(url: str, n: int) -> dict[str, Any]:
    streams, reported, started = n // EVENTS_PER_ORDER, 0.0, time.perf_counter()
    rest = iter(range(0, streams, fait_system.BULK))

    async def work() -> None:
        nonlocal reported
        for first in rest:
            chosen = range(first, min(first + fait_system.BULK, streams))
            await fait_system.fill(s, chosen, EVENTS_PER_ORDER)
            if (elapsed := time.perf_counter() - started) > reported + PROGRESS_S:
                reported, rate = elapsed, chosen.stop / elapsed
                left = f"{rate * EVENTS_PER_ORDER:,.0f} events/s, {(streams - chosen.stop) / rate:,.0f} s left"
                print(f"  {chosen.stop * EVENTS_PER_ORDER:,} of {n:,}, {left}", file=sys.stderr, flush=True)

    async with fait_system.opened(url) as s:
        await asyncio.gather(*(work() for _ in range(FILLING)))
        return {"events_s": n / (time.perf_counter() - started)}


async def grown(url: str, n: int) -> dict[str, Any]:
    """Measure appends, reads and the feed, each after a warm-up."""
    rng = random.Random()
    first = rng.randrange(1 << 40, 1 << 50)
    numbers = [rng.randrange(n // EVENTS_PER_ORDER) for _ in range(OPERATIONS)]
    async with fait_system.opened(url) as s:
        appends = await _latencies(
            lambda number: s.append(fait_system.new_events(number, 1)), range(first, first + OPERATIONS)
        )
        changes = [_conditional(number) for number in range(first + OPERATIONS, first + 2 * OPERATIONS)]
        conditional = await _latencies(lambda change: _append_if_first(s, *change), changes)
        reads = await _latencies(lambda number: _read(s, number), numbers)
        fed = await _feed(s, rng.randrange(max(1, n - FED)), min(FED, n))
    return {
        "append_p50_us": percentile(appends, 0.5),
        "conditional_p50_us": percentile(conditional, 0.5),
        "read_p50_us": percentile(reads, 0.5),
        "feed_events_s": fed,
    }


async def catch_up(url: str, _n: int) -> dict[str, Any]:
    """Build a read model from the whole log."""
    seconds = await fait_system.catch_up(url)
    return {"catch_up_events_s": await _count(url) / seconds}


async def cold(url: str, n: int) -> dict[str, Any]:
    """Measure reads and appends with cold caches; each stream is read once."""
    numbers = random.sample(range(n // EVENTS_PER_ORDER), min(OPERATIONS, n // EVENTS_PER_ORDER))
    first = random.randrange(1 << 50, 1 << 51)
    async with fait_system.opened(url) as s:
        _, reads = await timed_async(lambda number: _read(s, number), numbers)
        _, appends = await timed_async(
            lambda number: s.append(fait_system.new_events(number, 1)), range(first, first + OPERATIONS)
        )
    return {"cold_read_p50_us": percentile(reads, 0.5), "cold_append_p50_us": percentile(appends, 0.5)}


async def _latencies(act: Any, things: Sequence[Any]) -> list[float]:
    warm_up = len(things) // 5
    await timed_async(act, things[:warm_up])
    return (await timed_async(act, things[warm_up:]))[1]


async def _read(s: fait.System, number: int) -> None:
    check("events", len(await s.read(f"order-{number}")), EVENTS_PER_ORDER)


def _conditional(number: int) -> tuple[StreamWrite, AppendCondition]:
    """Return a write and a condition that no event has its tag yet."""
    tag = f"order:{number}"
    event = _codec.encode(fait_system.placed(number), id=new_id(), tags=[tag])
    return StreamWrite(f"order-{number}", (event,), 0), AppendCondition((Query(tags=(tag,)),), after=0)


async def _append_if_first(s: fait.System, write: StreamWrite, condition: AppendCondition) -> None:
    result = await s.store.log.append([write], condition)
    check("append result", type(result).__name__, "Appended")


async def _feed(s: fait.System, after: int, events: int) -> float:
    """Return the decoded events per second of a reader that catches up."""
    for _ in range(2):  # the first is the warm-up
        started, seen = time.perf_counter(), 0
        async for _ in s.events(after=after):
            seen += 1
            if seen == events:
                break
        rate = seen / (time.perf_counter() - started)
    return rate


async def _count(url: str) -> int:
    async with fait_system.opened(url) as s:
        return await s.store.log.head()


_codec = Codec(build_registry([fait_system.OrderPlaced]))
PARTS = {"fill": fill, "grown": grown, "catch-up": catch_up, "cold": cold}

if __name__ == "__main__":
    print(json.dumps(asyncio.run(PARTS[sys.argv[1]](sys.argv[2], int(sys.argv[3])))))
