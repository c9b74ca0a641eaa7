"""After a power failure at any time, all acknowledged events are on the disk, and the store is consistent."""

import asyncio
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

import msgspec

import fait
from fait._events.envelope import RecordedEvent
from fait._store.open import open_store
from fait._store.ports.store import Store
from fait._store.ports.unit_of_work import RecordResult, UnitOfWork
from fait._store.sqlite.store import SqliteStore
from fait.testing.contract.store import added, everything, new, write
from tests.crash.consistency import consistent, effecting_app
from tests.crash.counting import Counter, Totals
from tests.crash.power import WAL_HEADER, Disk, Platter, recorded

CALLERS, ROUNDS = 6, 12
BETWEEN = 200


class Promise(NamedTuple):
    """A position that a caller or reader was given after a number of disk operations."""

    operations: int
    what: str
    position: int


class Truth(NamedTuple):
    """A complete run, to compare surviving data with."""

    disk: Disk
    promises: list[Promise]
    events: list[RecordedEvent]


class Survived(NamedTuple):
    position: int
    broken: int


def power_app() -> fait.App:
    app = effecting_app()
    app.include(Counter, Totals)
    return app


async def run(path: Path, synchronous: str, chance: random.Random) -> Truth:
    """Run conflicting decisions, appends to several streams, a read model, a reactor and a reader."""
    promises: list[Promise] = []
    with recorded(wal_autocheckpoint=40) as disk:
        async with power_app().open(f"sqlite:///{path}?synchronous={synchronous}") as system:

            def promise(what: str, position: int) -> None:
                promises.append(Promise(len(disk.operations), what, position))

            _note_recorded(system.store, promise)

            async def call(caller: int) -> None:
                for number in range(ROUNDS):
                    counter = f"shared-{chance.randrange(3)}" if chance.random() < 0.5 else f"own-{caller}"
                    result = await system.using(attempts=50).transact(Counter.count, counter, chance.randrange(1, 9))
                    promise("append", result.position)
                    if number % 4 == 0:
                        promise("append", await _append_to_several(system.store, caller, chance))

            async def read_on() -> None:
                async for each in system.events(follow_on=True):
                    promise("append", each.position)

            reader = asyncio.create_task(read_on())
            await asyncio.gather(*(call(caller) for caller in range(CALLERS)))
            last = fait.WriteResult(None, "", 0, await system.store.log.head())
            await system.find(Totals, after=last, timeout_s=20)
            events = await everything(system.store.log)
            reader.cancel()
            await asyncio.gather(reader, return_exceptions=True)
    return Truth(disk, promises, events)


def _note_recorded(store: Store, promise: Any) -> None:
    record = store.recorder.record

    async def noted(work: UnitOfWork) -> RecordResult:
        if (result := await record(work)) == "recorded":
            promise(work.move.key.subscription, work.move.position)
        return result

    store.recorder.record = noted  # type: ignore[method-assign]


async def _append_to_several(store: Store, caller: int, chance: random.Random) -> int:
    """Append twice concurrently with the same ids, so that one savepoint is rolled back."""
    big = msgspec.json.encode({"text": "x" * chance.randrange(10_000)}).decode()
    several = write(f"several-{caller}", [new(data=big, tags=("a", f"b:{caller}")), new(tags=("a",))]), write("all", 2)
    twice = await asyncio.gather(*(added(store.log, *several) for _ in range(2)))
    assert twice[1].repeated
    return twice[0].position


async def crash(truth: Truth, directory: Path, chance: random.Random) -> list[Survived]:
    """Simulate a power failure before and after every sync and at random points; check what survives."""
    operations = truth.disk.operations
    syncs = [at for at, each in enumerate(operations) if each.kind == "sync"]
    points = {at + after for at in syncs for after in (0, 1)} | {*chance.sample(range(len(operations)), BETWEEN)}
    platter, survived = Platter(), list[Survived]()
    for done, operation in enumerate(operations):
        if done in points:
            platter.write_out(directory, chance, kept=chance.choice((0, 0.5, 0.9, 1)))
            survived.append(await _inspect(truth, done, directory))
        platter.apply(operation)
    return survived


async def _inspect(truth: Truth, operations: int, directory: Path) -> Survived:
    path = directory / "power.db"
    store = cast("SqliteStore", await open_store(f"sqlite:///{path}"))
    try:
        events, ends = await consistent(store, path)
        assert events == truth.events[: len(events)]
        ends["append"] = events[-1].position if events else 0
        given = [each for each in truth.promises if each.operations <= operations]
        broken = [each for each in given if each.position > ends.get(each.what, 0)]
        await _check_appends_work(store, events)
    finally:
        await store.close()
    return Survived(ends["append"], len(broken))


async def _check_appends_work(store: Store, events: Sequence[RecordedEvent]) -> None:
    for stream in {"new", *(each.stream for each in events[-3:])}:
        before = max((each.version for each in events if each.stream == stream), default=0)
        appended = await added(store.log, write(stream))
        assert appended.versions == (before + 1,)


async def test_acknowledged_or_read_events_survive_a_power_failure(tmp_path: Path) -> None:
    truth, survived = await _crashes(tmp_path, "FULL")

    assert [each.broken for each in survived if each.broken] == []
    assert {0, truth.events[-1].position} < {each.position for each in survived}


async def test_synchronous_normal_loses_only_the_last_commits(tmp_path: Path) -> None:
    _, survived = await _crashes(tmp_path, "NORMAL")

    assert any(each.broken for each in survived), "the simulation does not notice a lost promise"


async def _crashes(tmp_path: Path, synchronous: str) -> tuple[Truth, list[Survived]]:
    seed = random.randrange(1 << 30)
    print("seed", seed)
    chance = random.Random(seed)
    (after := tmp_path / "after").mkdir()
    truth = await run(tmp_path / "power.db", synchronous, chance)
    checkpoints = truth.disk.since(0, lambda each: each.kind == "sync" and each.file == "power.db")
    restarts = truth.disk.since(0, lambda each: each.file.endswith("-wal") and len(each.data) == WAL_HEADER)
    assert checkpoints > 3
    assert restarts > 3
    with recorded():
        survived = await crash(truth, after, chance)
    print(len(truth.disk.operations), "operations,", len(survived), "crashes,", checkpoints, restarts)
    return truth, survived
