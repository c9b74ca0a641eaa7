"""Workers that share the ranges of an app, and are killed and stopped while they work. `make fleet` runs it for long.

Four workers handle 20,000 events of 500 streams. Every second one of them is killed (SIGKILL), stopped past its lease
(SIGSTOP) or asked to end (SIGTERM), and started again. At the end the results are compared with the log (`checker`).

Run as a program it works for the given time, in rounds; each starts with an empty store and prints its seed:

    python -m tests.fleet.run --minutes 5 --databases sqlite,postgresql
"""

import argparse
import asyncio
import json
import os
import random
import re
import shutil
import signal
import sqlite3
import sys
import time
from abc import ABC, abstractmethod
from asyncio.subprocess import Process
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import asyncpg
from msgspec import Struct, field

import fait
from fait._store.ports.leases import Range
from tests.fleet.app import CREATE_NOTES, GROUPS, STREAMS, Counted, Counters, Echoed, Groups, Marked, fleet_app
from tests.fleet.checker import Results, Stored, violations
from tests.servers.postgres import PostgresServer

ROOT = Path(__file__).parents[2]
WORKERS = 4
CALLERS = 4
EVENTS_AT_ONCE = 5
MARKED_RATIO = 0.1
LEASE_S = 0.5
CATCH_UP_S = 90.0
"""How long the subscriptions may need to reach the end of the log after a round."""

BALANCE_S = 30 * LEASE_S
"""How long the workers may need to share the ranges evenly, and merge those that are too many."""

STOP_S = 10.0
"""How long a worker may need to end after SIGTERM: the timeouts of `Runner.stop`, and its start."""

READ_S = 20.0
"""Timeout of a read that waits for its write."""

SERIOUS = re.compile(r"CRITICAL|Task exception was never retrieved|Task was destroyed|AssertionError|KeyError")
"""What no disturbance may make a worker log."""


class Round(Struct):
    """What happened in a round.

    Attributes:
        seed: seed of all random choices of the parent.
        violations: what is wrong, in words.
        disturbances: how often each one took place.
        events: number of events for the subscriptions.
        repeated_calls: number of effects outside of the database that took place again.
        stale_reads: number of reads that did not see their write in time.
        catch_up_s: time from the last disturbance until everything was handled.
        balance_s: time from then until the ranges were shared evenly.
        ranges: number of ranges at the end, by subscription.
        most_ranges: largest number of ranges that a subscription had.
    """

    seed: int
    violations: list[str] = field(default_factory=list[str])
    disturbances: Counter[str] = field(default_factory=Counter[str])
    events: int = 0
    repeated_calls: int = 0
    stale_reads: int = 0
    catch_up_s: float = 0.0
    balance_s: float = 0.0
    ranges: dict[str, int] = field(default_factory=dict[str, int])
    most_ranges: int = 0


class Database(ABC):
    """An empty database; `fetch` runs while no system of this process is open."""

    url: str
    identity: str

    @abstractmethod
    async def fetch(self, sql: str) -> Sequence[Sequence[Any]]: ...


class SqliteDatabase(Database):
    identity = "INTEGER PRIMARY KEY"

    def __init__(self, file: Path) -> None:
        self.url, self._file = f"sqlite:///{file}", file

    async def fetch(self, sql: str) -> Sequence[Sequence[Any]]:
        connection = sqlite3.connect(self._file, timeout=60)
        try:
            with connection:
                connection.execute("PRAGMA wal_autocheckpoint = 0")
                return connection.execute(sql).fetchall()
        finally:
            connection.close()


class PostgresDatabase(Database):
    identity = "BIGINT GENERATED ALWAYS AS IDENTITY"

    def __init__(self, server: PostgresServer, schema: str) -> None:
        self.url, self._server, self._schema = f"{server.url}?schema={schema}", server, schema

    async def fetch(self, sql: str) -> Sequence[Sequence[Any]]:
        driver: Any = asyncpg
        connection = await driver.connect(self._server.url, server_settings={"search_path": self._schema})
        try:
            return [tuple(row) for row in await connection.fetch(sql)]
        finally:
            await connection.close()


@asynccontextmanager
async def _sqlite() -> AsyncGenerator[Database]:
    with TemporaryDirectory(prefix="fait-fleet-") as directory:
        yield SqliteDatabase(Path(directory) / "store.db")


@asynccontextmanager
async def _postgres() -> AsyncGenerator[Database]:
    with PostgresServer() as server:
        yield PostgresDatabase(server, "fleet")


DATABASES: Mapping[str, Callable[[], AbstractAsyncContextManager[Database]]] = {
    "sqlite": _sqlite,
    "postgresql": _postgres,
}


class Fleet:
    """The worker processes.

    Args:
        url: URL of the store.
        directory: directory of the file of the calls, and of the log of each worker.
        chance: makes the random choices.
        fault: name of the fault that all workers have; "" for none.
    """

    def __init__(self, url: str, directory: Path, chance: random.Random, fault: str = "") -> None:
        self.calls = directory / "calls"
        self.disturbances = Counter[str]()
        self.problems = list[str]()
        self._command = ["-m", "tests.fleet.worker", url, str(self.calls), str(LEASE_S), *filter(None, [fault])]
        self._directory = directory
        self._chance = chance
        self._workers: list[Process | None] = [None] * WORKERS
        self._logs = 0

    async def start(self, number: int) -> None:
        self._logs += 1
        with (self._directory / f"{self._logs}.log").open("w") as log:
            self._workers[number] = await asyncio.create_subprocess_exec(
                sys.executable, *self._command, cwd=ROOT, stdout=log, stderr=log, env={**os.environ}
            )

    async def disturb(self, interval_s: float) -> None:
        """Disturb workers at random until canceled, then let all of them work."""
        disturbances = [self._kill, self._pause, self._pause, self._terminate]
        idle, tasks = set(range(WORKERS)), set[asyncio.Task[None]]()
        try:
            while True:
                await asyncio.sleep(interval_s * self._chance.uniform(0.5, 1.5))
                if len(idle) <= 1:  # some work must be done
                    continue
                number, disturbance = self._chance.choice(sorted(idle)), self._chance.choice(disturbances)
                idle.discard(number)
                task = asyncio.create_task(disturbance(number))
                tasks.add(task)
                task.add_done_callback(lambda task, number=number: (idle.add(number), tasks.discard(task)))
        finally:
            await asyncio.gather(*tasks)

    async def _kill(self, number: int) -> None:
        self.disturbances["kill"] += 1
        await self._end(number, signal.SIGKILL)
        await asyncio.sleep(self._chance.uniform(0, 2 * LEASE_S))
        await self.start(number)

    async def _pause(self, number: int) -> None:
        self.disturbances["pause"] += 1
        worker = self._workers[number]
        assert worker is not None
        worker.send_signal(signal.SIGSTOP)
        await asyncio.sleep(LEASE_S * self._chance.uniform(0.5, 4))
        worker.send_signal(signal.SIGCONT)

    async def _terminate(self, number: int) -> None:
        self.disturbances["terminate"] += 1
        await self._end(number, signal.SIGTERM)
        await self.start(number)

    async def _end(self, number: int, signal_number: int) -> None:
        worker = self._workers[number]
        assert worker is not None
        with suppress(ProcessLookupError):
            worker.send_signal(signal_number)
        try:
            code = await asyncio.wait_for(worker.wait(), STOP_S)
        except TimeoutError:
            self.problems.append(f"worker {number} did not end within {STOP_S:g} s")
            worker.kill()
            await worker.wait()
        else:
            if code not in (0, -signal.SIGKILL, -signal.SIGTERM):  # SIGTERM: before the handler was installed
                self.problems.append(f"worker {number} ended with {code}")

    async def close(self, signal_number: int = signal.SIGKILL) -> None:
        await asyncio.gather(*(self._end(n, signal_number) for n, each in enumerate(self._workers) if each))
        self._workers = [None] * WORKERS

    def serious_logs(self) -> list[str]:
        lines = (line for file in self._directory.glob("*.log") for line in file.read_text().splitlines())
        return [*self.problems, *(line[:500] for line in lines if SERIOUS.search(line))]


class Load:
    """Appends events at an even pace, and reads some of them through a read model."""

    def __init__(self, system: fait.System, events: int, seconds: float, chance: random.Random) -> None:
        self.stale_reads = 0
        self.violations = list[str]()
        self._system = system
        self._appends = events // EVENTS_AT_ONCE
        self._seconds = seconds
        self._chance = chance

    async def run(self) -> None:
        begun_at, numbers = time.monotonic(), iter(range(self._appends))

        async def call() -> None:
            for number in numbers:
                if time.monotonic() > begun_at + 1.5 * self._seconds:  # on a busy machine
                    return
                due_at = begun_at + self._seconds * number / self._appends
                await asyncio.sleep(max(0.0, due_at - time.monotonic()))
                await self._append(number)

        await asyncio.gather(*(call() for _ in range(CALLERS)))

    async def _append(self, number: int) -> None:
        chance, counter = self._chance, str(self._chance.randrange(STREAMS))
        kinds = [Marked if chance.random() < MARKED_RATIO else Counted for _ in range(EVENTS_AT_ONCE)]
        events = [kind(f"g{chance.randrange(GROUPS)}") for kind in kinds]
        reads = chance.random() < 0.05
        while True:
            try:
                client = self._system.using(key=f"append-{number}")
                result = await client.append(fait.NewEvents(f"counter-{counter}", events))
            except fait.StoreUnavailable:  # SQLite, while a stopped process holds the write lock
                await asyncio.sleep(0.05)
                continue
            if reads:
                await self._read(counter, result)
            return

    async def _read(self, counter: str, result: Any) -> None:
        try:
            row = await self._system.get(Counters, counter, after=result, timeout_s=READ_S)
        except (fait.Stale, fait.StoreUnavailable):
            self.stale_reads += 1
            return
        if row is None or row.events < result.version:
            self.violations.append(f"read of {counter} after version {result.version} returned {row}")


async def run_round(
    name: str, events: int, seconds: float, seed: int, fault: str = "", logs: Path | None = None
) -> Round:
    """Run one round on a new database.

    Args:
        name: one of `DATABASES`.
        events: number of events.
        seconds: how long they are appended, and workers are disturbed.
        seed: seed of all random choices of the parent.
        fault: name of the fault that the workers have; "" for none.
        logs: directory to which the logs of the workers are copied.
    """
    chance, report = random.Random(seed), Round(seed)
    async with DATABASES[name]() as database:
        with TemporaryDirectory(prefix="fait-fleet-") as directory:
            fleet = Fleet(database.url, Path(directory), chance, fault)
            try:
                await _create(database)
                ranges = await _work(database, fleet, events, seconds, chance, report)
                await fleet.close(signal.SIGTERM)
                await _check(database, fleet, ranges, report)
            finally:
                await fleet.close()
                if logs is not None:
                    shutil.copytree(directory, logs / f"{name}-{seed}", dirs_exist_ok=True)
    return report


async def _create(database: Database) -> None:
    async with fleet_app().open(database.url, run="elsewhere"):
        pass
    await database.fetch(CREATE_NOTES.format(identity=database.identity))


async def _work(
    database: Database, fleet: Fleet, events: int, seconds: float, chance: random.Random, report: Round
) -> list[Range]:
    for number in range(WORKERS):
        await fleet.start(number)
    async with fleet_app().open(database.url, run="elsewhere") as system:
        load = Load(system, events, seconds, chance)
        observing = asyncio.create_task(_observe(system, report))
        disturbing = asyncio.create_task(fleet.disturb(min(1.0, seconds / 15)))
        try:
            await load.run()
        finally:
            observing.cancel()
            disturbing.cancel()
            await asyncio.wait([disturbing, observing])
        report.disturbances, report.stale_reads = fleet.disturbances, load.stale_reads
        report.violations += load.violations
        started = time.monotonic()
        try:
            await system.settle(timeout_s=CATCH_UP_S)
        except fait.Stale as error:
            report.violations.append(str(error))
        report.catch_up_s = time.monotonic() - started
        return await _wait_for_balance(system, report)


async def _observe(system: fait.System, report: Round) -> None:
    while True:
        await asyncio.sleep(LEASE_S)
        with suppress(fait.StoreUnavailable):
            counts = Counter(each.key.subscription for each in await system.store.leases.ranges())
            report.most_ranges = max(report.most_ranges, *counts.values())


async def _wait_for_balance(system: fait.System, report: Round) -> list[Range]:
    started = time.monotonic()
    while True:
        ranges = await system.store.leases.ranges()
        report.balance_s = time.monotonic() - started
        report.ranges = dict(Counter(each.key.subscription for each in ranges))
        if all(_is_balanced([each for each in ranges if each.key.subscription == name]) for name in report.ranges):
            return ranges
        if report.balance_s > BALANCE_S:
            owners = Counter((each.key.subscription, each.worker) for each in ranges)
            report.violations.append(f"the ranges are not shared evenly: {sorted(owners.items())}")
            return ranges
        await asyncio.sleep(LEASE_S / 10)


def _is_balanced(ranges: Sequence[Range]) -> bool:
    """Whether the ranges of a subscription are as many as they should be, and shared evenly."""
    counts = Counter(each.worker for each in ranges if each.heartbeat is not None)
    return len(ranges) == 4 * WORKERS and list(counts.values()) == [4] * WORKERS


async def _check(database: Database, fleet: Fleet, ranges: Sequence[Range], report: Round) -> None:
    async with fleet_app().open(database.url, run="elsewhere") as system:
        events = [each async for each in system.events()]
        counters = await _rows(system, Counters, "counter")
        groups = await _rows(system, Groups, "group")
        failures = [f"{each.subscription} {each.key} {each.state} {each.error}" for each in await _failures(system)]
    notes = [(stream, version) for stream, version in await database.fetch(_NOTES)]
    calls = [(stream, int(version)) for stream, version in map(str.split, fleet.calls.read_text().splitlines())]
    handled = [
        Stored(each.id, each.stream, each.version, each.position, each.event.group, isinstance(each.event, Marked))
        for each in events
        if isinstance(each.event, Counted | Marked)
    ]
    echoes = [each.event.of for each in events if isinstance(each.event, Echoed)]
    report.events, report.repeated_calls = len(handled), len(calls) - len(set(calls))
    results = Results(counters, groups, notes, echoes, calls, ranges, failures, fleet.serious_logs())
    report.violations += violations(handled, results)


_NOTES = "SELECT stream, version FROM fleet_notes ORDER BY id"


async def _rows(system: fait.System, model: Any, key: str) -> dict[str, tuple[int, int]]:
    return {getattr(each, key): (each.events, each.digest) for each in await system.find(model, limit=STREAMS + GROUPS)}


async def _failures(system: fait.System) -> Sequence[Any]:
    names = ("counters", "groups", "note", "echo", "call")
    return [failure for name in names for failure in await system.store.failures.failures(name)]


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Kill and stop workers; the exit code is 1 if a guarantee is violated."
    )
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--databases", default=",".join(DATABASES), help="names, separated by commas")
    parser.add_argument("--seed", type=int, default=None, help="a number; random if it is not given")
    parser.add_argument("--events", type=int, default=20_000, help="events of a round")
    parser.add_argument("--seconds", type=float, default=60.0, help="seconds of a round, without its end")
    parser.add_argument("--fault", default="", help="plant a fault in the workers; see tests/fleet/worker.py")
    parser.add_argument("--logs", type=Path, default=None, help="directory to which the logs of workers are copied")
    options = parser.parse_args()
    sys.exit(not asyncio.run(run_rounds(options)))


async def run_rounds(options: Any) -> bool:
    """Run rounds until the time is up, in turns on each database. Returns whether all passed."""
    names, passed = options.databases.split(","), True
    seed = random.randrange(1 << 30) if options.seed is None else options.seed
    end, number = time.monotonic() + 60 * options.minutes, 0
    while number < len(names) or time.monotonic() < end:
        name = names[number % len(names)]
        report = await run_round(name, options.events, options.seconds, seed + number, options.fault, options.logs)
        shown = {each: getattr(report, each) for each in report.__struct_fields__ if each != "violations"}
        summary = {"database": name, **shown, "violations": len(report.violations)}
        print(json.dumps({**summary, "examples": report.violations[:20]}), flush=True)
        number, passed = number + 1, passed and not report.violations
    return passed


if __name__ == "__main__":
    main()
