"""Workers are killed and stopped for a short time on each database; and proofs that wrong results are noticed."""

import asyncio
import random

import pytest
from msgspec.structs import replace

from fait._store.ports.leases import Range
from fait._store.ports.registrations import SLOTS, RangeKey
from tests.conftest import missing
from tests.fleet.app import next_digest
from tests.fleet.checker import Results, Stored, violations
from tests.fleet.run import DATABASES, run_round
from tests.servers.postgres import installations

SECONDS = 12.0
EVENTS = 3_000


@pytest.mark.parametrize("name", DATABASES)
def test_killed_and_stopped_workers_lose_repeat_and_reorder_nothing(name: str) -> None:
    if name == "postgresql" and 18 not in installations():
        missing("PostgreSQL 18")
    seed = random.randrange(1 << 30)
    print(f"seed {seed}")

    report = asyncio.run(run_round(name, EVENTS, SECONDS, seed))

    print(report)
    assert report.violations == []
    assert report.disturbances.total() > 3
    assert report.events > EVENTS / 10


@pytest.mark.parametrize("fault", ["forgotten pending", "foreign keys"])
def test_fault_of_workers_is_noticed(fault: str) -> None:
    report = asyncio.run(run_round("sqlite", EVENTS, SECONDS, seed=1, fault=fault))

    assert report.violations


EVENTS_OF_ONE_STREAM = [Stored(f"id-{n}", "counter-1", n, n, "g", is_marked=n == 1) for n in (1, 2, 3)]
DIGEST = (3, next_digest(next_digest(1, 2), 3))
NOTES = [("counter-1", n) for n in (1, 2, 3)]
RANGES = [Range(RangeKey("s", 1, 0), 3, "", 1, None, high=100), Range(RangeKey("s", 1, 100), 3, "", 1, None)]
RIGHT = Results({"1": DIGEST}, {"g": DIGEST}, NOTES, ["id-1"], [*NOTES[:2], *NOTES], RANGES)


def test_right_results_have_no_violation() -> None:
    assert violations(EVENTS_OF_ONE_STREAM, RIGHT) == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"counters": {}},
        {"counters": {"1": (3, next_digest(next_digest(2, 1), 3))}},
        {"groups": {"g": DIGEST, "h": (0, 0)}},
        {"notes": NOTES[:2]},
        {"notes": [*NOTES, NOTES[2]]},
        {"notes": NOTES[::-1]},
        {"echoes": []},
        {"echoes": ["id-1", "id-1"]},
        {"echoes": ["id-1", "id-2"]},
        {"calls": NOTES[1:]},
        {"calls": [NOTES[1], *NOTES]},
        {"ranges": RANGES[1:]},
        {"ranges": [RANGES[0], replace(RANGES[1], high=SLOTS - 1)]},
        {"ranges": [RANGES[0], replace(RANGES[1], key=RangeKey("s", 1, 99))]},
        {"failures": ["call counter-1"]},
        {"logs": ["CRITICAL"]},
    ],
    ids=str,
)
def test_wrong_result_is_noticed(wrong: dict[str, object]) -> None:
    assert len(violations(EVENTS_OF_ONE_STREAM, replace(RIGHT, **wrong))) == 1
