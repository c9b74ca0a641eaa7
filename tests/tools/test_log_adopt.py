"""A log that was restored, copied or failed over goes on in a new epoch when somebody has said so, and not before."""

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
INSERT INTO {0}fait_checkpoints (subscription, app, position, log_id, epoch, shape) VALUES
    ('ahead', 'app', 11, (SELECT log_id FROM {0}fait_log), 1, ''),
    ('even', 'app', 10, (SELECT log_id FROM {0}fait_log), 1, ''),
    ('other', 'app', 3, 'another-log', 1, '')
"""
EXPECTED = [
    {"subscription": "ahead", "position": 11, "taken": False},
    {"subscription": "even", "position": 10, "taken": True},
    {"subscription": "other", "position": 3, "taken": False},
]


def schema_of(url: str) -> str:
    return parse_qs(urlsplit(url).query)["schema"][0]


def execute(url: str, sql: str) -> None:
    """Run a statement in a store; `{0}` is where its tables are."""
    if url.startswith("sqlite"):
        connection = apsw.Connection(url.removeprefix("sqlite:///"))
        connection.execute(sql.format(""))
        return connection.close()

    async def run() -> None:
        server = await asyncpg.connect(url.partition("?")[0])
        await server.execute(sql.format(f"{schema_of(url)}."))
        await server.close()

    return asyncio.run(run())


def filled(run: Run, url: str, jsonl: Callable[..., Path]) -> None:
    lines = [{"stream": f"case-{n}", "type": "t", "time": "2024-01-01T00:00:00Z", "data": 1} for n in range(10)]
    assert run("import", jsonl(lines), "-s", url).exit_code == 0
    execute(url, CHECKPOINTS)


@pytest.fixture
def postgres(run: Run, postgres_url: Callable[..., str], jsonl: Callable[..., Path]) -> str:
    url = postgres_url()
    filled(run, url, jsonl)
    return url


def epoch(run: Run, url: str) -> Any:
    """What an adoption that is not confirmed says."""
    told = run("log", "adopt", "-s", url, "--in-place", input="n\n")
    assert (told.exit_code, told.stdout) == (1, "")
    found = re.search(r"would go on in epoch (\d+)", told.stderr)
    assert found
    return int(found[1]) - 1


@pytest.mark.parametrize("moved", ["system_identifier = '42'", "timeline = timeline + 1"])
def test_a_log_that_was_moved_is_refused_until_it_is_adopted(run: Run, postgres: str, moved: str) -> None:
    execute(postgres, f"UPDATE {{0}}fait_log SET {moved}")

    refused = run("events", "-s", postgres)
    done = run("log", "adopt", "-s", postgres, "--yes", "--json")

    assert (refused.exit_code, "fait log adopt" in refused.stderr) == (1, True)
    told = json.loads(done.stdout)
    assert (told["was_epoch"], told["epoch"], told["head"], told["checkpoints"]) == (1, 2, 10, EXPECTED)
    assert run("events", "-s", postgres).exit_code == 0
    found = json.loads(run("doctor", "-s", postgres, "--json").stdout)["findings"]
    verdicts = {each["name"]: each["verdict"] for each in found if each["name"].startswith("subscription")}
    assert verdicts == {"subscription ahead": "finding", "subscription even": "ok", "subscription other": "finding"}


def test_a_log_that_was_not_moved_is_adopted_when_asked_for(run: Run, postgres: str) -> None:
    refused = run("log", "adopt", "-s", postgres, "--yes")
    done = run("log", "adopt", "-s", postgres, "--yes", "--in-place")

    assert (refused.exit_code, refused.stdout) == (2, "")
    assert "Nothing was changed" in refused.stderr
    assert "fait log adopt --in-place" in refused.stderr
    assert done.exit_code == 0
    assert "epoch 1 ended, epoch 2 begins after position 10" in done.stdout
    assert re.search(r"even\s+10\s+went along", done.stdout)
    assert re.search(r"ahead\s+11\s+stays behind", done.stdout)
    assert "ahead, other" in done.stderr
    assert "fait rebuild NAME" in done.stderr


def test_the_same_for_a_file(run: Run, store: str, jsonl: Callable[..., Path]) -> None:
    filled(run, store, jsonl)

    assert epoch(run, store) == 1
    told = json.loads(run("log", "adopt", "-s", store, "--yes", "--json").stdout)

    assert (told["was_epoch"], told["epoch"], told["head"], told["checkpoints"]) == (1, 2, 10, EXPECTED)
    assert epoch(run, store) == 2
    assert run("events", "-s", store).exit_code == 0


def test_nothing_happens_without_a_yes(run: Run, postgres: str) -> None:
    assert epoch(run, postgres) == epoch(run, postgres) == 1
    assert run("log", "adopt", "-s", postgres, "--in-place", input="y\n").exit_code == 0
    assert epoch(run, postgres) == 2


@pytest.mark.parametrize("backend", ["sqlite", "postgresql"])
def test_where_no_log_is_there_is_nothing_to_adopt(
    run: Run, store: str, postgres_url: Callable[..., str], backend: str
) -> None:
    done = run("log", "adopt", "-s", store if backend == "sqlite" else postgres_url(), "--yes", "--in-place")

    assert (done.exit_code, done.stdout) == (2, "")


def test_a_dump_in_another_cluster_is_a_copy(
    run: Run, postgres: str, postgres_servers: Callable[..., PostgresServer]
) -> None:
    programs, other = installations()[18], postgres_servers(15).url
    schema = schema_of(postgres)
    dump = [programs / "pg_dump", "-n", schema, "-d", postgres.partition("?")[0]]
    text = subprocess.run(dump, check=True, capture_output=True, text=True).stdout
    text = text.replace("SET transaction_timeout = 0;", "")  # newer than the server it goes to
    subprocess.run(
        [programs / "psql", "-v", "ON_ERROR_STOP=1", "-qd", other],
        input=text, text=True, check=True, capture_output=True,
    )  # fmt: skip
    url = f"{other}?schema={schema}"

    refused = run("events", "-s", url)
    adopted = run("log", "adopt", "-s", url, "--yes", "--json")

    assert (refused.exit_code, "copied or restored into another cluster" in refused.stderr) == (1, True)
    assert json.loads(adopted.stdout)["epoch"] == 2
    assert len(run("events", "-s", url).stdout.splitlines()) == len(run("events", "-s", postgres).stdout.splitlines())
