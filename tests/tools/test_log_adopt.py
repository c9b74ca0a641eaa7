"""`fait log adopt` starts a new epoch of a restored or copied log, after confirmation."""

import asyncio
import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import apsw
import asyncpg
import pytest

from tests.servers.postgres import PostgresServer, installations

Run = Callable[..., Any]

CHECKPOINTS = """
INSERT INTO {0}fait_subscriptions
    (subscription, generation, app, kind, log_id, epoch_id, definition_hash, handled_types, revision, state)
SELECT 'ahead', 1, 'app', 'reactor', log_id, epoch_id, '', '[]', 1, 'live' FROM {0}fait_log
UNION ALL SELECT 'even', 1, 'app', 'reactor', log_id, epoch_id, '', '[]', 1, 'live' FROM {0}fait_log
UNION ALL SELECT 'other', 1, 'app', 'reactor', 'another-log', epoch_id, '', '[]', 1, 'live' FROM {0}fait_log;
INSERT INTO {0}fait_ranges
    (subscription, generation, low, high, position, frontier, pending, health, worker, fencing_token)
VALUES
    ('ahead', 1, 0, 65536, 9, 11, {pending}, '', 'w', 5), ('even', 1, 0, 65536, 10, 10, {pending}, '', '', 0),
    ('other', 1, 0, 65536, 3, 3, {pending}, '', '', 0)
"""
EXPECTED = [
    {"subscription": "ahead", "position": 11, "carried_over": False},
    {"subscription": "even", "position": 10, "carried_over": True},
    {"subscription": "other", "position": 3, "carried_over": False},
]


def schema_of(url: str) -> str:
    return parse_qs(urlsplit(url).query)["schema"][0]


def execute(url: str, sql: str) -> None:
    """Run a statement in a store. `{0}` is the prefix of its tables, `{pending}` an empty list of positions."""
    if url.startswith("sqlite"):
        connection = apsw.Connection(url.removeprefix("sqlite:///"))
        connection.execute(sql.format("", pending="'[]'"))
        return connection.close()

    async def run() -> None:
        server = await asyncpg.connect(url.partition("?")[0])
        await server.execute(sql.format(f"{schema_of(url)}.", pending="'{}'"))
        await server.close()

    return asyncio.run(run())


def fill(run: Run, url: str, jsonl: Callable[..., Path]) -> None:
    lines = [{"stream": f"case-{n}", "type": "t", "time": "2024-01-01T00:00:00Z", "data": 1} for n in range(10)]
    assert run("import", jsonl(lines), "-s", url).exit_code == 0
    execute(url, CHECKPOINTS)


@pytest.fixture
def postgres(run: Run, postgres_url: Callable[..., str], jsonl: Callable[..., Path]) -> str:
    url = postgres_url()
    fill(run, url, jsonl)
    return url


def current_epoch(run: Run, url: str) -> str:
    """The id of the current epoch, from the prompt of an adoption that is then canceled."""
    result = run("log", "adopt", "-s", url, "--in-place", input="n\n")
    assert (result.exit_code, result.stdout) == (1, "")
    match = re.search(r"ends at position 10 and is in epoch ([0-9a-f-]{36})\.", result.stderr)
    assert match
    return match[1]


@pytest.mark.parametrize("moved", ["system_identifier = '42'", "timeline = timeline + 1"])
def test_moved_log_is_rejected_until_adopted(run: Run, postgres: str, moved: str) -> None:
    before = current_epoch(run, postgres)
    execute(postgres, f"UPDATE {{0}}fait_log SET {moved}")

    rejected = run("events", "-s", postgres)
    result = run("log", "adopt", "-s", postgres, "--yes", "--json")

    assert (rejected.exit_code, "fait log adopt" in rejected.stderr) == (1, True)
    adopted = json.loads(result.stdout)
    assert (adopted["previous_epoch_id"], adopted["head"], adopted["checkpoints"]) == (before, 10, EXPECTED)
    assert adopted["epoch_id"] == current_epoch(run, postgres) != before
    assert run("events", "-s", postgres).exit_code == 0
    checks = json.loads(run("doctor", "-s", postgres, "--json").stdout)["checks"]
    statuses = {each["name"]: each["status"] for each in checks if each["name"].startswith("subscription")}
    assert statuses == {"subscription ahead": "problem", "subscription even": "ok", "subscription other": "problem"}


def test_log_that_was_not_moved_is_adopted_in_place(run: Run, postgres: str) -> None:
    before = current_epoch(run, postgres)

    rejected = run("log", "adopt", "-s", postgres, "--yes")
    result = run("log", "adopt", "-s", postgres, "--yes", "--in-place")

    assert (rejected.exit_code, rejected.stdout) == (2, "")
    assert "Nothing was changed" in rejected.stderr
    assert "fait log adopt --in-place" in rejected.stderr
    assert result.exit_code == 0
    after = current_epoch(run, postgres)
    assert f"epoch {after} starts after position 10, epoch {before} is closed" in " ".join(result.stdout.split())
    assert re.search(r"even\s+10\s+carried over", result.stdout)
    assert re.search(r"ahead\s+11\s+not carried over", result.stdout)
    assert "ahead, other" in result.stderr
    assert "fait rebuild NAME" in result.stderr


def test_sqlite_log_is_adopted(run: Run, store: str, jsonl: Callable[..., Path]) -> None:
    fill(run, store, jsonl)

    before = current_epoch(run, store)

    adopted = json.loads(run("log", "adopt", "-s", store, "--yes", "--json").stdout)

    assert (adopted["previous_epoch_id"], adopted["head"], adopted["checkpoints"]) == (before, 10, EXPECTED)
    assert adopted["epoch_id"] == current_epoch(run, store) != before
    assert run("events", "-s", store).exit_code == 0


def test_adopt_without_confirmation_changes_nothing(run: Run, postgres: str) -> None:
    before = current_epoch(run, postgres)
    assert current_epoch(run, postgres) == before
    assert run("log", "adopt", "-s", postgres, "--in-place", input="y\n").exit_code == 0
    assert current_epoch(run, postgres) != before


@pytest.mark.parametrize("backend", ["sqlite", "postgresql"])
def test_adopt_without_log_exits_with_2(run: Run, store: str, postgres_url: Callable[..., str], backend: str) -> None:
    result = run("log", "adopt", "-s", store if backend == "sqlite" else postgres_url(), "--yes", "--in-place")

    assert (result.exit_code, result.stdout) == (2, "")


def test_dump_restored_into_another_cluster_is_rejected_until_adopted(
    run: Run, postgres: str, postgres_servers: Callable[..., PostgresServer]
) -> None:
    programs, other, before = installations()[18], postgres_servers(15).url, current_epoch(run, postgres)
    schema = schema_of(postgres)
    dump = [programs / "pg_dump", "-n", schema, "-d", postgres.partition("?")[0]]
    text = subprocess.run(dump, check=True, capture_output=True, text=True).stdout
    text = text.replace("SET transaction_timeout = 0;", "")  # unknown to the older server
    subprocess.run(
        [programs / "psql", "-v", "ON_ERROR_STOP=1", "-qd", other],
        input=text, text=True, check=True, capture_output=True,
    )  # fmt: skip
    url = f"{other}?schema={schema}"

    rejected = run("events", "-s", url)
    adopted = run("log", "adopt", "-s", url, "--yes", "--json")

    assert (rejected.exit_code, "copied or restored into another cluster" in rejected.stderr) == (1, True)
    assert json.loads(adopted.stdout)["previous_epoch_id"] == before
    assert len(run("events", "-s", url).stdout.splitlines()) == len(run("events", "-s", postgres).stdout.splitlines())
