"""The outbox adapter for psycopg 3, synchronous and asynchronous."""

import re
from collections.abc import Generator
from contextlib import contextmanager, suppress
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row
from psycopg.types.json import set_json_loads
from psycopg_pool import AsyncConnectionPool, ConnectionPool

import fait
from tests.outbox.clients import AsyncClient, Client, Place, Placed, ThreadClient, shop
from tests.outbox.contract import InPostgres, OutboxContract


class PsycopgClient(ThreadClient):
    def __init__(self, place: Place) -> None:
        super().__init__()
        self.place = place
        self._begun: list[Any] = []

    async def begin(self, isolation: str | None = None) -> None:
        level = isolation and psycopg.IsolationLevel[isolation.replace(" ", "_")]
        await self.do(self.connection.set_isolation_level, level)
        await self.savepoint()

    async def commit(self) -> None:
        await self.do(self._begun.pop().__exit__, None, None, None)

    async def rollback(self) -> None:
        def roll_back() -> None:
            self._begun.pop().__exit__(psycopg.Rollback, psycopg.Rollback(), None)

        await self.do(roll_back)

    async def savepoint(self) -> None:
        block = self.connection.transaction()
        await self.do(block.__enter__)
        self._begun.append(block)

    async def rollback_savepoint(self) -> None:
        await self.rollback()

    async def execute(self, sql: str) -> None:
        await self.do(self.connection.execute, sql.encode())


class AsyncPsycopgClient(AsyncClient):
    def __init__(self, connection: Any, place: Place) -> None:
        self.connection = connection
        self.place = place
        self._begun: list[Any] = []

    async def begin(self, isolation: str | None = None) -> None:
        await self.connection.set_isolation_level(isolation and psycopg.IsolationLevel[isolation.replace(" ", "_")])
        await self.savepoint()

    async def commit(self) -> None:
        await self._begun.pop().__aexit__(None, None, None)

    async def rollback(self) -> None:
        await self._begun.pop().__aexit__(psycopg.Rollback, psycopg.Rollback(), None)

    async def savepoint(self) -> None:
        block = self.connection.transaction()
        await block.__aenter__()
        self._begun.append(block)

    async def rollback_savepoint(self) -> None:
        await self.rollback()

    async def execute(self, sql: str) -> None:
        await self.connection.execute(sql.encode())

    async def close(self) -> None:
        await self.connection.close()


class TestPsycopg(InPostgres, OutboxContract):
    async def connect(self, place: Place) -> Client:
        client = PsycopgClient(place)
        client.connection = await client.do(lambda: psycopg.connect(place.address, autocommit=True))
        return client


class TestAsyncPsycopg(InPostgres, OutboxContract):
    async def connect(self, place: Place) -> Client:
        return AsyncPsycopgClient(await psycopg.AsyncConnection.connect(place.address, autocommit=True), place)


@contextmanager
def connected(place: Place, **options: Any) -> Generator[psycopg.Connection[Any]]:
    with psycopg.connect(place.address, **options) as connection:
        yield connection


class TestConnections(InPostgres):
    @pytest.fixture
    def order(self) -> str:
        return f"order-{fait.new_id()}"

    async def test_implicitly_begun_transaction_stores_events(self, place: Place, order: str) -> None:
        connection = psycopg.connect(place.address)
        outbox = shop.outbox(connection, schema=place.schema)
        outbox.add(Placed(1), stream=order)
        connection.commit()
        outbox.add(Placed(2), stream=order)
        connection.rollback()
        connection.execute("SELECT 1")
        outbox.add(Placed(3), stream=order)
        connection.commit()
        connection.close()

        assert await place.events(order) == [("placed", 1, 1), ("placed", 2, 3)]

    async def test_block_in_an_implicit_transaction_does_not_commit(self, place: Place, order: str) -> None:
        connection = psycopg.connect(place.address)
        connection.execute("SELECT 1")
        with shop.outbox(connection, schema=place.schema).transaction() as outbox:
            outbox.add(Placed(1), stream=order)
        assert await place.events(order) == []
        connection.commit()
        connection.close()

        assert await place.events(order) == [("placed", 1, 1)]

    @pytest.mark.parametrize(
        "options",
        [
            {"row_factory": dict_row},
            {"cursor_factory": psycopg.ClientCursor},
            {"cursor_factory": psycopg.RawCursor},
            {"prepare_threshold": 0},
            {"prepare_threshold": None},
        ],
        ids=["dict rows", "client cursors", "raw cursors", "prepared at once", "never prepared"],
    )
    async def test_configuration_of_the_connection_has_no_effect(
        self, place: Place, order: str, options: dict[str, Any]
    ) -> None:
        with connected(place, **options) as connection:
            set_json_loads(lambda text: {"mine": text}, connection)
            shop.outbox(connection, schema=place.schema).add(Placed(1), stream=order)
            connection.commit()
            with shop.outbox(connection, schema=place.schema).transaction() as outbox:
                outbox.add(Placed(2), stream=order)

        assert await place.events(order) == [("placed", 1, 1), ("placed", 2, 2)]

    async def test_asynchronous_connection_with_a_row_factory(self, place: Place, order: str) -> None:
        async with await psycopg.AsyncConnection.connect(place.address, row_factory=dict_row) as connection:
            await shop.outbox(connection, schema=place.schema).add(Placed(1), stream=order)

        assert await place.events(order) == [("placed", 1, 1)]

    async def test_pool_connections_store_events(self, place: Place, order: str) -> None:
        with ConnectionPool(place.address, min_size=1, open=True) as pool:
            with pool.connection() as connection:
                shop.outbox(connection, schema=place.schema).add(Placed(1), stream=order)
            with pytest.raises(fait.UsageError, match="takes a connection"):
                shop.outbox(pool)
        async with (
            AsyncConnectionPool(place.address, min_size=1, open=False) as pool,
            pool.connection() as connection,
            shop.outbox(connection, schema=place.schema).transaction() as outbox,
        ):
            await outbox.add(Placed(2), stream=order)

        assert await place.events(order) == [("placed", 1, 1), ("placed", 2, 2)]

    def test_cursor_is_rejected(self, place: Place) -> None:
        with connected(place) as connection, pytest.raises(fait.UsageError, match=r"not Cursor.*`cursor\.connection`"):
            shop.outbox(connection.cursor())

    async def test_add_in_pipeline_mode_raises_usage_error(self, place: Place, order: str) -> None:
        with connected(place) as connection:
            outbox = shop.outbox(connection, schema=place.schema)
            with connection.pipeline():
                connection.execute("SELECT 1")
                with pytest.raises(fait.UsageError, match="pipeline"):
                    outbox.add(Placed(1), stream=order)
            outbox.add(Placed(2), stream=order)

        assert await place.events(order) == [("placed", 1, 2)]

    async def test_add_in_a_failed_transaction_raises_usage_error(self, place: Place, order: str) -> None:
        with connected(place) as connection:
            with pytest.raises(psycopg.errors.UndefinedTable):
                connection.execute("SELECT * FROM nothing")
            with pytest.raises(fait.UsageError, match="earlier statement"):
                shop.outbox(connection, schema=place.schema).add(Placed(1), stream=order)

        assert await place.events(order) == []

    async def test_add_on_a_busy_connection_raises_usage_error(self, place: Place, order: str) -> None:
        with (
            connected(place, autocommit=True) as connection,
            connection.cursor().copy("COPY (SELECT 1) TO STDOUT") as copy,
        ):
            with pytest.raises(fait.UsageError, match="busy"):
                shop.outbox(connection, schema=place.schema).add(Placed(1), stream=order)
            list(copy)

        assert await place.events(order) == []

    async def test_add_in_a_read_only_transaction_raises_store_unavailable(self, place: Place, order: str) -> None:
        with connected(place) as connection:
            connection.read_only = True
            with pytest.raises(fait.StoreUnavailable, match="READ ONLY"):
                shop.outbox(connection, schema=place.schema).add(Placed(1), stream=order)
            connection.rollback()

    async def test_commit_is_durable_although_the_session_disables_it(self, place: Place, order: str) -> None:
        with connected(place) as connection:
            connection.execute("SET synchronous_commit = off")
            shop.outbox(connection, schema=place.schema).add(Placed(1), stream=order)
            assert connection.execute("SHOW synchronous_commit").fetchone() == ("on",)
            assert connection.execute("SHOW idle_in_transaction_session_timeout").fetchone() == ("1min",)
            connection.commit()
            assert connection.execute("SHOW synchronous_commit").fetchone() == ("off",)
            assert connection.execute("SHOW idle_in_transaction_session_timeout").fetchone() == ("0",)

    async def test_plain_sql_savepoint_in_a_block_removes_only_its_events(self, place: Place, order: str) -> None:
        with connected(place) as connection, shop.outbox(connection, schema=place.schema).transaction() as outbox:
            connection.execute("SAVEPOINT here")
            outbox.add(Placed(1), stream=order)
            connection.execute("ROLLBACK TO here")
            outbox.add(Placed(2), stream=order)
            connection.execute("RELEASE here")

        assert await place.events(order) == [("placed", 1, 2)]

    async def test_block_with_a_manually_ended_transaction_raises_usage_error(self, place: Place, order: str) -> None:
        def block() -> None:
            with shop.outbox(connection, schema=place.schema).transaction() as outbox:
                outbox.add(Placed(1), stream=order)
                connection.execute("COMMIT")

        with (
            connected(place, autocommit=True) as connection,
            pytest.raises(fait.UsageError, match="ended by hand"),
        ):
            block()

        assert await place.events(order) == []

    async def test_nested_blocks(self, place: Place, order: str) -> None:
        with connected(place) as connection:
            outer, inner = (shop.outbox(connection, schema=place.schema) for _ in range(2))
            with outer.transaction():
                outer.add(Placed(1), stream=f"{order}-a")
                with suppress(LookupError), inner.transaction():
                    inner.add(Placed(2), stream=f"{order}-c")
                    outer.add(Placed(3), stream=f"{order}-c")
                    raise LookupError
                with inner.transaction():
                    inner.add(Placed(4), stream=f"{order}-b")
                    inner.add(Placed(5), stream=f"{order}-b")
                with pytest.raises(fait.UsageError, match="already open"), outer.transaction():
                    pass

        assert [await place.events(f"{order}-{name}") for name in "abc"] == [
            [("placed", 1, 1)],
            [("placed", 1, 4), ("placed", 2, 5)],
            [],
        ]

    def test_autocommit_connection_executes_no_statement(self, place: Place, order: str) -> None:
        with connected(place, autocommit=True) as connection:
            with pytest.raises(fait.UsageError, match=re.escape("`with connection.transaction():`")):
                shop.outbox(connection, schema=place.schema).add(Placed(1), stream=order)
            assert connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
