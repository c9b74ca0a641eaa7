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
        self.asked: list[asyncio.Future[Any]] = []
        self.given_back: list[Any] = []
        self.discarded: list[Any] = []

    async def acquire(self) -> Any:
        self.asked.append(asyncio.get_running_loop().create_future())
        return await self.asked[-1]

    async def release(self, connection: Any) -> None:
        self.given_back.append(connection)

    async def discard(self, connection: Any) -> None:
        self.discarded.append(connection)


FULL = StoreUnavailable("there are no more connections.")


async def turn() -> None:
    for _ in range(4):
        await asyncio.sleep(0)


class Asked:
    """A sender pool, and its callers."""

    def __init__(self) -> None:
        self.pool = Pool()
        self.lanes = SenderPool(cast("Database", cast("Any", self.pool)))

    async def take(self) -> "asyncio.Task[PostgresConnection]":
        task = asyncio.create_task(self.lanes.acquire())
        await turn()
        return task

    async def opened(self, connection: Any) -> None:
        self.pool.asked[-1].set_result(connection)
        await turn()

    async def refused(self) -> None:
        self.pool.asked[-1].set_exception(FULL)
        await turn()


@pytest.fixture
def asked() -> Asked:
    return Asked()


async def test_released_connection_is_reused(asked: Asked) -> None:
    first = await asked.take()
    await asked.opened("one")
    asked.lanes.release(first.result())

    second = await asked.take()

    assert second.result() == cast("Any", "one")
    assert len(asked.pool.asked) == 1


async def test_waiter_gets_released_connection_before_new_one(asked: Asked) -> None:
    first = await asked.take()
    await asked.opened("one")
    second = await asked.take()
    assert len(asked.pool.asked) == 2

    asked.lanes.release(first.result())
    await turn()
    assert second.result() == cast("Any", "one")
    await asked.opened("two")

    assert (await asked.take()).result() == cast("Any", "two")


async def test_failed_connect_waits_for_connection_in_use(asked: Asked) -> None:
    first = await asked.take()
    await asked.opened("one")
    second = await asked.take()

    await asked.refused()
    assert not second.done()
    asked.lanes.release(first.result())
    await turn()

    assert second.result() == cast("Any", "one")


async def test_failed_connect_without_connection_fails_all_waiters(asked: Asked) -> None:
    takers = [await asked.take(), await asked.take()]
    assert len(asked.pool.asked) == 1

    await asked.refused()

    assert [taker.exception() for taker in takers] == [FULL, FULL]


async def test_discarded_connection_is_replaced_for_waiter(asked: Asked) -> None:
    first = await asked.take()
    await asked.opened("one")
    second = await asked.take()
    await asked.refused()

    await asked.lanes.discard(first.result())
    await turn()
    await asked.opened("two")

    assert second.result() == cast("Any", "two")
    assert asked.pool.discarded == ["one"]


async def test_close_releases_all_connections_and_opens_none(asked: Asked) -> None:
    first = await asked.take()
    await asked.opened("one")
    second = await asked.take()
    asked.lanes.release(first.result())
    await turn()
    asked.lanes.release(second.result())

    await asked.lanes.close()
    await turn()

    assert asked.pool.given_back == ["one"]
    assert asked.pool.asked[-1].cancelled()
