"""The outbox adapter for aiosqlite."""

import asyncio
import sqlite3
import sys
from contextlib import suppress
from typing import Any

import aiosqlite
import pytest

import fait
from tests.outbox.clients import AsyncClient, Client, Place, Placed, shop
from tests.outbox.contract import InSqlite, OutboxContract, SqliteContract


class AiosqliteClient(AsyncClient):
    def __init__(self, connection: aiosqlite.Connection, place: Place) -> None:
        self.connection = connection
        self.place = place

    async def begin(self, isolation: str | None = None) -> None:
        await self.execute("BEGIN IMMEDIATE")

    async def commit(self) -> None:
        await self.connection.commit()

    async def rollback(self) -> None:
        await self.connection.rollback()

    async def savepoint(self) -> None:
        await self.execute("SAVEPOINT here")

    async def rollback_savepoint(self) -> None:
        await self.execute("ROLLBACK TO here")

    async def execute(self, sql: str) -> None:
        await self.connection.execute_fetchall(sql)

    async def close(self) -> None:
        await self.connection.close()


class TestAiosqlite(InSqlite, SqliteContract, OutboxContract):
    async def connect(self, place: Place) -> Client:
        return AiosqliteClient(await aiosqlite.connect(place.address, isolation_level=None), place)

    @pytest.mark.parametrize("isolation_level", ["", "DEFERRED", "IMMEDIATE"])
    async def test_implicitly_begun_transaction_stores_events(
        self, place: Place, order: str, isolation_level: Any
    ) -> None:
        async with aiosqlite.connect(place.address, isolation_level=isolation_level) as connection:
            outbox = shop.outbox(connection)
            await connection.execute("INSERT INTO orders VALUES (?, 1)", (order,))
            await outbox.add(Placed(1), stream=order)
            await connection.commit()
            await outbox.add(Placed(2), stream=order)
            await connection.rollback()
            async with outbox.transaction():
                await outbox.add(Placed(3), stream=order)

        assert [count for _, _, count in await place.events(order)] == [1, 3]

    @pytest.mark.skipif(sys.version_info < (3, 12), reason="needs the attribute autocommit of Python 3.12")
    async def test_autocommit_attribute_of_python_3_12(self, place: Place, order: str) -> None:
        for autocommit in (False, True):
            async with aiosqlite.connect(place.address, autocommit=autocommit) as connection:
                outbox = shop.outbox(connection)
                if autocommit:
                    with pytest.raises(fait.UsageError, match="no transaction is open"):
                        await outbox.add(Placed(1), stream=order)
                    await connection.execute("BEGIN IMMEDIATE")
                await outbox.add(Placed(2), stream=order)
                await connection.execute("COMMIT") if autocommit else await connection.commit()

        assert [count for _, _, count in await place.events(order)] == [2, 2]

    async def test_row_factories_of_the_connection_have_no_effect(self, place: Place, order: str) -> None:
        async with aiosqlite.connect(place.address) as connection:
            connection.row_factory = sqlite3.Row
            connection.text_factory = bytes
            for _ in range(2):
                await shop.outbox(connection).add(Placed(1), stream=order, key="k")
                await connection.commit()

        assert [version for _, version, _ in await place.events(order)] == [1]

    async def test_block_canceled_during_begin_leaves_no_open_transaction(self, place: Place, order: str) -> None:
        writer = sqlite3.connect(place.address, isolation_level=None, check_same_thread=False)
        writer.execute("BEGIN IMMEDIATE")
        async with aiosqlite.connect(place.address) as connection:

            async def block() -> None:
                async with shop.outbox(connection).transaction() as outbox:
                    await outbox.add(Placed(1), stream=order)

            task = asyncio.create_task(block())
            await asyncio.sleep(0.05)
            task.cancel()
            await asyncio.sleep(0)
            writer.close()
            with suppress(asyncio.CancelledError):
                await task
            await connection.execute("SELECT 1")  # waits for all earlier statements of its thread
            assert not connection.in_transaction

        assert await place.events(order) == []
