"""A file that an older fait wrote is brought up to date when it is opened, and keeps what is in it."""

import hashlib
import shutil
from pathlib import Path

import apsw
import pytest

from fait.errors import StoreTooNew, StoreUnavailable
from fait.store.migrations import load, pending
from fait.store.open import open_store
from fait.store.sqlite.statements import SQL
from fait.testing.contract.store import everything, write

STEPS = load("fait.store.sqlite")
MOMENT = "2024-01-15T12:00:00.000000Z"
APPLIED = {1: "f21e56a59cf5d89c", 2: "c292803f1995452f"}
"""The steps as they were released: text that was applied somewhere never changes."""

EVENT = """
INSERT INTO fait_events (stream, version, type, schema, id, data, metadata, tags, recorded_at, occurred_at)
VALUES ('order-1', ?1, 'old', 1, ?2, '{"n":1}', '{}', NULL, ?3, ?3)
"""


def written_at(version: int, path: Path) -> None:
    """A file as it was when the schema had this version, with three events in it."""
    connection = apsw.Connection(str(path))
    connection.execute(SQL["create_migrations"])
    for step in STEPS[:version]:
        connection.execute(step.sql)
        connection.execute(SQL["insert_migration"], (step.number, step.name, step.fingerprint, MOMENT))
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


def test_a_newer_and_a_changed_schema_are_refused() -> None:
    applied = {step.number: step.fingerprint for step in STEPS}

    with pytest.raises(StoreTooNew, match="newer fait"):
        pending(STEPS, {**applied, len(STEPS) + 1: "x"}, "it")
    with pytest.raises(StoreUnavailable, match="another schema 1"):
        pending(STEPS, {**applied, 1: "x"}, "it")
    assert pending(STEPS, applied, "it") == []
