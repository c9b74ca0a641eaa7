"""The database is restored, copied or failed over: no process continues with positions that may be assigned again."""

import asyncio
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import pytest

from fait._errors import CheckpointMismatch, StoreUnavailable
from fait._events.append import Appended
from fait._store.open import open_admin, open_store
from fait._store.postgres.connection import LogMoved
from tests.crash.counting import Counter, Totals, counting_app
from tests.faults.appends import write
from tests.faults.wire import Proxy
from tests.servers.home import environment
from tests.servers.pgbouncer import PgBouncer
from tests.servers.postgres import PostgresServer
from tests.servers.standby import Standby

Poolers = Callable[..., PgBouncer]


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """A server whose data tests may replace."""
    with PostgresServer() as started:
        yield started


@pytest.fixture(scope="module")
def other() -> Iterator[PostgresServer]:
    """Another cluster."""
    with PostgresServer() as started:
        yield started


def address(server: PostgresServer, schema: str) -> str:
    return f"{server.url}?schema={schema}"


def client(server: PostgresServer, name: str, *arguments: str, given: str | None = None) -> str:
    done = subprocess.run(
        [server.programs / name, "-h", "127.0.0.1", "-p", str(server.port), "-U", "postgres", *arguments],
        env=environment(), input=given, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout


def copied(source: Path, target: Path) -> None:
    """Copy a directory; the copy belongs to the server's user."""
    subprocess.run(["cp", "-a", source, target], check=True)


async def test_running_process_detects_restore_in_place(server: PostgresServer) -> None:
    url, backup = address(server, "in_place"), server.data.with_name("backup")
    running = await open_store(url)
    before = running.log.identity
    try:
        await running.log.append([write("kept-1", count=3)])
        server.stop()
        copied(server.data, backup)
        server.start()
        await running.log.append([write("lost-1", count=5)])
        seen = await running.log.read(0)
        assert len(seen.events) == 8

        server.stop()
        shutil.rmtree(server.data)
        backup.rename(server.data)
        server.start()

        with suppress(StoreUnavailable):
            await running.log.read(seen.position)  # on a connection to the stopped server
        for _ in range(2):  # a further append does not change it
            with pytest.raises(StoreUnavailable, match=r"restored to an older state.*fait log adopt --in-place"):
                await running.log.read(seen.position)
            fresh = await open_store(url)
            await fresh.log.append([write("new-1", count=10)])
            await fresh.close()
    finally:
        await running.close()
    adopted = await open_admin(url).adopt(in_place=True, dry_run=False)
    assert (adopted.previous, adopted.head) == (before, 23)
    assert adopted.current.epoch_id != before.epoch_id


async def test_checkpoint_after_head_stops_its_subscription(server: PostgresServer) -> None:
    url = address(server, "beyond")
    async with counting_app().open(url) as system:
        done = await system.transact(Counter.count, "a", 1)
        await system.find(Totals, after=done)
    client(server, "psql", "-q", "-c", "UPDATE beyond.fait_ranges SET position = 7, frontier = 7")

    with pytest.raises(CheckpointMismatch, match="position 7, the log ends at 1"):
        async with counting_app().open(url):
            pass


async def test_copy_in_another_cluster_is_refused_until_adopted(server: PostgresServer, other: PostgresServer) -> None:
    store = await open_store(address(server, "dumped"))
    await store.log.append([write("kept-1", count=3)])
    await store.close()
    client(other, "psql", "-q", "-v", "ON_ERROR_STOP=1", given=client(server, "pg_dump", "-n", "dumped"))

    with pytest.raises(StoreUnavailable, match=r"another cluster.*fait log adopt"):
        await open_store(address(other, "dumped"))

    adopted = await open_admin(address(other, "dumped")).adopt(in_place=False, dry_run=False)
    original = await open_admin(address(server, "dumped")).adopt(in_place=True, dry_run=False)
    assert (original.previous, original.head) == (adopted.previous, adopted.head)
    assert original.current.epoch_id != adopted.current.epoch_id
    store = await open_store(address(other, "dumped"))
    try:
        assert store.log.identity == adopted.current
        assert adopted.current.log_id == adopted.previous.log_id
        assert [each.after_position for each in await store.log.epochs()] == [0, 3]
        assert [each.version for each in (await store.log.read(0)).events] == [1, 2, 3]
        assert isinstance(await store.log.append([write("kept-1", expected=3)]), Appended)
    finally:
        await store.close()


async def test_restored_dump_keeps_the_mark_of_a_read_model_and_another_process_rebuilds_it(
    server: PostgresServer, other: PostgresServer
) -> None:
    async with counting_app().open(address(server, "marked")) as system:
        await system.find(Totals, after=await system.transact(Counter.count, "a", 3))
    client(other, "psql", "-q", "-v", "ON_ERROR_STOP=1", given=client(server, "pg_dump", "-n", "marked"))
    url = address(other, "marked")
    await open_admin(url).adopt(in_place=False, dry_run=False)

    program = f"from tests.faults.test_restore import rebuild; rebuild({url!r})"
    done = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", program], cwd=Path(__file__).parents[2],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.stdout, done.returncode) == ("[3]\n", 0), done.stderr


def rebuild(url: str) -> None:
    """Rebuild the read model, and print its totals."""

    async def run() -> list[int]:
        async with counting_app().open(url, rebuild=["totals"]) as system:
            await system.wait()
            return [row.total for row in await system.find(Totals)]

    print(asyncio.run(run()))


async def test_standby_is_refused_and_after_promotion_until_adopted(server: PostgresServer) -> None:
    store = await open_store(address(server, "followed"))
    await store.log.append([write("kept-1", count=3)])
    standby = Standby(server)
    url = f"{standby.url}?schema=followed"
    try:
        with pytest.raises(StoreUnavailable, match=r"is a standby.*Connect to the primary"):
            await open_store(url)

        standby.promote()

        with pytest.raises(StoreUnavailable, match=r"timeline changed from 1 to 2.*fait log adopt"):
            await open_store(url)
        adopted = await open_admin(url).adopt(in_place=False, dry_run=False)
        assert (adopted.previous, adopted.head) == (store.log.identity, 3)
        assert adopted.current.epoch_id != store.log.identity.epoch_id
        promoted = await open_store(url)
        assert isinstance(await promoted.log.append([write("kept-1", expected=3)]), Appended)
        await promoted.close()
    finally:
        standby.close()
        await store.close()


async def test_running_process_stops_after_failover() -> None:
    """Its URL leads to the promoted server: each new connection is checked before use."""
    async with AsyncExitStack() as stack:
        primary = stack.enter_context(PostgresServer())
        proxy = await stack.enter_async_context(Proxy(primary.port))
        store = await open_store(proxy.url(schema="moved"))
        stack.push_async_callback(store.close)
        await store.log.append([write("kept-1", count=3)])
        standby = Standby(primary)
        stack.callback(standby.close)
        standby.promote()

        proxy.disconnect()
        proxy.server_port, proxy.unreachable = standby.port, False
        await asyncio.sleep(0.05)  # the client notices

        with pytest.raises(StoreUnavailable, match=r"timeline changed from 1 to 2.*fait log adopt"):
            await store.log.append([write("kept-1", expected=3)])
        with pytest.raises(StoreUnavailable, match=r"timeline changed from 1 to 2.*fait log adopt"):
            await store.log.read_stream("kept-1")


async def test_running_process_behind_pgbouncer_stops_after_failover(pgbouncer: Poolers) -> None:
    """PgBouncer keeps the connections of its clients, so that no connection is new to the process."""
    async with AsyncExitStack() as stack:
        primary = stack.enter_context(PostgresServer())
        bouncer = pgbouncer(primary, settings={"server_login_retry": "0", "server_check_delay": "0"})
        store = await open_store(f"{bouncer.url}?schema=pooled&prepare=no")
        stack.push_async_callback(store.close)
        await store.log.append([write("kept-1", count=3)])
        database = vars(store)["_database"]
        standby = Standby(primary)
        stack.callback(standby.close)
        await store.log.append([write("lost-1", count=2)])
        assert (await store.log.read(0)).position == 5
        waiting = asyncio.create_task(store.log.wait_for_events(5))

        standby.promote()
        primary.stop("immediate")
        standby.take_over(primary.port)
        database.on_connect = None  # a process with enough connections opens no further one

        with pytest.raises(StoreUnavailable, match=r"timeline changed from 1 to 2.*fait log adopt"):
            await asyncio.wait_for(waiting, 30)
        for _ in range(3):
            with pytest.raises(StoreUnavailable, match=r"timeline changed from 1 to 2.*fait log adopt") as raised:
                await store.log.append([write("kept-1")])
            assert raised.value.outcome == "not_written"
        await open_admin(f"{standby.url}?schema=pooled").adopt(in_place=False, dry_run=False)
        with pytest.raises(StoreUnavailable, match="timeline changed"):
            await store.log.append([write("kept-1")])

        promoted = await open_store(f"{bouncer.url}?schema=pooled&prepare=no")
        stack.push_async_callback(promoted.close)
        assert {event.stream for event in (await promoted.log.read(0)).events} <= {"kept-1", "lost-1"}


async def test_appends_behind_pgbouncer_never_continue_in_promoted_server(pgbouncer: Poolers) -> None:
    """Many callers append during the failover, on connections that the process had before."""
    async with AsyncExitStack() as stack:
        primary = stack.enter_context(PostgresServer())
        bouncer = pgbouncer(primary, settings={"server_login_retry": "0", "server_check_delay": "0"})
        store = await open_store(f"{bouncer.url}?schema=busy&prepare=no")
        stack.push_async_callback(store.close)
        vars(store)["_database"].on_connect = None
        standby = Standby(primary)
        stack.callback(standby.close)
        busy, moved = asyncio.Event(), asyncio.Event()

        async def append(caller: int) -> None:
            for number in range(100_000):
                if number == 20:
                    busy.set()
                try:
                    await store.log.append([write(f"s-{caller}")])
                except LogMoved:
                    moved.set()
                    return
                except StoreUnavailable:
                    await asyncio.sleep(0.05)

        callers = [asyncio.create_task(append(number)) for number in range(8)]
        async with asyncio.timeout(60):
            await busy.wait()
        standby.promote()
        before = int(client_at(standby.port, primary, "SELECT max(position) FROM busy.fait_events"))
        primary.stop("immediate")
        standby.take_over(primary.port)
        async with asyncio.timeout(60):
            await asyncio.gather(*callers)

        assert moved.is_set()
        assert int(client_at(standby.port, primary, "SELECT max(position) FROM busy.fait_events")) == before


def client_at(port: int, server: PostgresServer, sql: str) -> str:
    command = [server.programs / "psql", "-h", "127.0.0.1", "-p", str(port), "-U", "postgres", "-Atc", sql]
    return subprocess.run(command, env=environment(), capture_output=True, text=True, check=True).stdout
