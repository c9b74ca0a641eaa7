"""A small append that arrives alone is committed in the event loop, if that is faster than a thread switch."""

import asyncio
import threading
import time
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any, cast

import apsw
import pytest

from fait._errors import StoreUnavailable
from fait._events.append import Appended
from fait._store.open import open_store
from fait._store.sqlite import worker_threads as threads
from fait._store.sqlite.connection import SqliteConnection
from fait._store.sqlite.store import SqliteStore
from fait.testing.contract.store import added, everything, new, write
from fait.testing.contract.turns import let_readers_wait, turns


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log.db"


@pytest.fixture
async def store(path: Path) -> AsyncGenerator[SqliteStore]:
    store = cast("SqliteStore", await open_store(f"sqlite:///{path}"))
    yield store
    await store.close()


@pytest.fixture
def fast_disk(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every disk counts as fast, and a fast commit has been measured."""
    monkeypatch.setattr(threads, "MAX_INLINE_COMMIT_S", 1000.0)
    store._writer._commit_time_s = 0.0  # pyright: ignore[reportPrivateUsage]


@pytest.fixture
def committed_inline(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """For each write transaction, whether it ran in the thread of the event loop."""
    is_inline, loop_thread, transaction = list[bool](), threading.get_ident(), threads._transaction  # pyright: ignore[reportPrivateUsage]

    def watched(connection: SqliteConnection, jobs: Any) -> list[Any]:
        is_inline.append(threading.get_ident() == loop_thread)
        return transaction(connection, jobs)

    monkeypatch.setattr(threads, "_transaction", watched)
    return is_inline


def size(path: Path) -> int:
    return path.stat().st_size


async def test_small_append_on_a_fast_disk_is_committed_inline(
    fast_disk: None, store: SqliteStore, committed_inline: list[bool]
) -> None:
    for _ in range(5):
        await added(store.log, write("a", 2))

    assert committed_inline == [True] * 5
    assert len(await everything(store.log)) == 10


async def test_append_before_a_fast_commit_was_measured_uses_the_thread(
    store: SqliteStore, committed_inline: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threads, "MAX_INLINE_COMMIT_S", 0.0)
    for _ in range(5):
        await added(store.log, write("a"))

    assert committed_inline == [False] * 5


async def test_append_after_a_slow_commit_uses_the_thread_for_a_while(
    fast_disk: None, store: SqliteStore, committed_inline: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    await added(store.log, write("a"))
    monkeypatch.setattr(threads, "MAX_INLINE_COMMIT_S", 0.1)
    store._writer._commit_time_s = 0.15  # pyright: ignore[reportPrivateUsage]
    for _ in range(10):
        await added(store.log, write("a"))

    assert committed_inline[0]
    assert committed_inline[1:5] == [False] * 4
    assert committed_inline[-1]


async def test_large_or_concurrent_appends_are_not_committed_inline(
    fast_disk: None, store: SqliteStore, committed_inline: list[bool]
) -> None:
    await added(store.log, write("a", 11))
    await added(store.log, write("a", [new(data=f'"{"x" * 70_000}"')]))
    await added(store.log, write("a", [new(tags=tuple(f"t:{number}" for number in range(11)))]))
    await asyncio.gather(*(added(store.log, write(f"b-{number}")) for number in range(8)))

    assert committed_inline == [
        False,
        False,
        False,
        True,
        False,
    ]  # the first of the eight met an empty queue
    assert len(await everything(store.log)) == 21


async def test_inline_append_does_not_wait_for_another_process(
    fast_disk: None, store: SqliteStore, path: Path, committed_inline: list[bool]
) -> None:
    other = cast("SqliteConnection", apsw.Connection(str(path)))
    other.execute("BEGIN IMMEDIATE")
    release = threading.Timer(3.0, other.execute, ["ROLLBACK"])  # in another thread, as the event loop may be blocked
    release.start()
    appending = asyncio.create_task(added(store.log, write("a")))
    longest, last = 0.0, time.monotonic()
    while not appending.done():
        await asyncio.sleep(0.002)
        longest, last = max(longest, time.monotonic() - last), time.monotonic()
    release.join()

    assert isinstance(await appending, Appended)
    assert committed_inline == [True, False]
    assert longest < 2


async def test_inline_append_does_not_use_the_connection_while_the_thread_does(
    fast_disk: None, store: SqliteStore, committed_inline: list[bool]
) -> None:
    resume = threading.Event()

    def slow(_connection: SqliteConnection) -> None:
        resume.wait(10)

    working = asyncio.create_task(store._writer.run(slow))  # pyright: ignore[reportPrivateUsage]
    await let_readers_wait(store.log)
    appending = asyncio.create_task(added(store.log, write("a")))
    await let_readers_wait(store.log)
    assert not appending.done()
    resume.set()
    await asyncio.gather(working, appending)

    assert not any(committed_inline)


async def test_wal_checkpoint_after_inline_appends_runs_in_the_thread(
    fast_disk: None, store: SqliteStore, path: Path, committed_inline: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    store._writer._max_wal_pages = 20  # pyright: ignore[reportPrivateUsage]
    inline_checkpoints, loop_thread, checkpoint = list[bool](), threading.get_ident(), threads.WriterThread._checkpoint  # pyright: ignore[reportPrivateUsage]

    def watched(writer: threads.WriterThread, connection: SqliteConnection) -> None:
        inline_checkpoints.append(threading.get_ident() == loop_thread)
        checkpoint(writer, connection)

    monkeypatch.setattr(threads.WriterThread, "_checkpoint", watched)
    before = size(path)
    for _ in range(100):
        await added(store.log, write("a"))
        await turns(50)

    assert len(inline_checkpoints) > 5
    assert not any(inline_checkpoints)
    assert committed_inline.count(True) > 50
    assert size(path) > before


async def test_append_before_close_is_stored(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "MAX_INLINE_COMMIT_S", 1000.0)
    store = cast("SqliteStore", await open_store(f"sqlite:///{path}"))
    store._writer._commit_time_s = 0.0  # pyright: ignore[reportPrivateUsage]
    appending = asyncio.create_task(added(store.log, write("a")))
    await asyncio.sleep(0)
    await store.close()

    assert isinstance(await appending, Appended)


async def test_append_after_close_raises_store_unavailable(
    fast_disk: None, store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store._writer, "_closed", True)  # pyright: ignore[reportPrivateUsage]

    with pytest.raises(StoreUnavailable, match="closed"):
        await store.log.append([write("a")])

    monkeypatch.undo()
