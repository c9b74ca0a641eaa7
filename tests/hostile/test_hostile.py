"""A short hostile load on each database, and proofs that a wrong result is noticed. `make hostile` takes longer."""

import asyncio

import pytest

from fait._tools.verify.report import Violation
from tests.conftest import missing
from tests.hostile.run import run_round
from tests.hostile.servers import DATABASES
from tests.servers import pgbouncer
from tests.servers.postgres import installations

SECONDS = 12.0
SEED = 20261129


@pytest.mark.parametrize("name", DATABASES)
def test_nothing_is_lost_doubled_or_torn_under_hostile_load(name: str) -> None:
    _require(name)

    report, disturbances = asyncio.run(run_round(name, SECONDS, SEED))

    assert report.violations == {}, report.examples
    assert disturbances.total() > 3
    assert report.acknowledged > 100
    assert report.killed > 0


@pytest.mark.parametrize(
    "fault",
    [
        "DELETE FROM hostile_effects WHERE event_id = (SELECT min(event_id) FROM hostile_effects)",
        "INSERT INTO hostile_effects SELECT min(event_id) FROM hostile_effects",
        "UPDATE sums SET events = events + 1 WHERE stream = (SELECT min(stream) FROM sums)",
    ],
    ids=["lost effect", "doubled effect", "wrong row"],
)
def test_wrong_result_is_noticed(fault: str) -> None:
    report, _ = asyncio.run(run_round("sqlite", 2.0, SEED, fault))

    assert report.violations == {Violation.TORN_TRANSACTION: 1}


def _require(name: str) -> None:
    if name != "sqlite" and 18 not in installations():
        missing("PostgreSQL 18")
    if name == "pgbouncer" and pgbouncer.installed() is None:
        missing("PgBouncer")
