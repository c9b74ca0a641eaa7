"""Migrations: files of older versions are migrated when they are opened, and keep their events."""

import hashlib
import shutil
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, cast

import apsw
import pytest

from fait._errors import StoreTooNew, StoreUnavailable, UsageError
from fait._store.migrations import Migration, MigrationStatus, load_migrations, pending_migrations
from fait._store.open import open_store
from fait._store.sqlite.statements import SQL
from fait.testing.contract.store import everything, write

if TYPE_CHECKING:
    from fait._store.sqlite.store import SqliteStore

MIGRATIONS = load_migrations("fait._store.sqlite")
TIMESTAMP = "2024-01-15T12:00:00.000000Z"
APPLIED = {1: "5cd67b3de1e17fbf", 2: "fad9d387ce76daba"}
"""Checksums of the released migrations. A migration never changes after a store may have applied it."""

EVENT = """
INSERT INTO fait_events (stream, version, type, schema_version, id, data, metadata, tags, recorded_at, occurred_at)
VALUES ('order-1', ?1, 'old', 1, ?2, '{"n":1}', '{}', NULL, ?3, ?3)
"""


def written_at(version: int, path: Path) -> None:
    """Write a file with the migrations up to a version, and three events."""
    connection = apsw.Connection(str(path))
    connection.execute(SQL["create_migrations"])
    for migration in MIGRATIONS[:version]:
        connection.execute(migration.sql)
        values = (migration.number, migration.name, migration.checksum, migration.compatible_from, TIMESTAMP)
        connection.execute(SQL["insert_migration"], values)
    connection.execute(SQL["start_epoch"], ("epoch", 0, TIMESTAMP))
    connection.execute(SQL["create_log"], ("3f0f2c5e-0000-4000-8000-000000000001", "epoch"))
    for number in (1, 2, 3):
        connection.execute(EVENT, (number, f"00000000-0000-4000-8000-00000000000{number}", TIMESTAMP))
    connection.close()


def schema_of(path: Path) -> list[tuple[str, str]]:
    connection = apsw.Connection(str(path))
    objects = connection.execute("SELECT name, sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY name").fetchall()
    connection.close()
    return objects


def test_migrations_are_numbered_from_1_without_gaps() -> None:
    assert [migration.number for migration in MIGRATIONS] == list(range(1, len(MIGRATIONS) + 1))


def test_released_migrations_have_not_changed() -> None:
    assert {
        migration.number: hashlib.sha256(migration.sql.encode()).hexdigest()[:16] for migration in MIGRATIONS
    } == APPLIED


@pytest.mark.parametrize("version", range(1, len(MIGRATIONS) + 1))
async def test_file_of_any_migration_opens_and_keeps_its_events(tmp_path: Path, version: int) -> None:
    path, fresh = tmp_path / "old.db", tmp_path / "new.db"
    written_at(version, path)

    store = await open_store(f"sqlite:///{path}")
    try:
        assert [(each.stream, each.version, each.data) for each in await everything(store.log)] == [
            ("order-1", number, '{"n":1}') for number in (1, 2, 3)
        ]
        assert store.log.identity.log_id == "3f0f2c5e-0000-4000-8000-000000000001"
        await store.log.append([write("order-1", 1, 3)])
        assert await store.log.head() == 4
    finally:
        await store.close()
    await (await open_store(f"sqlite:///{fresh}")).close()
    assert schema_of(path) == schema_of(fresh)


async def test_file_is_migrated_once(tmp_path: Path) -> None:
    path = tmp_path / "old.db"
    written_at(1, path)
    for _ in range(2):
        await (await open_store(f"sqlite:///{path}")).close()

    connection = apsw.Connection(str(path))
    applied = connection.execute("SELECT number FROM fait_migrations ORDER BY number").fetchall()
    connection.close()
    assert applied == [(migration.number,) for migration in MIGRATIONS]


async def test_failed_migration_leaves_the_file_unchanged(tmp_path: Path) -> None:
    path, copy = tmp_path / "old.db", tmp_path / "copy.db"
    written_at(1, path)
    connection = apsw.Connection(str(path))
    connection.execute("CREATE TABLE fait_snapshots (other)")
    connection.close()
    shutil.copy(path, copy)

    with pytest.raises(UsageError, match="already exists"):
        await open_store(f"sqlite:///{path}")

    assert schema_of(path) == schema_of(copy)


def applied(*steps: Migration) -> list[MigrationStatus]:
    return [MigrationStatus(each.number, each.name, each.checksum, each.compatible_from) for each in steps]


def later(number: int, compatible_from: int | None = None) -> Migration:
    line = "" if compatible_from is None else f"-- compatible-from: {compatible_from}\n"
    return Migration(number, "later", f"-- A migration that this code does not know.\n{line}CREATE TABLE later (n);")


def test_changed_or_missing_migration_is_refused() -> None:
    with pytest.raises(StoreUnavailable, match=r"migration 1 .* differs"):
        pending_migrations(MIGRATIONS, applied(Migration(1, "initial", "other"), *MIGRATIONS[1:]), "it")
    with pytest.raises(StoreUnavailable, match=r"migration 1 .* differs"):
        pending_migrations(MIGRATIONS, applied(*MIGRATIONS[1:]), "it")
    assert pending_migrations(MIGRATIONS, applied(*MIGRATIONS), "it") == []
    assert pending_migrations(MIGRATIONS, applied(MIGRATIONS[0]), "it") == list(MIGRATIONS[1:])


NEWEST = len(MIGRATIONS)


@pytest.mark.parametrize(
    ("newer", "may_use"),
    [
        ([later(NEWEST + 1)], False),
        ([later(NEWEST + 1, NEWEST + 1)], False),
        ([later(NEWEST + 1, NEWEST)], True),
        ([later(NEWEST + 1, 1)], True),
        ([later(NEWEST + 1, NEWEST), later(NEWEST + 2, NEWEST)], True),
        ([later(NEWEST + 1, NEWEST), later(NEWEST + 2, NEWEST + 1)], False),
        ([later(NEWEST + 1), later(NEWEST + 2, 1)], False),
    ],
)
def test_newer_migrations_declare_which_code_may_use_the_store(newer: list[Migration], may_use: bool) -> None:
    recorded = applied(*MIGRATIONS, *newer)

    if may_use:
        assert pending_migrations(MIGRATIONS, recorded, "it") == []
    else:
        with pytest.raises(StoreTooNew, match=f"migration {newer[-1].number}; this version knows {NEWEST}"):
            pending_migrations(MIGRATIONS, recorded, "it")


@pytest.mark.parametrize(("compatible_from", "opens"), [(None, False), (NEWEST, True)])
async def test_file_with_a_newer_migration_opens_if_it_is_compatible(
    tmp_path: Path, compatible_from: int | None, opens: bool
) -> None:
    path, migration = tmp_path / "new.db", later(NEWEST + 1, compatible_from)
    written_at(NEWEST, path)
    connection = apsw.Connection(str(path))
    values = (migration.number, migration.name, migration.checksum, migration.compatible_from, TIMESTAMP)
    connection.execute(SQL["insert_migration"], values)
    connection.close()

    if not opens:
        with pytest.raises(StoreTooNew):
            await open_store(f"sqlite:///{path}")
        return
    store = await open_store(f"sqlite:///{path}")
    try:
        assert await store.log.head() == 3
        assert {each.status for each in await cast("SqliteStore", store).examine()} == {"ok"}
    finally:
        await store.close()


def test_marker_lines_of_planted_faults_are_not_loaded() -> None:
    package = files("fait._store.sqlite").joinpath("migrations")
    text = "".join(file.read_text("utf-8") for file in package.iterdir() if file.name.endswith(".sql"))

    lines = [line for line in text.splitlines() if not line.strip().startswith("-- fault: ")]
    assert len(lines) < len(text.splitlines())
    assert sorted("".join(migration.sql for migration in MIGRATIONS).splitlines()) == sorted(lines)
