"""Measures what workers share and what they wait for: calls at the same time, processes, poisoned keys, a lost worker.

    make bench-workers                           all measurements, on SQLite and PostgreSQL: 12 minutes
    make bench-workers ARGS="calls takeover"     some of them

calls      events per second of a handler that waits for 20 ms, one call at a time and 64
processes  the same with 4 calls at a time, in one process and in four
poisoned   delay from append to call, of 10,000 keys, with and without one that always fails, by the default policy
takeover   `get(after=)` while the only owner of a read model is killed and another worker lives, in lease durations
idle       statements per second of an idle process: 4 subscriptions with 8 ranges each, shared by two workers
"""

import argparse
import asyncio
import json
import logging
import re
import signal
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import Awaitable, Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any
from uuid import uuid4

from measure import percentile

import fait
from tests.servers.postgres import PostgresServer

__all__ = ["main"]

BENCH = Path(__file__).parent
CALL_S = 0.02
KEYS = 1_000
LEASE_S = 1.0
TAKEOVERS = 101  # so that the 99th percentile is not the largest
POISONED = 10_000
IDLE_S = 20.0


@fait.event("workers.happened")
class Happened:
    number: int
    at: float = 0.0


class Latest(fait.ReadModel, key="key"):
    key: str
    number: int

    @classmethod
    def evolve(cls, row: "Latest | None", event: Happened, at: fait.Envelope) -> "Latest":
        return cls(key=at.stream_id, number=event.number)


def waiting_app(concurrency: int) -> fait.App:
    app = fait.App("workers")

    @app.on(Happened, name="wait", start="beginning", concurrency=concurrency)
    async def wait(event: Happened) -> None:
        await asyncio.sleep(CALL_S)

    return app


def idle_app() -> fait.App:
    app = fait.App("idle")
    for number in range(4):

        @app.on(Happened, name=f"idle-{number}")
        async def handle(event: Happened) -> None:
            pass

    return app


def latest_app() -> fait.App:
    app = fait.App("latest")
    app.include(Latest)
    return app


APPS: Mapping[str, Callable[[], fait.App]] = {
    "wait-1": lambda: waiting_app(1),
    "wait-4": lambda: waiting_app(4),
    "wait-64": lambda: waiting_app(64),
    "idle": idle_app,
    "latest": latest_app,
}


async def work(url: str, app: str) -> None:
    """Run an app until killed."""
    async with APPS[app]().open(url, create=False, lease_s=LEASE_S):
        print("open", flush=True)
        await asyncio.Event().wait()


async def start(url: str, app: str) -> Process:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "workers", "--work", url, app, stdout=PIPE, cwd=BENCH.parent
    )
    assert process.stdout is not None
    await process.stdout.readline()
    return process


async def append(system: fait.System, count: int) -> None:
    streams = min(count, KEYS)
    per_stream = [Happened(number) for number in range(count // streams)]
    for first in range(0, streams, 100):
        numbers = range(first, min(first + 100, streams))
        await system.append(*(fait.NewEvents(f"key-{number}", per_stream) for number in numbers))


async def rate(url: str, app: str, count: int, processes: int) -> float:
    """Return how many events a second processes handle; with several, after the ranges are shared."""
    async with APPS[app]().open(url, run="elsewhere") as system:
        workers = [await start(url, app) for _ in range(processes)]
        try:
            await until_ranges(system, 4 * processes if processes > 1 else 1)
            await asyncio.sleep(4 * LEASE_S if processes > 1 else 0.5)
            await append(system, count)
            started = time.perf_counter()
            await system.wait(timeout_s=600)
            return count / (time.perf_counter() - started)
        finally:
            await end(*workers)


async def until_ranges(system: fait.System, count: int) -> None:
    while True:
        if len(await system.store.leases.ranges()) >= count:
            return
        await asyncio.sleep(0.1)


async def end(*workers: Process) -> None:
    for each in workers:
        if each.returncode is None:
            each.send_signal(signal.SIGKILL)
        await each.wait()


async def calls(url: Callable[[], str]) -> dict[str, float]:
    one, many = await rate(url(), "wait-1", 300, 1), await rate(url(), "wait-64", 10_000, 1)
    return {"one at a time, events/s": one, "64 at a time, events/s": many, "ratio": many / one}


async def processes(url: Callable[[], str]) -> dict[str, float]:
    one, four = await rate(url(), "wait-4", 1_000, 1), await rate(url(), "wait-4", 4_000, 4)
    return {"one process, events/s": one, "four, events/s": four, "ratio": four / one}


async def poisoned(url: Callable[[], str]) -> dict[str, float]:
    logging.getLogger("fait").setLevel(logging.CRITICAL)
    healthy, failing = await asyncio.gather(delays(url(), fails=False), delays(url(), fails=True))  # in one moment
    figures: dict[str, float] = {}
    for name, values in (("without", healthy), ("with", failing)):
        figures |= {
            f"{name}, p50 ms": percentile(values, 0.5) / 1000,
            f"{name}, p99 ms": percentile(values, 0.99) / 1000,
        }
    return figures


async def delays(url: str, *, fails: bool) -> list[float]:
    """Return the delays from append to call of events of many keys, among which one may fail."""
    app, measured = fait.App("poisoned"), list[float]()

    @app.on(Happened, name="handle", start="beginning")
    async def handle(event: Happened, ctx: fait.Context) -> None:
        if ctx.envelope.stream == "key-0":
            raise RuntimeError("poisoned")
        measured.append(time.monotonic() - event.at)

    async with app.open(url) as system:
        if fails:
            await system.publish(Happened(0), stream="key-0")
        for number in range(1, POISONED):
            await asyncio.sleep(0.005)
            await system.publish(Happened(number, time.monotonic()), stream=f"key-{number}")
            if fails and number % 50 == 1:
                await system.publish(Happened(0), stream="key-0")
        async with asyncio.timeout(120):
            while len(measured) < POISONED - 1:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
    return measured


async def takeover(url: Callable[[], str]) -> dict[str, float]:
    target, durations = url(), list[float]()
    async with latest_app().open(target, run="elsewhere") as system:
        owner = await start(target, "latest")
        for number in range(TAKEOVERS):
            key = str(number)
            await system.get(Latest, key, after=await system.publish(Happened(0), stream=f"key-{key}"), timeout_s=60)
            other = await start(target, "latest")
            await asyncio.sleep(LEASE_S * (0.3 + number / TAKEOVERS))  # it shares nothing for two lease durations
            owner.send_signal(signal.SIGKILL)
            started = time.monotonic()
            result = await system.publish(Happened(1), stream=f"key-{key}")
            await system.get(Latest, key, after=result, timeout_s=60)
            durations.append((time.monotonic() - started) / LEASE_S)
            await owner.wait()
            owner = other
        await end(owner)
    p99 = percentile(durations, 0.99) / 1e6
    return {"p50, leases": median(durations), "p99, leases": p99, "largest, leases": max(durations)}


async def idle(url: Callable[[], str], count: Callable[[], int]) -> dict[str, float]:
    """Count for two systems in this process, with the default lease duration."""
    async with idle_app().open(url()) as first, idle_app().open(url.last if isinstance(url, Urls) else url()):
        await until_ranges(first, 32)
        await asyncio.sleep(5)
        before = count()
        await asyncio.sleep(IDLE_S)
        return {"per process": (count() - before) / IDLE_S / 2}


class Urls:
    """Returns URLs of new stores.

    Attributes:
        last: the last one.
    """

    def __init__(self, name: str, directory: Path, server: PostgresServer | None) -> None:
        self.last = ""
        self._name, self._directory, self._server = name, directory, server

    def __call__(self) -> str:
        name = f"workers_{uuid4().hex[:12]}"
        self.last = f"sqlite:///{self._directory}/{name}.db"
        if self._server is not None:
            self.last = f"{self._server.url}?schema={name}"
        return self.last


def counter(server: PostgresServer | None) -> Callable[[], int]:
    """Return a function that counts statements: in the log of the server, or of the threads of SQLite."""
    if server is not None:
        return lambda: len(re.findall(r"ms  (?:execute|statement)", server.log.read_text()))
    from fait._store.sqlite.worker_threads import ReaderThreads, WriterThread

    total = 0
    for each in (ReaderThreads, WriterThread):
        run: Any = each.run

        def counted(threads: Any, *arguments: Any, run: Any = run) -> Any:
            nonlocal total
            total += 1
            return run(threads, *arguments)

        each.run = counted  # type: ignore[method-assign]
    return lambda: total


async def measure(name: str, wanted: list[str]) -> None:
    with ExitStack() as stack:
        directory = Path(stack.enter_context(TemporaryDirectory(prefix="fait-workers-")))
        options = {"log_min_duration_statement": "0"} if wanted == ["idle"] else {}
        server = stack.enter_context(PostgresServer(options=options)) if name == "postgresql" else None
        urls = Urls(name, directory, server)
        for each in wanted:
            measurement: Any = MEASUREMENTS[each]
            figures = await (measurement(urls, counter(server)) if each == "idle" else measurement(urls))
            rounded = {key: round(value, 2) for key, value in figures.items()}
            print(json.dumps({"database": name, "measurement": each, **rounded}), flush=True)


MEASUREMENTS: Mapping[str, Callable[..., Awaitable[dict[str, float]]]] = {
    "calls": calls,
    "processes": processes,
    "poisoned": poisoned,
    "takeover": takeover,
    "idle": idle,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("measurements", nargs="*", default=list(MEASUREMENTS))
    parser.add_argument("--databases", default="sqlite,postgresql")
    parser.add_argument("--work", nargs=2, help="internal: run an app on a URL")
    options = parser.parse_args()
    if options.work:
        asyncio.run(work(*options.work))
        return
    for name in options.databases.split(","):
        for each in options.measurements:
            asyncio.run(measure(name, [each]))


if __name__ == "__main__":
    main()
