"""`load_many`: the same states as `load`, with few queries and at most one page in memory."""

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import pytest

import fait
from fait._decisions.load import MAX_STREAMS_PER_READ
from fait._events.append import MAX_APPEND_EVENTS, PAGE_SIZE
from fait._store.open import backend_names
from fait._system import System


@fait.event("jar.filled")
class Filled:
    number: int


class Jar(fait.Aggregate, category="jar"):
    numbers: list[int] = fait.field(default_factory=list)

    def evolve(self, event: Filled) -> None:
        self.numbers.append(event.number)


class Snapshotted(fait.Aggregate, category="often", snapshot_every=3):
    numbers: list[int] = fait.field(default_factory=list)

    def evolve(self, event: Filled) -> None:
        self.numbers.append(event.number)


def count(state: int, event: Filled) -> int:
    return state + 1


COUNTER: fait.Decider[Any, int, Filled] = fait.Decider(
    category="jar", initial=int, decide=lambda command, state: [], evolve=count
)


@pytest.fixture(params=sorted(backend_names()))
async def s(request: pytest.FixtureRequest, store_url: Callable[[str], str]) -> AsyncIterator[System]:
    app = fait.App("jars")
    app.include(Jar, Snapshotted)
    async with app.open(store_url(request.param)) as system:
        system._snapshots.random = lambda: 1.0
        yield system


async def fill(s: System, sizes: dict[str, int], category: str = "jar") -> None:
    new_events = [
        fait.NewEvents(f"{category}-{id}", [Filled(number) for number in range(size)])
        for id, size in sizes.items()
        if size
    ]
    for start in range(0, len(new_events), 100):
        await s.append(*new_events[start : start + 100])


class QueryCounter:
    """Counts the calls of `histories`, their streams and the returned events."""

    def __init__(self, s: System, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls = self.events = self.longest = 0
        read = s._store.log.histories

        async def counting(streams: Sequence[tuple[str, int]], *, limit: int = PAGE_SIZE) -> Any:
            histories, more = await read(streams, limit=limit)
            self.calls += 1
            events = sum(len(each) for _, each in histories)
            self.events += events
            self.longest = max(self.longest, len(streams))
            assert events <= PAGE_SIZE
            return histories, more

        monkeypatch.setattr(s._store.log, "histories", counting)


async def test_load_many_returns_states_in_the_order_of_the_ids(s: System) -> None:
    await fill(s, {"a": 1, "b": 2, "c": 3})

    states = await s.load_many(Jar, iter(["c", "none", "a", "b", "c"]))

    assert [(id, jar.id, jar.version, jar.numbers) for id, jar in states.items()] == [
        ("c", "c", 3, [0, 1, 2]),
        ("none", "none", 0, []),
        ("a", "a", 1, [0]),
        ("b", "b", 2, [0, 1]),
    ]
    assert await s.load_many(Jar, []) == {}


async def test_load_many_works_with_deciders(s: System) -> None:
    await fill(s, {"a": 1, "b": 2})

    assert await s.load_many(COUNTER, ["b", "x", "a"]) == {"b": 2, "x": 0, "a": 1}


@pytest.mark.parametrize("kind", [Jar, Snapshotted])
@pytest.mark.parametrize(
    "sizes", [(PAGE_SIZE - 1, 2), (PAGE_SIZE, 2), (PAGE_SIZE + 1, 2), (1, PAGE_SIZE - 1, 1), (0, 2 * PAGE_SIZE, 0, 3)]
)
async def test_load_many_with_pages_that_end_inside_or_between_streams(
    s: System, sizes: tuple[int, ...], kind: Any
) -> None:
    ids = {str(index): size for index, size in enumerate(sizes)}
    category = "jar" if kind is Jar else "often"
    await fill(s, ids, category)
    for _ in range(2):  # without snapshots, and with those of the first load
        states = await s.load_many(kind, ids)
        assert {id: jar.numbers for id, jar in states.items()} == {id: list(range(size)) for id, size in ids.items()}
        for id in ids:
            await s.load(kind, id)
        await s._snapshots.close()


async def test_load_many_uses_few_queries(s: System, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = {str(number): number % 3 for number in range(2 * MAX_STREAMS_PER_READ + 1)}
    await fill(s, ids)

    counter = QueryCounter(s, monkeypatch)
    states = await s.load_many(Jar, ids)

    assert {id: len(jar.numbers) for id, jar in states.items()} == ids
    assert (counter.calls, counter.longest) == (3, MAX_STREAMS_PER_READ)


async def test_load_many_starts_at_snapshots(s: System, monkeypatch: pytest.MonkeyPatch) -> None:
    await fill(s, {"a": 50, "b": 2, "c": 30}, "often")
    for id in ("a", "b", "c"):
        await s.load(Snapshotted, id)
    await s._snapshots.close()
    await fill(s, {"c": 1}, "often")

    counter = QueryCounter(s, monkeypatch)
    states = await s.load_many(Snapshotted, ["a", "b", "c", "d"])

    assert [(jar.id, jar.version, len(jar.numbers)) for jar in states.values()] == [
        ("a", 50, 50), ("b", 2, 2), ("c", 31, 31), ("d", 0, 0)
    ]  # fmt: skip
    assert counter.events == 1 + 2 + 2


async def test_load_many_reads_long_streams_to_the_end(s: System) -> None:
    await s.append(fait.NewEvents("jar-a", [Filled(1)] * MAX_APPEND_EVENTS))
    await s.append(fait.NewEvents("jar-a", [Filled(2)]))

    assert (await s.load_many(Jar, ["z", "a"]))["a"].numbers[-1] == 2
