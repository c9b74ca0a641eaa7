"""Snapshots: loads with and without them are equal, after changes of the code, the log or the stored snapshots."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fait
from fait._decisions.load import Loader
from fait._decisions.snapshot import VERIFIED_SHARE, Snapshot
from fait._errors import StoreUnavailable
from fait._events.append import PAGE_SIZE, Until
from fait._events.codec import Codec
from fait._events.envelope import EventSlice
from fait._store.open import backend_names
from fait._system import System

T0 = datetime(2024, 1, 1, tzinfo=UTC)
EVERY = 5


@fait.event("tank.filled")
class Filled:
    litres: Decimal


@fait.event("tank.drained")
class Drained:
    litres: Decimal


class Line(msgspec.Struct):
    litres: Decimal
    at: datetime


class Tank(fait.Aggregate, category="tank", snapshot_every=EVERY):
    level: Decimal = Decimal(0)
    seen: set[int] = msgspec.field(default_factory=set)
    lines: list[Line] = msgspec.field(default_factory=list)

    def fill(self, *litres: Decimal) -> Decimal:
        for each in litres:
            self.emit(Filled(each))
        return self.level

    def drain(self, litres: Decimal) -> None:
        if litres > self.level:
            raise fait.Rejected("empty")
        self.emit(Drained(litres))

    def evolve(self, event: Filled | Drained) -> None:
        sign = 1 if isinstance(event, Filled) else -1
        self.level += sign * event.litres
        self.seen.add(int(event.litres))
        self.lines.append(Line(sign * event.litres, T0))


class PlainTank(fait.Aggregate, category="tank"):
    """The same aggregate without snapshots."""

    level: Decimal = Decimal(0)
    seen: set[int] = msgspec.field(default_factory=set)
    lines: list[Line] = msgspec.field(default_factory=list)
    evolve = Tank.evolve


@pytest.fixture
def clock() -> fait.ManualClock:
    return fait.ManualClock(T0)


@asynccontextmanager
async def opened(url: str, *, clock: fait.Clock | None = None, aggregate: Any = Tank) -> AsyncIterator[System]:
    app = fait.App("tanks")
    app.include(aggregate)
    async with app.open(url, clock=clock) as system:
        yield system


@pytest.fixture(params=sorted(backend_names()))
async def s(
    request: pytest.FixtureRequest, store_url: Callable[[str], str], clock: fait.ManualClock
) -> AsyncIterator[System]:
    async with opened(store_url(request.param), clock=clock) as system:
        system._snapshots.random = lambda: 1.0
        yield system


@pytest.fixture
def quiet(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    """Fails if anything above DEBUG is logged."""
    caplog.set_level(logging.DEBUG, logger="fait")
    yield caplog
    assert [each.getMessage() for each in caplog.records if each.levelno > logging.DEBUG] == []


async def fill(s: System, times: int, id: str = "1") -> None:
    for _ in range(times):
        await s.transact(Tank.fill, id, Decimal(1))


async def saved_snapshot(s: System, id: str = "1") -> Snapshot | None:
    """Wait until snapshots are saved; return that of a tank."""
    await s._snapshots.close()
    snapshots = await s._store.snapshots.load_snapshots([f"tank-{id}"])
    return snapshots[0] if snapshots else None


class EventCounter:
    """Counts the events that a log returns to loads."""

    def __init__(self, s: System, monkeypatch: pytest.MonkeyPatch) -> None:
        self.read = 0
        history, histories = s._store.log.history, s._store.log.histories

        async def one(*values: Any, **named: Any) -> Any:
            events, more = await history(*values, **named)
            self.read += len(events)
            return events, more

        async def several(*values: Any, **named: Any) -> Any:
            streams, more = await histories(*values, **named)
            self.read += sum(len(events) for _, events in streams)
            return streams, more

        monkeypatch.setattr(s._store.log, "history", one)
        monkeypatch.setattr(s._store.log, "histories", several)


# Saving and loading


async def test_snapshot_is_saved_after_snapshot_every_events(s: System) -> None:
    versions: list[int] = []
    for _ in range(13):
        await fill(s, 1)
        snapshot = await saved_snapshot(s)
        versions.append(snapshot.version if snapshot else 0)

    # The snapshot is the state that the command was decided on, so it is saved one command later.
    assert versions == [0] * 5 + [5] * 5 + [10] * 3


async def test_aggregate_without_snapshot_every_has_no_snapshot(tmp_path: Path) -> None:
    async with opened("memory:", aggregate=PlainTank) as s:
        await s.append(fait.NewEvents("tank-1", [Filled(Decimal(1))] * 20))
        await s.load(PlainTank, "1")
        assert await saved_snapshot(s) is None


async def test_load_reads_only_events_after_the_snapshot(s: System, monkeypatch: pytest.MonkeyPatch) -> None:
    await s.append(fait.NewEvents("tank-1", [Filled(Decimal(1))] * 100))
    await s.load(Tank, "1")
    assert await saved_snapshot(s) is not None
    await s.append(fait.NewEvents("tank-1", [Filled(Decimal(1))] * 3))

    counter = EventCounter(s, monkeypatch)
    tank = await s.load(Tank, "1")

    assert (tank.level, tank.version, tank.id, counter.read) == (103, 103, "1", 4)
    assert (await s.transact(Tank.fill, "1", Decimal(1))).version == 104


async def test_snapshot_is_json_and_may_be_deleted(s: System) -> None:
    await fill(s, 6)
    snapshot = await saved_snapshot(s)

    assert snapshot is not None
    assert msgspec.json.decode(snapshot.state)["level"] == "5"
    if "Sqlite" in type(s.store).__name__:
        writer: Any = s._store.log
        await writer._writer.run(lambda connection: connection.execute("DELETE FROM fait_snapshots"))
        assert (await s.load(Tank, "1")).level == 6


async def test_past_before_the_snapshot_is_folded_from_the_first_event(s: System, clock: fait.ManualClock) -> None:
    for _ in range(12):
        clock.advance(days=1)
        await fill(s, 1)
    assert await saved_snapshot(s) is not None

    for version in range(13):
        assert (await s.load(Tank, "1", version=version)).level == version
        assert (await s.load(Tank, "1", position=version)).level == version
        assert (await s.load(Tank, "1", at=T0 + timedelta(days=version, hours=1))).level == version


async def test_load_with_as_of_uses_no_snapshot(s: System) -> None:
    for day in (3, 1, 2, 4, 5, 6):
        await s.publish(Filled(Decimal(day)), stream="tank-1", occurred_at=T0 + timedelta(days=day))
    await s.load(Tank, "1")
    assert await saved_snapshot(s) is not None

    assert (await s.load(Tank, "1", as_of=T0 + timedelta(days=2))).level == 3


async def test_decider_has_snapshots(s: System, monkeypatch: pytest.MonkeyPatch) -> None:
    def evolve(state: dict[str, int], event: Filled) -> dict[str, int]:
        return {**state, "count": state.get("count", 0) + 1}

    counter: fait.Decider[int, dict[str, int], Filled] = fait.Decider(
        category="tank",
        initial=dict,
        decide=lambda command, state: [Filled(Decimal(1))] * command,
        evolve=evolve,
        snapshot_every=3,
    )
    await s.decide(counter, "1", 4)
    await s.load(counter, "1")
    snapshot = await saved_snapshot(s)
    assert snapshot is not None
    assert snapshot.state == '{"count":4}'

    events = EventCounter(s, monkeypatch)
    assert await s.load(counter, "1") == {"count": 4}
    assert events.read == 1


# Snapshots that are not used


async def test_snapshot_of_a_changed_fold_is_replaced(tmp_path: Path, quiet: pytest.LogCaptureFixture) -> None:
    class Doubled(fait.Aggregate, category="tank", snapshot_every=EVERY):
        level: Decimal = Decimal(0)

        def evolve(self, event: Filled) -> None:
            self.level += 2 * event.litres

    url = f"sqlite:///{tmp_path}/tanks.db"
    async with opened(url) as s:
        await fill(s, 8)
        before = await saved_snapshot(s)
    async with opened(url, aggregate=Doubled) as s:
        assert (await s.load(Doubled, "1")).level == 16
        after = await saved_snapshot(s)

    assert before is not None
    assert after is not None
    assert (before.version, after.version) == (5, 8)
    assert after.fold_hash != before.fold_hash
    assert "snapshot ignored, because it has another fold hash" in quiet.text


async def test_snapshot_of_another_history_is_not_used(s: System) -> None:
    await fill(s, 6)
    snapshot = await saved_snapshot(s)
    assert snapshot is not None
    state = snapshot.state.replace('"level":"5"', '"level":"77"')
    for wrong in (
        msgspec.structs.replace(snapshot, event_id="another", state=state),
        msgspec.structs.replace(snapshot, version=4, state=state),
        msgspec.structs.replace(snapshot, version=60, state=state),
    ):
        await s._store.snapshots.save_snapshot(wrong)

        assert (await s.load_many(Tank, ["1"]))["1"].level == 6
        await s._store.snapshots.save_snapshot(wrong)
        assert (await s.load(Tank, "1")).level == 6
        assert (
            await saved_snapshot(s)
            == Snapshot(
                "tank-1",
                6,
                (await s.read("tank-1"))[-1].id,
                snapshot.fold_hash,
                snapshot.state.replace('"level":"5"', '"level":"6"'),
            )
            or (await saved_snapshot(s)) != wrong
        )


async def test_snapshot_that_cannot_be_decoded_is_not_used(s: System, caplog: pytest.LogCaptureFixture) -> None:
    await fill(s, 6)
    snapshot = await saved_snapshot(s)
    assert snapshot is not None
    await s._store.snapshots.save_snapshot(msgspec.structs.replace(snapshot, state='{"level":{}}'))

    assert (await s.load(Tank, "1")).level == 6
    assert "failed to decode a snapshot" in caplog.text
    assert "level" not in caplog.text


# Verification


@pytest.mark.parametrize(
    ("number", "verified"), [(0.0, True), (VERIFIED_SHARE - 1e-9, True), (VERIFIED_SHARE, False), (0.9, False)]
)
async def test_share_of_loads_verifies_its_snapshot(
    s: System, monkeypatch: pytest.MonkeyPatch, number: float, verified: bool
) -> None:
    await fill(s, 6)
    assert await saved_snapshot(s) is not None
    s._snapshots.random = lambda: number

    counter = EventCounter(s, monkeypatch)
    await s.load(Tank, "1")

    assert counter.read == (8 if verified else 2)


async def test_wrong_snapshot_is_logged_and_replaced_at_verification(
    s: System, caplog: pytest.LogCaptureFixture
) -> None:
    await fill(s, 6)
    snapshot = await saved_snapshot(s)
    assert snapshot is not None
    await s._store.snapshots.save_snapshot(
        msgspec.structs.replace(snapshot, state=snapshot.state.replace('"5"', '"7"', 1))
    )
    assert (await s.load(Tank, "1")).level == 8  # without verification, the snapshot is used

    s._snapshots.random = lambda: 0.0
    assert (await s.load(Tank, "1")).level == 6
    (record,) = [each for each in caplog.records if each.levelno == logging.ERROR]
    assert "tank-1" in record.getMessage()
    assert "Tank.evolve" in record.getMessage()

    s._snapshots.random = lambda: 1.0
    replaced = await saved_snapshot(s)
    assert replaced is not None
    assert replaced.version == 6
    assert (await s.load(Tank, "1")).level == 6


# Unsupported states


class Odd:
    pass


@pytest.mark.parametrize("kind", [object, Odd, dict[tuple[int, int], str], list[str | Decimal]])
def test_state_that_json_cannot_represent_is_refused(kind: Any) -> None:
    body = {"__annotations__": {"held": kind | None}, "held": None, "evolve": Tank.evolve, "__module__": __name__}
    aggregate = type(fait.Aggregate)("Wrong", (fait.Aggregate,), body, category="wrong", snapshot_every=5)
    app = fait.App("wrong")
    app.include(aggregate)

    with pytest.raises(fait.DeclarationError, match=r"Wrong has snapshot_every.*held"):
        app._resolve()


def test_decider_with_snapshots_needs_a_return_annotation() -> None:
    def evolve(state: int, event: Filled):  # type: ignore[no-untyped-def]
        return state

    app = fait.App("wrong")
    app.include(fait.Decider(category="x", initial=int, decide=lambda c, s: [], evolve=evolve, snapshot_every=5))

    with pytest.raises(fait.DeclarationError, match="annotate it with the type of the state"):
        app._resolve()


@pytest.mark.parametrize("every", [0, -1])
def test_snapshot_every_below_1_is_refused(every: int) -> None:
    with pytest.raises(fait.DeclarationError, match="at least 1"):

        class _Wrong(fait.Aggregate, category="wrong", snapshot_every=every):
            def evolve(self, event: Filled) -> None: ...


async def test_state_that_changes_in_json_is_not_saved_and_logged_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Loose(fait.Aggregate, category="tank", snapshot_every=2):
        level: int = 0

        def evolve(self, event: Filled) -> None:
            self.level = "many"  # type: ignore[assignment]

    async with opened("memory:", aggregate=Loose) as s:
        await s.append(fait.NewEvents("tank-1", [Filled(Decimal(1))] * 5))
        for _ in range(3):
            assert (await s.load(Loose, "1")).level == "many"
        assert await saved_snapshot(s) is None

    assert len([each for each in caplog.records if "the state is not equal after encoding" in each.getMessage()]) == 1


# Saving in the background


class SlowSnapshots:
    """Delays saving snapshots until `go` is set, or raises an error."""

    def __init__(self, s: System, error: Exception | None = None) -> None:
        self.go = asyncio.Event()
        self.calls = 0
        self._error = error
        self._save = s._store.snapshots.save_snapshot
        s._store.snapshots.save_snapshot = self.save  # type: ignore[method-assign]

    async def save(self, snapshot: Snapshot) -> None:
        self.calls += 1
        if self._error:
            raise self._error
        await self.go.wait()
        await self._save(snapshot)


async def test_commands_do_not_wait_for_snapshots_and_one_is_saved_at_a_time(s: System) -> None:
    slow = SlowSnapshots(s)
    async with asyncio.timeout(30):
        await fill(s, 20)

    await asyncio.sleep(0)  # the memory store does not yield by itself
    calls = slow.calls
    slow.go.set()

    assert await saved_snapshot(s) is not None
    assert calls == 1


async def test_snapshot_is_saved_after_the_append(s: System) -> None:
    slow = SlowSnapshots(s)
    slow.go.set()
    heads: list[int] = []
    save = s._store.snapshots.save_snapshot

    async def observed(snapshot: Snapshot) -> None:
        heads.append(await s._store.log.head())
        await save(snapshot)

    s._store.snapshots.save_snapshot = observed  # type: ignore[method-assign]
    await fill(s, 6)
    await s._snapshots.close()

    assert heads == [6]


@pytest.mark.parametrize("error", [StoreUnavailable("the disk is full."), ValueError("a bug")])
async def test_failure_to_save_a_snapshot_is_only_logged(
    s: System, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    SlowSnapshots(s, error)
    await fill(s, 7)
    await s._snapshots.close()

    assert (await s.load(Tank, "1")).level == 7
    assert "failed to save a snapshot" in caplog.text


async def test_failure_to_load_snapshots_is_only_logged(s: System, caplog: pytest.LogCaptureFixture) -> None:
    async def broken(streams: Sequence[str]) -> list[Snapshot]:
        raise StoreUnavailable("the database is offline.")

    await fill(s, 7)
    s._store.snapshots.load_snapshots = broken  # type: ignore[method-assign]

    assert (await s.load(Tank, "1")).level == 7
    assert "the database is offline" in caplog.text


async def test_closing_the_system_waits_for_snapshots(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/tanks.db"
    async with opened(url) as s:
        await fill(s, 6)

    async with opened(url) as s:
        assert await saved_snapshot(s) is not None
    assert [task for task in asyncio.all_tasks() if task.get_name() == "fait-snapshot"] == []


async def test_direct_changes_of_the_state_are_not_in_the_snapshot(tmp_path: Path) -> None:
    class Careless(fait.Aggregate, category="tank", snapshot_every=2):
        level: Decimal = Decimal(0)

        def fill(self) -> None:
            self.level += 1000
            self.emit(Filled(Decimal(1)))

        def evolve(self, event: Filled) -> None:
            self.level += event.litres

    async with opened("memory:", aggregate=Careless) as s:
        for _ in range(4):
            await s.transact(Careless.fill, "1")
        assert await saved_snapshot(s) is not None
        assert (await s.load(Careless, "1")).level == 4


# Equality of loads with and without snapshots

MOVES = st.lists(st.tuples(st.booleans(), st.integers(1, 9), st.integers(1, 4)), max_size=25)


@pytest.mark.parametrize("backend", sorted(backend_names()))
@settings(max_examples=25, deadline=None)
@given(moves=MOVES, every=st.integers(1, 5), verified=st.booleans())
def test_loads_with_and_without_snapshots_are_equal(
    store_url: Callable[[str], str], backend: str, moves: list[Any], every: int, verified: bool
) -> None:
    body = {"__annotations__": Tank.__annotations__, "evolve": Tank.evolve, "fill": Tank.fill.function}  # type: ignore[attr-defined]
    defaults = {"level": Decimal(0), "seen": msgspec.field(default_factory=set)}
    defaults["lines"] = msgspec.field(default_factory=list)
    kind: Any = type(fait.Aggregate)(
        "Often",
        (fait.Aggregate,),
        {**body, **defaults, "__module__": __name__},
        category="tank",
        snapshot_every=every,
    )

    async def run() -> None:
        clock = fait.ManualClock(T0)
        async with opened(store_url(backend), clock=clock, aggregate=kind) as s:
            s._snapshots.random = lambda: float(not verified)
            for concurrently, litres, times in moves:
                clock.advance(minutes=1)
                amounts = [Decimal(litres)] * times
                if concurrently:
                    await asyncio.gather(*(s.transact(kind.fill, "1", each) for each in amounts))
                else:
                    await s.transact(kind.fill, "1", *amounts)
                await check_same(s, kind)
            head = (await s.load(kind, "1")).version
            for n in range(head + 2):
                await check_same(s, kind, version=n)
                await check_same(s, kind, position=n)
                await check_same(s, kind, at=T0 + timedelta(minutes=n))
                await check_same(s, kind, as_of=T0 + timedelta(minutes=n))

    asyncio.run(run())


async def check_same(s: System, kind: Any, **past: Any) -> None:
    actual, expected = await s.load(kind, "1", **past), await s.load(PlainTank, "1", **past)
    assert msgspec.structs.astuple(actual) == msgspec.structs.astuple(expected)
    assert (actual.id, actual.version) == (expected.id, expected.version)


async def test_concurrent_commands_with_snapshots_are_serialized(s: System) -> None:
    results = await asyncio.gather(*(s.transact(Tank.fill, "1", Decimal(1)) for _ in range(64)))

    assert sorted(each.value for each in results) == [Decimal(n) for n in range(1, 65)]
    assert (await s.load(Tank, "1")).level == 64


# Long streams


class GeneratedLog:
    """A log with one long stream, whose events are generated when they are read."""

    def __init__(self, length: int) -> None:
        self.length = length
        self.largest = 0

    async def history(
        self, stream: str, *, after: int = 0, limit: int = PAGE_SIZE, until: Until = Until()
    ) -> tuple[list[EventSlice], bool]:
        last = min(after + limit, self.length)
        events: list[EventSlice] = [
            (n, n, str(n), "tank.filled", 1, '{"litres":"1"}' + " " * (1000 + n % 2))
            for n in range(after + 1, last + 1)
        ]
        return events, last < self.length

    async def histories(
        self, streams: Sequence[tuple[str, int]], *, limit: int = PAGE_SIZE
    ) -> tuple[list[tuple[str, list[EventSlice]]], bool]:
        raise AssertionError


async def test_long_stream_is_loaded_with_one_page_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    import tracemalloc

    class Level(fait.Aggregate, category="tank"):
        level: Decimal = Decimal(0)

        def evolve(self, event: Filled) -> None:
            self.level += event.litres

    from fait._decisions.aggregate import fold_definition_of
    from fait._events.registry import Registry

    async def peak(pages: int) -> int:
        log = GeneratedLog(pages * PAGE_SIZE)
        loader = Loader(log, Codec(Registry()), None)
        tracemalloc.start()
        try:
            assert (await loader.load(fold_definition_of(Level), "level-1")).version == pages * PAGE_SIZE
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    assert await peak(40) < 1.5 * await peak(2)
