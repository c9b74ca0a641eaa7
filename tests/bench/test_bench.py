"""The SQLite benchmark: a small run of all workloads; times are not checked."""

import importlib
import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

BENCH = Path(__file__).parents[2] / "bench"
FIGURES = {f"{name}{suffix}" for name in ("ops_s", "p50_us", "p99_us") for suffix in ("", "_ratio", "_ratios")}
ROW = {"backend", "workload", "subject", "unit", "n", "rounds", *FIGURES}
RAW = {"raw_apsw", "raw_apsw_thread", "raw_sqlite3"}
ZEROS = {"missed": 0, "repeated": 0, "reordered": 0, "phantom": 0, "lost": 0}
PEERS = {"eventsourcing_app"} if find_spec("eventsourcing") else set[str]()

pytestmark = pytest.mark.timeout(300)  # starts about sixty processes


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small run of every workload."""
    folder = tmp_path_factory.mktemp("bench")
    options = ["--only", "W1,W2,W4,W5,W6,W7,W8,upcasting", "--scale", "0.005", "--rounds", "2", "--out", str(folder)]
    ran = subprocess.run(
        [sys.executable, BENCH / "run.py", *options], capture_output=True, text=True, timeout=280, check=False
    )
    assert ran.returncode == 0, ran.stderr
    assert ("eventsourcing is left out" in ran.stderr) is (not PEERS)
    return folder


@pytest.fixture(scope="module")
def result(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "run.json").read_text("utf-8"))
    return found


def test_lost_events_probe_finds_no_error(result: dict[str, Any]) -> None:
    found = result["lost_events"]

    assert found["events"] >= found["acknowledged"] > 0
    assert found["killed"] == 2
    assert found["refused"] > 0
    assert found["rolled_back"] > 0
    assert {name: found[name] for name in ZEROS} == ZEROS


@pytest.mark.parametrize(
    ("seen", "acknowledged", "wrong"),
    [
        ([(1, "order-1"), (3, "order-3")], {"order-1"}, {"missed": 1}),
        ([(1, "order-1"), (2, "order-2"), (2, "order-2"), (3, "order-3")], {"order-1"}, {"repeated": 1}),
        ([(1, "order-1"), (3, "order-3"), (2, "order-2")], {"order-1"}, {"reordered": 1}),
        ([(1, "order-1"), (2, "order-2"), (3, "order-3"), (4, "order-4")], {"order-1"}, {"phantom": 1}),
        ([(1, "order-1"), (2, "order-2"), (3, "order-3")], {"order-1", "order-9"}, {"lost": 1}),
        ([(1, "order-1"), (2, "order-2"), (3, "order-3")], {"order-1", "order-2", "order-3"}, {}),
    ],
)
def test_lost_events_probe_with_wrong_sequence_counts_error(
    seen: list[tuple[int, str]], acknowledged: set[str], wrong: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(BENCH))
    compared = importlib.import_module("lost_events").compared
    log = [(1, "order-1"), (2, "order-2"), (3, "order-3")]

    found = compared(seen, log, acknowledged)

    assert {name: found[name] for name in ZEROS} == ZEROS | wrong


def test_result_has_row_for_each_workload_and_subject(result: dict[str, Any]) -> None:
    assert all(row.keys() == ROW for row in result["rows"])
    assert all(row["rounds"] == 2 and row["n"] > 0 for row in result["rows"])
    found = {(row["workload"], row["subject"]) for row in result["rows"]}
    workloads = {"W1", "W2", "W4", "W4-bulk", "W5-one", "W5-many", "W5-load-many", "W6", "W7", "W8"}
    assert {workload for workload, subject in found if subject == "fait_system"} == workloads
    assert {subject for _, subject in found} == {"fait_system", *RAW, *PEERS}


def test_ratio_is_median_of_ratios_within_rounds(result: dict[str, Any]) -> None:
    for row in result["rows"]:
        for figure in ("ops_s", "p50_us", "p99_us"):
            ratios = row[f"{figure}_ratios"]
            assert row[f"{figure}_ratio"] == (pytest.approx(sum(ratios) / 2, abs=0.002) if ratios else None)
            assert row["subject"] != "fait_system" or set(ratios) <= {1.0}


def test_result_describes_machine_and_versions_without_paths(result: dict[str, Any], folder: Path) -> None:
    assert result["machine"].keys() == {"processor", "cores", "memory_gb", "system", "file_system"}
    assert {"fait", "python", "apsw", "sqlite (apsw)", "sqlite (sqlite3)"} <= result["versions"].keys()
    assert str(folder) not in json.dumps(result)


def test_each_measured_goal_has_verdict(result: dict[str, Any]) -> None:
    goals = {(goal["key"], goal["against"]) for goal in result["goals"] if not goal["floor"]}

    assert {("W1", "raw_apsw"), ("W2", "raw_apsw"), ("W4-bulk", "raw_apsw"), ("upcasting", "fait_system")} <= goals
    for goal in result["goals"]:
        more = goal["sign"] == "≥"
        assert goal["met"] is (goal["ratio"] >= goal["limit"] if more else goal["ratio"] <= goal["limit"])


def test_run_leaves_only_results(folder: Path) -> None:
    assert {path.name for path in folder.iterdir()} == {"run.json", "run.svg"}
