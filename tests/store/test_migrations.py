"""A file that an older fait wrote is brought up to date when it is opened, and keeps what is in it."""

import hashlib
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, cast

import apsw
import pytest

from fait._errors import StoreTooNew, StoreUnavailable
from fait._store.migrations import Migration, MigrationStatus, load_migrations, pending_migrations
from fait._store.open import open_store
from fait._store.sqlite.statements import SQL
from fait.testing.contract.store import everything, write

if TYPE_CHECKING:
    from fait._store.sqlite.store import SqliteStore

STEPS = load_migrations("fait._store.sqlite")
MOMENT = "2024-01-15T12:00:00.000000Z"
APPLIED = {1: "afa0b29e0ed6cd14", 2: "fad9d387ce76daba"}
"""The steps as they were released: text that was applied somewhere never changes."""

EVENT = """
INSERT INTO fait_events (stream, version, type, schema_version, id, data, metadata, tags, recorded_at, occurred_at)
VALUES ('order-1', ?1, 'old', 1, ?2, '{"n":1}', '{}', NULL, ?3, ?3)
"""


def written_at(version: int, path: Path) -> None:
    """A file as it was when the schema had this version, with three events in it."""
    connection = apsw.Connection(str(path))
    connection.execute(SQL["create_migrations"])
    for step in STEPS[:version]:
        connection.execute(step.sql)
        values = (step.number, step.name, step.checksum, step.compatible_from, MOMENT)
        connection.execute(SQL["insert_migration"], values)
    connection.execute(SQL["create_log"], ("3f0f2c5e-0000-4000-8000-000000000001", MOMENT))
    for number in (1, 2, 3):
        connection.execute(EVENT, (number, f"00000000-0000-4000-8000-00000000000{number}", MOMENT))
    connection.close()


def schema_of(path: Path) -> list[tuple[str, str]]:
    connection = apsw.Connection(str(path))
    found = connection.execute("SELECT name, sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY name").fetchall()
    connection.close()
    return found


def test_the_steps_are_numbered_from_one_without_gaps() -> None:
    assert [step.number for step in STEPS] == list(range(1, len(STEPS) + 1))


def test_released_steps_have_not_changed() -> None:
    assert {step.number: hashlib.sha256(step.sql.encode()).hexdigest()[:16] for step in STEPS} == APPLIED


@pytest.mark.parametrize("version", range(1, len(STEPS) + 1))
async def test_a_file_of_any_version_opens_and_keeps_its_events(tmp_path: Path, version: int) -> None:
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


async def test_a_file_is_migrated_once(tmp_path: Path) -> None:
    path = tmp_path / "old.db"
    written_at(1, path)
    for _ in range(2):
        await (await open_store(f"sqlite:///{path}")).close()

    connection = apsw.Connection(str(path))
    applied = connection.execute("SELECT number FROM fait_migrations ORDER BY number").fetchall()
    connection.close()
    assert applied == [(step.number,) for step in STEPS]


async def test_a_step_that_fails_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    path, copy = tmp_path / "old.db", tmp_path / "copy.db"
    written_at(1, path)
    connection = apsw.Connection(str(path))
    connection.execute("CREATE TABLE fait_snapshots (somebody_elses)")
    connection.close()
    shutil.copy(path, copy)

    with pytest.raises(StoreUnavailable):
        await open_store(f"sqlite:///{path}")

    assert schema_of(path) == schema_of(copy)


def applied(*steps: Migration) -> list[MigrationStatus]:
    return [MigrationStatus(each.number, each.name, each.checksum, each.compatible_from) for each in steps]


def later(number: int, compatible_from: int | None = None) -> Migration:
    line = "" if compatible_from is None else f"-- compatible-from: {compatible_from}\n"
    return Migration(number, "later", f"-- A step that this code does not know.\n{line}CREATE TABLE later (n);")


def test_a_changed_and_a_missing_step_are_refused() -> None:
    with pytest.raises(StoreUnavailable, match="another schema 1"):
        pending_migrations(STEPS, applied(Migration(1, "initial", "other"), *STEPS[1:]), "it")
    with pytest.raises(StoreUnavailable, match="another schema 1"):
        pending_migrations(STEPS, applied(*STEPS[1:]), "it")
    assert pending_migrations(STEPS, applied(*STEPS), "it") == []
    assert pending_migrations(STEPS, applied(STEPS[0]), "it") == STEPS[1:]


NEWEST = len(STEPS)


@pytest.mark.parametrize(
    ("beyond", "may_use"),
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
def test_a_newer_schema_says_which_code_may_use_it(beyond: list[Migration], may_use: bool) -> None:
    there = applied(*STEPS, *beyond)

    if may_use:
        assert pending_migrations(STEPS, there, "it") == []
    else:
        with pytest.raises(StoreTooNew, match=f"schema {beyond[-1].number}; this one knows {NEWEST}"):
            pending_migrations(STEPS, there, "it")


@pytest.mark.parametrize(("compatible_from", "opens"), [(None, False), (NEWEST, True)])
async def test_a_file_with_a_later_step_opens_if_the_step_allows_it(
    tmp_path: Path, compatible_from: int | None, opens: bool
) -> None:
    path, step = tmp_path / "new.db", later(NEWEST + 1, compatible_from)
    written_at(NEWEST, path)
    connection = apsw.Connection(str(path))
    values = (step.number, step.name, step.checksum, step.compatible_from, MOMENT)
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
