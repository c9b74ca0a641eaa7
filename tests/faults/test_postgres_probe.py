"""The probe: nothing is missed, repeated or out of order; and it finds it out when something is."""

import random
from collections.abc import Callable
from uuid import uuid4

import pytest

from tests.faults.probe import Plan, Probe, Report
from tests.servers.postgres import PostgresServer

Servers = Callable[..., PostgresServer]


async def probed(server: PostgresServer, seconds: float, *, bad_mark: bool = False) -> Report:
    seed = random.randrange(1 << 30)
    plan = Plan(server.url, f"probe_{uuid4().hex}", seconds, seed, kill_every_s=3, bad_mark=bad_mark)
    report = await Probe(plan).run()
    print(report)
    return report


@pytest.mark.parametrize("version", [15, 18])
async def test_the_probe_finds_nothing(postgres_servers: Servers, version: int) -> None:
    report = await probed(postgres_servers(version), 10)

    assert report.broken == {}
    assert report.killed
    assert min(report.stored, *report.delivered.values()) > 500


async def test_the_probe_finds_what_a_bad_mark_misses(postgres_servers: Servers) -> None:
    report = await probed(postgres_servers(), 5, bad_mark=True)

    assert report.broken["missed by the hearing reader"]
    assert report.broken["missed by the deaf reader"]
    assert {name for name in report.broken if "reader" not in name} == set()
