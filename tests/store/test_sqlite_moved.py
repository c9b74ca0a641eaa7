"""A store whose files are deleted, moved or replaced while it is open acknowledges nothing and reads nothing more."""

import asyncio
import filecmp
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import apsw
import pytest

from fait._clock import SystemClock
from fait._errors import StoreUnavailable
from fait._store.open import open_admin, open_store
from fait._store.ports.leases import Worker
from fait._store.ports.store import Store
from fait._store.sqlite import open_file
from fait._store.sqlite.wal_lock import open_files
from fait.testing.contract.leases import acquired, work_of
from fait.testing.contract.store import added, everything, new, soon, write

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has locks of open file descriptions")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "stores").mkdir()
    return tmp_path / "stores" / "store.db"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[Store]:
    store = await open_store(f"sqlite:///{path}")
    yield store
    await store.close()


@pytest.fixture
def constant_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    """The files are compared each time, not at intervals."""
    monkeypatch.setattr(open_file, "CHECK_INTERVAL_S", 0.0)


def wal(path: Path) -> Path:
    return path.with_name(path.name + "-wal")


def replace_by_another_store(path: Path) -> None:
    asyncio.run(open_admin(f"sqlite:///{path}.new").migrate())
    os.replace(f"{path}.new", path)


CHANGES: dict[str, Callable[[Path], object]] = {
    "file deleted": Path.unlink,
    "file moved": lambda path: path.rename(path.with_name("other.db")),
    "file replaced": replace_by_another_store,
    "WAL deleted": lambda path: wal(path).unlink(),
    "WAL replaced": lambda path: (wal(path).unlink(), wal(path).touch()),
    "folder moved": lambda path: path.parent.rename(path.parent.with_name("others")),
    "all deleted": lambda path: [each.unlink() for each in path.parent.iterdir()],
}

ENTRANCES: dict[str, Callable[[Store], Awaitable[object]]] = {
    "append": lambda store: store.log.append([write("a")]),
    "large append": lambda store: store.log.append([write("a", 50)]),
    "register": lambda store: store.leases.heartbeat(Worker("worker")),
    "read": lambda store: store.log.read(0),
    "read_stream": lambda store: store.log.read_stream("a"),
    "history": lambda store: store.log.history("a"),
    "find": lambda store: store.log.find([new().id]),
    "head": lambda store: store.log.head(),
    "wait_for_events": lambda store: store.log.wait_for_events(99),
    "ranges": lambda store: store.leases.ranges(),
    "snapshots": lambda store: store.snapshots.load_snapshots(["a"]),
    "examine": lambda store: store.examine(),
}


@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not move open files")
@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("entrance", ENTRANCES)
async def test_store_whose_files_have_moved_is_not_used(
    store: Store, path: Path, constant_checks: None, entrance: str, change: str
) -> None:
    await added(store.log, write("a"))
    await asyncio.to_thread(CHANGES[change], path)

    for _ in range(2):
        with pytest.raises(StoreUnavailable, match=r"store\.db is no longer the file.*restart this process") as refused:
            async with soon():
                await ENTRANCES[entrance](store)

        assert refused.value.outcome == "not_written"


def overwrite(path: Path, source: Path) -> None:
    path.write_bytes(source.read_bytes())


async def test_closed_store_does_not_say_that_its_files_have_moved(
    store: Store, path: Path, constant_checks: None
) -> None:
    await added(store.log, write("a"))
    await store.close()

    for entrance in set(ENTRANCES) - {"wait_for_events"}:
        with pytest.raises(StoreUnavailable, match="the store is closed"):
            async with soon():
                await ENTRANCES[entrance](store)


OVERWRITES: dict[str, Callable[[Path], object]] = {
    "by a backup": lambda path: overwrite(path, path.with_name("backup.db")),
    "by a copy": lambda path: overwrite(path, path.with_name("copy.db")),
    "by another store": lambda path: overwrite(path, path.with_name("other.db")),
    "by text": lambda path: path.write_text("text" * 100_000),
    "truncated": lambda path: os.truncate(path, 0),
    "truncated to a page": lambda path: os.truncate(path, 4096),
}


async def grown(store: Store, path: Path) -> None:
    """Make copies of the store and of another one, and append further events, which a WAL checkpoint copies."""
    await added(store.log, write("a", 10))
    checkpoint(path)
    overwrite(path.with_name("copy.db"), path)
    await open_admin(f"sqlite:///{path}").backup(str(path.with_name("backup.db")), lambda *_: None)
    other = await open_store(f"sqlite:///{path.with_name('other.db')}")
    await added(other.log, write("a", 2000))
    await other.close()
    await added(store.log, write("a", 200))
    checkpoint(path)
    await added(store.log, write("b"))


def checkpoint(path: Path) -> None:
    connection = apsw.Connection(str(path))
    connection.pragma("user_version")  # before its first read, it does not know that there is a WAL
    connection.wal_checkpoint()
    connection.close()


@linux_only
@pytest.mark.parametrize("change", OVERWRITES)
@pytest.mark.parametrize("entrance", ["append", "large append", "read", "history", "ranges"])
async def test_store_whose_file_is_overwritten_is_not_used(
    store: Store, path: Path, constant_checks: None, entrance: str, change: str
) -> None:
    await grown(store, path)
    OVERWRITES[change](path)

    for _ in range(2):
        with pytest.raises(StoreUnavailable, match=r"was overwritten.*delete .*-wal and .*copy the backup") as refused:
            async with soon():
                await ENTRANCES[entrance](store)

        assert refused.value.outcome == "not_written"


@linux_only
def restore(path: Path, backup: Path) -> None:
    """Restore a backup as `.restore` of SQLite's shell does: in a transaction, so that nothing is corrupt."""
    source, target = apsw.Connection(str(backup)), apsw.Connection(str(path))
    with target.backup("main", source, "main") as copying:
        copying.step()
    source.close()
    target.close()


@pytest.mark.parametrize("entrance", ["append", "large append", "wait_for_events"])
async def test_store_that_is_restored_with_sqlite_while_open_is_not_used(
    store: Store, path: Path, entrance: str
) -> None:
    await added(store.log, write("a", 10))
    await open_admin(f"sqlite:///{path}").backup(str(backup := path.with_name("backup.db")), lambda *_: None)
    await added(store.log, write("a", 20))
    restore(path, backup)

    for _ in range(2):
        with pytest.raises(StoreUnavailable, match=r"decreased from 30 to 10:.*fait log adopt") as refused:
            async with soon():
                await ENTRANCES[entrance](store)

        assert refused.value.outcome == "not_written"


@pytest.mark.usefixtures("constant_checks")
async def test_backup_that_is_copied_again_as_the_error_says_is_a_store(store: Store, path: Path) -> None:
    await grown(store, path)
    overwrite(path, path.with_name("backup.db"))
    with pytest.raises(StoreUnavailable, match="was overwritten"):
        await store.log.append([write("a")])
    await store.close()
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    overwrite(path, path.with_name("backup.db"))

    again = await open_store(f"sqlite:///{path}")

    assert (await added(again.log, write("a"))).versions == (11,)
    assert {finding.status for finding in await again.examine()} <= {"ok", "unknown"}
    await again.close()


@linux_only
async def test_overwritten_file_is_not_changed_by_a_wal_checkpoint(
    store: Store, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(open_file, "CHECK_INTERVAL_S", 1000.0)
    await grown(store, path)
    overwrite(path, path.with_name("backup.db"))
    writer: Any = store.log._writer  # pyright: ignore[reportAttributeAccessIssue]

    await added(store.log, *(write(f"c-{number}", 100) for number in range(50)))
    writer._checkpoint(writer._connection)
    await store.close()

    assert filecmp.cmp(path, path.with_name("backup.db"), shallow=False)


@linux_only
@pytest.mark.parametrize("statement", ["VACUUM", "CREATE TABLE mine (a)", "DROP TABLE large"])
async def test_file_that_another_connection_changes_is_used(
    store: Store, path: Path, constant_checks: None, statement: str
) -> None:
    await grown(store, path)
    other = apsw.Connection(str(path))
    other.execute("CREATE TABLE large AS SELECT randomblob(1000000); UPDATE large SET rowid = 7")
    for sql in ("SELECT 1", statement, "DROP TABLE IF EXISTS large", "VACUUM"):
        other.execute(sql).fetchall()
        await added(store.log, write("a"))
        other.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
        await added(store.log, write("a"))
    other.close()

    assert len(await everything(store.log)) == 219


async def test_store_that_was_moved_back_is_used_only_after_it_is_opened_again(
    path: Path, constant_checks: None
) -> None:
    store = await open_store(f"sqlite:///{path}")
    await added(store.log, write("a"))
    os.rename(path, path.with_name("other.db"))
    with pytest.raises(StoreUnavailable):
        await store.log.append([write("a")])
    os.rename(path.with_name("other.db"), path)

    with pytest.raises(StoreUnavailable, match="no longer the file"):
        await store.log.append([write("a")])
    await store.close()
    again = await open_store(f"sqlite:///{path}")

    assert (await added(again.log, write("a"))).versions == (2,)
    await again.close()


class Mover(SystemClock):
    """A clock that moves a file when it is read, which an append does in its transaction."""

    def __init__(self, path: Path) -> None:
        self.path: Path | None = path

    def now(self) -> datetime:
        if self.path is not None and self.path.exists():
            self.path.rename(self.path.with_name("other.db"))
        return datetime.now(UTC)


@pytest.mark.parametrize("events", [1, 50])
async def test_append_during_which_the_file_is_moved_has_an_unknown_outcome(path: Path, events: int) -> None:
    store = await open_store(f"sqlite:///{path}")
    store.log._clock = Mover(path)  # pyright: ignore[reportAttributeAccessIssue]

    with pytest.raises(StoreUnavailable, match="no longer the file") as first:
        await store.log.append([write("a", events)])
    with pytest.raises(StoreUnavailable, match="no longer the file") as later:
        await store.log.append([write("a", events)])

    assert (first.value.outcome, later.value.outcome) == ("unknown", "not_written")
    await store.close()


async def test_work_recorded_while_the_file_is_moved_is_not_acknowledged(
    store: Store, path: Path, constant_checks: None
) -> None:
    lease = await acquired(store, "s")
    os.unlink(path)

    with pytest.raises(StoreUnavailable, match="no longer the file"):
        await store.recorder.record(work_of(lease, 5))


async def test_relative_path_is_found_after_a_change_of_the_working_directory(
    path: Path, tmp_path: Path, constant_checks: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(path.parent)
    store = await open_store("sqlite:///store.db")
    monkeypatch.chdir(tmp_path)

    assert (await added(store.log, write("a"))).versions == (1,)
    assert len(await everything(store.log)) == 1
    await store.close()


async def test_symbolic_link_that_names_another_file_is_noticed(
    path: Path, tmp_path: Path, constant_checks: None
) -> None:
    link = tmp_path / "link.db"
    link.symlink_to(path)
    store = await open_store(f"sqlite:///{link}")
    await added(store.log, write("a"))
    link.unlink()
    link.symlink_to(path.with_name("other.db"))

    with pytest.raises(StoreUnavailable, match="no longer the file"):
        await store.log.append([write("a")])
    await store.close()


APPEND = """
import asyncio, sys
from fait._store.open import open_store
from fait.testing.contract.store import added, everything, write

async def main():
    store = await open_store(sys.argv[1])
    await added(store.log, write("other"))
    print(len(await everything(store.log)))
    await store.close()

asyncio.run(main())
"""


async def events_of_another_process(path: Path) -> int:
    """Append an event in another process, and return the number of events it reads then."""
    command = [sys.executable, "-c", APPEND, f"sqlite:///{path}"]
    result = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=True)
    return int(result.stdout)


COPIES: dict[str, Callable[[Path], object]] = {
    "file copied": lambda path: shutil.copy(path, path.with_name("copy.db")),
    "file opened": lambda path: path.open("rb").close(),
    "folder copied": lambda path: shutil.copytree(path.parent, path.parent.with_name("copies")),
}


@linux_only
@pytest.mark.parametrize("copy", COPIES)
async def test_wal_survives_a_copy_of_the_open_store_and_another_process(store: Store, path: Path, copy: str) -> None:
    await added(store.log, write("a"))
    COPIES[copy](path)

    read = [await events_of_another_process(path)]
    await added(store.log, write("a"))
    read.append(await events_of_another_process(path))
    await store.close()

    assert read == [2, 4]
    reader = apsw.Connection(str(path))
    assert reader.execute("SELECT count(*) FROM fait_events").get == 4
    reader.close()


async def test_closed_store_leaves_one_file_and_no_descriptor(path: Path) -> None:
    stores = [await open_store(f"sqlite:///{path}") for _ in range(2)]
    await added(stores[0].log, write("a"))
    for store in stores:
        await store.close()

    assert [each.name for each in path.parent.iterdir()] == ["store.db"]
    status = os.stat(path)
    assert (status.st_dev, status.st_ino) not in open_files()
