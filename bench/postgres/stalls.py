"""Measures stalls: ratios of fait to itself, with and without an open transaction of another client.

appends       appends to other streams, while a user's transaction that has appended to one stream stays open and
              callers wait for that stream
foreign       the feed, while a transaction that wrote to another table and appended nothing stays open for minutes
rolled-back   the feed, right after an append was rolled back
idle          the statements and the CPU time of an idle system

    stalls.py PART URL SECONDS      a part, in its own process; follow and without_listen are used by other parts

Windows with and without the transaction alternate. A ratio is that of a window to its two neighbors, which removes the
drift of the machine.
"""

import asyncio
import json
import re
import statistics
import subprocess
import sys
import time
from bisect import bisect
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from itertools import count, pairwise
from typing import Any

import asyncpg
import psycopg
from measure import WrongResult, check, percentile
from postgres.crowd import Part, keep_reading, own_numbers, ready, wait_for_line
from postgres.servers import Servers
from subjects.fait_system import OrderPlaced, new_events, opened, placed

import fait
from fait._store.postgres.notifier import Notifier

__all__ = ["against_neighbors", "compared", "divided", "stalls"]

CALLERS, WAITERS = 16, 4
SUBSCRIPTIONS = 10
HELD_S, FOREIGN_S, ROLLED_BACK_S, IDLE_S = 30.0, 120.0, 20.0, 20.0
LEAST_S = 1.0
"""Minimum duration of a window, in a small run."""

PAUSE_S = 0.02
ARRIVE_S, SPARE_S = 2.0, 120.0
WARM_UP_SHARE = 0.1
STATEMENT = re.compile(rb"LOG:  (statement|execute [^:]+):")
Found = dict[str, Any]
Latencies = list[float]
Span = tuple[float, float]
Window = list[tuple[int, float]]
"""Positions of events, and the times when their appends began."""


def stalls(servers: Servers, scale: float, windows: int) -> Found:
    """Measure all parts, each in its own process and database; return rows of ratios and the cost of an idle system."""
    share = min(1.0, scale)
    rows = [
        *_part(servers, "appends", HELD_S * share, windows),
        *_part(servers, "foreign", FOREIGN_S * share),
        *_part(servers, "rolled-back", ROLLED_BACK_S * share),
    ]
    return {"rows": rows, "idle": [_idle(servers, part, IDLE_S * share) for part in ("idle", "without_listen")]}


def _part(servers: Servers, part: str, seconds: float, windows: int = 1) -> list[Found]:
    seconds = max(LEAST_S, seconds)
    print(f"… stalls: {part}, {seconds:g} s", file=sys.stderr, flush=True)
    with servers.database() as url:
        command = [sys.executable, "-m", "postgres.stalls", part, url, str(seconds), str(windows)]
        timeout_s = 2 * seconds * (windows + 1) + SPARE_S
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False, timeout=timeout_s)
        check(f"exit of {part}", done.returncode, 0)
        return json.loads(done.stdout.splitlines()[-1])


def against_neighbors(without: Sequence[float], within: Sequence[float]) -> float:
    """Return the median of the ratios of windows to the mean of the windows before and after them."""
    ratios = [each / statistics.mean(both) for each, both in zip(within, pairwise(without), strict=True)]
    return round(statistics.median(ratios), 3)


def compared(key: str, without: Sequence[Latencies], within: Sequence[Latencies]) -> Found:
    """Return a row of the result."""
    row: Found = {"key": key, "n": sum(map(len, without)) + sum(map(len, within))}
    for name, share in (("p50", 0.5), ("p99", 0.99)):
        for kind, windows in (("without", without), ("with", within)):
            row[f"{kind}_{name}_us"] = round(statistics.median(percentile(each, share) for each in windows), 1)
        row[f"{name}_ratio"] = against_neighbors(
            [percentile(each, share) for each in without], [percentile(each, share) for each in within]
        )
    row["longest_ms"] = [round(max(map(max, windows)) * 1e3, 1) for windows in (without, within)]
    return row


async def appends(url: str, held_s: float, windows: int) -> list[Found]:
    """Append to new streams continuously, with and without an open transaction."""
    numbers, over = count(), False
    took, held = list[Span](), list[Span]()

    async def call() -> None:
        while not over:
            new, started = new_events(next(numbers), 1), time.perf_counter()
            await s.append(new)
            took.append((started, time.perf_counter()))

    async with opened(url) as s:
        callers = [asyncio.create_task(call()) for _ in range(CALLERS)]
        await asyncio.sleep(max(LEAST_S, held_s * WARM_UP_SHARE))
        took.clear()
        await asyncio.sleep(held_s / 2)
        for number in range(windows):
            began = time.perf_counter()
            async with _held(url, s, f"held-{number}"):
                await asyncio.sleep(held_s)
            held.append((began, time.perf_counter()))
            await asyncio.sleep(held_s / 2)
        over = True
        await asyncio.gather(*callers)
    return [compared("stalls-appends", *divided(took, held))]


def divided(took: Sequence[Span], held: Sequence[Span]) -> tuple[list[Latencies], list[Latencies]]:
    """Return the latencies before, between and after the times of an open transaction, and those during them.

    An append that overlaps such a time belongs to it, because a stalled append begins before and ends after.
    """
    without, within = [list[float]() for _ in (*held, None)], [list[float]() for _ in held]
    starts, ends = [start for start, _ in held], [end for _, end in held]
    for began, ended in took:
        later = bisect(starts, ended)  # number of open transactions that had begun when it ended
        during = later and began < ends[later - 1]
        (within[later - 1] if during else without[later]).append(ended - began)
    return without, within


_app = fait.App("bench")
_app.include(OrderPlaced)


@asynccontextmanager
async def _held(url: str, s: fait.System, stream: str) -> AsyncGenerator[None]:
    """Keep a user's transaction open that has appended to a stream, for which callers wait."""
    connection = await asyncpg.connect(url)
    try:
        async with connection.transaction():
            await _app.outbox(connection).add(placed(0), stream=stream)
            waiters = [asyncio.create_task(_append_at_last(s, stream)) for _ in range(WAITERS)]
            yield
            check("callers that wait for the stream", [each.done() for each in waiters], [False] * WAITERS)
        async with asyncio.timeout(SPARE_S / 2):
            await asyncio.gather(*waiters)
        check("events of the stream", len(await s.read(stream)), 1 + WAITERS)
    finally:
        await connection.close()


async def _append_at_last(s: fait.System, stream: str) -> None:
    """Append, and retry after the lock timeout."""
    while True:
        try:
            await s.append(fait.NewEvents(stream, [placed(0)]))
        except fait.StoreUnavailable:
            continue
        return


class Feed:
    """Appends at intervals, and records when a reader in this process, and one in another, received each event."""

    def __init__(self, url: str, s: fait.System) -> None:
        self.appended: list[Window] = []
        self._url, self._s = url, s
        self._numbers = count()
        self._own: dict[int, float] = {}

    async def __aenter__(self) -> "Feed":
        self._other = Part([sys.executable, "-m", "postgres.stalls", "follow", self._url, "0"])
        await asyncio.to_thread(self._other.wait_until_ready)
        self._reader = asyncio.create_task(_note(self._s, self._own))
        self.begin_window()
        for _ in range(20):
            await self.append()
        self.appended.clear()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._other.kill()
        self._reader.cancel()
        await asyncio.gather(self._reader, return_exceptions=True)

    def begin_window(self) -> Window:
        self.appended.append([])
        return self.appended[-1]

    async def append(self, window: Window | None = None) -> None:
        new, started = new_events(next(self._numbers), 1), time.perf_counter()
        done = await self._s.append(new)
        (self.appended[-1] if window is None else window).append((done.position, started))
        await asyncio.sleep(PAUSE_S)

    async def append_for(self, seconds: float) -> None:
        """Append repeatedly, in a new window."""
        self.begin_window()
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            await self.append()

    async def delays(self) -> list[list[Latencies]]:
        """Return the delays of each window, for the reader in this process and for the other one."""
        await asyncio.sleep(PAUSE_S)
        positions = [position for window in self.appended for position, _ in window]
        await asyncio.sleep(ARRIVE_S)
        self._other.send_line("stop")
        other = dict(await asyncio.to_thread(self._other.finish))
        for seen in (self._own, other):
            check("events that a reader missed", sum(position not in seen for position in positions), 0)
        return [
            [[seen[position] - started for position, started in window] for window in self.appended]
            for seen in (self._own, other)
        ]


async def _note(s: fait.System, seen: dict[int, float]) -> None:
    async for each in s.events(follow_on=True):
        seen[each.position] = time.perf_counter()


async def follow(url: str, _seconds: float, _windows: int) -> list[tuple[int, float]]:
    """Run the reader in another process, which is woken by NOTIFY."""
    seen = dict[int, float]()
    async with opened(url) as s:
        await s.append(new_events(own_numbers(1)[0], 1))
        await keep_reading(_note(s, seen), seen)
    return list(seen.items())


async def foreign(url: str, open_s: float, _windows: int) -> list[Found]:
    """Measure the feed while a foreign transaction stays open, which delays readers that wait for all transactions."""
    async with opened(url) as s, Feed(url, s) as feed:
        await feed.append_for(open_s / 4)
        connection = await asyncpg.connect(url)
        await connection.execute("CREATE TABLE others (number integer)")
        async with connection.transaction():
            await connection.execute("INSERT INTO others VALUES (1)")
            check("it writes", await connection.fetchval("SELECT pg_current_xact_id_if_assigned() IS NULL"), False)
            await feed.append_for(open_s)
            check("it is still open", await connection.fetchval("SELECT count(*) FROM others"), 1)
        await connection.close()
        await feed.append_for(open_s / 4)
        return [
            compared(key, [before, after], [during])
            for key, (before, during, after) in zip(
                ("stalls-foreign", "stalls-foreign-notify"), await feed.delays(), strict=True
            )
        ]


async def rolled_back(url: str, seconds: float, _windows: int) -> list[Found]:
    """Measure the feed after a transaction that appended and was rolled back, alternating with one that only read."""
    connection = await asyncpg.connect(url)
    async with opened(url) as s, Feed(url, s) as feed:
        plain, rolled_back_window = feed.begin_window(), feed.begin_window()
        end = time.perf_counter() + seconds
        for number in count():
            for window in (plain, rolled_back_window):
                transaction = connection.transaction()
                await transaction.start()
                if window is plain:
                    await connection.fetchval("SELECT 1")
                else:
                    await _app.outbox(connection).add(placed(0), stream=f"back-{number}")
                await transaction.rollback()
                await feed.append(window)
            if time.perf_counter() > end:
                break
        await connection.close()
        return [
            compared(key, [without, without], [within])
            for key, (without, within) in zip(
                ("stalls-rollback", "stalls-rollback-notify"), await feed.delays(), strict=True
            )
        ]


def _idle(servers: Servers, part: str, seconds: float) -> Found:
    """Measure the cost of an open system with subscriptions without events."""
    seconds = max(LEAST_S, seconds)
    print(f"… stalls: {part}, {seconds:g} s", file=sys.stderr, flush=True)
    with servers.database() as url:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(f"ALTER DATABASE {connection.info.dbname} SET log_statement = 'all'")
        with _running(Part([sys.executable, "-m", "postgres.stalls", part, url, "0"])) as system:
            system.wait_until_ready()
            before, started = len(STATEMENT.findall(servers.postgres.log.read_bytes())), time.perf_counter()
            time.sleep(seconds)
            asked = len(STATEMENT.findall(servers.postgres.log.read_bytes())) - before
            taken = time.perf_counter() - started
            system.send_line("stop")
            cpu = system.finish()["cpu_ms_s"]
    return {
        "hears": part == "idle", "subscriptions": SUBSCRIPTIONS, "seconds": round(taken, 1),
        "statements_s": round(asked / taken, 2), "cpu_ms_s": round(cpu, 2),
    }  # fmt: skip


@contextmanager
def _running(part: Part) -> Iterator[Part]:
    try:
        yield part
    finally:
        part.kill()


async def idle(url: str, _seconds: float, _windows: int) -> Found:
    app = fait.App("bench")
    for number in range(SUBSCRIPTIONS):

        @app.on(OrderPlaced, name=f"idle-{number}")
        async def note(_event: OrderPlaced) -> None: ...

    async with app.open(url):
        await asyncio.sleep(3)  # until poll intervals have reached their maximum
        ready()
        cpu, started = time.process_time(), time.perf_counter()
        await asyncio.to_thread(wait_for_line)
        return {"cpu_ms_s": (time.process_time() - cpu) * 1e3 / (time.perf_counter() - started)}


async def without_listen(url: str, seconds: float, windows: int) -> Found:
    """Measure without LISTEN, as with a pooler in transaction mode: the log is polled."""
    Notifier.start = lambda _: None
    return await idle(url, seconds, windows)


PARTS: dict[str, Any] = {
    "appends": appends, "foreign": foreign, "rolled-back": rolled_back, "follow": follow, "idle": idle,
    "without_listen": without_listen,
}  # fmt: skip


def main(part: str, url: str, seconds: str, windows: str = "1") -> int:
    try:
        print(json.dumps(asyncio.run(PARTS[part](url, float(seconds), int(windows)))), flush=True)
    except (WrongResult, TimeoutError) as wrong:
        print(f"stalls: {part}: {wrong!r}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
