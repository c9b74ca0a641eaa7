"""A log that was restored, failed over, adopted, or copied without its sequence: no process appends or reads it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qs, urlsplit

import asyncpg
import pytest

import fait
from fait._errors import StoreUnavailable
from fait._events.append import Appended, StreamWrite
from fait._events.query import Query
from fait._store.open import open_admin, open_store
from fait._store.ports.log import Log
from fait._store.ports.store import Store
from fait._store.postgres import appender, high_water_mark
from fait._store.postgres.connection import LogMoved
from fait._store.postgres.external_transaction import append as external_append
from fait._store.postgres.identity import server_timeline
from fait.testing.contract.store import added, everything, new, write
from fait.testing.contract.turns import let_readers_wait
from tests.faults import appends
from tests.faults.appends import append_of

FAILOVER = "UPDATE {0}.fait_log SET timeline = timeline + 1; SELECT {0}.fait_confirm_1()"
"""The timeline of the server differs from the recorded one, as after a failover."""

SETVAL = "SELECT setval('{0}.fait_position', 2)"
RESTART = "ALTER SEQUENCE {0}.fait_position RESTART"
"""The events are there, and the sequence is below them, as after logical replication or a partial restore."""

BELOW = r"sequence fait_position is below the event at position 3.*fait log adopt --in-place"
SEQUENCES = pytest.mark.parametrize("damage", [SETVAL, RESTART], ids=["setval", "restart"])

KINDS = (*appends.KINDS, "bulk")

READS: dict[str, Callable[[Log], Awaitable[Any]]] = {
    "page": lambda log: log.read(3),
    "tags": lambda log: log.read(0, query=Query(tags=("a:1",))),
    "head": lambda log: log.head(),
}


def schema_of(url: str) -> str:
    return parse_qs(urlsplit(url).query)["schema"][0]


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[Any]:
    connection = await asyncpg.connect(url.partition("?")[0])
    try:
        yield connection
    finally:
        await connection.close()


async def run(url: str, sql: str) -> None:
    async with connected(url) as connection:
        await connection.execute(sql.replace("{0}", schema_of(url)))


@pytest.fixture
def url(postgres_url: Callable[..., str]) -> str:
    return postgres_url()


@pytest.fixture
async def store(url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Store]:
    """A store with three events, whose connections are not checked when they are opened: as behind a pooler."""
    monkeypatch.setattr(appender, "MIN_BULK_EVENTS", 9)
    store = await open_store(url)
    vars(store)["_database"].on_connect = None
    await added(store.log, write("kept-1", 3))
    yield store
    await store.close()


def some(kind: str) -> appends.Append:
    return append_of(kind, "kept-1", 3) if kind != "bulk" else ([appends.write("kept-1", count=12)], None)


async def stored_events(url: str) -> int:
    async with connected(url) as connection:
        return await connection.fetchval(f"SELECT count(*) FROM {schema_of(url)}.fait_all_events")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("damage", "message"),
    [
        pytest.param(FAILOVER, r"timeline changed from 2 to 1.*fait log adopt", id="failover"),
        pytest.param("adopt", r"adopted, and a new epoch started.*Restart", id="adopt"),
        pytest.param(SETVAL, BELOW, id="setval"),
        pytest.param(RESTART, BELOW, id="restart"),
    ],
)
async def test_append_of_running_process_to_moved_log_is_refused(
    url: str, store: Store, kind: str, damage: str, message: str
) -> None:
    if damage == "adopt":
        await open_admin(url).adopt(in_place=True, dry_run=False)
    else:
        await run(url, damage)

    for _ in range(2):
        with pytest.raises(LogMoved, match=message) as raised:
            await store.log.append(*some(kind))
        assert raised.value.outcome == "not_written"

    assert await stored_events(url) == 3


async def test_batch_of_running_process_to_moved_log_is_refused(url: str, store: Store) -> None:
    await run(url, FAILOVER)

    outcomes = await asyncio.gather(
        *(store.log.append(*append_of("any", f"s-{n}", 0)) for n in range(20)), return_exceptions=True
    )

    assert {type(each) for each in outcomes} == {LogMoved}
    assert await stored_events(url) == 3


@pytest.mark.parametrize("read", READS)
@pytest.mark.parametrize("damage", [FAILOVER, "adopt"], ids=["failover", "adopt"])
async def test_read_of_running_process_from_moved_log_is_refused(
    url: str, store: Store, read: str, damage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(high_water_mark, "MAX_MARK_AGE_S", 0.0)
    await store.log.head()
    if damage == "adopt":
        await open_admin(url).adopt(in_place=True, dry_run=False)
    else:
        await run(url, damage)

    with pytest.raises(LogMoved):
        await READS[read](store.log)


async def test_waiting_reader_and_append_get_error_when_reader_notices(url: str, store: Store) -> None:
    assert await store.log.head() == 3
    waiting = asyncio.create_task(store.log.wait_for_events(3))
    await let_readers_wait(store.log)

    await run(url, FAILOVER)

    with pytest.raises(LogMoved):
        await asyncio.wait_for(waiting, 10)
    await run(url, "UPDATE {0}.fait_log SET timeline = timeline - 1; SELECT {0}.fait_confirm_1()")
    with pytest.raises(LogMoved):
        await store.log.append(*some("any"))
    with pytest.raises(LogMoved):
        await store.log.wait_for_events(3)


async def test_iteration_that_follows_log_ends_when_append_notices(url: str) -> None:
    app = fait.App("moved")
    async with app.open(url) as system:
        vars(system._store)["_database"].on_connect = None
        await added(system.store.log, write("kept-1", 3))
        events = system.events(follow_on=True)
        assert [(await anext(events)).position for _ in range(3)] == [1, 2, 3]
        following = asyncio.create_task(anext(events))
        await run(url, FAILOVER)
        with pytest.raises(LogMoved):
            await system.store.log.append(*some("any"))
        with pytest.raises(LogMoved):
            await asyncio.wait_for(following, 10)


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("damage", [FAILOVER, SETVAL, RESTART], ids=["failover", "setval", "restart"])
async def test_append_of_outbox_to_moved_log_is_refused(url: str, store: Store, damage: str, count: int) -> None:
    await run(url, damage)
    writes = [appends.write("kept-1", count=count)]
    statement = next(external_append(writes, schema_of(url), check_ids=False))
    sql = statement.sql.replace("?", "$1", 1).replace("?", "$2", 1).replace("?", "$3", 1)

    async with connected(url) as connection:
        with pytest.raises(asyncpg.PostgresError) as raised:
            await connection.fetch(sql, *statement.values)

    assert raised.value.sqlstate == "FA003"
    assert await stored_events(url) == 3


@SEQUENCES
async def test_log_with_sequence_below_last_event_is_refused_until_adopted(url: str, store: Store, damage: str) -> None:
    await run(url, damage)

    with pytest.raises(StoreUnavailable, match=r"below its last event at position 3.*fait log adopt --in-place"):
        await open_store(url)
    [sequence] = [each for each in await store.examine() if each.name == "sequence"]
    assert (sequence.status, "below the last event" in sequence.detail) == ("problem", True)

    await open_admin(url).adopt(in_place=True, dry_run=True)
    with pytest.raises(StoreUnavailable, match="below its last event"):
        await open_store(url)
    await open_admin(url).adopt(in_place=True, dry_run=False)
    adopted = await open_store(url)
    try:
        assert (await added(adopted.log, write("kept-1"))).position == 4
        assert [each.position for each in await everything(adopted.log)] == [1, 2, 3, 4]
    finally:
        await adopted.close()


WITHOUT_ROWS = {
    "tags": "TRUNCATE {0}.fait_tags",
    "streams": "TRUNCATE {0}.fait_streams",
    "an earlier state of streams": "UPDATE {0}.fait_streams SET version = 1",
}


@pytest.mark.parametrize("damage", WITHOUT_ROWS.values(), ids=WITHOUT_ROWS)
async def test_log_with_events_without_tags_or_streams_is_refused_until_adopted(
    url: str, store: Store, damage: str
) -> None:
    await added(store.log, write("kept-1", [new(tags=("a:1",)), new(tags=("a:1",))]))
    await added(store.log, write("kept-1", 600))  # all of the newest events that are checked have no tags
    await run(url, damage)

    with pytest.raises(StoreUnavailable, match=r"fait_tags .* lack rows.*fait log adopt --in-place"):
        await open_store(url)

    for dry_run in (True, False):
        await open_admin(url).adopt(in_place=True, dry_run=dry_run)
    adopted = await open_store(url)
    try:
        assert await adopted.log.versions(["kept-1"]) == [605]
        assert [each.position for each in (await adopted.log.read(0, query=Query(tags=("a:1",)))).events] == [4, 5]
    finally:
        await adopted.close()


async def test_adoption_does_not_lower_sequence(url: str, store: Store) -> None:
    await run(url, "SELECT setval('{0}.fait_position', 40)")
    await open_admin(url).adopt(in_place=True, dry_run=False)

    adopted = await open_store(url)
    try:
        result = await adopted.log.append([StreamWrite("kept-1", (appends.event(),), appends.ANY)])
    finally:
        await adopted.close()
    assert isinstance(result, Appended)
    assert result.position == 41


async def test_log_copied_without_its_functions_is_refused_until_adopted(url: str, store: Store) -> None:
    epoch = store.log.identity.epoch_id
    await open_admin(url).adopt(in_place=True, dry_run=False)
    await run(url, f"UPDATE {{0}}.fait_log SET epoch_id = '{epoch}'")

    with pytest.raises(LogMoved, match=r"copied without its functions.*fait log adopt"):
        await open_store(url)
    await open_admin(url).adopt(in_place=False, dry_run=False)
    await (await open_store(url)).close()


async def test_functions_know_timeline_of_server(url: str, store: Store) -> None:
    database = vars(store)["_database"]
    async with database.connection() as connection:
        current = await server_timeline(database, connection)
        assert await connection.fetchval(f"SELECT {schema_of(url)}.fait_timeline_1()") == current.timeline


HIDDEN = {
    "fait_events": "CREATE POLICY p ON {0}.fait_events USING (stream NOT LIKE 'secret%')",
    "fait_messages": "CREATE POLICY p ON {0}.fait_messages USING (false)",
    "fait_streams": "CREATE POLICY p ON {0}.fait_streams USING (true)",
    "fait_log": "CREATE POLICY p ON {0}.fait_log USING (false)",
}


@pytest.mark.parametrize("table", HIDDEN)
async def test_store_with_row_level_security_for_role_is_refused(url: str, store: Store, table: str) -> None:
    role = f"role_{table}_{schema_of(url)[-8:]}"
    enable = "ALTER TABLE {0}." + table + " ENABLE ROW LEVEL SECURITY; " + HIDDEN[table]
    await run(url, enable + f"; CREATE ROLE {role} LOGIN; GRANT USAGE ON SCHEMA {{0}} TO {role}")
    await run(url, f"GRANT SELECT ON ALL TABLES IN SCHEMA {{0}} TO {role}")
    of_role = url.replace("postgres@", f"{role}@")
    try:
        with pytest.raises(StoreUnavailable, match=f"row-level security .* hide rows of {table}, .*BYPASSRLS"):
            await open_store(of_role, create=False)
        await run(url, f"ALTER ROLE {role} BYPASSRLS")
        await (await open_store(of_role, create=False)).close()
        await (await open_store(url)).close()  # of a superuser, whom it does not restrict
    finally:
        await run(url, f"DROP OWNED BY {role}; DROP ROLE {role}")


async def test_doctor_finds_row_level_security_of_owner(url: str, store: Store) -> None:
    role = f"owner_{schema_of(url)[-8:]}"
    await run(url, f"CREATE ROLE {role} LOGIN; ALTER TABLE {{0}}.fait_events OWNER TO {role}")
    await run(url, "ALTER TABLE {0}.fait_events ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY")
    try:
        [found] = [each for each in await store.examine() if each.name == "row security"]
        assert (found.status, "fait_events" in found.detail) == ("problem", True)
    finally:
        await run(url, f"REASSIGN OWNED BY {role} TO postgres; DROP ROLE {role}")
