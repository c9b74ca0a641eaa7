"""No interleaving of boundary decisions violates their invariants; without append conditions, some do."""

import asyncio
import json
import os
import random
from collections import Counter
from collections.abc import Coroutine, Generator, Iterable, Sequence
from functools import partial
from pathlib import Path
from types import coroutine
from typing import Any

import pytest
from msgspec import Struct

import fait
from fait._affinity import Affinity
from fait._clock import ManualClock
from fait._decisions import decision_loop
from fait._decisions.boundary import read_matching_events
from fait._decisions.client import Client
from fait._decisions.load import Loader
from fait._events.append import AppendCondition, AppendResult, Page, StreamWrite
from fait._events.codec import Codec
from fait._events.envelope import RecordedEvent
from fait._events.query import EVERYTHING, Query
from fait._events.registry import build_registry
from fait._store.memory.log import MemoryLog
from fait._system import System
from fait.testing.contract.store import START

INTERLEAVINGS = max(10_000, int(os.environ.get("FAIT_EXAMPLES", "0")))
CAPACITY = 3


@fait.event("race.sold")
class Sold:
    seats: int


@fait.event("race.closed")
class Closed:
    pass


class Show(Struct):
    sold: int = 0
    closed: bool = False


class Sell(Struct, frozen=True):
    order: str
    shows: tuple[str, ...]
    seats: int


def evolve(state: Show, event: Sold | Closed) -> Show:
    match event:
        case Sold():
            state.sold += event.seats
        case Closed():
            state.closed = True
    return state


def decide(command: Sell, state: Show) -> list[fait.NewEvents]:
    if state.closed:
        raise fait.Rejected("closed")
    if state.sold + command.seats > CAPACITY:
        raise fait.Rejected("sold out")
    return [fait.NewEvents(f"order-{command.order}", [Sold(command.seats)], tags=[f"show:{s}" for s in command.shows])]


sell = fait.Boundary(
    name="sell",
    depends_on=lambda c: [Query(tags=(f"show:{show}",)) for show in c.shows],
    initial=Show,
    decide=decide,
    evolve=evolve,
)
"""Sells at most CAPACITY seats in all shows of a command together, and none after the show is closed."""


# One random interleaving: at each step a random task runs


@coroutine
def step(*_: Any) -> Generator[None, None, None]:
    """Let other tasks run first."""
    yield


class SteppingLog:
    """A memory log, each call of which is a separate step."""

    def __init__(self, log: MemoryLog, *, conditions: bool) -> None:
        self._log = log
        self._conditions = conditions
        self.history = log.history

    async def append(self, writes: Sequence[StreamWrite], condition: AppendCondition | None = None) -> AppendResult:
        await step()
        return await self._log.append(writes, condition if self._conditions else None)

    async def read(self, after: int, *, query: Query = EVERYTHING, limit: int = 1000) -> Page:
        await step()
        return await self._log.read(after, query=query, limit=limit)

    async def find(self, event_ids: Sequence[str]) -> list[RecordedEvent]:
        await step()
        return await self._log.find(event_ids)


class Anywhere(Affinity):
    """Of calls that no event loop runs: a test steps through them."""

    def __init__(self) -> None:
        pass

    def check(self) -> None:
        pass


def interleave(rng: random.Random, tasks: Sequence[Coroutine[Any, Any, Any]]) -> list[Any]:
    """Run all tasks to their end, one random step at a time. Returns what each returned or raised."""
    outcomes: list[Any] = [None] * len(tasks)
    running = list(enumerate(tasks))
    while running:
        index, task = each = rng.choice(running)
        try:
            task.send(None)
        except StopIteration as end:
            outcomes[index] = end.value
            running.remove(each)
        except fait.FaitError as error:
            outcomes[index] = error
            running.remove(each)
    return outcomes


def race(seed: int, codec: Codec, *, conditions: bool = True) -> list[str]:
    """Run one interleaving of a few orders, sometimes with a closing. Returns the violations."""
    rng = random.Random(seed)
    log = MemoryLog(ManualClock(START))
    stepping = SteppingLog(log, conditions=conditions)
    client = Client(
        stepping,
        partial(read_matching_events, stepping),
        Loader(stepping, codec),
        ManualClock(START),
        affinity=Anywhere(),
    )
    commands = [
        Sell(str(n), tuple(rng.sample("ab", rng.choice((1, 1, 2)))), rng.randint(1, 2))
        for n in range(rng.randint(2, 4))
    ]
    tasks: list[Coroutine[Any, Any, Any]] = [client.decide(sell, command) for command in commands]
    if rng.random() < 0.4:
        tasks.append(client.publish(Closed(), stream="show-a", tags=["show:a"]))
    outcomes = interleave(rng, tasks)
    stored = interleave(rng, [log.read(0)])[0].events
    return [*invariant_violations(stored), *wrong_outcomes(stored, zip(commands, outcomes, strict=False))]


def invariant_violations(stored: Sequence[RecordedEvent]) -> list[str]:
    """Return the invariants that the log violates."""
    sold, closed, violations = Counter[str](), set[str](), list[str]()
    for event in stored:
        if event.type == "race.closed":
            closed.update(event.tags)
            continue
        sold.update(dict.fromkeys(event.tags, json.loads(event.data)["seats"]))
        if closed.intersection(event.tags):
            violations.append("sold after closing")
        if max(sold.values()) > CAPACITY:
            violations.append("oversold")
    return violations


def wrong_outcomes(stored: Sequence[RecordedEvent], outcomes: Iterable[tuple[Sell, Any]]) -> list[str]:
    """Return the outcomes that contradict the log."""
    wrong: list[str] = []
    for command, outcome in outcomes:
        written = [event for event in stored if event.stream == f"order-{command.order}"]
        tags = {f"show:{show}" for show in command.shows}
        seats = sum(json.loads(e.data).get("seats", 0) for e in stored if tags.intersection(e.tags))
        closed = any(e.type == "race.closed" and tags.intersection(e.tags) for e in stored)
        if isinstance(outcome, fait.WriteResult):
            if [event.position for event in written] != [outcome.position]:
                wrong.append("reported as stored, but not stored once")
        elif not isinstance(outcome, fait.Rejected):
            wrong.append(f"failed: {outcome!r}")
        elif written or (seats + command.seats <= CAPACITY and not closed):
            wrong.append("rejected, but stored or not necessary")
    return wrong


@pytest.fixture
def codec(monkeypatch: pytest.MonkeyPatch) -> Codec:
    monkeypatch.setattr(decision_loop, "back_off", step)  # the back-off is a step, too
    return Codec(build_registry([Sold, Closed]))


def test_interleavings_violate_no_invariant(codec: Codec) -> None:
    failures = {seed: violations for seed in range(INTERLEAVINGS) if (violations := race(seed, codec))}

    assert failures == {}


def test_interleavings_without_conditions_violate_invariants(codec: Codec) -> None:
    violations = Counter(each for seed in range(300) for each in race(seed, codec, conditions=False))

    assert violations["oversold"] > 30
    assert violations["sold after closing"] > 3


# Two stores on one file


SEATS = 60


class Buy(Struct, frozen=True):
    buyer: str
    seats: int


def allot(command: Buy, sold: int) -> list[fait.NewEvents]:
    if sold + command.seats > SEATS:
        raise fait.Rejected("sold out")
    return [fait.NewEvents(f"order-{fait.new_id()}", [Sold(command.seats)], tags=["show:a"])]


def seats_sold(sold: int, event: Sold) -> int:
    return sold + event.seats


buy = fait.Boundary(
    name="buy", depends_on=lambda _: Query(tags=("show:a",)), initial=int, decide=allot, evolve=seats_sold
)


async def test_two_stores_on_one_file_sell_each_seat_once(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/theatre.db?synchronous=NORMAL"
    app = fait.App("theatre")
    app.include(buy)

    async def greedy(system: System, buyer: str) -> int:
        """Buy two seats at a time, then one at a time, until none is left."""
        bought = 0
        for seats in (2, 1):
            try:
                while True:
                    await system.using(attempts=100).decide(buy, Buy(buyer, seats))
                    bought += seats
            except fait.Rejected:
                continue
        return bought

    async with app.open(url) as one, app.open(url) as two:
        bought = await asyncio.gather(*(greedy((one, two)[n % 2], f"b-{n}") for n in range(32)))
        stored = [event async for event in one.events()]

    assert sum(bought) == sum(event.event.seats for event in stored) == SEATS
