"""The part of the outbox contract about errors of the server: all adapters raise the same errors of fait."""

import asyncio
import re
from collections.abc import AsyncGenerator
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

import fait
from fait._store.open import open_admin
from tests.outbox.clients import Client, Place, Placed, shop


def _needs_postgres(place: Place) -> None:
    if place.dialect == "sqlite":
        pytest.skip("an SQLite file has one writer, no sessions and no encodings")


class ServerErrors:
    """Tests of lost connections, timeouts, encodings and concurrent keys; `OutboxContract` explains the attributes."""

    stores_on_add = True
    has_blocks = True

    async def connect(self, place: Place) -> Client:
        raise NotImplementedError

    @pytest.fixture
    async def latin1(self, place: Place) -> AsyncGenerator[Place]:
        """A database whose encoding is LATIN1, with the tables of a log."""
        _needs_postgres(place)
        name = f"latin1_{uuid4().hex}"
        await place.run(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING LATIN1 LC_COLLATE 'C' LC_CTYPE 'C'")
        address = place.address.rpartition("/")[0] + "/" + name
        other = place._replace(url=address, address=address, schema="public", orders="orders")
        connection = await asyncpg.connect(address)
        await connection.execute(await open_admin(address).script(from_scratch=True))
        await connection.close()
        yield other
        await place.run(f"DROP DATABASE {name} WITH (FORCE)")

    async def _error_of(self, error: type[fait.FaitError], client: Client, event: object, **options: Any) -> str:
        """The message of the error raised by `add`, or by the commit; rolls back afterwards."""

        async def attempt() -> None:
            await client.add(event, **options)
            if not self.stores_on_add:
                await client.commit()

        with pytest.raises(error) as raised:
            await attempt()
        await client.rollback()
        return str(raised.value)

    @pytest.mark.parametrize("name", ["key", "id"])
    @pytest.mark.parametrize("stream", ["same", "other"])
    async def test_key_or_id_of_a_concurrent_transaction_raises_store_unavailable(
        self, client: Client, place: Place, order: str, name: str, stream: str
    ) -> None:
        _needs_postgres(place)
        named, stream = {name: fait.new_id()}, order if stream == "same" else f"{order}-other"
        connection = await asyncpg.connect(place.address)
        async with connection.transaction():
            await shop.outbox(connection, schema=place.schema).add(Placed(1), stream=stream, **named)
            await client.begin()
            second = asyncio.create_task(
                self._error_of(fait.StoreUnavailable, client, Placed(1), stream=order, **named)
            )
            await place.wait_for_lock()
        message = await second
        await connection.close()

        assert "another transaction has stored an event with the same id or key" in message
        assert "Nothing was written" in message
        await client.begin()  # the message says to retry
        await client.add(Placed(1), stream=stream, **named)
        await client.commit()
        assert await place.events(stream) == [("placed", 1, 1)]

    async def test_add_after_the_server_has_ended_the_session_raises_store_unavailable(
        self, client: Client, place: Place, order: str
    ) -> None:
        _needs_postgres(place)
        await client.begin()
        await client.execute(f"SET application_name = '{order}'")
        await place.run(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = '{order}'")

        async def attempt() -> None:
            await client.add(Placed(1), stream=order)
            await client.commit()

        with pytest.raises(fait.StoreUnavailable, match=r"connection .* is lost.*Nothing was written"):
            await attempt()

    async def test_block_after_the_server_has_ended_the_session_raises_store_unavailable(
        self, client: Client, place: Place, order: str
    ) -> None:
        _needs_postgres(place)
        if not self.has_blocks:
            pytest.skip("its blocks are the library's")
        await client.begin()
        await client.execute(f"SET application_name = '{order}'")
        await client.commit()
        await place.run(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = '{order}'")

        with pytest.raises(fait.StoreUnavailable, match=r"connection .* is lost.*Nothing was written"):
            async with client.transaction():
                await client.add(Placed(1), stream=order)

    async def test_add_to_a_moved_log_raises_store_unavailable(self, client: Client, place: Place, order: str) -> None:
        _needs_postgres(place)
        timeline = f"UPDATE {place.schema}.fait_log SET timeline = timeline"
        await client.begin()
        await place.run(f"{timeline} + 1")
        await place.run(f"SELECT {place.schema}.fait_confirm_1()")
        try:
            message = await self._error_of(fait.StoreUnavailable, client, Placed(1), stream=order)
        finally:
            await place.run(f"{timeline} - 1")
            await place.run(f"SELECT {place.schema}.fait_confirm_1()")

        assert "fait log adopt" in message

    @pytest.mark.parametrize("setting", ["lock_timeout", "statement_timeout"])
    async def test_add_after_a_timeout_of_the_server_raises_store_unavailable(
        self, client: Client, place: Place, order: str, setting: str
    ) -> None:
        _needs_postgres(place)
        connection = await asyncpg.connect(place.address)
        async with connection.transaction():
            await shop.outbox(connection, schema=place.schema).add(Placed(1), stream=order)
            await client.begin()
            await client.execute(f"SET LOCAL {setting} = '100ms'")
            message = await self._error_of(fait.StoreUnavailable, client, Placed(1), stream=order)
        await connection.close()

        assert re.search(r"timeout.*Roll back, and retry", message)

    @pytest.mark.parametrize("where", ["stream", "tags", "key", "scope", "id", "data"])
    async def test_lone_surrogate_is_rejected_before_any_statement(
        self, client: Client, place: Place, order: str, where: str
    ) -> None:
        value = "a-\ud800"
        event = fait.Untyped("outbox.placed", {"count": value}) if where == "data" else Placed(1)
        options = {"stream": order, **({"key": "k"} if where == "scope" else {})}
        options |= {where: [value] if where == "tags" else value} if where != "data" else {}
        await client.begin()
        with pytest.raises(fait.FaitError):
            await client.add(event, **options)
        await client.add(Placed(1), stream=order)
        await client.commit()

        assert await place.events(order) == [("placed", 1, 1)]

    async def test_database_that_is_not_utf8_raises_usage_error(self, place: Place, order: str, latin1: Place) -> None:
        client = await self.connect(latin1)
        await client.begin()
        message = await self._error_of(fait.UsageError, client, Placed(1), stream=order, tags=["a:€"])
        await client.close()

        assert "UTF8" in message
