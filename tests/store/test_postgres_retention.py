"""Retention in PostgreSQL: expiring messages during appends, starting subscriptions, and manual SQL."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, cast
from uuid import uuid4

import asyncpg
import msgspec
import pytest

from fait._clock import ManualClock
from fait._errors import StoreUnavailable
from fait._events.envelope import EncodedEvent
from fait._store.open import open_store
from fait._store.ports.store import Store
from fait.testing.contract.leases import registration_of
from fait.testing.contract.store import START, added, everything, new, write
from tests.store.test_postgres_health import connected, in_schema
from tests.store.test_postgres_schema import grants

if TYPE_CHECKING:
    from fait._store.postgres.store import PostgresStore

APPEND = (
    "SELECT {0}.fait_append_1('{slow-1}', '{-1}', '{1}', '{1}', '{1}', array[gen_random_uuid()], '{t}', '{1}', "
    "array['1'], array['{}'])"
)


def message(*tags: str) -> EncodedEvent:
    return msgspec.structs.replace(new("mail", tags=tags), expires=True)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(START)


@pytest.fixture
def url(postgres_url: Callable[..., str]) -> str:
    return postgres_url()


@pytest.fixture
async def store(url: str, clock: ManualClock) -> AsyncIterator[Store]:
    store = await open_store(url, clock=clock)
    yield store
    await store.close()


async def expired(store: Store, clock: ManualClock, behind: int) -> int:
    clock.moment = START.replace(year=2025)
    return (await store.log.expire("mail", clock.now(), behind)).dropped


async def test_dropped_message_at_mark_does_not_lower_head(url: str, store: Store, clock: ManualClock) -> None:
    await added(store.log, write("a", [message()]))
    mark = await store.log.head()
    async with connected(url) as slow:
        await slow.execute("BEGIN")
        await slow.execute(in_schema(url, APPEND))
        await added(store.log, write("a"))
        assert await store.log.head() == mark
        assert await expired(store, clock, mark) == 1

        other = await open_store(url)

        assert await other.log.head() == await store.log.head() == mark
        await slow.execute("COMMIT")
        assert [each.stream for each in (await other.log.read(mark)).events] == ["slow-1", "a"]
        await other.close()


async def test_subscription_start_waits_for_open_expire_transaction(url: str, store: Store) -> None:
    registration = registration_of("late")
    async with connected(url) as dropping:
        await dropping.execute("BEGIN")
        await dropping.execute(in_schema(url, "SELECT {0}.fait_expire_messages_1('mail', now(), 0, 0, 1)"))

        starting = asyncio.create_task(store.registrations.register(registration, 0))
        await asyncio.sleep(0.1)

        assert not starting.done()
        await dropping.execute("ROLLBACK")
        assert await starting == registration


async def test_doctor_distinguishes_dropped_from_missing_events(url: str, store: Store, clock: ManualClock) -> None:
    await added(store.log, write("a", [message("x:1"), new(), message("x:1"), message("x:2")]), write("b", 3))
    assert await expired(store, clock, await store.log.head()) == 2
    await added(store.log, write("a", [message("x:3"), message(), message()]))

    assert await ill(store) == set()

    async with connected(url) as connection:
        await connection.execute("SET fait.maintenance = 'retention'")
        await connection.execute(in_schema(url, "DELETE FROM {0}.fait_messages WHERE version = 6"))
    assert await ill(store) == {"versions"}


async def ill(store: Store) -> set[str]:
    found = await cast("PostgresStore", store).examine()
    return {each.name for each in found if each.status != "ok"} - {"fsync"}


@pytest.mark.parametrize("setting", ["", "SET fait.maintenance = 'other'; "])
async def test_manual_delete_of_messages_is_rejected(url: str, store: Store, setting: str) -> None:
    await added(store.log, write("a", [message(), new()]))

    async with connected(url) as connection:
        with pytest.raises(asyncpg.RestrictViolationError, match="DELETE on fait_messages is not allowed"):
            await connection.execute(in_schema(url, f"{setting}DELETE FROM {{0}}.fait_messages"))
        with pytest.raises(asyncpg.RestrictViolationError, match="DELETE on fait_events is not allowed"):
            await connection.execute(in_schema(url, "SET fait.maintenance = 'retention'; DELETE FROM {0}.fait_events"))

    assert len(await everything(store.log)) == 2


async def test_delete_after_expire_in_same_transaction_is_rejected(url: str, store: Store, clock: ManualClock) -> None:
    await added(store.log, write("a", [message(), message(), new()]))

    async with connected(url) as connection:
        await connection.execute("BEGIN")
        await connection.execute(in_schema(url, "SELECT {0}.fait_expire_messages_1('mail', '2025-01-01', 1, 0, 1)"))
        with pytest.raises(asyncpg.RestrictViolationError):
            await connection.execute(in_schema(url, "DELETE FROM {0}.fait_messages"))


async def test_application_role_may_drop_messages_and_reader_role_may_not(
    url: str, store: Store, clock: ManualClock
) -> None:
    await added(store.log, write("a", [message("x:1"), new()]))
    app, reader = (f"role_{uuid4().hex[:8]}" for _ in range(2))
    async with connected(url) as owner:
        await owner.execute(f"CREATE ROLE {app} LOGIN; CREATE ROLE {reader} LOGIN; {grants(url, app, reader)}")
        try:
            for role in (reader, app):
                mine = await open_store(url.replace("postgres@", f"{role}@"), clock=clock, create=False)
                head = await mine.log.head()
                if role == reader:
                    with pytest.raises(StoreUnavailable, match="the role lacks a privilege"):
                        await expired(mine, clock, head)
                else:
                    assert await expired(mine, clock, head) == 1
                await mine.close()
        finally:
            await owner.execute(f"DROP OWNED BY {app}, {reader}; DROP ROLE {app}, {reader}")

    assert [each.version for each in await everything(store.log)] == [2]
