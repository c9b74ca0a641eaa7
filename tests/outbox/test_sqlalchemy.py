"""The outbox contract for SQLAlchemy, for each kind of connection and each driver."""

import pytest
from sqlalchemy import Connection
from sqlalchemy.orm import Session

import fait
from tests.outbox.clients import Client, Place, Placed
from tests.outbox.contract import InPostgres, InSqlite, OutboxContract
from tests.outbox.sqlalchemy_clients import AsyncSqlClient, SqlClient


class SqlContract(OutboxContract):
    stores_on_add = False

    async def test_block_in_a_transaction_is_part_of_it(self, client: Client, place: Place, order: str) -> None:  # type: ignore[override]
        """SQLAlchemy raises its own error if a transaction is already open."""
        await client.begin()
        with pytest.raises(Exception, match="already"):
            async with client.transaction():
                pass
        await client.rollback()


class ConnectionContract(SqlContract):
    """Connections, which do not begin a transaction for an event."""


class SessionContract(SqlContract):
    """Sessions, which begin a transaction for an event as for an object."""

    async def test_add_outside_a_transaction_raises_usage_error(self, client: Client, place: Place, order: str) -> None:
        await client.add(Placed(1), stream=order)
        await client.rollback()
        await client.add(Placed(2), stream=order)
        await client.commit()

        assert await place.events(order) == [("placed", 1, 2)]

    async def test_failed_block_stores_nothing(self, client: Client, place: Place, order: str) -> None:
        async def block(version: int) -> None:
            async with client.transaction():
                await client.insert(order, 1)
                await client.add(Placed(1), stream=order, expected=version)
                if version == 0:
                    raise LookupError

        with pytest.raises(LookupError):
            await block(0)
        with pytest.raises(fait.WrongExpectedVersion):
            await block(7)
        await client.commit()

        assert (await place.count(order), await place.events(order)) == (None, [])


class TestSessionPsycopg(InPostgres, SessionContract):
    async def connect(self, place: Place) -> Client:
        return SqlClient(place, "psycopg", Session)


class TestSessionPsycopg2(InPostgres, SessionContract):
    async def connect(self, place: Place) -> Client:
        return SqlClient(place, "psycopg2", Session)


class TestSessionSqlite(InSqlite, SessionContract):
    async def connect(self, place: Place) -> Client:
        return SqlClient(place, "pysqlite", Session)


class TestConnectionPsycopg(InPostgres, ConnectionContract):
    async def connect(self, place: Place) -> Client:
        return SqlClient(place, "psycopg", Connection)


class TestConnectionPsycopg2(InPostgres, ConnectionContract):
    async def connect(self, place: Place) -> Client:
        return SqlClient(place, "psycopg2", Connection)


class TestConnectionSqlite(InSqlite, ConnectionContract):
    async def connect(self, place: Place) -> Client:
        return SqlClient(place, "pysqlite", Connection)


class TestAsyncSessionPsycopg(InPostgres, SessionContract):
    async def connect(self, place: Place) -> Client:
        return AsyncSqlClient(place, "psycopg", "session")


class TestAsyncSessionAsyncpg(InPostgres, SessionContract):
    async def connect(self, place: Place) -> Client:
        return AsyncSqlClient(place, "asyncpg", "session")


class TestAsyncSessionSqlite(InSqlite, SessionContract):
    async def connect(self, place: Place) -> Client:
        return AsyncSqlClient(place, "aiosqlite", "session")


class AsyncConnectionContract(ConnectionContract):
    driver = ""

    async def connect(self, place: Place) -> Client:
        client = AsyncSqlClient(place, self.driver, "connection")
        await client.connection.start()
        return client


class TestAsyncConnectionPsycopg(InPostgres, AsyncConnectionContract):
    driver = "psycopg"


class TestAsyncConnectionAsyncpg(InPostgres, AsyncConnectionContract):
    driver = "asyncpg"


class TestAsyncConnectionSqlite(InSqlite, AsyncConnectionContract):
    driver = "aiosqlite"
