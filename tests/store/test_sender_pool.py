"""The sender pool: a waiter gets the first available connection; a failed connect fails no batch needlessly."""

import asyncio
from typing import Any, cast

import pytest

from fait._errors import StoreUnavailable
from fait._store.postgres.connection import Database, PostgresConnection
from fait._store.postgres.sender_pool import SenderPool


class Pool:
    """A database that opens a connection, or fails, when the test says so."""

    def __init__(self) -> None:
        self.callers: list[asyncio.Future[Any]] = []
        self.given_back: list[Any] = []
        self.discarded: list[Any] = []

    async def acquire(self) -> Any:
        self.callers.append(asyncio.get_running_loop().create_future())
        return await self.callers[-1]

    async def release(self, connection: Any) -> None:
        self.given_back.append(connection)

    async def discard(self, connection: Any) -> None:
        self.discarded.append(connection)


FULL = StoreUnavailable("there are no more connections.")


async def turn() -> None:
    for _ in range(4):
        await asyncio.sleep(0)


class Callers:
    """A sender pool, and its callers."""

    def __init__(self) -> None:
        self.pool = Pool()
        self.senders = SenderPool(cast("Database", cast("Any", self.pool)))

    async def take(self) -> "asyncio.Task[PostgresConnection]":
        task = asyncio.create_task(self.senders.acquire())
        await turn()
        return task

    async def opened(self, connection: Any) -> None:
        self.pool.callers[-1].set_result(connection)
        await turn()

    async def refused(self) -> None:
        self.pool.callers[-1].set_exception(FULL)
        await turn()


@pytest.fixture
def callers() -> Callers:
    return Callers()


async def test_released_connection_is_reused(callers: Callers) -> None:
    first = await callers.take()
    await callers.opened("one")
    callers.senders.release(first.result())

    second = await callers.take()

    assert second.result() == cast("Any", "one")
    assert len(callers.pool.callers) == 1


async def test_waiter_gets_released_connection_before_new_one(callers: Callers) -> None:
    first = await callers.take()
    await callers.opened("one")
    second = await callers.take()
    assert len(callers.pool.callers) == 2

    callers.senders.release(first.result())
    await turn()
    assert second.result() == cast("Any", "one")
    await callers.opened("two")

    assert (await callers.take()).result() == cast("Any", "two")


async def test_failed_connect_waits_for_connection_in_use(callers: Callers) -> None:
    first = await callers.take()
    await callers.opened("one")
    second = await callers.take()

    await callers.refused()
    assert not second.done()
    callers.senders.release(first.result())
    await turn()

    assert second.result() == cast("Any", "one")


async def test_failed_connect_without_connection_fails_all_waiters(callers: Callers) -> None:
    takers = [await callers.take(), await callers.take()]
    assert len(callers.pool.callers) == 1

    await callers.refused()

    assert [taker.exception() for taker in takers] == [FULL, FULL]


async def test_discarded_connection_is_replaced_for_waiter(callers: Callers) -> None:
    first = await callers.take()
    await callers.opened("one")
    second = await callers.take()
    await callers.refused()

    await callers.senders.discard(first.result())
    await turn()
    await callers.opened("two")

    assert second.result() == cast("Any", "two")
    assert callers.pool.discarded == ["one"]


async def test_close_releases_all_connections_and_opens_none(callers: Callers) -> None:
    first = await callers.take()
    await callers.opened("one")
    second = await callers.take()
    callers.senders.release(first.result())
    await turn()
    callers.senders.release(second.result())

    await callers.senders.close()
    await turn()

    assert callers.pool.given_back == ["one"]
    assert callers.pool.callers[-1].cancelled()
