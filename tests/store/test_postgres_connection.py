"""Connections to PostgreSQL: kept idle while no caller waits for one, and monitored by TCP keepalive."""

import asyncio
import gc
import socket
from collections.abc import AsyncGenerator, Callable
from typing import Any

import pytest

from fait._clock import SystemClock
from fait._errors import StoreUnavailable
from fait._store.postgres.admin import missing_migrations
from fait._store.postgres.connection import KEEPALIVE_IDLE_S, Database, _is_closed
from fait._store.postgres.identifiers import quote
from fait._store.postgres.store import open_store
from fait._store.postgres.url_options import parse_url
from tests.faults.wire import Proxy
from tests.servers.postgres import PostgresServer


@pytest.fixture
async def database(postgres_url: Callable[..., str]) -> AsyncGenerator[Database]:
    url = f"{postgres_url()}&pool=4"
    await (await open_store(url, url, SystemClock())).close()
    database = await Database.open(parse_url(url, "the server"))
    yield database
    await database.close()


async def pid(database: Database) -> int:
    async with database.connection() as connection:
        return await connection.fetchval("SELECT pg_backend_pid()")


async def test_sequential_callers_share_connection(database: Database) -> None:
    assert len({await pid(database) for _ in range(5)}) == 1


async def test_idle_connection_is_given_to_waiting_caller(database: Database) -> None:
    async def slow() -> None:
        async with database.connection() as connection:
            await connection.fetch("SELECT pg_sleep(0.02)")

    async with asyncio.timeout(30):
        for _ in range(3):
            await asyncio.gather(*(slow() for _ in range(12)))
            await asyncio.gather(*(pid(database) for _ in range(12)))


async def test_connection_of_canceled_statement_is_not_kept_idle(database: Database) -> None:
    async def sleep() -> None:
        async with database.connection() as connection:
            await connection.fetch("SELECT pg_sleep(30)")

    for _ in range(5):
        sleeping = asyncio.create_task(sleep())
        await asyncio.sleep(0.02)
        sleeping.cancel()
        await asyncio.gather(sleeping, return_exceptions=True)
        assert await pid(database)


async def test_unsendable_value_leaves_no_transaction_open(database: Database) -> None:
    for _ in range(3):
        with pytest.raises(Exception, match=r"Error"):
            async with database.connection() as connection:
                await connection.fetch(
                    f"SELECT * FROM {quote(database.schema)}.fait_all_events WHERE stream = $1", "\ud800"
                )

    other = await database.connect()
    open_ones = await other.fetch(
        "SELECT state FROM pg_stat_activity WHERE xact_start IS NOT NULL AND pid <> pg_backend_pid() AND datname = "
        "current_database() AND backend_type = 'client backend' AND query LIKE '%' || $1 || '%'",
        database.schema,
    )
    await other.close()
    assert [tuple(row) for row in open_ones] == []


async def test_connection_closed_by_server_is_not_reused(database: Database) -> None:
    first = await pid(database)
    other = await database.connect()
    await other.fetch("SELECT pg_terminate_backend($1)", first)
    [idle] = database._idle
    async with asyncio.timeout(30):
        while not _is_closed(idle):  # noqa: ASYNC110 - the driver has read the end of the session
            await asyncio.sleep(0.01)

    assert await pid(database) != first
    await other.close()


async def test_every_connection_has_keepalive(database: Database) -> None:
    listening = await database.connect()
    async with database.connection() as connection:
        for each in (connection, listening):
            transport: Any = each._transport  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
            line: socket.socket = transport.get_extra_info("socket")
            assert line.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
            if hasattr(socket, "TCP_USER_TIMEOUT"):
                assert line.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 2 * KEEPALIVE_IDLE_S * 1000
    await listening.close()


async def test_every_connection_has_application_name(database: Database) -> None:
    listening = await database.connect()
    async with database.connection() as connection:
        names = {await each.fetchval("SHOW application_name") for each in (connection, listening)}
    await listening.close()

    assert names == {"fait"}


async def test_error_of_canceled_release_is_not_reported(postgres_servers: Callable[..., PostgresServer]) -> None:
    """asyncio would report the task of the driver, which ends when the line is cut, as an error never retrieved."""
    reported: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))
    async with Proxy(postgres_servers().port) as proxy:
        database = await Database.open(parse_url(proxy.url(), "the server"))
        connection = await database.acquire()
        proxy.silent = True
        releasing = asyncio.create_task(database.release_to_pool(connection))
        await asyncio.sleep(0.05)  # the driver waits for the server
        releasing.cancel()
        await asyncio.gather(releasing, return_exceptions=True)
        proxy.disconnect()
        await database.close()
        await asyncio.sleep(0.05)
        gc.collect()
    assert reported == []


async def test_statement_without_a_response_ends_after_the_timeout(
    postgres_servers: Callable[..., PostgresServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("admin", "connection"):
        monkeypatch.setattr(f"fait._store.postgres.{module}.RESPONSE_TIMEOUT_S", 0.1)
    async with Proxy(postgres_servers().port) as proxy:
        for call in (missing_migrations, lambda database: database.fetch("server_state")):
            database = await Database.open(parse_url(proxy.url(), "the server"))
            proxy.silence()
            async with asyncio.timeout(5):
                with pytest.raises(StoreUnavailable, match="the server cannot be reached"):
                    await call(database)
            await database.close()
