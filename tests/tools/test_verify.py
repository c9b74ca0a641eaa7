"""`fait verify-store` passes a correct store, detects each injected fault, and removes its temporary store."""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from fait._errors import StoreUnavailable
from fait._events.envelope import RecordedEvent
from fait._store.open import backend_of, open_admin
from fait._tools.verify.order import OrderCheck
from fait._tools.verify.report import Violation
from tests.servers.postgres import PostgresServer

Run = Callable[..., Any]
Servers = Callable[..., PostgresServer]

FAIT = (sys.executable, "-c", "from fait._tools.cli.main import run; run()")
SMALL = ("--processes", 1, "--callers", 8)
SEED = 31  # the first kill is after 1.5 s, the second after at least 3 s


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest) -> str:
    if request.param == "sqlite":
        return request.getfixturevalue("store")
    return request.getfixturevalue("postgres_servers")().url


async def query(url: str, statement: str) -> list[Any]:
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetch(statement)
    finally:
        await connection.close()


def list_stores(url: str) -> list[str]:
    """Names of the files next to the store, or of the temporary schemas."""
    if url.startswith("sqlite:"):
        return sorted(os.listdir(Path(url.removeprefix("sqlite:///")).parent))
    rows = asyncio.run(query(url, "SELECT nspname FROM pg_namespace WHERE nspname LIKE 'fait_verify_%'"))
    return [row[0] for row in rows]


def test_correct_store_passes(run: Run, url: str) -> None:
    result = run("verify-store", url, "--minutes", 0.05, "--processes", 2, "--seed", SEED, "--json")

    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert (report["passed"], report["violations"], report["seed"], report["killed"]) == (True, {}, SEED, 1)
    assert min(report["rejected"], report["rolled_back"]) > 0
    assert report["stored"] > report["acknowledged"] > 100  # the last event is appended by the verification itself
    readers = report["readers"].values()
    assert [each["delivered"] for each in readers] == [report["stored"]] * 2
    assert all(0 < each["delay_p50_ms"] <= each["delay_p99_ms"] < 5000 for each in readers)
    assert "fsync" in {each["name"] for each in report["unsafe_settings"]} or url.startswith("sqlite:")
    assert list_stores(url) == []
    assert "Verifying for 3 s with seed 31" in result.stderr


@pytest.mark.parametrize(
    "faults",
    [
        {"acknowledge-unstored": "lost_event", "swap-events": "wrong_order", "row-without-event": "torn_transaction"},
        {
            "ignore-condition": "condition_violated",
            "skip-event": "missed_event",
            "commit-rollback": "rolled_back_event",
        },
        {"duplicate-event": "duplicate_event", "backdate-event": "time_regression"},
    ],
    ids=" and ".join,
)
def test_injected_fault_is_detected(run: Run, store: str, faults: dict[str, str]) -> None:
    options = [word for fault in faults for word in ("--inject-fault", fault)]

    result = run("verify-store", store, "--minutes", 0.03, *SMALL, *options, "--json")

    assert result.exit_code == 1
    report = json.loads(result.stdout)
    assert (report["passed"], set(report["violations"])) == (False, set(faults.values()))
    assert report["examples"].keys() == report["violations"].keys()
    assert list_stores(store) == []


def test_order_check_compares_positions_across_streams() -> None:
    order, time = OrderCheck(), datetime(2024, 1, 15, tzinfo=UTC)
    delivered = [(1, "a", 1), (3, "b", 1), (2, "c", 1), (4, "a", 2)]

    violations = [
        order.add(RecordedEvent(position, stream, version, "t", 1, "", "", "", (), time, time))
        for position, stream, version in delivered
    ]

    assert violations == [None, None, Violation.WRONG_ORDER, None]


def test_reader_that_ignores_the_high_water_mark_misses_events(run: Run, postgres_servers: Servers) -> None:
    result = run(
        "verify-store", postgres_servers().url, "--minutes", 0.03, *SMALL, "--inject-fault", "ignore-high-water-mark"
    )

    assert result.exit_code == 1
    assert "FAILED: " in result.stdout
    rows = [line.split("\t") for line in result.stdout.splitlines()[1:14]]
    assert [row[0] for row in rows if row[1] != "0"] == [Violation.MISSED_EVENT]


def test_ctrl_c_reports_results_so_far_and_removes_the_store(url: str) -> None:
    command = [*FAIT, "verify-store", url, "--json", *map(str, SMALL)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        wait_until(lambda: bool(list_stores(url)))
        time.sleep(1)
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate()

    report = json.loads(stdout)
    assert (process.returncode, report["interrupted"], report["passed"]) == (130, True, True)
    assert "Traceback" not in stderr
    assert list_stores(url) == []


def test_existing_log_is_not_touched_and_unsafe_setting_is_reported(
    run: Run, store: str, jsonl: Callable[..., Path]
) -> None:
    run("import", jsonl([{"stream": "a-1", "type": "t", "time": "2024-01-01T00:00:00Z", "data": 1}]), "-s", store)
    file = Path(store.removeprefix("sqlite:///"))
    before, names = file.read_bytes(), list_stores(store)

    result = run("verify-store", f"{store}?synchronous=NORMAL", "--minutes", 0.02, *SMALL)

    assert result.exit_code == 0
    assert "unsafe setting: synchronous: NORMAL" in result.stdout
    assert "2 unsafe settings: see above" in result.stdout
    assert (file.read_bytes(), list_stores(store)) == (before, names)


def test_role_without_create_privilege_gets_advice(run: Run, postgres_servers: Servers) -> None:
    url = postgres_servers().url
    asyncio.run(query(url, "CREATE ROLE verify_poor LOGIN"))

    result = run("verify-store", url.replace("postgres@", "verify_poor@"))

    assert result.exit_code == 2
    assert "GRANT CREATE ON DATABASE" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["memory:"], "'memory:' cannot be verified, because its backend cannot create a temporary store"),
        (["bogus://x"], "unknown store URL 'bogus://x': it must start with one of memory:, sqlite:, postgresql:"),
        (["sqlite:///x.db", "--inject-fault", "ignore-high-water-mark"], "requires PostgreSQL"),
        (["sqlite:///x.db", "--inject-fault", "other"], "expected one of acknowledge-unstored, backdate-event"),
    ],
)
def test_invalid_usage_exits_with_2(run: Run, arguments: list[str], message: str) -> None:
    result = run("verify-store", *arguments)

    assert (result.exit_code, message in result.stderr) == (2, True)


async def test_drop_of_schema_in_use_fails_with_the_statement_to_run(
    postgres_servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fait._store.postgres.admin.DROP_TIMEOUT_S", 0.1)
    url = postgres_servers().url
    admin = open_admin(backend_of(url).sibling_url(url, "verify used"))
    await admin.migrate()
    user = await asyncpg.connect(postgres_servers().url)
    try:
        await user.execute('BEGIN; LOCK TABLE "verify used".fait_events')
        with pytest.raises(
            StoreUnavailable, match=r'was not dropped\. To drop it, run: DROP SCHEMA IF EXISTS "verify used"'
        ):
            await admin.drop()
        await user.execute("ROLLBACK")
        await admin.drop()
        assert not any(each.applied_at for each in await admin.migrations())
    finally:
        await user.close()


def test_guide_explains_each_violation() -> None:
    guide = (Path(__file__).parents[2] / "docs" / "verify.md").read_text("utf-8")

    rows = re.findall(r"^\| ([a-z ]+) \| `(\w+)` \| ", guide, re.MULTILINE)
    assert rows == [(each.value, each.name.lower()) for each in Violation]


def wait_until(condition: Callable[[], bool], timeout_s: float = 30.0) -> None:
    """Wait for a condition that depends on another process."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "timeout"
        time.sleep(0.02)
