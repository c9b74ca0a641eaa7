"""A PostgreSQL server is stopped, killed or out of disk space under load: no acknowledged event is lost or skipped."""

import asyncio
import os
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest

from fait._errors import StoreUnavailable
from fait._events.append import Appended, AppendResult, StreamWrite
from fait._store.open import open_store
from fait._store.ports.store import Store
from fait._store.postgres import appender
from tests.faults.appends import (
    ANY,
    KINDS,
    Append,
    append_external,
    append_of,
    assert_versions_contiguous,
    event,
    ids,
    stored,
    write,
)
from tests.faults.load import UNCONDITIONAL, WITH_CONDITIONS, load, until
from tests.servers.home import UNPRIVILEGED
from tests.servers.postgres import PostgresServer


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """A server that tests may stop. Its WAL writer is slow, so that a crash loses what was not flushed."""
    with PostgresServer(options={"wal_writer_delay": "10s"}) as started:
        yield started


@pytest.fixture
def schema() -> str:
    return f"faults_{uuid4().hex}"


@pytest.fixture
async def owner(server: PostgresServer, schema: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection of the database's owner, to an existing log."""
    await (await open_store(f"{server.url}?schema={schema}")).close()
    connection = await asyncpg.connect(server.url, server_settings={"search_path": schema})
    yield connection
    await connection.close()


@pytest.mark.parametrize("kinds", [UNCONDITIONAL, WITH_CONDITIONS], ids=["two-connections", "conditions"])
async def test_immediate_stop_under_load_loses_nothing(
    server: PostgresServer, schema: str, kinds: Sequence[str]
) -> None:
    async with load(server.url, schema, kinds) as going:
        for _ in range(2):
            await going.more()
            await asyncio.to_thread(server.stop, "immediate")
            await asyncio.to_thread(server.start)
        await going.more()


async def test_killed_server_under_load_loses_nothing(server: PostgresServer, schema: str) -> None:
    async with load(server.url, schema) as going:
        await going.more()
        await asyncio.to_thread(server.kill)
        await asyncio.to_thread(server.start)
        await going.more()


async def test_long_outage_under_load_raises_and_loses_nothing(
    server: PostgresServer, schema: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(appender, "RECONNECT_TIMEOUT_S", 0.5)
    async with load(server.url, schema) as going:
        await going.more()
        await asyncio.to_thread(server.stop, "immediate")
        await until(lambda: going.problems)
        await asyncio.to_thread(server.start)
        await going.more()


async def test_killed_backend_under_load_loses_nothing(server: PostgresServer, schema: str) -> None:
    """The server terminates all other sessions too, and recovers."""
    async with load(server.url, schema) as going:
        for _ in range(2):
            await going.more()
            pid = await _appending_backend(server.url)
            os.kill(pid, signal.SIGKILL)
        await going.more()


async def _appending_backend(url: str) -> int:
    while True:
        try:
            connection = await asyncpg.connect(url)
        except asyncpg.CannotConnectNowError:
            await asyncio.sleep(0.05)
            continue
        try:
            pid = await connection.fetchval(
                "SELECT pid FROM pg_stat_activity WHERE query LIKE '%fait_append%' AND "
                "pid <> pg_backend_pid() AND state = 'active'"
            )
        finally:
            await connection.close()
        if pid:
            return pid


async def test_terminated_connections_under_load_fail_no_append(server: PostgresServer, schema: str) -> None:
    async with load(server.url, schema) as going:
        for _ in range(5):
            await going.more(20)
            connection = await asyncpg.connect(server.url)
            await connection.fetch(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'fait'"
            )
            await connection.close()
        await going.more(20)
        assert going.problems == []


async def test_positions_reused_after_crash_are_not_skipped(
    server: PostgresServer, schema: str, owner: asyncpg.Connection
) -> None:
    """After a crash, positions of rolled-back appends are assigned again: no reader may have passed them."""
    store = await open_store(f"{server.url}?schema={schema}")
    try:
        await store.log.append([write("kept-1")])
        transaction = owner.transaction()
        await transaction.start()
        for number in range(50):
            await append_external(owner, f"lost-{number}", 5000)
        await transaction.rollback()
        page = await store.log.read(0)
        await asyncio.to_thread(server.kill)
        await asyncio.to_thread(server.start)

        writes = [write("kept-1") for _ in range(3)]
        for each in writes:
            assert isinstance(await store.log.append([each]), Appended)

        after = await store.log.read(page.position)
        assert [each.id for each in after.events] == [each.events[0].id for each in writes]
    finally:
        await store.close()


async def test_statement_timeout_fails_only_slow_append(
    server: PostgresServer, schema: str, owner: asyncpg.Connection
) -> None:
    await owner.execute("CREATE ROLE hurried LOGIN SUPERUSER")
    await owner.execute("ALTER ROLE hurried SET statement_timeout = 200")
    store = await open_store(f"{server.url}?schema={schema}".replace("postgres@", "hurried@"))
    try:
        await store.log.append([write("held-1")])
        transaction = owner.transaction()
        await transaction.start()
        await owner.execute("UPDATE fait_streams SET version = version WHERE stream = 'held-1'")
        appends = [append_of(kind, "free-1", 0) for kind in ("any", "tags", "on-tags")]
        hit = append_of("any", "held-1", 1)

        outcomes = await asyncio.gather(*(store.log.append(*each) for each in [hit, *appends]), return_exceptions=True)

        await transaction.rollback()
        assert isinstance(outcomes[0], StoreUnavailable)
        assert outcomes[0].outcome == "not_written"
        assert "statement_timeout" in str(outcomes[0])
        assert all(isinstance(each, Appended) for each in outcomes[1:])
        assert await stored(server.url, schema, ids(hit)) == []
    finally:
        await store.close()


TROUBLE = """
    CREATE SEQUENCE trouble;
    CREATE FUNCTION trouble() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF NEW.type = 'fault.unlucky' AND nextval(TG_TABLE_SCHEMA || '.trouble') <= 3 THEN
            RAISE EXCEPTION 'simulated' USING ERRCODE = '{code}';
        END IF;
        RETURN NEW;
    END $$;
    CREATE TRIGGER trouble BEFORE INSERT ON fait_events FOR EACH ROW EXECUTE FUNCTION trouble();
"""


@pytest.mark.parametrize("code", ["40P01", "40001"])
async def test_deadlock_victim_is_retried_without_failing_other_appends(
    server: PostgresServer, schema: str, owner: asyncpg.Connection, code: str
) -> None:
    await owner.execute(TROUBLE.format(code=code))
    store = await open_store(f"{server.url}?schema={schema}")
    try:
        unlucky: Append = ([StreamWrite("unlucky-1", (event("fault.unlucky"),), ANY)], None)
        others = [append_of(kind, f"{kind}-1", 0) for kind in KINDS if kind not in ("exists",)]

        results = await asyncio.gather(*(store.log.append(*each) for each in [*others[:3], unlucky, *others[3:]]))

        assert all(isinstance(each, Appended) for each in results)
        assert await owner.fetchval("SELECT last_value FROM trouble") >= 4
        await assert_versions_contiguous(server.url, schema)
    finally:
        await store.close()


@pytest.fixture
def small_disk(server: PostgresServer) -> Iterator[Path]:
    """A file system of 8 MB that the server may use."""
    place = server.data.parent / f"small-{uuid4().hex}"
    place.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size=8m,uid={UNPRIVILEGED},gid={UNPRIVILEGED},mode=700", "tmpfs", place],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        place.rmdir()
        pytest.skip(f"a small file system cannot be mounted here: {done.stderr.strip()}")
    yield place
    subprocess.run(["umount", "-l", place], check=True)


async def test_full_disk_is_reported_and_recovered_from(
    server: PostgresServer, schema: str, owner: asyncpg.Connection, small_disk: Path
) -> None:
    space = f"small_{uuid4().hex}"
    await owner.execute(f"CREATE TABLESPACE {space} LOCATION '{small_disk}'")
    await owner.execute(f"ALTER TABLE fait_events SET TABLESPACE {space}")
    store = await open_store(f"{server.url}?schema={schema}")
    try:
        large = [[_large(f"large-{caller}") for _ in range(40)] for caller in range(4)]
        outcomes = await asyncio.gather(*(_append_all(store, each) for each in large))

        told = [each for outcome in outcomes for each in outcome]
        refused = [each for each in told if isinstance(each[1], StoreUnavailable)]
        assert refused
        assert {each.outcome for _, each in refused} == {"not_written"}
        assert all("out of disk space or memory" in str(each) for _, each in refused)
        assert await stored(server.url, schema, [each for each, _ in refused]) == []
        kept = [each for each, result in told if isinstance(result, Appended)]
        assert len(await stored(server.url, schema, kept)) == len(kept) > 0

        await owner.execute("ALTER TABLE fait_events SET TABLESPACE pg_default")
        assert isinstance(await store.log.append([write("large-1")]), Appended)
        await assert_versions_contiguous(server.url, schema)
    finally:
        await store.close()
        await owner.execute("ALTER TABLE fait_events SET TABLESPACE pg_default")
        await owner.execute(f"DROP TABLESPACE {space}")


def _large(stream: str) -> StreamWrite:
    return StreamWrite(stream, (event(data=f'"{os.urandom(60_000).hex()}"'),), ANY)


async def _append_all(store: Store, writes: Sequence[StreamWrite]) -> list[tuple[str, AppendResult | StoreUnavailable]]:
    outcomes: list[tuple[str, AppendResult | StoreUnavailable]] = []
    for each in writes:
        try:
            outcomes.append((each.events[0].id, await store.log.append([each])))
        except StoreUnavailable as problem:
            outcomes.append((each.events[0].id, problem))
    return outcomes
