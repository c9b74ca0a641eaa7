"""Ranges in PostgreSQL: statements of several processes that wait for each other."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import asyncpg
import pytest

from fait._store.open import open_store
from fait._store.ports.leases import Lease
from fait._store.ports.registrations import SLOTS, slot_of
from fait._store.ports.store import Store
from fait._store.postgres.identifiers import statements
from fait._store.postgres.url_options import parse_url
from fait._store.store_url import redacted_url
from fait.testing.contract.leases import NOTES, acquire, acquired, range_of, registration_of

pytestmark = pytest.mark.anyio


class Session:
    """A session with an open transaction, as that of another process."""

    def __init__(self, connection: Any, schema: str) -> None:
        self.connection = connection
        self._sql = statements(schema)

    async def run(self, statement: str, *values: Any) -> None:
        """Run a statement of the store in the transaction."""
        await self.connection.fetch(self._sql[statement], *values)

    async def until_blocking(self, task: "asyncio.Task[Any]") -> None:
        """Wait until a task of another session waits for this one, or has ended."""
        waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND pg_backend_pid() = ANY(pg_blocking_pids(pid))"
        while not task.done() and not await self.connection.fetchval(waiting):  # noqa: ASYNC110
            await asyncio.sleep(0.01)


@asynccontextmanager
async def opened(url: str) -> AsyncGenerator[tuple[Store, Session]]:
    options = parse_url(url, redacted_url(url))
    store = await open_store(url)
    connection = await asyncpg.connect(options.dsn, server_settings={"search_path": options.schema})
    try:
        async with asyncio.timeout(30):
            yield store, Session(connection, options.schema)
    finally:
        await connection.close()
        await store.close()


async def after_commit(session: Session, call: Coroutine[Any, Any, Any], *more: tuple[Any, ...]) -> Any:
    """Start a call, run statements when it waits for the open transaction, commit it, and return the call's result."""
    task = asyncio.create_task(call)
    await session.until_blocking(task)
    for statement, *values in more:
        await session.run(statement, *values)
    await session.connection.execute("COMMIT")
    return await task


def split_of(lease: Lease) -> tuple[Any, ...]:
    return "s", 1, 0, lease.worker, lease.fencing_token, 7, SLOTS


async def test_acquire_that_waits_for_a_record_has_the_failures_of_that_record(
    postgres_url: Callable[[], str],
) -> None:
    now = datetime(2024, 1, 15, tzinfo=UTC)
    async with opened(postgres_url()) as (store, session):
        lease = await acquired(store, "s")
        seen = await range_of(store, "s")
        await session.connection.execute("BEGIN")
        await session.run("move_range", "s", 1, 0, lease.fencing_token, 1, 9, 9, "{}")
        await session.run(
            "insert_failure", "s", 1, "a", 0, "retrying", 4, 1, "a", "id", "t", now, now, *[""] * 6, 0
        )  # fmt: skip

        again = await after_commit(session, acquire(store, seen, "me"))

        assert again is not None
        assert (again.frontier, [each.next_position for each in again.failures]) == (9, [4])


async def test_split_that_waits_for_a_pause_finds_its_lease_lost(postgres_url: Callable[[], str]) -> None:
    async with opened(postgres_url()) as (store, session):
        lease = await acquired(store, "s")
        await session.connection.execute("BEGIN")
        await session.run("set_paused", "s", True)

        is_split = await after_commit(session, store.leases.split(lease, 7), ("free_ranges", "s"))

        assert not is_split
        assert [(each.high, each.worker) for each in await store.leases.ranges()] == [(SLOTS, "")]


@pytest.mark.parametrize("change", ["pause", "accept", "rename", "reset", "forget"])
async def test_change_of_a_registration_that_waits_for_a_split_frees_both_halves(
    postgres_url: Callable[[], str], change: str
) -> None:
    async with opened(postgres_url()) as (store, session):
        await store.tables.create_table(NOTES)
        lease = await acquired(store, "s")
        registrations = store.registrations
        calls: dict[str, Coroutine[Any, Any, Any]] = {
            "pause": registrations.pause("s", by="ops", reason=""),
            "accept": registrations.accept(registration_of("s")),
            "rename": registrations.rename("s", "t"),
            "reset": registrations.reset(registration_of("s"), NOTES, 0),
            "forget": registrations.forget("s"),
        }
        await session.connection.execute("BEGIN")
        await session.run("split_range", *split_of(lease))

        await after_commit(session, calls.pop(change))
        for each in calls.values():
            each.close()

        rows = await session.connection.fetch("SELECT subscription, low, high, worker FROM fait_ranges ORDER BY 1, 2")
        assert {row["worker"] for row in rows} == {""}
        for name in {row["subscription"] for row in rows}:
            bounds = [(row["low"], row["high"]) for row in rows if row["subscription"] == name]
            assert bounds in ([(0, SLOTS)], [(0, 7), (7, SLOTS)])
            assert len(bounds) == (1 if change == "reset" else 2)


async def test_slots_are_those_of_sha256_in_sql(postgres_url: Callable[[], str]) -> None:
    sql = "SELECT get_byte(h, 0) * 256 + get_byte(h, 1) FROM (SELECT sha256(convert_to($1, 'UTF8')) AS h) AS hashed"
    async with opened(postgres_url()) as (_, session):
        for key in ("", "order-1", "größe-1", "𝄞"):
            assert await session.connection.fetchval(sql, key) == slot_of(key)
