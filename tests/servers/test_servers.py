"""The servers of the tests: they run, restart, and leave no process and no file."""

from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import asyncpg
import psutil
import pytest

from tests.crash.processes import Child, until
from tests.servers import postgres
from tests.servers.home import account
from tests.servers.pgbouncer import FIRST_WITH_PREPARED_STATEMENTS, PgBouncer, installed
from tests.servers.postgres import PostgresServer, installations

ROOT = Path(__file__).parents[2]
Servers = Callable[..., PostgresServer]

STARTS_AND_WAITS = """
import sys, time
sys.path.insert(0, sys.argv[1])
from tests.servers.postgres import PostgresServer
server = PostgresServer()
print(server.pid, server.data.parent, flush=True)
time.sleep(60)
"""


async def ask(url: str, question: str, **options: object) -> object:
    connection = await asyncpg.connect(url, **options)
    try:
        return await connection.fetchval(question)
    finally:
        await connection.close()


@pytest.mark.parametrize("version", [15, 16, 18])
async def test_server_of_each_version_runs_queries(postgres_servers: Servers, version: int) -> None:
    said = await ask(postgres_servers(version).url, "select version()")

    assert str(said).startswith(f"PostgreSQL {version}.")


def test_server_is_started_once(postgres_servers: Servers) -> None:
    assert postgres_servers(18) is postgres_servers()


def test_each_url_has_its_own_schema(postgres_servers: Servers, postgres_url: Callable[..., str]) -> None:
    schemas = [parse_qs(urlsplit(postgres_url()).query)["schema"] for _ in range(2)]

    assert schemas[0] != schemas[1]
    assert postgres_url().startswith(postgres_servers().url)


@pytest.fixture(scope="module")
def own() -> Iterator[PostgresServer]:
    """A server that tests may stop."""
    with PostgresServer(options={"fsync": "on", "work_mem": "3MB"}) as server:
        yield server


async def test_options_become_server_settings(own: PostgresServer) -> None:
    names = ("fsync", "work_mem", "synchronous_commit", "server_encoding", "lc_collate", "unix_socket_directories")
    shown = [await ask(own.url, f"select current_setting('{name}', true)") for name in names]

    assert shown[:4] == ["on", "3MB", "on", "UTF8"]
    assert not shown[5]
    assert await ask(own.url, "select datcollate from pg_database where datname = 'postgres'") == "C"


@pytest.mark.parametrize("end", [PostgresServer.stop, lambda each: each.stop("immediate"), PostgresServer.kill])
async def test_restarted_server_has_same_data(own: PostgresServer, end: Callable[[PostgresServer], None]) -> None:
    url = own.url
    await ask(url, "drop table if exists kept")
    await ask(url, "create table kept as select 42 as value")
    processes = [psutil.Process(own.pid), *psutil.Process(own.pid).children()]

    end(own)

    assert all(postgres.is_gone(each) for each in processes)
    with pytest.raises(OSError, match="Connect call failed"):
        await asyncpg.connect(url)
    own.start()
    assert await ask(url, "select value from kept") == 42


async def test_kill_interrupts_open_transaction(own: PostgresServer) -> None:
    connection = await asyncpg.connect(own.url)
    transaction = connection.transaction()
    await transaction.start()
    await connection.execute("create table never (value int)")

    own.kill()
    own.start()

    with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, OSError)):
        await transaction.commit()
    assert await ask(own.url, "select to_regclass('never')") is None


def test_closed_server_leaves_no_process_and_no_directory() -> None:
    with PostgresServer() as server:
        process, home = psutil.Process(server.pid), server.data.parent

    assert postgres.is_gone(process)
    assert not home.exists()


def test_killed_test_run_leaves_no_server() -> None:
    child = Child("-c", STARTS_AND_WAITS, str(ROOT))
    until(child.has_printed)
    pid, home = child.lines[0].split()
    postmaster = psutil.Process(int(pid))
    until(lambda: bool(postmaster.children()))
    processes = [postmaster, *postmaster.children()]

    child.kill()

    until(lambda: all(postgres.is_gone(each) for each in processes) and not Path(home).exists(), timeout_s=30)


def test_failed_start_raises_with_server_log() -> None:
    with pytest.raises(RuntimeError, match='invalid value for parameter "wal_level"'):
        PostgresServer(options={"wal_level": "none"})


@pytest.mark.skipif(not account(), reason="only root's servers run as another user")
def test_programs_in_inaccessible_folder_are_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installation = installations()[18].parent
    wheel = installation.parent
    tmp_path.chmod(0o700)
    (tmp_path / wheel.name).symlink_to(wheel)
    (tmp_path / f"{wheel.name}.libs").symlink_to(wheel.with_name(f"{wheel.name}.libs"))
    closed = tmp_path / wheel.name / installation.name / "bin"
    monkeypatch.setattr(postgres, "installations", lambda: {18: closed})

    with PostgresServer() as server:
        assert server.programs != closed


@pytest.mark.parametrize(("asked", "outcome"), [("1", pytest.fail.Exception), ("0", pytest.skip.Exception)])
def test_missing_server_fails_or_skips_test(
    postgres_servers: Servers, monkeypatch: pytest.MonkeyPatch, asked: str, outcome: type[BaseException]
) -> None:
    monkeypatch.setenv("FAIT_REQUIRE_SERVICES", asked)

    with pytest.raises(outcome, match="PostgreSQL 9 is not installed"):
        postgres_servers(9)


async def test_pgbouncer_passes_queries(postgres_servers: Servers, pgbouncer: Callable[..., PgBouncer]) -> None:
    bouncer = pgbouncer(postgres_servers(), pool_size=1)
    # Two clients on one connection: the second gets a connection only in transaction mode.
    first, second = [await asyncpg.connect(bouncer.url, statement_cache_size=0) for _ in range(2)]
    backends = {await each.fetchval("select pg_backend_pid()") for each in (first, second, first)}
    await first.close()
    await second.close()

    assert len(backends) == 1


async def test_pgbouncer_keeps_prepared_statements_if_supported(
    postgres_servers: Servers, pgbouncer: Callable[..., PgBouncer]
) -> None:
    here = installed()
    if here is not None and here[1] < FIRST_WITH_PREPARED_STATEMENTS:
        with pytest.raises(LookupError, match="older"):
            pgbouncer(postgres_servers(), max_prepared_statements=10)
    else:
        bouncer = pgbouncer(postgres_servers(), max_prepared_statements=10)
        assert await ask(bouncer.url, "select 1") == 1
