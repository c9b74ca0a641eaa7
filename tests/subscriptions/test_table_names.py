"""A table, view or index of a user that has the name of a read model is neither read, changed nor dropped."""

import asyncio
import io
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import apsw
import apsw.shell
import asyncpg  # pyright: ignore[reportMissingTypeStubs]
import pytest

import fait
from fait._store.open import open_store
from fait._store.sql import index_name

INDEX = index_name("notes", ["text"])
INTRUDERS = {
    "table": ["CREATE TABLE notes (id text PRIMARY KEY, text text NOT NULL)", "INSERT INTO notes VALUES ('1', 'mine')"],
    "empty table": ["CREATE TABLE notes (id text PRIMARY KEY, text text NOT NULL)"],
    "view": ["CREATE VIEW notes AS SELECT '1' AS id, 'mine' AS text"],
    "index of the table's name": ["CREATE TABLE mine (id text)", "CREATE INDEX notes ON mine (id)"],
    "index": ["CREATE TABLE mine (id text)", f'CREATE INDEX "{INDEX}" ON mine (id)'],
    "table of the index's name": [f'CREATE TABLE "{INDEX}" (id text)'],
}
ONLY_SQLITE = {
    "virtual table": ["CREATE VIRTUAL TABLE notes USING fts5(id, text)"],
    "name in capitals": ["CREATE TABLE NOTES (id text PRIMARY KEY, text text NOT NULL)"],
}
ONLY_POSTGRES = {
    "materialized view": ["CREATE MATERIALIZED VIEW notes AS SELECT '1'::text AS id, 'mine'::text AS text"],
    "partitioned table": ["CREATE TABLE notes (id text, text text) PARTITION BY LIST (id)"],
    "sequence": ["CREATE SEQUENCE notes"],
    "comment": ["CREATE TABLE notes (id text, text text)", "COMMENT ON TABLE notes IS 'my read model of fait'"],
}
CASES = [
    *(("sqlite", sql) for sql in {**INTRUDERS, **ONLY_SQLITE}.values()),
    *(("postgresql", sql) for sql in {**INTRUDERS, **ONLY_POSTGRES}.values()),
]


@fait.event("notes.written")
class Written:
    text: str


class Notes(fait.ReadModel, key="id", table="notes", indexes=[("text",)]):
    id: str
    text: str

    @classmethod
    def evolve(cls, row: Self | None, event: Written, at: fait.Envelope) -> Self | None:
        return cls(id=at.stream_id, text=event.text)


def app() -> fait.App:
    app = fait.App("notes")
    app.include(Notes)
    return app


async def run_sql(url: str, *statements: str) -> list[Any]:
    """Run statements in the database of a store, and return the rows of the last one."""
    if url.startswith("sqlite"):
        connection = apsw.Connection(url.removeprefix("sqlite:///"))
        try:
            return [connection.execute(sql).fetchall() for sql in statements][-1]
        finally:
            connection.close()
    server, schema = url.split("?schema=")
    client: Any = await asyncpg.connect(server, server_settings={"search_path": schema})
    try:
        return [await client.fetch(sql) for sql in statements][-1]
    finally:
        await client.close()


async def relations(url: str) -> list[Any]:
    """Return name and definition of all that is not fait's own."""
    if url.startswith("sqlite"):
        return await run_sql(url, "SELECT type, name, sql FROM sqlite_schema WHERE name NOT LIKE 'fait_%' ORDER BY 2")
    rows = await run_sql(
        url,
        "SELECT c.oid, c.relname, obj_description(c.oid) FROM pg_class AS c "
        "WHERE relnamespace = current_schema::regnamespace AND relname NOT LIKE 'fait_%' ORDER BY 2",
    )
    return [tuple(row) for row in rows]


@pytest.mark.parametrize(("backend", "sql"), CASES)
@pytest.mark.parametrize("options", [{}, {"rebuild": ["notes"]}], ids=["open", "rebuild"])
async def test_read_model_of_a_name_that_a_user_has_taken_is_refused(
    store_url: Callable[[str], str], backend: str, sql: list[str], options: dict[str, Any]
) -> None:
    url = store_url(backend)
    await (await open_store(url)).close()
    await run_sql(url, *sql)
    before = await relations(url)

    for _ in range(2):
        with pytest.raises(fait.UsageError, match=r"read model 'notes' cannot be stored: .* neither read nor changed"):
            async with app().open(url, **options):
                pass

    assert await relations(url) == before
    if "INSERT" in sql[-1]:
        assert [tuple(row) for row in await run_sql(url, "SELECT * FROM notes")] == [("1", "mine")]


@pytest.mark.parametrize("backend", ["sqlite", "postgresql"])
async def test_table_that_replaced_that_of_a_read_model_is_neither_read_nor_rebuilt(
    store_url: Callable[[str], str], backend: str
) -> None:
    url = store_url(backend)
    async with app().open(url) as s:
        await s.wait(await s.publish(Written("a"), stream="note-1"))
        await run_sql(url, "ALTER TABLE notes RENAME TO old_notes", *INTRUDERS["table"])
        with pytest.raises(fait.UsageError, match="has not created"):
            await s.rebuild(Notes)

    with pytest.raises(fait.UsageError, match="has not created"):
        async with app().open(url):
            pass
    assert [tuple(row) for row in await run_sql(url, "SELECT * FROM notes")] == [("1", "mine")]


@pytest.mark.parametrize("backend", ["sqlite", "postgresql"])
async def test_table_of_a_read_model_is_rebuilt_also_after_a_user_has_changed_it(
    store_url: Callable[[str], str], backend: str
) -> None:
    url = store_url(backend)
    async with app().open(url) as s:
        await s.wait(await s.publish(Written("a"), stream="note-1"))
    await run_sql(url, "ALTER TABLE notes ADD COLUMN more text", "CREATE INDEX more ON notes (more)")

    async with app().open(url, rebuild=["notes"]) as s:
        await s.wait()
        assert await s.find(Notes) == [Notes(id="1", text="a")]
    async with app().open(url) as s:
        assert await s.find(Notes) == [Notes(id="1", text="a")]


REBUILD = """
import asyncio, sys
from tests.subscriptions.test_table_names import Notes, app

async def main(url):
    async with app().open(url, rebuild=["notes"]) as s:
        await s.wait()
        print([row.text for row in await s.find(Notes)])

asyncio.run(main(sys.argv[1]))
"""


def _restore(source: apsw.Connection, target: Path) -> None:
    """Restore the statements of the command `.dump` of SQLite's shell into a new file."""
    dump = io.StringIO()
    apsw.shell.Shell(stdout=dump, db=source).process_command(".dump")
    connection = apsw.Connection(str(target))
    connection.execute(dump.getvalue())
    connection.close()


COPIES: dict[str, Callable[[apsw.Connection, Path], None]] = {
    "VACUUM INTO": lambda source, target: source.execute("VACUUM INTO ?", (str(target),)).close(),
    "dump": _restore,
}


@pytest.mark.parametrize("copy", COPIES.values(), ids=COPIES)
async def test_another_process_rebuilds_the_table_of_a_copied_sqlite_store(
    tmp_path: Path, copy: Callable[[apsw.Connection, Path], None]
) -> None:
    async with app().open(f"sqlite:///{tmp_path}/original.db") as s:
        await s.find(Notes, after=await s.publish(Written("mine"), stream="note-1"))
    source = apsw.Connection(str(tmp_path / "original.db"))
    copy(source, tmp_path / "copy.db")
    source.close()

    done = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", REBUILD, f"sqlite:///{tmp_path}/copy.db"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert (done.stdout, done.stderr, done.returncode) == ("['mine']\n", "", 0)
