"""A store whose files are deleted, moved or replaced while it is open acknowledges nothing and reads nothing more."""

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path

import apsw
import pytest

from fait._clock import SystemClock
from fait._errors import StoreUnavailable
from fait._store.open import open_admin, open_store
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
    "register": lambda store: store.leases.heartbeat("worker"),
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
