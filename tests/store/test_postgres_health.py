"""`fait doctor` on PostgreSQL finds each kind of damage, and reports what could not be checked."""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, cast
from unittest.mock import AsyncMock
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import asyncpg
import pytest

from fait._store.open import open_admin, open_store
from fait._store.ports.store import Finding
from fait._store.postgres import store as postgres_store
from fait.testing.contract.store import added, new, write
from tests.servers.pgbouncer import PgBouncer
from tests.servers.postgres import PostgresServer

if TYPE_CHECKING:
    from fait._store.postgres.store import PostgresStore

UNTESTED = {"fsync": "problem"}
"""The servers of the tests run without fsync."""

APPEND = (
    "SELECT {0}.fait_append_1('{order-9}', '{-1}', '{1}', '{1}', '{1}', array[gen_random_uuid()], '{t}', '{1}', "
    "array['1'], array['{}'])"
)


def schema_of(url: str) -> str:
    return parse_qs(urlsplit(url).query)["schema"][0]


def in_schema(url: str, sql: str) -> str:
    return sql.replace("{0}", schema_of(url))


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[Any]:
    connection = await asyncpg.connect(url.partition("?")[0], server_settings={"application_name": "other-app"})
    try:
        yield connection
    finally:
        await connection.close()


@pytest.fixture
async def url(postgres_url: Callable[..., str]) -> str:
    """A log with two streams of three events."""
    url = postgres_url()
    store = await open_store(url)
    try:
        for stream in ("order-1", "order-2"):
            await added(store.log, write(stream, [new(tags=("a:1", "b:2")), new(), new(tags=("c:3",))]))
    finally:
        await store.close()
    return url


@pytest.fixture(autouse=True)
def opened_before_the_damage(monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that is opened afterwards refuses some damage itself."""
    monkeypatch.setattr("fait._store.postgres.store.check_complete", AsyncMock())
    facts = tuple(each for each in postgres_store._FACTS if each != "incomplete_event")
    monkeypatch.setattr(postgres_store, "_FACTS", facts)


async def examined(url: str) -> dict[str, Finding]:
    store = cast("PostgresStore", await open_store(url, create=False))
    try:
        return {each.name: each for each in await store.examine()}
    finally:
        await store.close()


def wrong(found: dict[str, Finding]) -> dict[str, str]:
    assert all(each.advice for each in found.values() if each.status == "problem")
    return {name: each.status for name, each in found.items() if each.status != "ok"}


@pytest.mark.parametrize("version", [15, 18])
async def test_healthy_log_has_no_findings(postgres_url: Callable[..., str], version: int) -> None:
    url = postgres_url(version)
    await open_admin(url).migrate()

    found = await examined(url)

    assert wrong(found) == UNTESTED
    assert found["PostgreSQL"].detail.startswith(f"{version}.")


@pytest.mark.parametrize(
    ("damage", "check"),
    [
        ("ALTER TABLE {0}.fait_events DISABLE TRIGGER fait_events_append_only", "append-only"),
        ("ALTER TABLE {0}.fait_events ENABLE REPLICA TRIGGER fait_events_no_truncate", "append-only"),
        ("DROP TRIGGER fait_events_append_only ON {0}.fait_messages", "append-only"),
        ("ALTER FUNCTION {0}.fait_high_water_mark_1(text) STABLE", "functions"),
        ("DROP FUNCTION {0}.fait_append_batch_1", "functions"),
        ("ALTER SEQUENCE {0}.fait_position CYCLE", "sequence"),
        ("ALTER SEQUENCE {0}.fait_position INCREMENT 2", "sequence"),
        ("DELETE FROM {0}.fait_tags WHERE position = 3", "tags"),
        ("INSERT INTO {0}.fait_tags VALUES (42, 3)", "tags"),
        ("UPDATE {0}.fait_streams SET version = 4 WHERE stream = 'order-1'", "versions"),
        ("DELETE FROM {0}.fait_streams WHERE stream = 'order-1'", "versions"),
        ("INSERT INTO {0}.fait_streams VALUES ('order-3', 1, now(), -1)", "versions"),
        ("INSERT INTO {0}.fait_subscriptions VALUES ('s', 1, 'a', 'reactor', '', '', '', '[]', 1, 'live')", "ranges"),
    ],
)
async def test_damage_is_found(url: str, damage: str, check: str) -> None:
    async with connected(url) as connection:
        await connection.execute(in_schema(url, damage))

    assert wrong(await examined(url)) == {**UNTESTED, check: "problem"}


@pytest.mark.parametrize("gone", [1, 2, 3])
async def test_deleted_event_is_found(url: str, gone: int, monkeypatch: pytest.MonkeyPatch) -> None:
    async with connected(url) as connection:
        await connection.execute("SET session_replication_role = replica")
        await connection.execute(
            in_schema(url, f"DELETE FROM {{0}}.fait_events WHERE stream = 'order-2' AND version = {gone}")
        )

    found = await examined(url)
    monkeypatch.setattr("fait._store.postgres.health.MAX_CHECKED_POSITIONS", 3)
    newest = await examined(url)

    assert found["versions"].status == "problem"
    assert "order-2" in found["versions"].detail
    # If only the newest positions are checked, the beginning of a stream is unknown.
    assert newest["versions"].status == ("ok" if gone == 1 else "problem")
    assert newest["versions"].detail.endswith("among the newest 3 positions")


async def test_long_log_is_checked_at_newest_positions(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with connected(url) as connection:
        await connection.execute(in_schema(url, "DELETE FROM {0}.fait_tags WHERE position IN (1, 4)"))

    monkeypatch.setattr("fait._store.postgres.health.MAX_CHECKED_POSITIONS", 2)
    assert (await examined(url))["tags"].status == "ok"
    monkeypatch.setattr("fait._store.postgres.health.MAX_CHECKED_POSITIONS", 3)
    found = (await examined(url))["tags"]
    assert (found.status, ": 4," in found.detail) == ("problem", True)


@pytest.mark.parametrize(
    ("setting", "verdicts"),
    [
        ("default_transaction_isolation = 'repeatable read'", {"isolation": "problem"}),
        ("session_replication_role = 'replica'", {"append-only": "problem"}),
        ("synchronous_commit = off", {}),
    ],
)
async def test_settings_of_role_are_checked(url: str, setting: str, verdicts: dict[str, str]) -> None:
    role = f"role_{uuid4().hex[:8]}"
    async with connected(url) as connection:
        await connection.execute(f"CREATE ROLE {role} LOGIN SUPERUSER; ALTER ROLE {role} SET {setting}")
        found = await examined(url.replace("postgres@", f"{role}@"))
        await connection.execute(f"DROP ROLE {role}")

    assert wrong(found) == {**UNTESTED, **verdicts}


@pytest.mark.server
async def test_unsafe_server_settings_are_found() -> None:
    options = {"fsync": "on", "full_page_writes": "off", "max_connections": "14"}
    with PostgresServer(options=options) as server:
        await open_admin(server.url).migrate()
        assert wrong(await examined(server.url)) == {"full_page_writes": "problem"}
        assert wrong(await examined(f"{server.url}?pool=11")) == {
            "full_page_writes": "problem",
            "connections": "problem",
        }
        others = [await asyncpg.connect(server.url) for _ in range(10)]
        found = await examined(server.url)
        for each in others:
            await each.close()
        assert found["connections"].status == "problem"


async def test_open_append_is_named(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with connected(url) as connection:
        transaction = connection.transaction()
        await transaction.start()
        await connection.execute(in_schema(url, APPEND))
        pid = connection.get_server_pid()

        young = (await examined(url))["oldest append"]
        monkeypatch.setattr("fait._store.postgres.health.MAX_TICKET_AGE_S", 0.0)
        old = (await examined(url))["oldest append"]
        await transaction.rollback()

    assert young.status == "ok"
    assert old.status == "problem"
    assert f"process {pid} (other-app) of role 'postgres', client 127.0.0.1, idle in transaction" in old.detail
    assert f"pg_terminate_backend({pid})" in old.advice
    assert "not ended its transaction" in old.advice
    assert (await examined(url))["oldest append"].detail == "no append is open"


async def test_long_transaction_without_append_is_no_finding(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fait._store.postgres.health.MAX_TICKET_AGE_S", 0.0)
    async with connected(url) as connection:
        transaction = connection.transaction()
        await transaction.start()
        await connection.execute(in_schema(url, "CREATE TABLE {0}.mine (n int)"))
        assert wrong(await examined(url)) == UNTESTED
        await transaction.rollback()


async def test_check_without_privilege_is_unknown(url: str) -> None:
    role = f"role_{uuid4().hex[:8]}"
    async with connected(url) as connection:
        await connection.execute(in_schema(url, f"CREATE ROLE {role} LOGIN; GRANT USAGE ON SCHEMA {{0}} TO {role}"))
        await connection.execute(in_schema(url, f"GRANT SELECT ON ALL TABLES IN SCHEMA {{0}} TO {role}"))
        transaction = connection.transaction()
        await transaction.start()
        await connection.execute(in_schema(url, APPEND))
        found = await examined(url.replace("postgres@", f"{role}@"))
        await transaction.rollback()
        await connection.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")

    assert wrong(found) == {**UNTESTED, "sequence": "problem", "oldest append": "unknown"}
    assert "GRANT SELECT ON SEQUENCE" in found["sequence"].advice


async def test_missing_system_identifier_is_unknown(url: str) -> None:
    async with connected(url) as connection:
        await connection.execute(in_schema(url, "UPDATE {0}.fait_log SET system_identifier = ''"))

    assert wrong(await examined(url)) == {**UNTESTED, "PostgreSQL": "unknown"}


async def test_check_timeout_is_unknown(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fait._store.postgres.health.CHECK_TIMEOUT_S", 0.05)
    async with connected(url) as connection:
        transaction = connection.transaction()
        await transaction.start()
        await connection.execute(in_schema(url, "LOCK TABLE {0}.fait_tags IN ACCESS EXCLUSIVE MODE"))
        started = time.monotonic()
        found = await examined(url)
        assert time.monotonic() - started < 10
        await transaction.rollback()

    assert wrong(found) == {**UNTESTED, "tags": "unknown"}


async def test_pooler_is_detected(
    url: str, pgbouncer: Callable[..., PgBouncer], postgres_servers: Callable[..., PostgresServer]
) -> None:
    bouncer = pgbouncer(postgres_servers(), pool_size=4)
    through = f"{bouncer.url}?schema={schema_of(url)}&prepare=no"

    found = await examined(through)

    assert wrong(found) == UNTESTED
    assert "no notifications" in found["LISTEN"].detail
    assert found["prepared statements"].detail == "not used: prepare=no"


async def test_pooler_without_prepared_statements_is_a_finding(
    url: str, pgbouncer: Callable[..., PgBouncer], postgres_servers: Callable[..., PostgresServer]
) -> None:
    bouncer = pgbouncer(postgres_servers(), pool_size=4)

    found = await examined(f"{bouncer.url}?schema={schema_of(url)}")

    assert found["prepared statements"].status == "problem"
    assert "prepare=no" in found["prepared statements"].advice
