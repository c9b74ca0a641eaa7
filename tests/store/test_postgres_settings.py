"""Settings of a role or a database, which change what SQL means or returns, change nothing that fait does."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4
from zoneinfo import ZoneInfo

import asyncpg
import psycopg
import pytest
from sqlalchemy import create_engine

import fait
from fait._events.append import AppendCondition, Appended, ConditionFailed
from fait._events.query import Query
from fait._store.open import open_store
from fait._store.ports.store import Store
from fait.testing.contract.store import added, new, write

Fresh = Callable[..., str]
SERVER_SETTINGS = [
    "TimeZone = 'Europe/Amsterdam'",  # until 1937, its offset had seconds
    "TimeZone = 'Pacific/Kiritimati'",  # UTC+14: years up to 10000
    "TimeZone = 'Pacific/Honolulu'",  # UTC-10: years from 1 BC
    "DateStyle = 'SQL, DMY'",
    "DateStyle = 'German, DMY'",
    "DateStyle = 'Postgres, MDY'",
    "IntervalStyle = sql_standard",
    "extra_float_digits = -15",
    "bytea_output = escape",
    "search_path = ''",
    "standard_conforming_strings = off",
    "array_nulls = off",
    "transform_null_equals = on",
    "quote_all_identifiers = on",
    "client_encoding = LATIN1",
    "client_encoding = WIN1252",
    "default_transaction_deferrable = on",
    "synchronous_commit = off",
    "jit_above_cost = 0",
    "plan_cache_mode = force_custom_plan",
    "enable_indexscan = off",
    "plpgsql.variable_conflict = error",
    "plpgsql.extra_errors = 'all'",
    "exit_on_error = on",
    "lock_timeout = 1",
    "idle_in_transaction_session_timeout = 1000",
]
TIMES = [
    datetime(1, 1, 1, 0, 0, 1, tzinfo=UTC),
    datetime(9999, 12, 31, 23, 59, 58, 999_999, tzinfo=UTC),
    datetime(1900, 5, 5, tzinfo=ZoneInfo("Europe/Amsterdam")),
    datetime(2026, 2, 3, 4, 5, 6, 7, tzinfo=UTC),
]
TAGS = ("a:NULL", "NULL", "b:\\x'\"é")


@fait.event("settings.placed")
class Placed:
    count: int


app = fait.App("settings")
app.include(Placed)


@asynccontextmanager
async def role(url: str, *settings: str) -> AsyncIterator[str]:
    """Create a role with settings, and return the URL with which it connects."""
    owner, name = await asyncpg.connect(url.partition("?")[0]), f"role_{uuid4().hex}"
    try:
        await owner.execute(f"CREATE ROLE {name} SUPERUSER LOGIN")
        for setting in settings:
            await owner.execute(f"ALTER ROLE {name} SET {setting}")
        yield url.replace("postgres@", f"{name}@")
    finally:
        # A session that ends drops its temporary tables, which must not happen during the next statement.
        sessions = "SELECT count(*) FROM pg_stat_activity WHERE usename = $1"
        while await owner.fetchval(sessions, name):  # noqa: ASYNC110 - a server sets no event
            await asyncio.sleep(0.02)
        await owner.execute(f"REASSIGN OWNED BY {name} TO postgres; DROP ROLE {name}")
        await owner.close()


async def append_in_every_way(store: Store) -> None:
    """Append single events, batches, conditional and bulk appends, and read them."""
    writes = [write(f"order-{n}", [new(tags=TAGS, occurred_at=time)]) for n, time in enumerate(TIMES)]
    await asyncio.gather(*(added(store.log, each) for each in writes))
    rejected = await store.log.append([write("late-1")], AppendCondition((Query(tags=("NULL",)),), 0))
    accepted = await store.log.append([write("late-2")], AppendCondition((Query(tags=("other",)),), 0))
    await added(store.log, write("bulk-1", 600))
    page = await store.log.read(0, query=Query(tags=(TAGS[2],)))

    assert isinstance(rejected, ConditionFailed)
    assert isinstance(accepted, Appended)
    assert {each.occurred_at for each in rejected.events} == set(TIMES)
    assert {(each.occurred_at, each.tags) for each in page.events} == {(time, TAGS) for time in TIMES}
    assert [each.occurred_at for n in range(4) for each in (await store.log.read_stream(f"order-{n}"))[0]] == TIMES


async def add_to_outbox(url: str) -> None:
    """Add an event for each time to the outbox of each driver."""
    address, _, schema = url.partition("?schema=")
    connection = await asyncpg.connect(address)
    for time in TIMES:
        async with app.outbox(connection, schema=schema).transaction() as outbox:
            await outbox.add(Placed(1), stream="asyncpg-1", tags=TAGS, occurred_at=time)
    await connection.close()
    with psycopg.connect(address) as psycopg_connection:
        for time in TIMES:
            app.outbox(psycopg_connection, schema=schema).add(
                Placed(1), stream="psycopg-1", tags=TAGS, occurred_at=time
            )
    for driver in ("psycopg", "psycopg2"):
        engine = create_engine(f"postgresql+{driver}{address.removeprefix('postgresql')}")
        with engine.begin() as sqlalchemy_connection:
            for time in TIMES:
                app.outbox(sqlalchemy_connection, schema=schema).add(
                    Placed(1), stream=f"sqlalchemy_{driver}-1", tags=TAGS, occurred_at=time
                )
        engine.dispose()


async def check(url: str) -> None:
    store = await open_store(url)
    try:
        await append_in_every_way(store)
        await add_to_outbox(url)
        for library in ("asyncpg", "psycopg", "sqlalchemy_psycopg", "sqlalchemy_psycopg2"):
            events, _ = await store.log.read_stream(f"{library}-1")
            assert [(each.occurred_at, each.tags) for each in events] == [(time, TAGS) for time in TIMES], library
        findings: Any = await store.examine()
    finally:
        await store.close()
    assert [each for each in findings if each.status != "ok" and each.name != "fsync"] == []


@pytest.mark.parametrize("setting", SERVER_SETTINGS)
async def test_session_settings_change_no_result(postgres_url: Fresh, setting: str) -> None:
    async with role(postgres_url(), setting) as url:
        await check(url)


async def test_session_settings_change_no_result_on_the_oldest_server(postgres_url: Fresh) -> None:
    harmless = [each for each in SERVER_SETTINGS if "timeout" not in each and "LATIN1" not in each]
    async with role(postgres_url(15), *harmless) as url:
        await check(url)


async def test_encoding_of_the_environment_has_no_effect(postgres_url: Fresh, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGCLIENTENCODING", "LATIN1")
    await check(postgres_url())


@pytest.mark.parametrize("encoding", ["LATIN1", "WIN1252", "SQL_ASCII", "EUC_JP"])
async def test_database_with_another_encoding_is_refused(postgres_url: Fresh, encoding: str) -> None:
    url, name = postgres_url(), f"db_{uuid4().hex}"
    owner = await asyncpg.connect(url.partition("?")[0])
    await owner.execute(f"CREATE DATABASE {name} ENCODING '{encoding}' TEMPLATE template0 LOCALE 'C'")
    try:
        for create in (True, False):
            with pytest.raises(fait.UsageError, match=rf"has the encoding {encoding}.*requires UTF8.*createdb"):
                await open_store(url.replace("/postgres?", f"/{name}?"), create=create)
        other = await asyncpg.connect(url.replace("/postgres?", f"/{name}?").partition("?")[0])
        assert await other.fetchval("SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'test_%'") == 0
        await other.close()
    finally:
        await owner.execute(f"DROP DATABASE {name}")
        await owner.close()


async def test_role_without_temporary_tables_appends_many_events(postgres_url: Fresh) -> None:
    url, name, database = postgres_url(), f"role_{uuid4().hex}", f"db_{uuid4().hex}"
    address = url.partition("?")[0]
    owner = await asyncpg.connect(address)
    await owner.execute(f"CREATE ROLE {name} LOGIN")
    await owner.execute(f"CREATE DATABASE {database} OWNER {name}")
    await owner.execute(f"REVOKE TEMPORARY ON DATABASE {database} FROM PUBLIC, {name}")
    store = await open_store(url.replace("postgres@", f"{name}@").replace("/postgres?", f"/{database}?"))
    try:
        await added(store.log, write("order-1", 600))
        await added(store.log, write("order-1", 1))
        findings: Any = await store.examine()
    finally:
        await store.close()
        await owner.execute(f"DROP DATABASE {database}")
        await owner.execute(f"DROP ROLE {name}")
        await owner.close()

    assert ["do without COPY" in each.detail for each in findings if each.name == "temporary tables"] == [True]


async def test_doctor_reports_functions_that_replace_those_of_postgres(postgres_url: Fresh) -> None:
    url = postgres_url()
    schema = url.partition("?schema=")[2]
    async with role(url, f"search_path = {schema}, pg_catalog") as shadowed:
        store = await open_store(shadowed)
        findings: Any = await store.examine()
        await store.close()

    [finding] = [each for each in findings if each.name == "search_path"]
    assert (finding.status, finding.advice.partition(" ")[0]) == ("problem", "ALTER")


@pytest.mark.parametrize(
    ("setting", "error", "message"),
    [
        ("default_transaction_read_only = on", fait.StoreUnavailable, "RESET default_transaction_read_only"),
        ("default_transaction_isolation = serializable", fait.UsageError, "RESET default_transaction_isolation"),
    ],
)
async def test_setting_that_prevents_appends_is_named(
    postgres_url: Fresh, setting: str, error: type[fait.FaitError], message: str
) -> None:
    async with role(postgres_url(), setting) as url:
        with pytest.raises(error, match=f"{message}.*Nothing was written"):
            async with app.open(url, run="elsewhere") as system:
                await system.publish(Placed(1), stream="order-1")
