"""Append tickets: which of them readers wait for, and how the doctor and the log name the transaction behind one."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import asyncpg
import pytest

from fait._errors import StoreUnavailable
from fait._store.open import open_store
from fait._store.ports.store import Finding, Store
from fait._store.postgres import appender, high_water_mark
from fait._store.postgres.appender import RETRY_LOCK_TIMEOUT_S
from fait.testing.contract.store import added, write
from tests.faults.load import until
from tests.servers.postgres import PostgresServer

APPEND = (
    "SELECT {0}.fait_append_one_1('slow-1', -1, gen_random_uuid(), 't', 1, '1', '{}', NULL, NULL, false, NULL, NULL)"
)


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """A server with prepared transactions."""
    with PostgresServer(options={"max_prepared_transactions": "5"}) as started:
        yield started


@pytest.fixture
def url(server: PostgresServer) -> str:
    return f"{server.url}?schema=tickets_{uuid4().hex}"


@pytest.fixture
async def store(url: str) -> AsyncIterator[Store]:
    store = await open_store(url)
    yield store
    await store.close()


def in_schema(url: str, sql: str) -> str:
    return sql.replace("{0}", parse_qs(urlsplit(url).query)["schema"][0])


@asynccontextmanager
async def connected(url: str, role: str = "postgres") -> AsyncIterator[Any]:
    address = url.partition("?")[0].replace("postgres@", f"{role}@")
    connection = await asyncpg.connect(address, server_settings={"application_name": "other-app"})
    try:
        yield connection
    finally:
        await connection.close()


@pytest.fixture
async def roles(url: str, store: Store) -> AsyncIterator[tuple[str, str]]:
    """A role that may only connect, and one that may append."""
    stranger, appender = (f"{name}_{uuid4().hex[:8]}" for name in ("stranger", "appender"))
    grants = (
        f"CREATE ROLE {stranger} LOGIN; CREATE ROLE {appender} LOGIN; "
        f"GRANT USAGE ON SCHEMA {{0}} TO {appender}; GRANT ALL ON ALL TABLES IN SCHEMA {{0}} TO {appender}; "
        f"GRANT ALL ON SEQUENCE {{0}}.fait_position TO {appender}"
    )
    async with connected(url) as connection:
        await connection.execute(in_schema(url, grants))
        yield stranger, appender
        await connection.execute(f"DROP OWNED BY {stranger}, {appender}; DROP ROLE {stranger}, {appender}")


async def examined(store: Store) -> Finding:
    [found] = [each for each in await store.examine() if each.name == "oldest append"]
    return found


async def test_lock_of_role_that_may_not_append_does_not_delay_readers(
    url: str, store: Store, roles: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    await added(store.log, write("a"))
    async with connected(url) as owner, connected(url, roles[0]) as stranger:
        sequence = await owner.fetchval(in_schema(url, "SELECT '{0}.fait_position'::regclass::oid::bigint"))
        await stranger.execute(f"SELECT pg_advisory_lock({sequence}, 0)")

        result = await added(store.log, write("a"))
        assert (await store.log.read(0)).position == result.position

        young = await examined(store)
        monkeypatch.setattr("fait._store.postgres.health.MAX_TICKET_AGE_S", 0.0)
        found = await examined(store)
    assert young.status == "problem"  # a lock of the session, outside of a transaction, has no age
    assert found.status == "problem"
    assert f"role '{roles[0]}'" in found.detail
    assert "other-app" in found.detail
    assert "has appended nothing: appends may wait, readers do not" in found.detail
    assert "pg_terminate_backend" in found.advice


@pytest.mark.parametrize("kind", ["one", "several", "bulk"])
async def test_exclusive_lock_on_ticket_delays_no_append(
    url: str, store: Store, roles: tuple[str, str], monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(appender, "MIN_BULK_EVENTS", 9)
    count = {"one": 1, "several": 2, "bulk": 9}[kind]
    async with connected(url) as owner, connected(url, roles[0]) as stranger:
        sequence = await owner.fetchval(in_schema(url, "SELECT '{0}.fait_position'::regclass::oid::bigint"))
        await stranger.execute(f"SELECT pg_advisory_lock({sequence}, key) FROM generate_series(-3, 100) AS key")

        async with asyncio.timeout(RETRY_LOCK_TIMEOUT_S):
            last = (await added(store.log, write("a", count))).position
        assert (await store.log.read(0)).position == last

        transaction = owner.transaction()
        await transaction.start()
        await owner.execute(in_schema(url, APPEND))
        await added(store.log, write("a", count))
        assert (await store.log.read(0)).position == last
        await transaction.commit()
    assert (await store.log.read(0)).position == last + 1 + count


TYPE_LOCK = "(('{0}.fait_position'::regclass::oid::bigint << 32) | {0}.fait_type_bucket_1('thing-happened'))"

LOCKS = {
    "advisory lock": f"SELECT pg_advisory_lock({TYPE_LOCK})",
    "transaction": f"BEGIN; SELECT pg_advisory_xact_lock({TYPE_LOCK})",
    "stream": "BEGIN; SELECT FROM {0}.fait_streams WHERE stream = 'a' FOR UPDATE",
    "table": "BEGIN; LOCK TABLE {0}.fait_streams IN SHARE MODE",
}


@pytest.mark.parametrize("sql", LOCKS.values(), ids=LOCKS)
async def test_lock_timeout_of_append_and_doctor_name_session_with_lock(
    url: str, store: Store, monkeypatch: pytest.MonkeyPatch, sql: str
) -> None:
    monkeypatch.setattr(appender, "TOTAL_LOCK_TIMEOUT_S", 1.2)
    monkeypatch.setattr("fait._store.postgres.health.MAX_TICKET_AGE_S", 1.0)
    await added(store.log, write("a"))
    async with connected(url) as session:
        await session.execute(in_schema(url, sql))
        pid = session.get_server_pid()

        with pytest.raises(StoreUnavailable) as raised:
            await store.log.append([write("a")])
        found = await examined(store)

    named = f"process {pid} (other-app) of role 'postgres', client 127.0.0.1, idle"
    assert f"A lock of the log is held by {named}" in str(raised.value)
    assert f"pg_terminate_backend({pid})" in str(raised.value)
    assert (found.status, named in found.detail) == ("problem", True)


async def test_doctor_finds_foreign_lock_beside_open_append(
    url: str, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    await added(store.log, write("a"))
    async with connected(url) as session, connected(url) as other:
        await session.execute("BEGIN; " + in_schema(url, APPEND))
        await other.execute(in_schema(url, f"SELECT pg_advisory_lock({TYPE_LOCK} + 1)"))

        found = await examined(store)

    assert (found.status, f"process {other.get_server_pid()} " in found.detail) == ("problem", True)


@pytest.mark.parametrize("change", ["SET ROLE", "REVOKE"])
async def test_open_append_delays_readers_whatever_its_role_may_do_now(
    url: str, store: Store, roles: tuple[str, str], change: str
) -> None:
    stranger, appender = roles
    await added(store.log, write("a"))
    async with connected(url) as owner:
        if change == "SET ROLE":
            await owner.execute(f"GRANT {appender} TO {stranger}")
        async with connected(url, stranger if change == "SET ROLE" else appender) as session:
            transaction = session.transaction()
            await transaction.start()
            if change == "SET ROLE":
                await session.execute(f"SET LOCAL ROLE {appender}")
            await session.execute(in_schema(url, APPEND))
            if change == "REVOKE":
                await owner.execute(in_schema(url, f"REVOKE ALL ON ALL TABLES IN SCHEMA {{0}} FROM {appender}"))
            await added(store.log, write("a"))

            assert (await store.log.read(0)).position == 1
            await transaction.commit()
    assert [event.position for event in (await store.log.read(0)).events] == [1, 2, 3]


async def test_prepared_append_is_named_by_doctor_and_log(
    url: str, store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("fait._store.postgres.health.MAX_TICKET_AGE_S", 0.0)
    monkeypatch.setattr(high_water_mark, "REPORTED_POSITION_TIMEOUT_S", 0.2)
    gid = f"it's {uuid4().hex}"
    quoted = gid.replace("'", "''")
    await added(store.log, write("a"))
    async with connected(url) as session:
        await session.execute("BEGIN")
        await session.execute(in_schema(url, APPEND))
        await session.execute(f"PREPARE TRANSACTION '{quoted}'")

        waiting = asyncio.create_task(store.log.wait_for_events(1))
        await added(store.log, write("a"))
        await until(lambda: "readers wait at position 1 for an open append" in caplog.text)
        found = await examined(store)
        await session.execute(f"COMMIT PREPARED '{quoted}'")
        await asyncio.wait_for(waiting, 30)

    assert caplog.text.count("readers wait at position 1") == 1
    assert found.status == "problem"
    assert f"the prepared transaction {gid!r} of role 'postgres', prepared " in found.detail
    assert f"COMMIT PREPARED '{quoted}' or ROLLBACK PREPARED '{quoted}'" in found.advice
    assert f"ROLLBACK PREPARED '{quoted}'" in caplog.text
    assert (await store.log.read(0)).position == 3


async def test_idle_append_is_named_by_log(
    url: str, store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(high_water_mark, "REPORTED_POSITION_TIMEOUT_S", 0.2)
    await added(store.log, write("a"))
    async with connected(url) as session:
        transaction = session.transaction()
        await transaction.start()
        await session.execute(in_schema(url, APPEND))
        waiting = asyncio.create_task(store.log.wait_for_events(1))
        await added(store.log, write("a"))
        await until(lambda: "readers wait" in caplog.text)
        await transaction.rollback()
        await asyncio.wait_for(waiting, 30)

    pid = session.get_server_pid() if not session.is_closed() else ""
    assert f"process {pid}" in caplog.text
    assert "(other-app) of role 'postgres', client 127.0.0.1, idle in transaction, transaction open for " in caplog.text
