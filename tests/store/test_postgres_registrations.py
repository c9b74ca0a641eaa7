"""Registrations in PostgreSQL: changes by several processes at the same time."""

import asyncio
from collections.abc import Callable

import asyncpg
import pytest

from fait._store.open import open_admin, open_store
from fait._store.ports.registrations import RangeKey
from fait._store.postgres.connection import parse_url
from fait._store.store_url import redacted_url
from fait.testing.contract.leases import registration_of

pytestmark = pytest.mark.anyio


async def test_adoption_waits_for_a_change_of_a_registration_without_a_deadlock(
    postgres_url: Callable[[], str],
) -> None:
    url = postgres_url()
    store = await open_store(url)
    await store.registrations.register(registration_of("s"), 0)
    options = parse_url(url, redacted_url(url))
    connection = await asyncpg.connect(options.dsn, server_settings={"search_path": options.schema})
    async with asyncio.timeout(30):
        async with connection.transaction():  # changes a registration and then its ranges, as `accept` does
            await connection.execute("UPDATE fait_subscriptions SET revision = revision + 1")
            adoption = asyncio.create_task(open_admin(url).adopt(in_place=True, dry_run=False))
            waiting = (
                "SELECT count(*) FROM pg_locks WHERE NOT granted AND pg_backend_pid() = ANY(pg_blocking_pids(pid))"
            )
            while not await connection.fetchval(waiting):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            await connection.execute("UPDATE fait_ranges SET fencing_token = fencing_token + 1")
        await adoption
        await connection.close()

    current = await store.leases.range(RangeKey("s"))
    assert current is not None
    assert current.fencing_token == 2
    await store.close()
