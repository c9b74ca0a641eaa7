"""A system and each command end within a bounded time after a signal, although the database does not answer."""

import asyncio
import signal
import sys
import time
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import typer

import fait
from fait._tools.cli.commands import fait as commands
from tests.faults.wire import Proxy
from tests.servers.postgres import PostgresServer
from tests.test_affinity import Added, Sum

pytestmark = pytest.mark.anyio

FAIT = Path(sys.executable).with_name("fait")
TESTS = Path(__file__).parents[1]
LIMIT_S = 30
"""Limit for an end that takes at most about 10 seconds on an idle machine. Without bounds it takes over a minute."""


@pytest.fixture
async def proxy(postgres_servers: Callable[..., PostgresServer]) -> AsyncIterator[Proxy]:
    async with Proxy(postgres_servers().port) as running:
        yield running


@pytest.fixture
async def silent_url() -> AsyncIterator[tuple[str, asyncio.Event]]:
    """The URL of a server that accepts connections and never answers, and an event for the first connection."""
    connected = asyncio.Event()

    async def never_answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connected.set()
        await reader.read()
        writer.close()

    server = await asyncio.start_server(never_answer, "127.0.0.1", 0)
    yield f"postgresql://user@127.0.0.1:{server.sockets[0].getsockname()[1]}/shop", connected
    server.close()


async def start(*arguments: str) -> Process:
    return await asyncio.create_subprocess_exec(
        FAIT, *arguments, stdin=DEVNULL, stdout=PIPE, stderr=PIPE, cwd=TESTS.parent
    )


async def start_silent_worker(proxy: Proxy, url: str) -> Process:
    """Start a worker, and let the database be silent once the worker runs its subscriptions."""
    app = fait.App("affinity")
    app.include(Added, Sum)
    async with app.open(url, run="elsewhere") as s:
        await s.publish(Added(1), stream="sum-1")
    worker = await start("run", "--app", "tests.test_affinity:app", "--store", url, "--json")
    assert worker.stdout is not None
    async with asyncio.timeout(LIMIT_S):
        while b'"live"' not in await worker.stdout.readline():
            pass
    proxy.silent = True
    await asyncio.sleep(1.5)  # the status and the lease are read at least once a second
    return worker


async def test_worker_ends_after_sigterm_while_the_database_is_silent(
    proxy: Proxy, postgres_url: Callable[[], str]
) -> None:
    worker = await start_silent_worker(proxy, proxy.url(schema=postgres_url().partition("=")[2]))
    try:
        started = time.monotonic()
        worker.send_signal(signal.SIGTERM)
        await asyncio.wait_for(worker.wait(), LIMIT_S)
        print(f"ended after {time.monotonic() - started:.1f} s")
    finally:
        if worker.returncode is None:
            worker.kill()
    _, stderr = await worker.communicate()
    assert worker.returncode in (0, 1), stderr
    assert b"Traceback" not in stderr


async def test_second_signal_ends_a_worker_while_the_database_is_silent(
    proxy: Proxy, postgres_url: Callable[[], str]
) -> None:
    worker = await start_silent_worker(proxy, proxy.url(schema=postgres_url().partition("=")[2]))
    try:
        worker.send_signal(signal.SIGTERM)
        await asyncio.sleep(0.5)
        worker.send_signal(signal.SIGTERM)
        await asyncio.wait_for(worker.wait(), LIMIT_S)
    finally:
        if worker.returncode is None:
            worker.kill()
    assert worker.returncode == -signal.SIGTERM


async def test_system_closes_while_the_database_is_silent(proxy: Proxy, postgres_url: Callable[[], str]) -> None:
    app = fait.App("affinity")
    app.include(Added, Sum)
    async with app.open(proxy.url(schema=postgres_url().partition("=")[2])) as s:
        await s.wait(await s.publish(Added(1), stream="sum-1"))
        proxy.silent = True
        pending = asyncio.create_task(s.publish(Added(2), stream="sum-1"))
        await asyncio.sleep(0.1)
        started = time.monotonic()
    print(f"closed after {time.monotonic() - started:.1f} s")
    assert time.monotonic() - started < LIMIT_S
    pending.cancel()


CALLS = {
    "import": ["README.md"],
    "export": [],
    "streams": [],
    "stream": ["order-1"],
    "events": [],
    "tail": [],
    "state": ["order-1"],
    "doctor": [],
    "verify-store": [],
    "run": ["--app", "tests.test_affinity:app"],
    "rebuild": ["sum", "--app", "tests.test_affinity:app"],
    "db init": [],
    "db migrate": [],
    "db status": [],
    "db sql": ["--from-scratch"],
    "log adopt": [],
    "status": [],
    "actions": [],
    "pause": ["sum", "--reason", "r"],
    "resume": ["sum"],
    "skip": ["sum", "1", "--yes", "--reason", "r"],
    "rewind": ["sum", "--app", "tests.test_affinity:app", "--yes", "--reason", "r"],
    "parked list": [],
    "parked show": ["sum"],
    "parked redrive": ["sum", "--all", "--yes", "--reason", "r"],
    "parked discard": ["sum", "--all", "--first", "--yes", "--reason", "r"],
    "definition accept": ["sum", "--app", "tests.test_affinity:app"],
    "definition diff": ["sum", "--app", "tests.test_affinity:app"],
    "definition show": ["sum"],
}
"""The arguments of each command that connects to a server: `backup` copies SQLite stores only."""


def names_of(group: typer.Typer, prefix: str = "") -> set[str]:
    names = {f"{prefix}{each.name}" for each in group.registered_commands}
    return names.union(*(names_of(each.typer_instance, f"{each.name} ") for each in group.registered_groups))


def test_calls_contain_each_command_that_opens_a_store() -> None:
    with_store = {name for name in names_of(commands) if not name.startswith(("schema ", "design "))}
    # `fait dev` opens the store in a process of its own; tests/tools/test_dev.py stops it in each phase.
    assert with_store - {"advise", "backup", "broker check", "demo", "dev", "new"} == CALLS.keys()


@pytest.mark.parametrize("name", [each for each in CALLS if each != "db sql"])
async def test_ctrl_c_ends_a_command_while_the_database_is_silent(
    silent_url: tuple[str, asyncio.Event], name: str
) -> None:
    url, connected = silent_url
    store = [url] if name == "verify-store" else ["--store", url]
    process = await start(*name.split(), *CALLS[name], *store)
    waiting = asyncio.create_task(process.wait())
    try:
        await asyncio.wait_for(connected.wait(), LIMIT_S)
        async with asyncio.timeout(LIMIT_S):
            while process.returncode is None:  # some commands finish their work after the first Ctrl-C
                process.send_signal(signal.SIGINT)
                await asyncio.wait([waiting], timeout=1)
    finally:
        if process.returncode is None:
            process.kill()
    stdout, stderr = await process.communicate()
    assert process.returncode in (130, -signal.SIGINT), stderr  # the latter by a Ctrl-C in the last moment
    assert b"Traceback" not in stdout + stderr
