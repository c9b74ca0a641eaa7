"""Programs are killed (-9) at random steps of a transaction: committed rows and events agree."""

import json
import os
import random
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Generator
from pathlib import Path

import pytest

from tests.outbox.clients import Place
from tests.outbox.contract import InPostgres, InSqlite
from tests.outbox.kill_programs import ON_POSTGRES, ON_SQLITE

ROOT = Path(__file__).parents[2]
RUNS = int(os.environ.get("FAIT_KILLS", "30"))
"""Number of runs of each program. FAIT_KILLS=200 takes minutes."""


Steps = Callable[..., int]
"""Runs a program (place, name, order), killed at a step. Returns its number of steps, or 0 if it was killed."""


@pytest.fixture(scope="module")
def steps_of() -> Generator[Steps]:
    """Uses one process with all libraries imported, which forks for each program."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.outbox.kill_programs"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        requests, answers = process.stdin, process.stdout

        def steps_of(place: Place, program: str, order: str, last: int) -> int:
            print(*place, program, order, last, file=requests, flush=True)
            return int(answers.readline())

        yield steps_of
        requests.close()


class KillContract:
    async def kill(self, place: Place, program: str, steps_of: Steps) -> None:
        seed = random.randrange(1 << 30)
        print("seed", seed)
        chance = random.Random(seed)
        steps = steps_of(place, program, f"{program}-all", 0)
        assert steps > 50
        lasts = [chance.randint(1, steps) for _ in range(RUNS)]
        steps_taken = [steps_of(place, program, f"{program}-{run}", last) for run, last in enumerate(lasts)]
        await self.settle(place)
        counts, events = await self.committed(place)

        assert events.keys() == counts.keys()
        assert all((counts[order], events[order]) == (2, [1, 2]) for order in counts)
        ended = {f"{program}-all", *(f"{program}-{run}" for run in range(RUNS) if steps_taken[run])}
        assert ended <= counts.keys()
        assert not all(f"{program}-{run}" in counts for run in range(RUNS))

    async def committed(self, place: Place) -> tuple[dict[str, int], dict[str, list[int]]]:
        """The count of each order, and the counts of its events."""
        table = "fait_events" if place.dialect == "sqlite" else f"{place.schema}.fait_all_events"
        events = defaultdict[str, list[int]](list)
        for stream, data in await place.fetch(f"SELECT stream, CAST(data AS text) FROM {table} ORDER BY position"):
            events[stream].append(json.loads(data)["count"])
        return dict(await place.fetch(f"SELECT name, count FROM {place.orders}")), dict(events)

    async def settle(self, place: Place) -> None:
        """Wait until the server has closed the connections of killed programs."""


class TestOnPostgres(InPostgres, KillContract):
    @pytest.mark.parametrize("program", [program.__name__ for program in ON_POSTGRES])
    async def test_rows_and_events_agree_after_kills(self, place: Place, program: str, steps_of: Steps) -> None:
        await self.kill(place, program, steps_of)

    async def settle(self, place: Place) -> None:
        sql = f"SELECT 1 FROM pg_stat_activity WHERE application_name = '{place.schema}'"
        while await place.fetch(sql):
            pass


class TestOnSqlite(InSqlite, KillContract):
    @pytest.mark.parametrize("program", [program.__name__ for program in ON_SQLITE])
    async def test_rows_and_events_agree_after_kills(self, place: Place, program: str, steps_of: Steps) -> None:
        await self.kill(place, program, steps_of)
