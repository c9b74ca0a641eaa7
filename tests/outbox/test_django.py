"""The outbox adapter for Django."""

import subprocess
import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from tests.outbox.clients import Changed, Client, Place, shop
from tests.outbox.contract import InPostgres, InSqlite, OutboxContract, SqliteContract
from tests.outbox.django_clients import DjangoClient

ROOT = Path(__file__).parents[2]
WITH_PSYCOPG2 = ["-qq", "-p", "no:cacheprovider", "-k", "TestPostgres or TestInPostgres", "tests/outbox/test_django.py"]
WITH_PSYCOPG2 += ["tests/outbox/test_django_details.py"]


class DjangoContract(OutboxContract):
    options: Mapping[str, Any] = MappingProxyType({})

    async def connect(self, place: Place) -> Client:
        client = DjangoClient(place, **self.options)
        await client.connect()
        return client

    async def test_block_in_a_transaction_is_part_of_it(  # type: ignore[override]
        self, client: Client, place: Place, order: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As with `atomic()`, also in SQLite. The handlers are woken after the commit of the outermost block."""
        calls: list[str] = []
        monkeypatch.setattr(shop, "_notify_systems", lambda: calls.append("once"))
        for end in (client.rollback, client.commit):
            await client.begin()
            async with client.transaction():
                await client.add(Changed(1), stream=order)
            assert calls == []
            await end()

        assert await place.events(order) == [("changed", 1, 1)]
        assert calls == ["once"]


class TestPostgres(InPostgres, DjangoContract):
    pass


class TestPostgresBindingOnTheServer(InPostgres, DjangoContract):
    options = MappingProxyType({"server_side_binding": True})


class TestSqlite(InSqlite, DjangoContract, SqliteContract):
    pass


def test_contract_holds_on_psycopg2() -> None:
    """Django uses psycopg2 if psycopg 3 cannot be imported, so this runs in a process without it."""
    program = f"""
        import sys
        sys.modules["psycopg"] = None
        import pytest
        ended = pytest.main({WITH_PSYCOPG2})
        from django.db.backends.postgresql.psycopg_any import is_psycopg3
        assert not is_psycopg3
        sys.exit(ended)
    """
    ran = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert ran.returncode == 0, ran.stdout + ran.stderr
