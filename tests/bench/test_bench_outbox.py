"""The benchmarks of the outbox and of the high-water mark: small runs; times are not checked."""

import importlib
import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import missing
from tests.servers.postgres import installations

ROOT = Path(__file__).parents[2]
BENCH = ROOT / "bench"
ENVIRONMENT = os.environ | {"PYTHONPATH": os.pathsep.join([str(BENCH), str(ROOT)])}
BLOCKS = {"asyncpg", "psycopg", "Django", "sqlite3"}
LIBRARIES = BLOCKS | {"SQLAlchemy Session", "SQLAlchemy AsyncConnection"}
PEER = {("SQLAlchemy AsyncConnection", "peer")} if find_spec("faststream_outbox") else set[tuple[str, str]]()
CROWDS = [("none", 0), ("idle", 2), ("holding", 2)]

pytestmark = pytest.mark.timeout(300)  # starts about fifteen processes


def run(program: str, out: Path, *options: str) -> tuple[dict[str, Any], str, str]:
    """Run a program; return the result in its file, its output, and its messages."""
    if 18 not in installations():
        missing("PostgreSQL 18")
    ran = subprocess.run(
        [sys.executable, "-m", program, "--rounds", "2", "--out", str(out), *options],
        cwd=ROOT,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    return json.loads((out / f"{program}.json").read_text("utf-8")), ran.stdout, ran.stderr


@pytest.fixture(scope="module")
def outbox(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], str, str]:
    return run("outbox", tmp_path_factory.mktemp("outbox"), "--n", "3")


@pytest.fixture(scope="module")
def mark(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], str, str]:
    return run("mark", tmp_path_factory.mktemp("mark"), "--n", "3", "--crowds", "2")


def test_result_has_row_for_each_library_and_way(outbox: tuple[dict[str, Any], str, str]) -> None:
    result, _, said = outbox

    found = {(row["library"], row["way"]) for row in result["rows"]}
    everywhere = {(library, way) for library in LIBRARIES for way in ("alone", "table", "add")}
    assert found == everywhere | {(library, "block") for library in BLOCKS} | PEER
    assert ("NOT MEASURED: faststream_outbox is not installed" in said) is (not PEER)


def test_event_in_outbox_is_one_statement_without_notify(outbox: tuple[dict[str, Any], str, str]) -> None:
    rows = outbox[0]["rows"]
    ours = [row for row in rows if row["way"] in ("add", "block")]

    assert {row["notifies"] for row in ours} == {0}
    assert {row["notifies"] for row in rows if row["way"] == "peer"} == ({1} if PEER else set())
    in_postgres = [row for row in ours if row["library"] != "sqlite3"]
    assert {row["statements"] for row in in_postgres if row["way"] == "add"} == {4}  # BEGIN, change, event, COMMIT


def test_ratio_of_outbox_is_relative_to_plain_table_within_round(outbox: tuple[dict[str, Any], str, str]) -> None:
    for row in outbox[0]["rows"]:
        ratios = row["wal_bytes_ratios"]
        assert len(ratios) == 2
        assert row["wal_bytes_ratio"] == pytest.approx(sum(ratios) / 2, abs=0.002)
        assert row["way"] != "table" or set(ratios) == {1.0}
        assert row["p50_us"] > 0
        assert row["wal_bytes"] > 0


def test_high_water_mark_is_measured_with_each_crowd(mark: tuple[dict[str, Any], str, str]) -> None:
    result, printed, _ = mark

    rows = {(row["kind"], row["others"]): row for row in result["rows"]}
    assert list(rows) == CROWDS
    assert rows["holding", 2]["locks"] > rows["idle", 2]["locks"]
    assert rows["holding", 2]["advisory"] == 4  # of each, its ticket and the bucket of its type
    assert rows["idle", 2]["advisory"] == 0
    assert all(row["marks"] > 0 and row["append_p50_us"] > 0 for row in rows.values())
    assert len(printed.splitlines()) == 4 + len(rows)


@pytest.mark.parametrize("program", ["outbox", "mark"])
def test_saved_result_formats_as_printed_table(program: str, request: pytest.FixtureRequest) -> None:
    request.getfixturevalue("monkeypatch").syspath_prepend(str(BENCH))
    result, printed, _ = request.getfixturevalue(program)

    assert importlib.import_module(program).markdown(result) == printed.strip()
