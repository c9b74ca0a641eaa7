"""The PostgreSQL benchmark: a small run of some workloads; times are not checked."""

import importlib
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import missing
from tests.servers.postgres import installations

ROOT = Path(__file__).parents[2]
BENCH = ROOT / "bench"
DATA = BENCH / f"fait-bench-{os.getpid()}"
"""A folder on a disk, which a temporary folder need not be; unique because tests run concurrently."""

ENVIRONMENT = os.environ | {"PYTHONPATH": os.pathsep.join([str(BENCH), str(ROOT)])}
SUBJECTS = {"fait", "eventsourcing", "asyncpg", "pgbench"}
THERE = SUBJECTS if find_spec("eventsourcing") else SUBJECTS - {"eventsourcing"}
ROW = {"backend", "latency_ms", "workload", "subject", "unit", "ops_s", "p50_us", "p99_us", "ratios", "n", "rounds"}
ZEROS = {"missed": 0, "repeated": 0, "reordered": 0, "phantom": 0, "lost": 0}

pytestmark = pytest.mark.timeout(300)  # starts about fifty processes


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A small run of some workloads, also through a slow network."""
    if 18 not in installations():
        missing("PostgreSQL 18")
    folder = tmp_path_factory.mktemp("bench")
    DATA.mkdir()
    options = [
        *("--only", "W1,W3,W7-sql,stalls", "--subjects", ",".join(sorted(SUBJECTS)), "--scale", "0.001"),
        *("--rounds", "1", "--latency", "0,1", "--growth", "200,400", "--out", str(folder), "--data", str(DATA)),
    ]
    try:
        ran = subprocess.run(
            [sys.executable, "-m", "postgres.run", *options], cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True,
            timeout=280, check=False,
        )  # fmt: skip
        assert ran.returncode == 0, ran.stderr
        assert ("LEFT OUT: eventsourcing" in ran.stderr) is (THERE != SUBJECTS)
        yield folder
    finally:
        shutil.rmtree(DATA)


@pytest.fixture(scope="module")
def result(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "postgres.json").read_text("utf-8"))
    return found


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    monkeypatch.syspath_prepend(str(BENCH))
    return lambda name: importlib.import_module(f"postgres.{name}")


def test_result_has_row_for_each_workload_subject_and_latency(result: dict[str, Any]) -> None:
    assert all(row.keys() == ROW and row["n"] > 0 for row in result["rows"])
    found = {(row["latency_ms"], row["workload"], row["subject"]) for row in result["rows"]}
    able = {"W1": THERE, "W3": THERE - {"pgbench"}, "W7-sql": THERE - {"pgbench"}}
    far = {(1.0, key) for key in ("W1", "W7-sql")}
    wanted = {(ms, key, name) for ms, key in ({(0.0, key) for key in able} | far) for name in able[key]}
    assert found == wanted
    assert not result["failed"]
    assert not result["unfinished"]


def test_server_is_durable_and_network_has_latency(result: dict[str, Any]) -> None:
    assert {result["settings"][name] for name in ("fsync", "full_page_writes", "synchronous_commit")} == {"on"}
    assert result["round_trip_us"]["1"] >= result["round_trip_us"]["0"] + 900


def test_lost_events_probe_finds_no_error(result: dict[str, Any]) -> None:
    found = result["lost_events"]["fait"]

    assert found["events"] >= found["acknowledged"] > 0
    assert found["transactions_of_others"] > 0
    assert {name: found[name] for name in ZEROS} == ZEROS


def test_each_measured_goal_has_verdict(result: dict[str, Any]) -> None:
    goals = {(goal["latency_ms"], goal["ours"], goal["key"], goal["against"]) for goal in result["goals"]}

    expected = {
        (0.0, "fait", "W1", "asyncpg"),
        (0.0, "fait", "W3", "asyncpg"),
        (1.0, "fait", "W1", "asyncpg"),
        (0.0, "fait", "growth-read", "fait"),
        (0.0, "fait", "stalls-appends", "fait"),
        (0.0, "fait", "stalls-foreign-notify", "fait"),
    }
    assert expected <= goals
    for goal in result["goals"]:
        more = goal["sign"] == "≥"
        assert goal["met"] is (goal["ratio"] >= goal["limit"] if more else goal["ratio"] <= goal["limit"])


def test_result_has_growth_by_size(result: dict[str, Any]) -> None:
    small, large = result["growth"]

    assert (small["events"], large["events"]) == (200, 400)
    assert small["append_ratio"] == small["read_ratio"] == small["conditional_ratio"] == 1.0
    assert all(each["bytes_per_event"] > 300 and each["catch_up_events_s"] > 0 for each in (small, large))


def test_result_has_stalls_and_idle_cost(result: dict[str, Any]) -> None:
    rows = {row["key"]: row for row in result["stalls"]["rows"]}

    assert rows.keys() == {
        "stalls-appends", "stalls-foreign", "stalls-foreign-notify", "stalls-rollback", "stalls-rollback-notify",
    }  # fmt: skip
    assert all(row["n"] > 2 and 0 < row["without_p50_us"] <= row["without_p99_us"] for row in rows.values())
    listening, without_listen = result["stalls"]["idle"]
    assert (listening["hears"], without_listen["hears"]) == (True, False)
    assert 0 < without_listen["statements_s"] < 20
    assert 0 <= listening["statements_s"] < 20


def test_stalled_appends_miss_their_goal(module: Callable[[str], Any]) -> None:
    quick, stopped = [0.002] * 500, [0.002] * 490 + [30.0] * 10
    row = module("stalls").compared("stalls-appends", [quick, quick], [stopped])
    result = {"rows": [], "growth": [], "stalls": {"rows": [row]}}

    [verdict] = module("report").judged(result)

    assert row["p50_ratio"] == 1.0
    assert row["p99_ratio"] == verdict["ratio"] == 15000
    assert not verdict["met"]


def test_append_that_overlaps_open_transaction_counts_as_during_it(module: Callable[[str], Any]) -> None:
    took = [(0.0, 1.0), (9.0, 21.0), (11.0, 12.0), (19.0, 29.0), (25.0, 26.0), (28.0, 43.0), (50.0, 51.0)]

    without, within = module("stalls").divided(took, [(10.0, 20.0), (30.0, 40.0)])

    assert without == [[1.0], [1.0], [1.0]]
    assert within == [[12.0, 1.0, 10.0], [15.0]]


def test_ratio_of_window_to_neighbors_ignores_drift(module: Callable[[str], Any]) -> None:
    assert module("stalls").against_neighbors([1.0, 3.0, 5.0], [2.0, 4.0]) == 1.0
    assert module("stalls").against_neighbors([1.0, 3.0, 5.0], [4.0, 8.0]) == 2.0


def test_failing_part_keeps_other_results(module: Callable[[str], Any]) -> None:
    run = module("run")
    half = run.Run.__new__(run.Run)
    half.unfinished = []

    def fail() -> None:
        raise TimeoutError("timeout")

    assert half._part("growth", fail, []) == []
    assert half.unfinished == ["growth: timeout"]


@pytest.mark.parametrize("options", [["--only", "W"], ["--subjects", "fate"]])
def test_unknown_option_value_is_rejected(options: list[str]) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "postgres.run", *options], cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True,
        timeout=30, check=False,
    )  # fmt: skip

    assert ran.returncode == 2
    assert f"unknown: {options[1]}. Choose from: " in ran.stderr


def test_page_contains_all_sections(result: dict[str, Any], module: Callable[[str], Any]) -> None:
    page = module("report").page(result)

    assert "### With a network of 1 ms" in page
    assert "### Stalls" in page
    assert "| fait |" in page
    assert str(ROOT) not in json.dumps(result)


def test_summary_compares_with_fastest_peer_and_limit(result: dict[str, Any], module: Callable[[str], Any]) -> None:
    lines = module("report").summary(result).splitlines()

    assert lines[0].startswith("PostgreSQL 18")
    assert result["date"] in lines[0]
    rows = [row for row in result["rows"] if row["workload"] == "W3" and "fait" in row["ratios"]]
    [line_of_w3] = [line for line in lines if line.startswith("| W3")]
    peers = [row["ratios"]["fait"]["ops_s"] for row in rows if row["subject"] == "eventsourcing"]
    assert ("× eventsourcing |" in line_of_w3) is bool(peers)
    assert line_of_w3.endswith("× asyncpg |")


def test_run_leaves_only_results(folder: Path) -> None:
    assert {path.name for path in folder.iterdir()} == {"postgres.json", "postgres.svg"}
    assert not list(DATA.iterdir())


@pytest.mark.parametrize(
    ("seen", "acknowledged", "wrong"),
    [
        ([1, 2, 4], 3, {}),
        ([1, 4], 3, {"missed": 1}),
        ([1, 2, 2, 4], 3, {"repeated": 1}),
        ([1, 4, 2], 3, {"reordered": 1}),
        ([1, 2, 3, 4], 3, {"phantom": 1}),
        ([1, 2, 4], 5, {"lost": 2}),
    ],
)
def test_lost_events_probe_with_wrong_sequence_counts_error(
    seen: list[int], acknowledged: int, wrong: dict[str, int], module: Callable[[str], Any]
) -> None:
    found = module("probe").compared(seen, [1, 2, 4], acknowledged)

    assert {name: found[name] for name in ZEROS} == ZEROS | wrong


def test_run_with_event_lost_by_fait_is_wrong(module: Callable[[str], Any]) -> None:
    wrong = module("report").wrong

    assert wrong({"lost_events": {"fait": ZEROS | {"missed": 1}}})
    assert not wrong({"lost_events": {"fait": ZEROS, "emmett": ZEROS | {"missed": 9}}})


@pytest.fixture
def slow_echo() -> Iterator[int]:
    """The port of an echo server behind a delay of 20 ms in each direction."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=_echo, args=(server,), daemon=True).start()
        command = [sys.executable, "-m", "postgres.proxy", str(server.getsockname()[1]), "20"]
        with subprocess.Popen(
            command, cwd=ROOT, env=ENVIRONMENT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as proxy:
            assert proxy.stdout is not None
            assert proxy.stdin is not None
            yield int(proxy.stdout.readline())
            proxy.stdin.close()
            assert proxy.wait(10) == 0


def _echo(server: socket.socket) -> None:
    connection, _ = server.accept()
    with connection:
        while data := connection.recv(1 << 16):
            connection.sendall(data)


def test_proxy_delays_without_loss_or_reordering(slow_echo: int) -> None:
    sent = os.urandom(3_000_000)
    with socket.create_connection(("127.0.0.1", slow_echo), 10) as client:
        started = time.perf_counter()
        client.sendall(b"?")
        assert client.recv(1) == b"?"
        assert time.perf_counter() - started >= 0.04

        threading.Thread(target=client.sendall, args=(sent,), daemon=True).start()
        received = b""
        while len(received) < len(sent):
            received += client.recv(1 << 16)

        assert received == sent
