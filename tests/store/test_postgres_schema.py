"""The database schema in PostgreSQL: concurrent setup, unusual names, and roles with least privileges."""

import asyncio
import logging
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import parse_qs, quote, urlencode, urlsplit
from uuid import uuid4

import asyncpg
import pytest

import fait
from fait._errors import FaitError, StoreTooNew, StoreUnavailable, UsageError
from fait._events.query import Query
from fait._store.adoption import Adoption
from fait._store.migrations import Migration, load_migrations
from fait._store.open import open_admin, open_store
from fait._store.ports.log import epoch_of
from fait._store.ports.store import Finding, Store
from fait.testing.contract.store import added, everything, new, write
from tests.servers.postgres import installations

if TYPE_CHECKING:
    from fait._store.postgres.store import PostgresStore

Fresh = Callable[..., str]

STEPS = load_migrations("fait._store.postgres")
GUIDE = Path(__file__).parents[2] / "docs" / "postgres.md"
HOSTILE = [
    "Shop",
    "the shop",
    'a"b',
    "it's",
    "läden-\U0001f6d2",
    "a.b",
    "select",
    "{schema}",
    "x; DROP SCHEMA y; --",
    "$fait$",
]


@pytest.fixture(autouse=True)
def fresh(postgres_url: Fresh) -> Fresh:
    return postgres_url


@asynccontextmanager
async def opened(url: str, *, create: bool = True) -> AsyncIterator[Store]:
    store = await open_store(url, create=create)
    try:
        yield store
    finally:
        await store.close()


def schema_of(url: str) -> str:
    return parse_qs(urlsplit(url).query)["schema"][0]


def named(url: str, schema: str) -> str:
    return f"{url.partition('?')[0]}?{urlencode({'schema': schema}, quote_via=quote)}"


async def asked(url: str, sql: str, *values: Any) -> list[Any]:
    """Return the rows of a statement, run as the owner of the database; `{0}` is the quoted schema."""
    connection = await asyncpg.connect(url.partition("?")[0])
    try:
        return await connection.fetch(sql.replace("{0}", f'"{schema_of(url).replace(chr(34), chr(34) * 2)}"'), *values)
    finally:
        await connection.close()


async def exists(url: str) -> bool:
    return bool(await asked(url, "SELECT FROM pg_namespace WHERE nspname = $1", schema_of(url)))


async def examined(store: Store) -> list[Finding]:
    return await cast("PostgresStore", store).examine()


# Setting up


async def test_concurrent_init_creates_one_log(fresh: Fresh) -> None:
    url, program = fresh(), Path(sys.executable).with_name("fait")
    processes = [
        await asyncio.create_subprocess_exec(program, "db", "init", "-s", url, stdout=-1, stderr=-1) for _ in range(2)
    ]
    told = [await each.communicate() for each in processes]

    assert [each.returncode for each in processes] == [0, 0], told
    assert await asked(url, "SELECT number FROM {0}.fait_migrations ORDER BY 1") == [(step.number,) for step in STEPS]
    assert len(await asked(url, "SELECT FROM {0}.fait_log")) == 1


async def test_concurrent_migrations_are_applied_once(fresh: Fresh) -> None:
    url = fresh()
    await asked(url, "ALTER DATABASE postgres SET default_transaction_isolation = 'serializable'")
    try:
        schemas = [open_admin(url) for _ in range(4)]
        applied = await asyncio.gather(*(each.migrate() for each in schemas))
    finally:
        await asked(url, "ALTER DATABASE postgres RESET default_transaction_isolation")

    assert sorted(map(len, applied)) == [0, 0, 0, len(STEPS)]


async def test_concurrent_adoptions_start_one_epoch(fresh: Fresh) -> None:
    url = fresh()
    await open_admin(url).migrate()
    await asked(url, "UPDATE {0}.fait_log SET timeline = timeline + 1")
    await asked(url, "ALTER DATABASE postgres SET default_transaction_isolation = 'serializable'")
    other = await asyncpg.connect(url.partition("?")[0])
    try:
        async with other.transaction():  # blocks both, so that they run concurrently
            await other.execute(f"SELECT FROM {schema_of(url)}.fait_log FOR UPDATE")
            adoptions = [asyncio.create_task(open_admin(url).adopt(in_place=False, dry_run=False)) for _ in range(2)]
            await asyncio.sleep(0.5)
        done = await asyncio.gather(*adoptions, return_exceptions=True)
    finally:
        await other.close()
        await asked(url, "ALTER DATABASE postgres RESET default_transaction_isolation")

    [adopted] = [each for each in done if isinstance(each, Adoption)]
    assert [type(each) for each in done if isinstance(each, Exception)] == [UsageError]
    assert [number for (number,) in await asked(url, "SELECT number FROM {0}.fait_epochs ORDER BY 1")] == [1, 2]
    assert await asked(url, "SELECT epoch_id FROM {0}.fait_log") == [(adopted.current.epoch_id,)]


async def test_adoption_waits_for_open_append_and_starts_epoch_after_it(fresh: Fresh) -> None:
    url = fresh()
    async with opened(url) as store:
        other = await asyncpg.connect(url.partition("?")[0])
        try:
            transaction = other.transaction()
            await transaction.start()
            await other.execute(
                f"SELECT {schema_of(url)}.fait_append_one_1('order-1', -1, gen_random_uuid(), 't', 1, '1', '{{}}', "
                "NULL, NULL, false, NULL, NULL)"
            )
            await added(store.log, write("order-2", 1))
            assert (await store.log.read(0)).position == 0  # the open append holds the high-water mark back

            adoption = asyncio.create_task(open_admin(url).adopt(in_place=True, dry_run=False))
            waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND mode = 'ShareRowExclusiveLock'"
            while not await other.fetchval(waiting):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            await transaction.commit()
            adopted = await adoption
        finally:
            await other.close()
        epochs = await store.log.epochs()
    async with opened(url) as store:
        assert [each.after_position for each in epochs] == [0, 2]
        assert {epoch_of(epochs, each.position).epoch_id for each in await everything(store.log)} == {
            adopted.previous.epoch_id
        }


@pytest.mark.parametrize("schema", HOSTILE)
async def test_log_works_in_schema_with_unusual_name(fresh: Fresh, schema: str) -> None:
    url = named(fresh(), f"{schema} {uuid4().hex[:8]}")
    async with opened(url) as store:
        await added(store.log, write("order-1", [new(tags=("a:1",)), new()]), write("order-2", 1))
        await added(store.log, write("order-1", 600))

        assert len(await everything(store.log)) == 603
        assert len(await everything(store.log, Query(tags=("a:1",)))) == 1
        assert {each.status for each in await examined(store) if each.name != "fsync"} == {"ok"}
    assert all(each.applied_at for each in await open_admin(url).migrations())
    await asked(url, "DROP SCHEMA {0} CASCADE")


@pytest.mark.parametrize("schema", ["", "x" * 64, "ü" * 32, "a$$b", "a\0b"])
async def test_invalid_schema_name_is_refused(fresh: Fresh, schema: str) -> None:
    with pytest.raises(UsageError, match="schema="):
        await open_store(named(fresh(), schema))


@pytest.mark.parametrize("schema", ["shop", HOSTILE[8]])
async def test_script_run_by_psql_creates_same_schema(fresh: Fresh, schema: str) -> None:
    url = named(fresh(), schema)
    dumps = list[str]()
    for way in ("migrate", "script"):
        if way == "migrate":
            await open_admin(url).migrate()
        else:
            program("psql", url, "-v", "ON_ERROR_STOP=1", "-q", text=await open_admin(url).script(from_scratch=True))
        dump = program("pg_dump", url, "--schema-only", "-n", f'"{schema}"')
        dumps.append(re.sub(r"\\(un)?restrict .*|SELECT '[-\w]{36}'::text", "", dump))  # the latter is the epoch
        async with opened(url, create=False) as store:
            assert [each.epoch_id for each in await store.log.epochs()] == [store.log.identity.epoch_id]
        await asked(url, "DROP SCHEMA {0} CASCADE")

    assert dumps[0].count("CREATE FUNCTION") == sum(step.sql.count("CREATE FUNCTION") for step in STEPS)
    assert dumps[0] == dumps[1]


def program(name: str, url: str, *arguments: str, text: str | None = None) -> str:
    command = [installations()[18] / name, *arguments, "-d", url.partition("?")[0]]
    return subprocess.run(command, input=text, text=True, check=True, capture_output=True).stdout


async def test_open_without_create_does_not_create_log(fresh: Fresh) -> None:
    url = fresh()

    with pytest.raises(UsageError, match="Nothing was created"):
        await open_store(url, create=False)
    with pytest.raises(UsageError, match="Nothing was changed"):
        await open_admin(url).adopt(in_place=True, dry_run=False)

    assert not await exists(url)


async def test_failed_migration_leaves_no_schema(fresh: Fresh, monkeypatch: pytest.MonkeyPatch) -> None:
    url = fresh()
    wrong = Migration(len(STEPS) + 1, "wrong", "SELECT 1 / 0;")
    monkeypatch.setattr("fait._store.postgres.admin.load_migrations", lambda _: [*STEPS, wrong])

    with pytest.raises(UsageError, match="DivisionByZeroError"):
        await open_store(url)

    assert not await exists(url)


# Old and new code


def known(monkeypatch: pytest.MonkeyPatch, *later: str) -> None:
    """Add migrations to those of fait."""
    steps = [Migration(len(STEPS) + number, "later", sql) for number, sql in enumerate(later, 1)]
    monkeypatch.setattr("fait._store.postgres.admin.load_migrations", lambda _: [*STEPS, *steps])


async def test_migration_without_compatible_from_excludes_older_code(
    fresh: Fresh, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = fresh()
    known(monkeypatch, "CREATE TABLE {schema}.later (n int);")
    await open_admin(url).migrate()
    known(monkeypatch)

    with pytest.raises(StoreTooNew, match="Upgrade fait"):
        await open_store(url)
    with pytest.raises(StoreTooNew):
        await open_admin(url).migrations()


async def test_older_code_opens_store_with_compatible_migration(fresh: Fresh, monkeypatch: pytest.MonkeyPatch) -> None:
    url = fresh()
    known(monkeypatch, f"-- compatible-from: {len(STEPS)}\nCREATE TABLE {{schema}}.later (n int);")
    await open_admin(url).migrate()
    known(monkeypatch)

    async with opened(url) as store:
        await added(store.log, write("order-1", 1))
        found = {each.name: each for each in await examined(store)}
    assert found["schema"].status == "ok"
    assert f"this version of fait has {len(STEPS)}" in found["schema"].detail
    assert [each.number for each in await open_admin(url).migrations()][-1] == len(STEPS) + 1


async def test_store_with_a_pending_migration_is_migrated_by_open(
    fresh: Fresh, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = fresh()
    await open_admin(url).migrate()
    known(monkeypatch, f"-- compatible-from: {len(STEPS)}\nCREATE TABLE {{schema}}.later (n int);")

    async with opened(url):
        pass

    assert [each.applied_at is None for each in await open_admin(url).migrations()] == [False] * (len(STEPS) + 1)


async def test_functions_without_seqscan_disable_jit(fresh: Fresh) -> None:
    """Before PostgreSQL 18, a disabled sequential scan counts as very expensive, even of a table with one row."""
    url = fresh()
    async with opened(url):
        settings = await asked(
            url,
            "SELECT proname, proconfig FROM pg_proc WHERE pronamespace = $1::regnamespace AND proconfig IS NOT NULL",
            f'"{schema_of(url)}"',
        )

    careful = {name for name, config in settings if "enable_seqscan=off" in config}
    assert careful >= {"fait_append_1", "fait_append_one_1", "fait_read_tail_1"}
    assert {name for name, config in settings if name in careful and "jit=off" not in config} == set()


async def test_changed_migration_is_refused(fresh: Fresh) -> None:
    url = fresh()
    await open_admin(url).migrate()
    await asked(url, "UPDATE {0}.fait_migrations SET checksum = 'other' WHERE number = 3")

    with pytest.raises(StoreUnavailable, match=r"migration 3 .* differs"):
        await open_store(url)


# Facts


@pytest.mark.parametrize(
    ("table", "column"), [("fait_events", "version"), ("fait_messages", "version"), ("fait_epochs", "after_position")]
)
@pytest.mark.parametrize("statement", ["UPDATE {0}.{1} SET {2} = 7", "DELETE FROM {0}.{1}", "TRUNCATE {0}.{1} CASCADE"])
async def test_owner_cannot_change_events_and_epochs(fresh: Fresh, table: str, column: str, statement: str) -> None:
    url = fresh()
    async with opened(url) as store:
        await added(store.log, write("order-1", 1))
    await asked(
        url,
        "INSERT INTO {0}.fait_messages "
        "(version, recorded_at, occurred_at, id, schema_version, size_bytes, stream, type, data, metadata) "
        "SELECT 1, recorded_at, occurred_at, gen_random_uuid(), 1, 4, 'note-1', type, data, metadata "
        "FROM {0}.fait_events",
    )

    with pytest.raises(asyncpg.RestrictViolationError, match=f"on {table} is not allowed: the log is append-only"):
        await asked(url, statement.replace("{1}", table).replace("{2}", column))

    assert len(await asked(url, "SELECT FROM {0}.fait_all_events")) == 2


# Neighbors


async def test_logs_of_one_database_do_not_delay_each_other(fresh: Fresh) -> None:
    mine, other = fresh(), fresh()
    async with opened(mine) as store, opened(other) as neighbor:
        await added(store.log, write("order-1", 1))
        connection = await asyncpg.connect(other.partition("?")[0])
        try:
            transaction = connection.transaction()
            await transaction.start()
            await connection.execute(
                f"SELECT {schema_of(other)}.fait_append_1('{{order-1}}', '{{-1}}', '{{1}}', '{{1}}', '{{1}}', "
                "array[gen_random_uuid()], '{t}', '{1}', '{1}', '{{}}'::text[])".replace("'{{}}'", "array['{}']")
            )
            await added(store.log, write("order-1", 2))
            await added(neighbor.log, write("order-2", 1))

            assert [each.position for each in await everything(store.log)] == [1, 2, 3]
            assert await everything(neighbor.log) == []
            await transaction.commit()
            assert len(await everything(neighbor.log)) == 2
        finally:
            await connection.close()


# Roles


@fait.event("seat.taken")
class SeatTaken:
    by: str


class Seat(fait.Aggregate, category="seat"):
    def take(self, by: str) -> None:
        self.emit(SeatTaken(by))

    def evolve(self, event: SeatTaken) -> None: ...


class SeatRow(fait.ReadModel, key="seat"):
    seat: str
    by: str

    @classmethod
    def evolve(cls, row: "SeatRow | None", event: SeatTaken, at: fait.Envelope) -> "SeatRow | None":
        return SeatRow(seat=at.stream_id, by=event.by)


def grants(url: str, app: str, reader: str) -> str:
    """Return the GRANT statements of the guide, for these roles."""
    [text] = re.findall(r"^```sql\n(.*?)^```$", GUIDE.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    return text.replace("shop_app", app).replace("shop_reader", reader).replace("shop", schema_of(url))


@pytest.fixture
async def roles(fresh: Fresh) -> AsyncIterator[tuple[str, str, str]]:
    """URLs of a log for its owner, for an application, and for a reader."""
    url, (app, reader) = fresh(), [f"role_{uuid4().hex[:8]}" for _ in range(2)]
    await open_admin(url).migrate()
    connection = await asyncpg.connect(url.partition("?")[0])
    await connection.execute(f"CREATE ROLE {app} LOGIN; CREATE ROLE {reader} LOGIN; {grants(url, app, reader)}")
    yield url, url.replace("postgres@", f"{app}@"), url.replace("postgres@", f"{reader}@")
    await connection.execute(f"DROP OWNED BY {app}, {reader}; DROP ROLE {app}, {reader}")
    await connection.close()


async def test_application_runs_with_grants_of_guide(roles: tuple[str, str, str]) -> None:
    _, url, _ = roles
    seats, heard, both = fait.App("seats"), list[str](), asyncio.Event()
    seats.include(Seat, SeatRow)

    @seats.on(SeatTaken)
    async def hear(event: SeatTaken, ctx: fait.Context) -> None:
        heard.append(event.by)
        if len(heard) == 2:
            both.set()

    async with seats.open(url, create=False) as system:
        for name in ("ann", "bob"):
            done = await system.transact(Seat.take, "1", name)
        assert [row.by for row in await system.find(SeatRow, after=done)] == ["bob"]
        assert len(await everything(system.store.log)) == 2
        await asyncio.wait_for(both.wait(), 30)
        assert heard == ["ann", "bob"]
    async with seats.open(url, create=False, rebuild=["seat_row"]) as system:
        done = await system.transact(Seat.take, "1", "eve")
        assert [row.by for row in await system.find(SeatRow, after=done)] == ["eve"]


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE {0}.fait_events SET data = '1'",
        "DELETE FROM {0}.fait_events",
        "TRUNCATE {0}.fait_events",
        "DELETE FROM {0}.fait_messages",
        "INSERT INTO {0}.fait_epochs VALUES (2, '', 0)",
        "DELETE FROM {0}.fait_streams",
        "DELETE FROM {0}.fait_tags",
        "UPDATE {0}.fait_log SET epoch_id = ''",
        "INSERT INTO {0}.fait_migrations SELECT * FROM {0}.fait_migrations",
        "ALTER TABLE {0}.fait_events DISABLE TRIGGER ALL",
        "SELECT setval('{0}.fait_position', 1)",
        "DROP FUNCTION {0}.fait_high_water_mark_1(text)",
    ],
)
async def test_application_and_reader_roles_cannot_change_log(roles: tuple[str, str, str], statement: str) -> None:
    _, *urls = roles
    for url in urls:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await asked(url, statement)


async def test_reader_role_reads_and_cannot_append(roles: tuple[str, str, str]) -> None:
    _, app, reader = roles
    async with opened(app, create=False) as store:
        await added(store.log, write("order-1", [new(tags=("a:1",)), new()]))
    async with opened(reader, create=False) as store:
        assert len(await everything(store.log)) == 2
        assert len(await everything(store.log, Query(tags=("a:1",)))) == 1
        assert len((await store.log.read_stream("order-1"))[0]) == 2
        assert await store.log.head() == 2
        assert await store.registrations.registrations() == []
        assert {each.status for each in await examined(store) if each.name != "fsync"} == {"ok"}
        with pytest.raises(StoreUnavailable, match="the role lacks a privilege") as refused:
            await store.log.append([write("order-1", 1)])
        assert refused.value.outcome == "not_written"


async def test_role_without_create_privilege_gets_next_step(roles: tuple[str, str, str], fresh: Fresh) -> None:
    _, app, _ = roles
    url = named(app, schema_of(fresh()))

    with pytest.raises(
        UsageError, match=r"fait db migrate --store .*, or run the script that fait db sql --store .* prints"
    ):
        await open_store(url)
    with pytest.raises(UsageError, match="Nothing was created"):
        await open_store(url, create=False)

    assert not await exists(url)


async def test_role_without_grants_gets_privilege_error(roles: tuple[str, str, str]) -> None:
    owner, app, _ = roles
    role = urlsplit(app).username
    await asked(owner, f"REVOKE ALL ON SCHEMA {{0}} FROM {role}")

    with pytest.raises(StoreUnavailable, match=r"the role lacks a privilege \(permission denied for schema"):
        await open_store(app, create=False)


# Secrets


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://postgres:se-cret@127.0.0.1:1/db",
        "postgresql://postgres:se-cret@{host}/there-is-none",
        "postgresql://unknown-user:se-cret@{host}/postgres?schema=none",
        "postgresql://postgres@{host}/postgres?password=se-cret&schema=none",
        "postgresql://postgres:se-cret@{host}/postgres?schema=none&pool=1",
        "postgresql://postgres:se-cret@{host}/postgres?schema=none&unknown_setting=1",
        "postgresql://postgres:se-cret@{host}/postgres?schema=none&sslmode=wrong",
        "postgresql://postgres:se-cret@127.0.0.1:port/db",
        "postgresql://postgres:se-cret/@127.0.0.1/db",
        "postgresql://postgres:/se-cret@127.0.0.1/db",
        "postgresql://postgres:se-cret@[::1/db",
    ],
)
async def test_password_is_never_in_message_or_log(fresh: Fresh, caplog: pytest.LogCaptureFixture, url: str) -> None:
    caplog.set_level(logging.DEBUG)
    host = urlsplit(fresh()).netloc.rpartition("@")[2]

    with pytest.raises(FaitError) as refused:
        await open_store(url.replace("{host}", host), create=False)

    assert "se-cret" not in f"{refused.value} {refused.value.__cause__} {caplog.text}"
