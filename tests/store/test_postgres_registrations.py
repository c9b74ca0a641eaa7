"""Registrations in PostgreSQL: changes by several processes at the same time."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest

import fait
from fait._store.open import open_admin, open_store
from fait._store.ports.registrations import RangeKey
from fait._store.postgres.url_options import parse_url
from fait._store.store_url import redacted_url
from fait.testing.contract.leases import registration_of

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def connected(url: str) -> AsyncGenerator[Any]:
    """Connect to the database of a store, outside of the store."""
    options = parse_url(url, redacted_url(url))
    connection = await asyncpg.connect(options.dsn, server_settings={"search_path": options.schema})
    try:
        yield connection
    finally:
        await connection.close()


@fait.event("gate.opened")
class Opened:
    pass


async def test_app_opens_while_an_open_transaction_holds_back_the_head(postgres_url: Callable[[], str]) -> None:
    """The ticket of an append that has drawn no position yet: readers that know the events before it have passed it."""
    url, app = postgres_url(), fait.App("gates")

    @app.on(Opened)
    async def handle(event: Opened) -> None: ...

    async with app.open(url) as s, connected(url) as connection:
        await s.wait(await s.publish(Opened(), stream="gate-1"))
        async with connection.transaction():
            await connection.execute(
                "LOCK TABLE fait_streams IN ROW EXCLUSIVE MODE; "
                "SELECT pg_advisory_xact_lock_shared('fait_position'::regclass::oid::integer, last_value::integer) "
                "FROM fait_position"
            )
            result = await s.publish(Opened(), stream="gate-1")
            await s.wait(result)
            while (await s.store.leases.ranges())[0].position < result.position:  # noqa: ASYNC110
                await asyncio.sleep(0.01)

            async with app.open(url) as other:
                assert await other.store.log.head() < result.position  # the transaction holds it back
                assert await other.store.log.last_position() == result.position


async def test_adoption_waits_for_a_change_of_a_registration_without_a_deadlock(
    postgres_url: Callable[[], str],
) -> None:
    url = postgres_url()
    store = await open_store(url)
    await store.registrations.register(registration_of("s"), 0)
    async with asyncio.timeout(30), connected(url) as connection:
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

    current = await store.leases.range(RangeKey("s"))
    assert current is not None
    assert current.fencing_token == 2
    await store.close()
