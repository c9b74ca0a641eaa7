"""A file cannot be open through two copies of SQLite in one process: each would release the locks of the other."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

import fait
from fait._store.open import open_store


async def test_sqlite3_cannot_open_a_file_that_fait_has_open(tmp_path: Path) -> None:
    store = await open_store(f"sqlite:///{tmp_path}/a.db")
    with pytest.raises(fait.UsageError, match="two copies of SQLite"):
        sqlite3.connect(tmp_path / "a.db")
    with pytest.raises(fait.UsageError, match="two copies of SQLite"):
        sqlite3.connect(f"file:{tmp_path}/a.db?mode=ro", uri=True)
    with closing(sqlite3.connect(tmp_path / "another.db")):
        pass
    await store.close()
    with closing(sqlite3.connect(tmp_path / "a.db")) as database:
        assert database.execute("SELECT count(*) FROM fait_events").fetchone() == (0,)


async def test_fait_cannot_open_a_file_that_sqlite3_has_open(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "a.db")) as database:
        database.execute("CREATE TABLE mine (x)")
        with pytest.raises(fait.UsageError, match="two copies of SQLite"):
            await open_store(f"sqlite:///{tmp_path}/a.db")
    await (await open_store(f"sqlite:///{tmp_path}/a.db")).close()


async def test_two_stores_can_open_one_file(tmp_path: Path) -> None:
    one, other = [await open_store(f"sqlite:///{tmp_path}/a.db") for _ in range(2)]
    await one.close()
    with pytest.raises(fait.UsageError):
        sqlite3.connect(tmp_path / "a.db")
    await other.close()
