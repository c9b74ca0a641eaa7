"""Tests specific to the SQLite store: the append-only log, opening files, and the SQL statements of handlers."""

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import apsw
import pytest

from fait._clock import ManualClock, SystemClock
from fait._errors import StoreTooNew, StoreUnavailable, UsageError
from fait._events.query import EVERYTHING
from fait._store.open import open_admin, open_store
from fait._store.ports.store import Store
from fait._store.ports.unit_of_work import HandlerStatement
from fait._store.sqlite.connection import connect
from fait._store.sqlite.rows import read_page
from fait.testing.contract.leases import acquired, range_of, work_of
from fait.testing.contract.store import START, added, everything, new, write
from fait.testing.contract.turns import let_readers_wait

URL = "sqlite:///{}"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[Store]:
    store = await open_store(URL.format(path), clock=ManualClock(START))
    yield store
    await store.close()


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE fait_events SET data = '{}'",
        "DELETE FROM fait_events WHERE position = 1",
        "UPDATE fait_epochs SET after_position = 1",
        "DELETE FROM fait_epochs",
    ],
)
async def test_events_and_epochs_cannot_be_updated_or_deleted(store: Store, path: Path, change: str) -> None:
    await added(store.log, write("a", [new(tags=("t",))]), write("b"))
    before = await everything(store.log), await store.log.epochs()

    with pytest.raises(apsw.ConstraintError, match="append-only"):
        apsw.Connection(str(path)).execute(change)

    assert (await everything(store.log), await store.log.epochs()) == before


async def test_two_copies_of_a_file_are_adopted_with_different_epoch_ids(path: Path, tmp_path: Path) -> None:
    store = await open_store(URL.format(path))
    await added(store.log, write("a", 2))
    await store.close()
    copies = [Path(shutil.copy(path, tmp_path / name)) for name in ("one.db", "two.db")]

    adopted = [await open_admin(URL.format(each)).adopt(in_place=True, dry_run=False) for each in copies]

    assert adopted[0].previous == adopted[1].previous == store.log.identity
    assert adopted[0].current.epoch_id != adopted[1].current.epoch_id


@pytest.mark.parametrize(
    "statement",
    [
        "BEGIN",
        "COMMIT",
        "SAVEPOINT s",
        "ATTACH ':memory:' AS other",
        "PRAGMA user_version = 7",
        "DELETE FROM fait_tags",
        "UPDATE FAIT_RANGES SET position = 9",
        "DELETE FROM fait_workers",
        "DROP TABLE fait_tags",
        "ALTER TABLE fait_tags RENAME TO tags",
        "DROP TRIGGER fait_events_append_only_delete",
        "CREATE TRIGGER mine AFTER INSERT ON fait_events BEGIN SELECT 1; END",
        "SELECT 1; DELETE FROM fait_tags",
        "CREATE TEMP TABLE fait_events (position)",
        'CREATE TEMP VIEW "FAIT_EVENTS" AS SELECT 1',
        "CREATE TABLE temp.[fait_log] (log_id)",
        "CREATE VIRTUAL TABLE temp.fait_tags USING fts5(tag)",
        "CREATE VIEW fait_all AS SELECT 1",
        "ALTER TABLE mine RENAME TO fait_mine",
        "ALTER TABLE mine RENAME TO 'fait_mine'",
        "CREATE TEMP TABLE 'FAIT_events' (position)",
    ],
)
async def test_handler_statement_on_transactions_or_fait_tables_is_rejected(
    store: Store, path: Path, statement: str
) -> None:
    lease = await acquired(store, "s")
    schema = "SELECT name, sql FROM sqlite_schema ORDER BY name"
    before = apsw.Connection(str(path)).execute(schema).fetchall()

    with pytest.raises(UsageError):
        await store.recorder.record(work_of(lease, 5, (), (HandlerStatement(statement),)))

    assert apsw.Connection(str(path)).execute(schema).fetchall() == before
    assert (await range_of(store, "s")).position == 0


@pytest.mark.parametrize(
    ("values", "message"),
    [((1,), r"placeholder \$2, but no value for it"), ((1, datetime(2024, 1, 1)), "failed"), ((1, [2]), "failed")],
)
async def test_handler_statement_with_wrong_values_raises_usage_error(
    store: Store, values: tuple[Any, ...], message: str
) -> None:
    lease = await acquired(store, "s")
    statement = HandlerStatement("SELECT $1, $2", values)

    with pytest.raises(UsageError, match=f"{message}.*Nothing was recorded"):
        await store.recorder.record(work_of(lease, 5, (), (statement,)))


async def test_handler_statement_binds_its_values_as_parameters(store: Store, path: Path) -> None:
    lease = await acquired(store, "s")
    injection = "'); DROP TABLE mine; --"
    statements = [
        HandlerStatement("CREATE TABLE mine (a, b)"),
        HandlerStatement("INSERT INTO mine VALUES ($1, $2)", (injection, 1)),
    ]

    await store.recorder.record(work_of(lease, 5, (), tuple(statements)))

    assert apsw.Connection(str(path)).execute("SELECT * FROM mine").fetchall() == [(injection, 1)]


async def test_statement_of_a_canceled_reader_ends(store: Store) -> None:
    long = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 100000000) SELECT max(i) FROM n"
    readers: Any = store.log._readers  # pyright: ignore[reportAttributeAccessIssue]
    running = asyncio.create_task(readers.run(lambda connection: connection.execute(long).fetchall()))
    await asyncio.sleep(0.1)
    running.cancel()

    with pytest.raises(asyncio.CancelledError):
        await running
    async with asyncio.timeout(5):
        await store.close()  # waits for the statement


async def test_events_can_be_queried_with_plain_sql(store: Store, path: Path) -> None:
    await added(store.log, write("a", [new("paid", data='{"amount": 7}')]))

    found = apsw.Connection(str(path)).execute("SELECT stream, version, type, data ->> 'amount' FROM fait_events")

    assert found.fetchall() == [("a", 1, "paid", 7)]


class Interrupted:
    """A connection; another one appends an event before each of its statements."""

    def __init__(self, path: Path) -> None:
        self._mine = apsw.Connection(str(path))
        self._other = apsw.Connection(str(path))
        self._count = 0

    def execute(self, sql: str, values: Any = None) -> Any:
        self._count += 1
        self._other.execute(
            "INSERT INTO fait_events "
            "(stream, version, type, schema_version, id, data, metadata, recorded_at, occurred_at) "
            "VALUES ('b', ?1, 'x', 1, ?1, '{}', '{}', '2024-01-15T12:00:00.000000Z', '2024-01-15T12:00:00.000000Z')",
            (self._count,),
        )
        return self._mine.execute(sql, values)


async def test_page_read_during_appends_omits_no_event(store: Store, path: Path) -> None:
    await added(store.log, write("a", 3))
    interrupted: Any = Interrupted(path)

    page = read_page(interrupted, 0, EVERYTHING, 100)

    later = (await store.log.read(page.position)).events
    assert page.events + later == await everything(store.log)
    assert len(later) > 0


OPEN = """
import asyncio, sys
from fait._store.open import open_store

async def main():
    store = await open_store(sys.argv[1])
    print(store.log.identity.log_id)
    await store.close()

asyncio.run(main())
"""


def test_new_file_opened_by_many_processes_gets_one_identity(path: Path) -> None:
    command = [sys.executable, "-c", OPEN, URL.format(path)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]

    identities = [process.communicate()[0] for process in running]

    assert [process.returncode for process in running] == [0] * 4
    assert len(set(identities)) == 1


async def test_file_that_another_connection_creates_is_waited_for(path: Path) -> None:
    other = apsw.Connection(str(path))
    other.execute("BEGIN IMMEDIATE; CREATE TABLE created (id)")  # not yet in WAL mode
    connecting = asyncio.create_task(asyncio.to_thread(connect, str(path)))
    await asyncio.sleep(0.05)
    assert not connecting.done()

    other.execute("COMMIT")

    connection = await connecting
    assert connection.pragma("journal_mode") == "wal"
    connection.close()
    other.close()


def test_new_file_opened_by_many_threads_gets_one_identity(path: Path) -> None:
    async def opened() -> str:
        store = await open_store(URL.format(path))
        await store.close()
        return store.log.identity.log_id

    with ThreadPoolExecutor(6) as pool:
        identities = list(pool.map(lambda _: asyncio.run(opened()), range(6)))

    assert len(set(identities)) == 1


async def test_file_of_a_newer_fait_is_not_opened(store: Store, path: Path) -> None:
    connection = apsw.Connection(str(path))
    connection.execute("INSERT INTO fait_migrations VALUES (9999, 'future', 'x', 9999, '2099-01-01T00:00:00.000000Z')")

    with pytest.raises(StoreTooNew):
        await open_store(URL.format(path))


async def test_file_with_a_changed_schema_is_not_opened(store: Store, path: Path) -> None:
    apsw.Connection(str(path)).execute("UPDATE fait_migrations SET checksum = 'x'")

    with pytest.raises(StoreUnavailable, match="differs from that of this version"):
        await open_store(URL.format(path))


async def test_append_waits_while_another_process_writes(store: Store, path: Path) -> None:
    other = apsw.Connection(str(path))
    other.execute("BEGIN IMMEDIATE")
    task = asyncio.create_task(added(store.log, write("a")))
    await let_readers_wait(store.log)
    assert not task.done()
    assert (await store.log.read(0)).events == []

    other.execute("ROLLBACK")

    assert (await task).versions == (1,)


async def test_unstorable_value_fails_no_other_append(store: Store) -> None:
    appends = [[write(f"s-{n}", [new(data="\ud800" if n == 7 else "{}")])] for n in range(20)]

    results = await asyncio.gather(*(store.log.append(each) for each in appends), return_exceptions=True)

    assert [n for n, result in enumerate(results) if isinstance(result, Exception)] == [7]
    assert len(await everything(store.log)) == 19


async def test_append_to_a_closed_store_raises_store_unavailable(path: Path) -> None:
    store = await open_store(URL.format(path), clock=SystemClock())
    await store.close()

    with pytest.raises(StoreUnavailable) as closed:
        await store.log.append([write("a")])

    assert closed.value.outcome == "not_written"


UNPRIVILEGED_USER = 65534
"""User id of a user without privileges."""

ENTRANCES: dict[str, Callable[[str], Awaitable[object]]] = {
    "open": lambda url: open_store(url, create=False),
    "migrations": lambda url: open_admin(url).migrations(),
    "migrate": lambda url: open_admin(url).migrate(),
    "script": lambda url: open_admin(url).script(from_scratch=False),
    "adopt": lambda url: open_admin(url).adopt(in_place=True, dry_run=True),
}


@contextmanager
def unprivileged(folder: Path) -> Iterator[None]:
    """Give a folder to an unprivileged user and become that user, if this process runs as root."""
    if os.geteuid() != 0:
        yield
        return
    for path in (folder, *folder.iterdir()):
        os.chown(path, UNPRIVILEGED_USER, -1)
    os.seteuid(UNPRIVILEGED_USER)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.mark.skipif(sys.platform == "win32", reason="folders have no permission bits on Windows")
@pytest.mark.parametrize("entrance", ENTRANCES)
@pytest.mark.parametrize(("mode", "reason"), [(0o500, "even to read"), (0o000, "Permission denied")])
async def test_store_in_a_folder_without_permissions_is_not_reported_as_missing(
    entrance: str, mode: int, reason: str
) -> None:
    with TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/a.db"
        open_admin(url)  # imports modules that the unprivileged user may not be able to read, as `open_store` does
        await (await open_store(url)).close()
        with unprivileged(Path(folder)):
            os.chmod(folder, mode)
            with pytest.raises(StoreUnavailable, match=reason):
                await ENTRANCES[entrance](url)
            os.chmod(folder, 0o700)


@pytest.mark.parametrize("entrance", ENTRANCES)
async def test_folder_in_place_of_a_store_is_not_reported_as_missing(tmp_path: Path, entrance: str) -> None:
    with pytest.raises(StoreUnavailable, match=r"disk I/O error|cannot be opened"):
        await ENTRANCES[entrance](f"sqlite:///{tmp_path}")


@pytest.mark.parametrize("name", ["none.db", "none/a.db", "a.txt/a.db"])
async def test_missing_file_is_reported_as_a_missing_store(tmp_path: Path, name: str) -> None:
    (tmp_path / "a.txt").touch()

    with pytest.raises(UsageError, match="there is no store"):
        await open_store(f"sqlite:///{tmp_path}/{name}", create=False)
