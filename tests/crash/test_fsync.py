"""Each commit costs one sync, reads and rejected appends none; a full or failing disk loses no acknowledged event."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Iterator, Sequence
from pathlib import Path
from typing import cast

import apsw
import pytest

from fait._errors import StoreUnavailable
from fait._events.append import AppendCondition, Appended, ConditionFailed, IdConflict, VersionConflict
from fait._events.envelope import EncodedEvent, RecordedEvent
from fait._events.query import Query
from fait._store.open import open_store
from fait._store.sqlite.store import SqliteStore
from fait.testing.contract.store import added, everything, new, write
from tests.crash.power import Disk, recorded
from tests.crash.stepping import writer_kept_busy


@pytest.fixture
def disk() -> Iterator[Disk]:
    with recorded() as disk:
        yield disk


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/synced.db"


@pytest.fixture
async def store(disk: Disk, url: str) -> AsyncIterator[SqliteStore]:
    store = cast("SqliteStore", await open_store(url))
    await added(store.log, write("first", [new(tags=("seen",))]))  # a new WAL's header is synced with its first commit
    yield store
    await store.close()


def syncs(disk: Disk, start: int) -> int:
    return disk.since(start, lambda each: each.kind == "sync")


def wal_syncs(disk: Disk, start: int) -> int:
    return disk.since(start, lambda each: each.is_wal_sync)


def commits(disk: Disk, start: int) -> int:
    return disk.since(start, lambda each: each.is_commit)


async def test_sequential_appends_are_synced_individually(disk: Disk, store: SqliteStore) -> None:
    for number in range(20):
        start = len(disk.operations)
        await added(store.log, write("one", 1 + number % 3))
        assert (syncs(disk, start), wal_syncs(disk, start), commits(disk, start)) == (1, 1, 1)


async def test_appends_of_one_batch_share_one_sync(disk: Disk, store: SqliteStore) -> None:
    start = len(disk.operations)
    async with writer_kept_busy(store):
        first = [asyncio.create_task(added(store.log, write(f"first-{n}"))) for n in range(2)]
        queued = [asyncio.create_task(added(store.log, write(f"s-{n}"))) for n in range(100)]
        await asyncio.sleep(0)
    await asyncio.gather(*first, *queued)

    # The writer commits the first batch, then the appends that were queued behind it.
    assert (syncs(disk, start), commits(disk, start)) == (2, 2)


async def test_concurrent_appends_cost_one_sync_per_commit(disk: Disk, store: SqliteStore) -> None:
    start = len(disk.operations)
    await asyncio.gather(*(added(store.log, write(f"s-{n % 50}")) for n in range(500)))

    assert wal_syncs(disk, start) == commits(disk, start) <= 10


async def test_reads_sync_nothing(disk: Disk, store: SqliteStore) -> None:
    start = len(disk.operations)
    await everything(store.log)
    await everything(store.log, Query(tags=("seen",)))
    await store.log.read_stream("first")
    await store.log.streams()
    await store.log.head()
    await store.leases.ranges()
    await store.examine()

    assert disk.operations[start:] == []


async def test_rejected_appends_sync_nothing(disk: Disk, store: SqliteStore) -> None:
    start = len(disk.operations)
    conflict = await store.log.append([write("first", expected=7)])
    of_several = await store.log.append([write("other"), write("first", expected=7)])
    seen = await store.log.append([write("other")], AppendCondition((Query(tags=("seen",)),), 0))

    assert isinstance(conflict, VersionConflict)
    assert isinstance(of_several, VersionConflict)
    assert isinstance(seen, ConditionFailed)
    assert disk.operations[start:] == []


async def test_duplicate_id_costs_at_most_one_sync(disk: Disk, store: SqliteStore) -> None:
    before = new()
    await added(store.log, write("first", [before]))
    for stream, answer in ("other", IdConflict), ("first", Appended):
        start = len(disk.operations)
        assert isinstance(await store.log.append([write(stream, [before])]), answer)
        assert syncs(disk, start) <= 1


@pytest.mark.parametrize(("option", "level"), [("", 2), ("?synchronous=FULL", 2), ("?synchronous=NORMAL", 1)])
async def test_all_connections_have_the_requested_synchronous_level(url: str, option: str, level: int) -> None:
    opened: list[apsw.Connection] = []
    apsw.connection_hooks.append(opened.append)
    try:
        store = cast("SqliteStore", await open_store(url + option))
        levels = [each.pragma("synchronous") for each in opened if each in apsw.connections()]
        writer = await store._writer.run(lambda connection: connection.pragma("synchronous"))
        await store.close()
    finally:
        apsw.connection_hooks.remove(opened.append)

    assert writer == level
    assert len(levels) > 2
    assert set(levels) == {level}


def _big(count: int) -> list[EncodedEvent]:
    return [new(data='"' + "x" * 20_000 + '"') for _ in range(count)]


@pytest.mark.parametrize("kind", ["one", "several", "larger than the cache"])
async def test_append_on_a_full_disk_writes_nothing_and_loses_nothing(
    disk: Disk, store: SqliteStore, kind: str
) -> None:
    writes = {
        "one": [write("a", [new(tags=("t",))])],
        "several": [write("a", 3), write("b", [new(tags=("t", "u")), new()])],
        "larger than the cache": [write("a", _big(150))],
    }[kind]
    before, refused = await everything(store.log), 0
    for room in _rooms(kind):
        disk.writes_left = room
        outcome = await _outcome(store.log.append(writes))
        disk.writes_left = None
        if outcome == "done":
            break
        assert outcome == "not_written"
        assert await everything(store.log) == before
        refused += 1
    assert refused > 3

    assert _ids(await everything(store.log)) == _ids(before, *(each.events for each in writes))
    await added(store.log, write("a"))
    assert [each for each in await store.examine() if each.status != "ok"] == []


def _rooms(kind: str) -> Iterator[int]:
    step = 101 if kind == "larger than the cache" else 1
    return iter(range(0, 10_000, step))


async def test_concurrent_appends_on_a_full_disk_all_fail_and_can_be_retried(disk: Disk, store: SqliteStore) -> None:
    writes, before = [write(f"s-{n % 5}") for n in range(40)], await everything(store.log)
    disk.writes_left = 5
    answers = await asyncio.gather(*(store.log.append([each]) for each in writes), return_exceptions=True)
    disk.writes_left = None

    assert [answer.outcome for answer in answers if isinstance(answer, StoreUnavailable)] == ["not_written"] * 40
    assert await everything(store.log) == before
    assert [(await added(store.log, each)).repeated for each in writes] == [False] * 40


@pytest.mark.parametrize("syncs_left", range(4))
async def test_concurrent_appends_with_a_failing_sync_are_stored_once_when_retried(
    disk: Disk, store: SqliteStore, syncs_left: int
) -> None:
    writes, before = [write(f"s-{n % 5}", 2) for n in range(40)], await everything(store.log)
    disk.syncs_left = syncs_left
    outcomes = await asyncio.gather(*(_outcome(store.log.append([each])) for each in writes))
    disk.syncs_left = None
    assert set(outcomes) <= {"done", "unknown"}

    stored = _ids(await everything(store.log))
    acknowledged = [each.events for each, outcome in zip(writes, outcomes, strict=True) if outcome == "done"]
    assert set(_ids(*acknowledged)) <= set(stored)
    for each in writes:
        await added(store.log, each)
    assert sorted(_ids(await everything(store.log))) == sorted(_ids(before, *(each.events for each in writes)))
    assert [each for each in await store.examine() if each.status != "ok"] == []


async def test_new_store_on_a_full_disk_is_not_opened_and_can_be_opened_later(disk: Disk, url: str) -> None:
    async def opened() -> None:
        await (await open_store(url)).close()

    outcomes: list[str] = []
    while "done" not in outcomes:
        disk.writes_left = len(outcomes)
        outcomes.append(await _outcome(opened()))
    disk.writes_left = None
    assert outcomes == ["not_written"] * (len(outcomes) - 1) + ["done"]
    assert len(outcomes) > 10

    store = await open_store(url)
    await added(store.log, write("a"))
    await store.close()


async def test_append_with_a_failing_sync_has_unknown_outcome_and_can_be_retried(
    disk: Disk, store: SqliteStore
) -> None:
    writes, before = [write("a", 2)], await everything(store.log)
    disk.syncs_left = 0
    assert await _outcome(store.log.append(writes)) == "unknown"
    disk.syncs_left = None

    assert (await added(store.log, *writes)).versions == (2,)
    assert _ids(await everything(store.log)) == _ids(before, writes[0].events)


@pytest.mark.parametrize("failing", ["writes_left", "syncs_left"])
async def test_disk_failure_during_wal_checkpoint_loses_nothing(tmp_path: Path, failing: str) -> None:
    with recorded(wal_autocheckpoint=5) as disk:
        store = cast("SqliteStore", await open_store(f"sqlite:///{tmp_path}/moved.db"))
        stored, answered = list[EncodedEvent](), set[str]()
        for number in range(60):
            each = write(f"s-{number % 3}", 2)
            setattr(disk, failing, number % 30)
            answered.add(await _outcome(store.log.append([each])))
            setattr(disk, failing, None)
            await added(store.log, each)  # a repetition, if it was stored
            stored += each.events
            assert _ids(await everything(store.log)) == _ids(stored)
        assert answered == {"done", "not_written" if failing == "writes_left" else "unknown"}
        assert [each for each in await store.examine() if each.status != "ok"] == []
        await store.close()


async def _outcome(attempt: Awaitable[object]) -> str:
    try:
        await attempt
    except StoreUnavailable as error:
        return error.outcome
    return "done"


def _ids(*events: Sequence[EncodedEvent | RecordedEvent]) -> list[str]:
    return [each.id for several in events for each in several]
