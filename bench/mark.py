"""Measures the cost of the high-water mark while many other connections are open, idle or with an open append.

`make bench-mark` takes some minutes; options are passed as in `make bench-mark ARGS="--crowds 0,50 --rounds 5"`.

It starts a PostgreSQL server with fsync and a log of a thousand events. For each number of connections it measures
reading the mark, a page of 100 events without the mark, and an append, alone and while another process reads the mark
continuously. Each round covers all cases; ratios are relative to no other connections, within a round. Writes mark.json
and prints the table of adr/0014.

    -m mark --marks URL      read the mark until the end of standard input; print how often
"""

import argparse
import asyncio
import json
import os
import statistics
import sys
import threading
from asyncio.subprocess import PIPE
from collections.abc import Awaitable, Callable, Generator, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncpg
import psycopg
from machine import machine, versions
from measure import check, percentile, timed_async
from order import order
from outbox_ways import shop
from subjects.fait_system import Item, OrderPlaced

from fait._clock import new_id
from fait._events.append import Appended, StreamWrite
from fait._events.envelope import EncodedEvent
from fait._events.version import ANY
from fait._store.open import open_admin, open_store
from fait._store.ports.store import Store
from fait._store.postgres.identifiers import statements
from tests.servers.postgres import PostgresServer

__all__ = ["main", "markdown"]

BENCH = Path(__file__).parent
SETTINGS = {"fsync": "on", "max_connections": "300", "shared_buffers": "256MB", "log_min_messages": "log"}
LOGGED, PAGE = 1000, 100
KINDS = {"idle": "idle", "holding": "append under way"}
FIGURES = {
    "mark": "high-water mark",
    "page": "page of 100, mark known",
    "append": "append",
    "append_during_reads": "append while the mark is read",
}
LOCKS = "SELECT count(*), count(*) FILTER (WHERE locktype = 'advisory') FROM pg_locks"
Found = dict[str, Any]


def main() -> int:
    options = _options()
    options.out.mkdir(parents=True, exist_ok=True)
    crowds = [int(each) for each in options.crowds.split(",")]
    began = os.getloadavg()[0]
    with PostgresServer(18, SETTINGS) as server:
        asyncio.run(_fill(server.url))
        rounds = [_round(server.url, crowds, options.n) for _ in range(options.rounds)]
        where = machine(server.data)
    about = {"date": datetime.now(UTC).date().isoformat(), "machine": where, "versions": versions()}
    about |= {"load": [round(began, 1), round(os.getloadavg()[0], 1)], "n": options.n, "rounds": options.rounds}
    result = about | {"settings": SETTINGS, "rows": _rows(rounds)}
    (options.out / "mark.json").write_text(json.dumps(result, indent=1) + "\n", "utf-8")
    print(markdown(result))
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--crowds", default="10,100,200", metavar="N,N", help="numbers of other connections (default: 10,100,200)"
    )
    parser.add_argument(
        "--n", type=int, default=200, metavar="N", help="operations per figure and round (default: 200)"
    )
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="number of rounds (default: 3)")
    parser.add_argument("--out", type=Path, default=BENCH / "results", metavar="DIR", help="folder for the result")
    return parser.parse_args()


async def _fill(url: str) -> None:
    await open_admin(url).migrate()
    store = await open_store(url)
    try:
        for number in range(LOGGED):
            await _append(store, f"order-{number}")
    finally:
        await store.close()


def _round(url: str, crowds: Sequence[int], n: int) -> dict[tuple[str, int], Found]:
    """Measure without other connections, and with each crowd of them."""
    found = {("none", 0): asyncio.run(_measure(url, n))}
    for size in crowds:
        for kind in KINDS:
            with crowd(url, size, kind):
                found[kind, size] = asyncio.run(_measure(url, n))
    return found


@contextmanager
def crowd(url: str, size: int, kind: str) -> Generator[None]:
    """Open other connections, each idle or with an append in an open transaction."""
    with ExitStack() as stack:
        for number in range(size):
            connection = stack.enter_context(psycopg.connect(url))
            if kind == "holding":
                shop.outbox(connection).add(_placed(number), stream=f"held-{number}")
                connection.execute(
                    "SET LOCAL idle_in_transaction_session_timeout = 0"
                )  # it stays open during the whole measurement
            stack.callback(connection.rollback)
        yield


def _placed(number: int) -> OrderPlaced:
    fields = order(number)
    return OrderPlaced(**{**fields, "items": [Item(**item) for item in fields["items"]]})


async def _measure(url: str, n: int) -> Found:
    sql, store, connection = statements("public"), await open_store(url), await asyncpg.connect(url)
    mark = await connection.prepare(sql["high_water_mark"])
    page = await connection.prepare(sql["read_log"])
    last = LOGGED // 2

    async def read(_: int) -> None:
        check("events of a page", len(await page.fetch(last - PAGE, last, PAGE, None, None)), PAGE)

    async def append(_: int) -> None:
        await _append(store, f"order-{new_id()}")

    try:
        locks, advisory = await connection.fetchrow(LOCKS)
        found: Found = {"locks": locks, "advisory": advisory}
        found |= await _timed("mark", lambda _: mark.fetch(None), n) | await _timed("page", read, n)
        found |= await _timed("append", append, n)
        async with _marks(url) as counted:
            found |= await _timed("append_during_reads", append, n)
        return found | {"marks": counted[0]}
    finally:
        await connection.close()
        await store.close()


async def _timed(name: str, act: Callable[[int], Awaitable[object]], n: int) -> Found:
    await timed_async(act, range(max(10, n // 10)))
    _, latencies = await timed_async(act, range(n))
    return {f"{name}_p50_us": percentile(latencies, 0.50), f"{name}_p99_us": percentile(latencies, 0.99)}


async def _append(store: Store, stream: str) -> None:
    event = EncodedEvent("bench.order-placed", 1, new_id(), '{"total":131.94}')
    check("an append", type(await store.log.append([StreamWrite(stream, (event,), ANY)])), Appended)


@asynccontextmanager
async def _marks(url: str) -> Any:
    """Read the mark continuously in another process; at the end, append how often to the yielded list."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "mark", "--marks", url, stdin=PIPE, stdout=PIPE
    )
    assert process.stdout is not None
    counted = list[int]()
    try:
        check("the first line", await process.stdout.readline(), b"ready\n")
        yield counted
    finally:
        count, _ = await process.communicate(b"")  # closes its input, which ends it
        counted.append(int(count))


async def marks(url: str) -> None:
    over = threading.Thread(target=sys.stdin.read, daemon=True)
    connection = await asyncpg.connect(url)
    mark = await connection.prepare(statements("public")["high_water_mark"])
    await mark.fetch(None)
    print("ready", flush=True)
    over.start()
    reads = 0
    while over.is_alive():
        await mark.fetch(None)
        reads += 1
    print(reads)
    await connection.close()


def _rows(rounds: Sequence[dict[tuple[str, int], Found]]) -> list[Found]:
    """Return a row for each crowd: medians of the rounds, and medians of the ratios to no crowd within a round."""
    rows = list[Found]()
    for key in rounds[0]:
        own = [each[key] for each in rounds]
        row: Found = {"kind": key[0], "others": key[1]}
        row |= {name: round(statistics.median(each[name] for each in own), 1) for name in own[0]}
        for name in FIGURES:
            ratios = [each[key][f"{name}_p50_us"] / each["none", 0][f"{name}_p50_us"] for each in rounds]
            row[f"{name}_ratio"] = round(statistics.median(ratios), 2)
            row[f"{name}_ratios"] = [round(ratio, 2) for ratio in ratios]
        rows.append(row)
    return rows


def markdown(result: Found) -> str:
    """Format the result as in the ADR: microseconds, p50 / p99, and the ratio of p50 to no other connections."""
    where = result["machine"]
    box = f"{where['processor']}, {where['cores']} cores, {where['memory_gb']} GB, {where['file_system']}"
    load = f"load {result['load'][0]} before the run, {result['load'][1]} at its end"
    lines = [
        f"Measured on {result['date']}: {box}; {load}. {result['rounds']} rounds of {result['n']}; PostgreSQL 18.",
        "",
        f"| others | locks | {' | '.join(f'{title} µs | ratio' for title in FIGURES.values())} |",
        f"|---|--:|{'--:|--:|' * len(FIGURES)}",
    ]
    for row in result["rows"]:
        others = "none" if row["kind"] == "none" else f"{row['others']} {KINDS[row['kind']]}"
        figures = [
            part
            for name in FIGURES
            for part in (f"{row[f'{name}_p50_us']:,.0f} / {row[f'{name}_p99_us']:,.0f}", f"{row[f'{name}_ratio']:.2f}")
        ]
        locks = f"{row['locks']:,.0f}"
        lines.append(f"| {' | '.join([others, locks, *figures])} |")
    return "\n".join(lines)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--marks"]:
        asyncio.run(marks(sys.argv[2]))
    else:
        sys.exit(main())
