"""The outbox adapter for asyncpg."""

import json
from typing import Any

import asyncpg
import pytest

import fait
from tests.outbox.clients import AsyncClient, Client, Place, Placed, shop
from tests.outbox.contract import InPostgres, OutboxContract


class AsyncpgClient(AsyncClient):
    def __init__(self, connection: Any, place: Place) -> None:
        self.connection = connection
        self.place = place
        self._begun: list[Any] = []

    async def begin(self, isolation: str | None = None) -> None:
        await self._begin(self.connection.transaction(isolation=isolation and isolation.lower().replace(" ", "_")))

    async def _begin(self, transaction: Any) -> None:
        await transaction.start()
        self._begun.append(transaction)

    async def commit(self) -> None:
        await self._begun.pop().commit()

    async def rollback(self) -> None:
        await self._begun.pop().rollback()

    async def savepoint(self) -> None:
        await self._begin(self.connection.transaction())

    async def rollback_savepoint(self) -> None:
        await self.rollback()

    async def execute(self, sql: str) -> None:
        await self.connection.execute(sql)

    async def close(self) -> None:
        await self.connection.close()


class TestAsyncpg(InPostgres, OutboxContract):
    async def connect(self, place: Place) -> Client:
        return AsyncpgClient(await asyncpg.connect(place.address), place)

    async def test_type_codecs_of_the_connection_have_no_effect(self, place: Place, order: str) -> None:
        class Row(asyncpg.Record):
            def __iter__(self) -> Any:
                return iter(self.keys())

        connection = await asyncpg.connect(place.address, record_class=Row)
        for name in ("json", "jsonb"):
            await connection.set_type_codec(name, encoder=json.dumps, decoder=json.loads, schema="pg_catalog")
        async with connection.transaction():
            await shop.outbox(connection, schema=place.schema).add(Placed(1), stream=order)
        async with shop.outbox(connection, schema=place.schema).transaction() as outbox:
            await outbox.add(Placed(2), stream=order)
        await connection.close()

        assert await place.events(order) == [("placed", 1, 1), ("placed", 2, 2)]

    async def test_pool_connection_stores_events(self, place: Place, order: str) -> None:
        async with asyncpg.create_pool(place.address, min_size=1) as pool, pool.acquire() as connection:
            async with connection.transaction():
                await shop.outbox(connection, schema=place.schema).add(Placed(1), stream=order)
            async with shop.outbox(connection, schema=place.schema).transaction() as outbox:
                await outbox.add(Placed(2), stream=order)
            with pytest.raises(fait.UsageError, match=r"not Pool.*pool\.acquire"):
                shop.outbox(pool)

        assert await place.events(order) == [("placed", 1, 1), ("placed", 2, 2)]

    async def test_add_in_a_failed_transaction_raises_usage_error(self, place: Place, order: str) -> None:
        connection = await asyncpg.connect(place.address)
        transaction = connection.transaction()
        await transaction.start()
        with pytest.raises(asyncpg.UndefinedTableError):
            await connection.execute("SELECT * FROM nothing")
        with pytest.raises(fait.UsageError, match="earlier statement"):
            await shop.outbox(connection, schema=place.schema).add(Placed(1), stream=order)
        await transaction.rollback()
        await connection.close()

        assert await place.events(order) == []
