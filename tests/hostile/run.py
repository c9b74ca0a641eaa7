"""Hostile load: `fait verify-store` with more processes, and with disturbances of processes, lines and servers.

Processes append, react, project, open and deploy, and are killed and paused. Lines are cut, backends terminated,
servers crash, poolers restart, a standby takes over. At the end nothing may be lost, doubled, reordered or torn: the
checker of `fait verify-store` compares the log, and the read model and the reactor's effects are compared with it.

Run as a program it works for the given time, in rounds; each starts with an empty store and prints its seed:

    python -m tests.hostile.run --minutes 60 --databases sqlite,postgresql,pgbouncer,standby
"""

import argparse
import asyncio
import json
import logging
import os
import random
import sys
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec

import fait
from fait._store.open import open_store
from fait._tools.verify.checker import Checker
from fait._tools.verify.engine import VerifyRun
from fait._tools.verify.plan import BOOKED, PLAIN, SOLD, Plan
from fait._tools.verify.report import VerifyReport, Violation
from tests.hostile.app import REACTED, hostile_app
from tests.hostile.servers import DATABASES, Database

MAX_ROUND_S = 150.0
CATCH_UP_S = 120.0
"""How long the subscriptions may need to reach the end of the log after a round."""

MAX_INTERVAL_S = 2.5
"""Maximum time between two disturbances."""

WORKER = "tests.hostile.worker"

ROOT = Path(__file__).parents[2]
"""The folder of the repository."""


class Load:
    """The hostility of one round.

    Attributes:
        disturbances: how often each disturbance took place.
    """

    def __init__(self, database: Database, seed: int, file: Path, fault: str = "") -> None:
        self.disturbances = Counter[str]()
        self.roles = [(WORKER, "worker", str(file)), (WORKER, "worker", str(file)), (WORKER, "opener", str(file))]
        self._database = database
        self._random = random.Random(seed)
        self._file = file
        self._release = 0
        self._fault = fault
        self._release_next()

    async def disturb(self, run: VerifyRun) -> None:
        """Disturb at random until canceled."""
        try:
            await self._disturb(run)
        finally:
            await _wait_until_available(self._database.url)

    async def _disturb(self, run: VerifyRun) -> None:
        own = {"pause": self._pause, "pause and kill": self._pause_and_kill, "deploy": self._deploy}
        while True:
            await asyncio.sleep(self._random.random() * MAX_INTERVAL_S)
            possible = self._random.choice((own, self._database.disturbances or own))
            name = self._random.choice(list(possible))
            await possible[name](run, self._random)
            self.disturbances[name] += 1

    async def _pause(self, run: VerifyRun, chance: random.Random) -> None:
        await chance.choice([*run.writers, *run.others]).pause(chance.random() * 3)

    async def _pause_and_kill(self, run: VerifyRun, chance: random.Random) -> None:
        number = chance.randrange(len(run.writers))
        await run.writers[number].pause(chance.random())
        await run.replace(number)

    async def _deploy(self, run: VerifyRun, chance: random.Random) -> None:
        """Replace one of the workers by one of the next release; the others continue with older code for a while."""
        self._release_next()
        await run.replace(len(run.writers) - 2)

    def _release_next(self) -> None:
        self._release += 1
        new = self._file.with_suffix(".new")
        new.write_text(str(self._release))
        new.replace(self._file)  # a process that reads it at this moment gets one number or the other

    async def check(self, checker: Checker) -> None:
        """Let the subscriptions reach the end, then compare rows and effects with the log."""
        await self._catch_up(checker)
        if self._fault:
            await self._database.fetch(self._fault)
        events = await self._read_log()
        for violation, example in [
            *_compare("reaction", _expected_reactions(events), Counter(_reactions(events))),
            *_compare("effect", _expected_effects(events), Counter(await self._effects())),
            *_compare("row", _expected_sums(events, self._release), await self._sums()),
        ]:
            checker.report(violation, example)

    async def _catch_up(self, checker: Checker) -> None:
        rebuild: tuple[str, ...] = ()
        while True:
            try:
                app = hostile_app(self._release)
                async with app.open(self._database.url, create=False, rebuild=rebuild) as system:
                    await system.wait(timeout_s=CATCH_UP_S)
            except fait.ReadModelChanged as error:
                rebuild = (error.model,)
                continue
            except fait.Stale as error:
                checker.report(Violation.MISSED_EVENT, str(error))
            return

    async def _read_log(self) -> list[Any]:
        store = await open_store(self._database.url, create=False)
        try:
            events: list[Any] = []
            more, position = True, 0
            while more:
                page = await store.log.read(position)
                events += page.events
                more, position = page.more, page.position
            return events
        finally:
            await store.close()

    async def _effects(self) -> list[str]:
        return [row[0] for row in await self._database.fetch("SELECT event_id FROM hostile_effects")]

    async def _sums(self) -> dict[str, tuple[int, int]]:
        rows = await self._database.fetch("SELECT stream, amount, events FROM sums")
        return {stream: (amount, events) for stream, amount, events in rows}


async def _wait_until_available(url: str) -> None:
    async with asyncio.timeout(CATCH_UP_S):
        while True:
            with suppress(fait.StoreUnavailable):
                return await (await open_store(url, create=False)).close()
            await asyncio.sleep(0.1)


def _expected_reactions(events: Sequence[Any]) -> Counter[str]:
    return Counter(f"{each.id}/{number}" for each in events if each.type in (SOLD, BOOKED) for number in (0, 1))


def _reactions(events: Sequence[Any]) -> list[str]:
    decoded = [msgspec.json.decode(each.data) for each in events if each.type == REACTED]
    return [f"{data['of']}/{data['number']}" for data in decoded]


def _expected_effects(events: Sequence[Any]) -> Counter[str]:
    return Counter(each.id for each in events if each.type in (SOLD, BOOKED))


def _expected_sums(events: Sequence[Any], release: int) -> dict[str, tuple[int, int]]:
    sums: dict[str, tuple[int, int]] = {}
    for each in events:
        if each.type in (PLAIN, SOLD, BOOKED):
            amount, count = sums.get(each.stream, (0, 0))
            sums[each.stream] = (amount + msgspec.json.decode(each.data)["amount"] * release, count + 1)
    return sums


def _compare(what: str, expected: dict[str, Any], actual: dict[str, Any]) -> list[tuple[Violation, str]]:
    differences = [key for key in {**expected, **actual} if expected.get(key) != actual.get(key)]
    return [
        (Violation.TORN_TRANSACTION, f"{what} of {key}: {actual.get(key)} instead of {expected.get(key)}")
        for key in differences
    ]


async def run_round(name: str, seconds: float, seed: int, fault: str = "") -> tuple[VerifyReport, Counter[str]]:
    """Run one round on a new database.

    Args:
        name: one of `DATABASES`.
        seconds: how long the writers run.
        seed: seed of all random choices.
        fault: a statement that falsifies the result, to prove that the comparison detects it.
    """
    # The processes import `tests.hostile` by the module path: they start without the working directory on it.
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    with TemporaryDirectory(prefix="fait-hostile-") as directory:
        async with DATABASES[name]() as database:
            load = Load(database, seed, Path(directory) / "release", fault)
            plan = Plan(database.url, database.schema, seconds, seed, processes=2, callers=4)
            report = await VerifyRun(plan, asyncio.Event(), lambda _: None, load).run()
            return report, load.disturbances


async def run_rounds(names: Sequence[str], seconds: float, seed: int) -> bool:
    """Run rounds until the time is up; the last one is not shortened. Returns whether all passed."""
    end, number, passed = time.monotonic() + seconds, 0, True
    while time.monotonic() < end:
        name, number = names[number % len(names)], number + 1
        report, disturbances = await run_round(name, min(MAX_ROUND_S, seconds / len(names)), seed + number)
        passed &= report.passed
        print(json.dumps(_summary(name, report, disturbances)), flush=True)
    return passed


def _summary(name: str, report: VerifyReport, disturbances: Counter[str]) -> dict[str, Any]:
    shown = ("passed", "seed", "seconds", "stored", "acknowledged", "rejected", "rolled_back", "killed", "violations")
    summary = {"database": name, **{key: value for key, value in report.as_json().items() if key in shown}}
    summary["delivered"] = sum(each.delivered for each in report.readers.values())
    summary["disturbances"] = dict(disturbances)
    if not report.passed:
        summary["examples"] = report.as_json()["examples"]
    return summary


def main() -> None:
    parser = argparse.ArgumentParser(description="Run hostile load; the exit code is 1 if a guarantee was violated.")
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--databases", default=",".join(DATABASES), help="names, separated by commas")
    parser.add_argument("--seed", type=int, default=None, help="a number; random if it is not given")
    options = parser.parse_args()
    seed = random.randrange(1 << 30) if options.seed is None else options.seed
    if unknown := set(options.databases.split(",")) - set(DATABASES):
        parser.error(f"unknown databases: {', '.join(sorted(unknown))}; known: {', '.join(DATABASES)}")
    for name in ("asyncio", "fait"):  # cut connections and failed attempts are expected
        logging.getLogger(name).setLevel(logging.ERROR)
    print(f"hostile load for {options.minutes:g} minutes, seed {seed}", file=sys.stderr)
    sys.exit(not asyncio.run(run_rounds(options.databases.split(","), options.minutes * 60, seed)))


if __name__ == "__main__":
    main()
