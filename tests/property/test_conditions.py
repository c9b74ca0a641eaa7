"""No interleaving of decisions breaks a rule that they all keep; without their conditions, some do."""

import asyncio
import json
import os
import random
from collections import Counter
from collections.abc import Coroutine, Generator, Iterable, Sequence
from pathlib import Path
from types import coroutine
from typing import Any

import pytest
from msgspec import Struct

import fait
from fait._app import System
from fait._clock import ManualClock
from fait._decisions import boundary as boundary_module
from fait._decisions.client import Client
from fait._decisions.transact import DecisionRunner
from fait._events.append import AppendCondition, AppendResult, Page, StreamWrite
from fait._events.codec import Codec
from fait._events.envelope import RecordedEvent
from fait._events.query import EVERYTHING, Query
from fait._events.registry import Registry
from fait._store.memory import MemoryLog
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
"""At most CAPACITY seats over all the shows of a command together, and none after a closing."""


# One interleaving: everybody takes a step when chance says so


@coroutine
def step(*_: Any) -> Generator[None, None, None]:
    """Let somebody else go first."""
    yield


class Stepping:
    """A log in memory, each verb of which is a step of its own."""

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


def interleave(chance: random.Random, tasks: Sequence[Coroutine[Any, Any, Any]]) -> list[Any]:
    """Run all to their ends, one step of one of them at a time; what each returned or raised."""
    outcomes: list[Any] = [None] * len(tasks)
    running = list(enumerate(tasks))
    while running:
        place, task = each = chance.choice(running)
        try:
            task.send(None)
        except StopIteration as done:
            outcomes[place] = done.value
            running.remove(each)
        except fait.FaitError as problem:
            outcomes[place] = problem
            running.remove(each)
    return outcomes


def race(seed: int, codec: Codec, *, conditions: bool = True) -> list[str]:
    """One interleaving of a few orders and perhaps a closing; the rules that it broke."""
    chance = random.Random(seed)
    log = MemoryLog(ManualClock(START))
    stepping = Stepping(log, conditions=conditions)
    caller = Client(stepping, codec, DecisionRunner(stepping, codec, ManualClock(START)))
    commands = [
        Sell(str(n), tuple(chance.sample("ab", chance.choice((1, 1, 2)))), chance.randint(1, 2))
        for n in range(chance.randint(2, 4))
    ]
    tasks: list[Coroutine[Any, Any, Any]] = [caller.decide(sell, command) for command in commands]
    if chance.random() < 0.4:
        tasks.append(caller.publish(Closed(), stream="show-a", tags=["show:a"]))
    outcomes = interleave(chance, tasks)
    stored = interleave(chance, [log.read(0)])[0].events
    return [*broken(stored), *wrong(stored, zip(commands, outcomes, strict=False))]


def broken(stored: Sequence[RecordedEvent]) -> list[str]:
    """The rules of the theatre that do not hold for what is in the log."""
    sold, closed, found = Counter[str](), set[str](), list[str]()
    for event in stored:
        if event.type == "race.closed":
            closed.update(event.tags)
            continue
        sold.update(dict.fromkeys(event.tags, json.loads(event.data)["seats"]))
        if closed.intersection(event.tags):
            found.append("sold after closing")
        if max(sold.values()) > CAPACITY:
            found.append("oversold")
    return found


def wrong(stored: Sequence[RecordedEvent], answers: Iterable[tuple[Sell, Any]]) -> list[str]:
    """What callers were told that is not so."""
    found: list[str] = []
    for command, answer in answers:
        written = [event for event in stored if event.stream == f"order-{command.order}"]
        tags = {f"show:{show}" for show in command.shows}
        seats = sum(json.loads(e.data).get("seats", 0) for e in stored if tags.intersection(e.tags))
        closed = any(e.type == "race.closed" and tags.intersection(e.tags) for e in stored)
        if isinstance(answer, fait.WriteResult):
            if [event.position for event in written] != [answer.position]:
                found.append("told to be stored, and is not, or twice")
        elif not isinstance(answer, fait.Rejected):
            found.append(f"failed: {answer!r}")
        elif written or (seats + command.seats <= CAPACITY and not closed):
            found.append("rejected, and stored or without need")
    return found


@pytest.fixture
def codec(monkeypatch: pytest.MonkeyPatch) -> Codec:
    monkeypatch.setattr(boundary_module, "back_off", step)  # a pause is a step, too
    return Codec(Registry())


def test_no_interleaving_breaks_a_rule(codec: Codec) -> None:
    failures = {seed: found for seed in range(INTERLEAVINGS) if (found := race(seed, codec))}

    assert failures == {}


def test_without_conditions_the_rules_are_broken(codec: Codec) -> None:
    found = Counter(problem for seed in range(300) for problem in race(seed, codec, conditions=False))

    assert found["oversold"] > 30
    assert found["sold after closing"] > 3


# Two stores on one file, and whatever the machine does


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


async def test_two_stores_on_one_file_sell_every_seat_and_none_twice(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/theatre.db?synchronous=NORMAL"
    app = fait.App("theatre")
    app.include(buy)

    async def greedy(system: System, buyer: str) -> int:
        """Buy two seats at a time, then one at a time, until there is none left."""
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
