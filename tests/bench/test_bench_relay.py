"""The benchmarks of relays and consumers: small runs; times are not checked."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.conftest import missing
from tests.servers.postgres import installations

ROOT = Path(__file__).parents[2]
ENVIRONMENT = os.environ | {"PYTHONPATH": os.pathsep.join([f"{ROOT}/src", f"{ROOT}/bench", str(ROOT)])}


def run(program: str, *options: str) -> str:
    """Run a program, and return its output."""
    command = [sys.executable, "-m", program, *options]
    ran = subprocess.run(command, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, check=False, timeout=60)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


@pytest.mark.usefixtures("redis_server")  # skips if it is missing
def test_small_run_of_relay_has_rates_of_each_way_and_database() -> None:
    if 18 not in installations():
        missing("PostgreSQL 18")

    printed = run(
        "relay", "--only", "Redis", "--n", "300", "--naive", "20", "--peer", "50", "--rounds", "1",
        "--rate", "100", "--seconds", "0.5",
    )  # fmt: skip

    ways = [line.split("  ") for line in printed.splitlines() if "SQLite " in line or "PostgreSQL " in line]
    assert len(ways) == 4
    assert ("NOT MEASURED" in printed) is (find_spec("faststream_outbox") is None)


@pytest.mark.usefixtures("nats_server")
def test_small_run_of_handled_prints_times_of_more_calls_than_a_default_line_holds() -> None:
    printed = run("handled", "--only", "NATS", "--rate", "3000", "--seconds", "1")

    assert printed.splitlines()[-1].startswith("NATS, sync_interval always: commit to handler in another process: p50 ")


@pytest.mark.usefixtures("redis_server")
def test_small_run_of_held_counts_replaced_rows_and_keeps_dead_ones() -> None:
    if 18 not in installations():
        missing("PostgreSQL 18")

    printed = run("held", "--minutes", "0.02", "--rate", "100", "--backlog", "200")

    plain, held = printed.split("without: ")[1].split("held: ")
    assert "fait_ranges: " in plain
    replaced = next(line.split() for line in held.splitlines() if "fait_ranges: " in line)
    assert float(replaced[1]) > 0
    assert replaced[1] == replaced[3]
