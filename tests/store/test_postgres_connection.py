"""Connections to PostgreSQL: kept at hand where nobody waits for one, and on lines that are watched."""

import asyncio
import socket
from collections.abc import AsyncGenerator, Callable
from typing import Any

import pytest

from fait._clock import SystemClock
from fait._store.postgres.connection import KEEPALIVE_IDLE_S, Database, parse_url
from fait._store.postgres.identifiers import quote
from fait._store.postgres.store import open_store


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


async def test_the_same_connection_serves_those_who_come_one_after_another(database: Database) -> None:
    assert len({await pid(database) for _ in range(5)}) == 1


async def test_one_at_hand_is_not_withheld_from_those_who_wait(database: Database) -> None:
    async def slow() -> None:
        async with database.connection() as connection:
            await connection.fetch("SELECT pg_sleep(0.02)")

    async with asyncio.timeout(30):
        for _ in range(3):
            await asyncio.gather(*(slow() for _ in range(12)))
            await asyncio.gather(*(pid(database) for _ in range(12)))


async def test_what_was_cancelled_is_not_at_hand(database: Database) -> None:
    async def sleep() -> None:
        async with database.connection() as connection:
            await connection.fetch("SELECT pg_sleep(30)")

    for _ in range(5):
        sleeping = asyncio.create_task(sleep())
        await asyncio.sleep(0.02)
        sleeping.cancel()
        await asyncio.gather(sleeping, return_exceptions=True)
        assert await pid(database)


async def test_a_value_that_cannot_be_sent_leaves_no_transaction_open(database: Database) -> None:
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


async def test_what_the_server_has_ended_is_not_at_hand(database: Database) -> None:
    first = await pid(database)
    other = await database.connect()
    await other.fetch("SELECT pg_terminate_backend($1)", first)
    while await other.fetch("SELECT 1 FROM pg_stat_activity WHERE pid = $1", first):  # noqa: ASYNC110
        await asyncio.sleep(0.01)

    assert await pid(database) != first
    await other.close()


async def test_every_line_is_watched(database: Database) -> None:
    listening = await database.connect()
    async with database.connection() as connection:
        for each in (connection, listening):
            transport: Any = each._transport  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
            line: socket.socket = transport.get_extra_info("socket")
            assert line.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
            if hasattr(socket, "TCP_USER_TIMEOUT"):
                assert line.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 2 * KEEPALIVE_IDLE_S * 1000
    await listening.close()


async def test_every_connection_says_whose_it_is(database: Database) -> None:
    listening = await database.connect()
    async with database.connection() as connection:
        names = {await each.fetchval("SHOW application_name") for each in (connection, listening)}
    await listening.close()

    assert names == {"fait"}
