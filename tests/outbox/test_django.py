"""The outbox in transactions of Django."""

from typing import Any

import pytest

import fait
from tests.outbox.clients import Changed, Client, Place, Placed, shop
from tests.outbox.contract import InPostgres, InSqlite, OutboxContract, RefusesInSqlite
from tests.outbox.django_clients import DjangoClient


class DjangoContract(OutboxContract):
    options: dict[str, Any] = {}

    async def connect(self, place: Place) -> Client:
        client = DjangoClient(place, **self.options)
        await client.connect()
        return client

    async def test_a_block_in_a_transaction_goes_with_it(  # type: ignore[override]
        self, client: Client, place: Place, order: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As blocks of `atomic()` do, in SQLite too; and the handlers are woken when all has committed."""
        rung: list[int] = []
        monkeypatch.setattr(shop, "_ring", rung.append)
        for end in (client.rollback, client.commit):
            await client.begin()
            async with client.transaction():
                await client.add(Changed(1), stream=order)
            assert rung == []
            await end()

        assert await place.events(order) == [("changed", 1, 1)]
        assert len(rung) == 1


class TestPostgres(InPostgres, DjangoContract):
    pass


class TestPostgresBindingOnTheServer(InPostgres, DjangoContract):
    options = {"server_side_binding": True}


class TestSqlite(InSqlite, DjangoContract, RefusesInSqlite):
    pass
