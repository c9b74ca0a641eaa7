"""`fait db` creates and migrates a store on each backend with tables, and reports what it did."""

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
UNREACHABLE = "postgresql://user:secret@127.0.0.1:1/missing"


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, store: str) -> str:
    return store if request.param == "sqlite" else request.getfixturevalue("postgres_url")()


@pytest.fixture
def add_migration(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """A function that adds a pending migration for PostgreSQL."""

    def add() -> None:
        existing = migrations.load_migrations("fait._store.postgres")
        added = Migration(len(existing) + 1, LATER.name, LATER.sql)
        monkeypatch.setattr("fait._store.postgres.admin.load_migrations", lambda _: [*existing, added])

    return add


def migration_list(run: Run, url: str) -> list[dict[str, Any]]:
    return json.loads(run("db", "status", "-s", url, "--json").stdout)["migrations"]


def test_init_creates_a_store_once(run: Run, url: str) -> None:
    before = run("db", "status", "-s", url)
    created = run("db", "init", "-s", url)
    again = run("db", "init", "-s", url)
    after = run("db", "status", "-s", url)

    assert (before.exit_code, created.exit_code, again.exit_code, after.exit_code) == (1, 0, 0, 0)
    assert "pending" in before.stdout
    assert "fait db init --store " in before.stderr
    assert created.stdout.startswith("created a store at ")
    assert "Nothing was changed. It is up to date." in again.stdout
    assert "pending" not in after.stdout
    assert run("events", "-s", url).exit_code == 0


def test_status_and_sql_change_nothing(run: Run, url: str) -> None:
    for _ in range(2):
        assert not any(each["applied_at"] for each in migration_list(run, url))
        assert run("db", "sql", "-s", url).exit_code == 0
    if url.startswith("sqlite"):
        assert not Path(url.removeprefix("sqlite:///")).exists()


def test_migrate_without_store_creates_nothing(run: Run, url: str) -> None:
    result = run("db", "migrate", "-s", url)

    assert (result.exit_code, result.stdout) == (2, "")
    assert "Nothing was created. Check the URL, or create a store with: fait db init --store " in result.stderr
    assert not any(each["applied_at"] for each in migration_list(run, url))


def test_json_output_lists_migrations(run: Run, url: str) -> None:
    first, second = (json.loads(run("db", "init", "-s", url, "--json").stdout) for _ in range(2))
    third = json.loads(run("db", "migrate", "-s", url, "--json").stdout)
    status = json.loads(run("db", "status", "-s", url, "--json").stdout)

    assert first["applied"] == [each["name"] for each in status["migrations"]]
    assert (second["applied"], third["applied"], status["up_to_date"]) == ([], [], True)
    assert status["migrations"][0].keys() == {"number", "name", "checksum", "compatible_from", "applied_at"}


def test_migrate_applies_pending_migrations(
    run: Run, postgres_url: Callable[..., str], add_migration: Callable[[], None]
) -> None:
    url = postgres_url()
    run("db", "init", "-s", url)
    add_migration()

    status, init = run("db", "status", "-s", url), run("db", "init", "-s", url)
    script = run("db", "sql", "-s", url).stdout
    opened = run("events", "-s", url)
    migrated = run("db", "migrate", "-s", url)

    assert (status.exit_code, status.stdout.count("pending")) == (1, 1)
    assert f"fait db migrate --store '{url}'" in status.stderr
    assert (init.exit_code, "Pending migrations: 1. Apply them with: fait db migrate --store " in init.stdout) == (
        0,
        True,
    )
    assert ("later" in script, "CREATE SCHEMA" in script, "fait_events" in script) == (True, False, False)
    assert (opened.exit_code, "fait db migrate --store " in opened.stderr) == (2, True)
    assert migrated.stdout.endswith(": later\n")
    assert run("db", "status", "-s", url).exit_code == 0
    assert (run("db", "sql", "-s", url).stdout, run("db", "migrate", "-s", url).exit_code) == ("", 0)


def test_sql_output_can_be_applied_by_psql(
    run: Run, postgres_url: Callable[..., str], add_migration: Callable[[], None]
) -> None:
    url = postgres_url()
    run("db", "init", "-s", url)
    add_migration()

    psql(url, run("db", "sql", "-s", url).stdout)

    assert run("db", "status", "-s", url).exit_code == 0


def psql(url: str, script: str) -> None:
    program, address = installations()[18] / "psql", url.partition("?")[0]
    subprocess.run(
        [program, "-v", "ON_ERROR_STOP=1", "-qd", address], input=script, text=True, check=True, capture_output=True
    )


def test_sql_output_creates_the_same_sqlite_file_as_init(run: Run, tmp_path: Path, store: str) -> None:
    other = tmp_path / "other.db"
    connection = apsw.Connection(str(other))
    connection.execute(run("db", "sql", "-s", store).stdout)
    connection.close()
    run("db", "init", "-s", store)

    assert run("db", "status", "-s", f"sqlite:///{other}").exit_code == 0
    assert tables(other) == tables(tmp_path / "events.db")
    assert run("events", "-s", f"sqlite:///{other}").exit_code == 0


def tables(path: Path) -> list[tuple[str, str]]:
    connection = apsw.Connection(str(path))
    rows = connection.execute("SELECT name, sql FROM sqlite_schema ORDER BY name").fetchall()
    connection.close()
    return rows


def test_sql_for_new_schema_needs_no_connection(run: Run) -> None:
    result = run("db", "sql", "--schema", 'the "shop"', env={"FAIT_STORE": UNREACHABLE})

    assert result.exit_code == 0
    assert 'CREATE SCHEMA IF NOT EXISTS "the ""shop""";' in result.stdout
    assert "CREATE SCHEMA" not in run("db", "sql", "--schema", "public").stdout  # it exists and may have another owner


@pytest.mark.parametrize("arguments", [("sql",), ("status", "-s", "memory:"), ("init", "-s", "other://x")])
def test_invalid_usage_exits_with_2(run: Run, arguments: tuple[str, ...]) -> None:
    result = run("db", *arguments)

    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("fait: ")


@pytest.mark.parametrize("command", ["init", "migrate", "status", "sql"])
def test_unreachable_server_is_reported_without_password(run: Run, command: str) -> None:
    result = run("db", command, "-s", UNREACHABLE)

    assert (result.exit_code, result.stdout) == (1, "")
    assert "cannot be reached" in result.stderr
    assert "secret" not in result.stderr


def test_unknown_host_is_reported_as_such(run: Run) -> None:
    result = run("db", "status", "-s", "postgresql://nowhere.invalid/shop")

    assert (result.exit_code, "the host name cannot be resolved. Check the URL." in result.stderr) == (1, True)


def test_changed_migration_is_rejected(run: Run, postgres_url: Callable[..., str]) -> None:
    url = postgres_url()
    run("db", "init", "-s", url)
    asyncio.run(execute(url, "UPDATE {}.fait_migrations SET checksum = 'other' WHERE number = 2"))

    for command in ("status", "migrate", "init", "sql"):
        result = run("db", command, "-s", url)
        assert (result.exit_code, "migration 2 (subscriptions)" in result.stderr) == (1, True)


async def execute(url: str, sql: str) -> None:
    connection = await asyncpg.connect(url.partition("?")[0])
    try:
        await connection.execute(sql.format(parse_qs(urlsplit(url).query)["schema"][0]))
    finally:
        await connection.close()
