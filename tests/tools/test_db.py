"""`fait db` sets a store up and brings it up to date, on every backend that has tables, and says what it did."""

import asyncio
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import apsw
import asyncpg
import pytest

from fait._store import migrations
from fait._store.migrations import Migration
from tests.servers.postgres import installations

Run = Callable[..., Any]

LATER = Migration(99, "later", "CREATE TABLE {schema}.later (n integer);")
NOT_THERE = "postgresql://somebody:secret@127.0.0.1:1/nowhere"


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, store: str) -> str:
    return store if request.param == "sqlite" else request.getfixturevalue("postgres_url")()


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Once called, fait has one more step for PostgreSQL."""

    def begin() -> None:
        known = migrations.load_migrations("fait._store.postgres")
        step = Migration(len(known) + 1, LATER.name, LATER.sql)
        monkeypatch.setattr("fait._store.postgres.admin.load_migrations", lambda _: [*known, step])

    return begin


def steps(run: Run, url: str) -> list[dict[str, Any]]:
    return json.loads(run("db", "status", "-s", url, "--json").stdout)["steps"]


def test_a_store_is_set_up_once(run: Run, url: str) -> None:
    before = run("db", "status", "-s", url)
    created = run("db", "init", "-s", url)
    again = run("db", "init", "-s", url)
    after = run("db", "status", "-s", url)

    assert (before.exit_code, created.exit_code, again.exit_code, after.exit_code) == (1, 0, 0, 0)
    assert "pending" in before.stdout
    assert "fait db init" in before.stderr
    assert created.stdout.startswith("created a store at ")
    assert "Nothing was changed. It is up to date." in again.stdout
    assert "pending" not in after.stdout
    assert run("events", "-s", url).exit_code == 0


def test_looking_changes_nothing(run: Run, url: str) -> None:
    for _ in range(2):
        assert not any(each["applied_at"] for each in steps(run, url))
        assert run("db", "sql", "-s", url).exit_code == 0
    if url.startswith("sqlite"):
        assert not Path(url.removeprefix("sqlite:///")).exists()


def test_nothing_is_created_by_migrating(run: Run, url: str) -> None:
    done = run("db", "migrate", "-s", url)

    assert (done.exit_code, done.stdout) == (2, "")
    assert "Nothing was created. To create one: fait db init" in done.stderr
    assert not any(each["applied_at"] for each in steps(run, url))


def test_what_is_done_is_said_to_programs(run: Run, url: str) -> None:
    first, second = (json.loads(run("db", "init", "-s", url, "--json").stdout) for _ in range(2))
    third = json.loads(run("db", "migrate", "-s", url, "--json").stdout)
    status = json.loads(run("db", "status", "-s", url, "--json").stdout)

    assert first["applied"] == [each["name"] for each in status["steps"]]
    assert (second["applied"], third["applied"], status["up_to_date"]) == ([], [], True)
    assert status["steps"][0].keys() == {"number", "name", "fingerprint", "compatible_from", "applied_at"}


def test_an_older_schema_is_brought_up_to_date(
    run: Run, postgres_url: Callable[..., str], later: Callable[[], None]
) -> None:
    url = postgres_url()
    run("db", "init", "-s", url)
    later()

    status, init = run("db", "status", "-s", url), run("db", "init", "-s", url)
    script = run("db", "sql", "-s", url).stdout
    opened = run("events", "-s", url)
    migrated = run("db", "migrate", "-s", url)

    assert (status.exit_code, status.stdout.count("pending")) == (1, 1)
    assert "fait db migrate" in status.stderr
    assert (init.exit_code, "1 steps are pending: fait db migrate" in init.stdout) == (0, True)
    assert ("later" in script, "CREATE SCHEMA" in script, "fait_events" in script) == (True, False, False)
    assert (opened.exit_code, "fait db migrate" in opened.stderr) == (2, True)
    assert migrated.stdout.endswith(": later\n")
    assert run("db", "status", "-s", url).exit_code == 0
    assert (run("db", "sql", "-s", url).stdout, run("db", "migrate", "-s", url).exit_code) == ("", 0)


def test_what_is_missing_can_be_applied_by_psql(
    run: Run, postgres_url: Callable[..., str], later: Callable[[], None]
) -> None:
    url = postgres_url()
    run("db", "init", "-s", url)
    later()

    psql(url, run("db", "sql", "-s", url).stdout)

    assert run("db", "status", "-s", url).exit_code == 0


def psql(url: str, script: str) -> None:
    program, address = installations()[18] / "psql", url.partition("?")[0]
    subprocess.run(
        [program, "-v", "ON_ERROR_STOP=1", "-qd", address], input=script, text=True, check=True, capture_output=True
    )


def test_a_script_makes_the_same_file_as_init(run: Run, tmp_path: Path, store: str) -> None:
    other = tmp_path / "other.db"
    connection = apsw.Connection(str(other))
    connection.execute(run("db", "sql", "-s", store).stdout)
    connection.close()
    run("db", "init", "-s", store)

    assert run("db", "status", "-s", f"sqlite:///{other}").exit_code == 0
    assert tables(other) == tables(tmp_path / "facts.db")
    assert run("events", "-s", f"sqlite:///{other}").exit_code == 0


def tables(path: Path) -> list[tuple[str, str]]:
    connection = apsw.Connection(str(path))
    found = connection.execute("SELECT name, sql FROM sqlite_schema ORDER BY name").fetchall()
    connection.close()
    return found


def test_a_whole_script_needs_no_connection(run: Run) -> None:
    done = run("db", "sql", "--schema", 'the "shop"', env={"FAIT_STORE": NOT_THERE})

    assert done.exit_code == 0
    assert 'CREATE SCHEMA IF NOT EXISTS "the ""shop""";' in done.stdout
    assert "CREATE SCHEMA" not in run("db", "sql", "--schema", "public").stdout  # it is there, and may be another's


@pytest.mark.parametrize("arguments", [("sql",), ("status", "-s", "memory:"), ("init", "-s", "other://x")])
def test_what_cannot_be_meant_is_refused(run: Run, arguments: tuple[str, ...]) -> None:
    done = run("db", *arguments)

    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith("fait: ")


@pytest.mark.parametrize("command", ["init", "migrate", "status", "sql"])
def test_a_server_that_is_away_is_said(run: Run, command: str) -> None:
    done = run("db", command, "-s", NOT_THERE)

    assert (done.exit_code, done.stdout) == (1, "")
    assert "cannot be reached" in done.stderr
    assert "secret" not in done.stderr


def test_a_schema_that_was_changed_is_refused(run: Run, postgres_url: Callable[..., str]) -> None:
    url = postgres_url()
    run("db", "init", "-s", url)
    asyncio.run(execute(url, "UPDATE {}.fait_migrations SET checksum = 'other' WHERE number = 2"))

    for command in ("status", "migrate", "init", "sql"):
        done = run("db", command, "-s", url)
        assert (done.exit_code, "migration 2 (ledger)" in done.stderr) == (1, True)


async def execute(url: str, sql: str) -> None:
    connection = await asyncpg.connect(url.partition("?")[0])
    try:
        await connection.execute(sql.format(parse_qs(urlsplit(url).query)["schema"][0]))
    finally:
        await connection.close()
