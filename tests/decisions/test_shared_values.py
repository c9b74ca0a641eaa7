"""Decisions with lists that several objects refer to: arguments, events and states do not change one another."""

import io
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Self

import pytest
from msgspec import Struct

import fait
from fait._decisions.boundary import read_matching_events
from fait._decisions.client import Client
from fait._decisions.load import Loader
from fait._events.append import AppendCondition, AppendResult, StreamWrite
from fait._events.query import Query
from fait._store.open import backend_names
from fait._system import System


@fait.event("basket.opened")
class Opened:
    items: list[str]


@fait.event("basket.added")
class Added:
    item: str


class State(Struct):
    items: list[str] = fait.field(default_factory=list[str])


class Basket(fait.Aggregate, category="basket"):
    items: list[str] = fait.field(default_factory=list[str])

    def fill(self, *parts: Any, **named: Any) -> list[str]:
        items = [item for part in (*parts, *named.values()) for item in _items_of(part)]
        self.emit(Opened(items))
        self.emit(Added("added"))
        return self.items

    def open(self, items: list[str]) -> None:
        self.emit(Opened(items))
        self.emit(Added("added"))

    def take(self, items: list[str]) -> None:
        self.emit(Opened([items.pop()]))

    def open_untyped(self, items: list[str]) -> None:
        self.emit(fait.Untyped("basket.imported", {"items": items}))
        self.emit(Added("added"))

    def evolve(self, event: Opened | Added | fait.Untyped) -> None:
        match event:
            case Opened():
                self.items = event.items
            case Added():
                self.items.append(event.item)
            case fait.Untyped():
                self.items = event.data["items"]


def _items_of(part: Any) -> list[str]:
    return [str(each) for each in (part.values if isinstance(part, Line) else part)]


@dataclass
class Line:
    values: Any


class Fill(Struct):
    items: Any


def evolve(state: State, event: Opened | Added) -> State:
    match event:
        case Opened():
            state.items = event.items
        case Added():
            state.items.append(event.item)
    return state


def decide_one_by_one(command: Fill, state: State) -> Iterator[Opened | Added]:
    for item in command.items:
        state.items.append(str(item))
        yield Opened(state.items)


def decide_elsewhere(command: Fill, state: State) -> Iterator[fait.NewEvents]:
    for number, event in enumerate(decide_one_by_one(command, state)):
        yield fait.NewEvents(f"basket-{number}", [event], tags=["b:1"])


def decide_taking(command: Fill, state: State) -> Iterable[Opened]:
    return [Opened([command.items.pop()])]


def boundary_of(decide: Callable[[Any, State], Iterable[fait.NewEvents]]) -> fait.Boundary[Any, State, Opened | Added]:
    return fait.Boundary(
        name="fill", depends_on=lambda _: Query(tags=("b:1",)), initial=State, decide=decide, evolve=evolve
    )


DECIDER = fait.Decider(category="basket", initial=State, decide=decide_one_by_one, evolve=evolve)
BOUNDARY = boundary_of(decide_elsewhere)


@pytest.fixture(params=sorted(backend_names()))
async def s(request: pytest.FixtureRequest, store_url: Callable[[str], str]) -> AsyncIterator[System]:
    app = fait.App("shop")
    app.include(Basket, DECIDER, BOUNDARY)
    async with app.open(store_url(request.param)) as system:
        yield system


def contested(s: System) -> Client:
    """Return a client before whose first append another event of the basket is stored."""

    class ContestedLog:
        appends = 0

        def __getattr__(self, name: str) -> Any:
            return getattr(s.store.log, name)

        async def append(self, writes: Sequence[StreamWrite], condition: AppendCondition | None = None) -> AppendResult:
            self.appends += 1
            if self.appends == 1:
                await s.publish(Added("other"), stream="basket-1", tags=["b:1"])
            return await s.store.log.append(writes, condition)

    log: Any = ContestedLog()
    return Client(log, partial(read_matching_events, log), Loader(log, s._loader.codec), fait.ManualClock(fait.now()))


async def stored(s: System, *, own: bool = True) -> list[Any]:
    return [each.event for each in (await s.query(Query())).events if not own or each.event != Added("other")]


DECISIONS: dict[str, Callable[[Client, Any], Any]] = {
    "argument": lambda s, items: s.transact(Basket.fill, "1", items),
    "named argument": lambda s, items: s.transact(Basket.fill, "1", items=items),
    "second argument": lambda s, items: s.transact(Basket.fill, "1", [], items),
    "argument's attribute": lambda s, items: s.transact(Basket.fill, "1", Line(items)),
    "decider": lambda s, items: s.decide(DECIDER, "1", Fill(items)),
    "boundary": lambda s, items: s.decide(BOUNDARY, Fill(items)),
}


READ_ONCE: dict[str, Callable[[list[str]], Iterator[str]]] = {
    "iterator": iter,
    "generator": lambda items: (each for each in items),
    "map": lambda items: map(str, items),
    "file": lambda items: io.StringIO("\n".join(items)),
}


@pytest.mark.parametrize("decision", DECISIONS)
@pytest.mark.parametrize("once", READ_ONCE)
async def test_argument_that_can_be_read_only_once_is_refused(s: System, decision: str, once: str) -> None:
    with pytest.raises(fait.InvalidValue, match="can be read only once"):
        await DECISIONS[decision](contested(s), READ_ONCE[once](["a", "b"]))
    with pytest.raises(fait.InvalidValue, match="can be read only once"):
        await DECISIONS[decision](contested(s), [READ_ONCE[once](["a", "b"])])

    assert await stored(s, own=False) == []


@pytest.mark.parametrize("decision", DECISIONS)
@pytest.mark.parametrize("items", [["a"], ("a",), {"a": 1}, {"a": 1}.keys(), range(1)], ids=str)
async def test_argument_that_can_be_read_again_is_used_at_each_attempt(s: System, decision: str, items: Any) -> None:
    result = await DECISIONS[decision](contested(s), items)

    assert result.attempts == 2
    [opened, *_] = await stored(s)
    assert opened.items[-1] == str(next(iter(items)))


TAKING_DECIDER = fait.Decider(category="basket", initial=State, decide=decide_taking, evolve=evolve)
TAKING_BOUNDARY = boundary_of(lambda command, state: [fait.NewEvents("basket-1", list(decide_taking(command, state)))])

TAKING: dict[str, Callable[[Client, list[str]], Any]] = {
    "command": lambda s, items: s.transact(Basket.take, "1", items),
    "decider": lambda s, items: s.decide(TAKING_DECIDER, "1", Fill(items)),
    "boundary": lambda s, items: s.decide(TAKING_BOUNDARY, Fill(items)),
}


@pytest.mark.parametrize("decision", TAKING)
async def test_decision_that_changed_its_arguments_is_not_repeated(s: System, decision: str) -> None:
    assert (await TAKING[decision](s, ["a", "b"])).attempts == 1
    before = len(await stored(s))
    with pytest.raises(fait.UsageError, match="changed its arguments"):
        await TAKING[decision](contested(s), ["a", "b"])

    assert len(await stored(s)) == before


async def test_emitted_event_is_stored_as_it_was_emitted(s: System) -> None:
    items = ["first"]
    await contested(s).transact(Basket.open, "1", items)
    await s.transact(Basket.open_untyped, "2", items)

    assert await stored(s) == [
        Opened(["first"]),
        Added("added"),
        fait.Untyped("basket.imported", {"items": ["first"]}),
        Added("added"),
    ]
    assert items == ["first"]


@pytest.mark.parametrize("decision", ["decider", "boundary"])
async def test_yielded_event_is_stored_as_it_was_yielded(s: System, decision: str) -> None:
    await DECISIONS[decision](s, ["a", "b"])

    assert await stored(s) == [Opened(["a"]), Opened(["a", "b"])]


async def test_second_attempt_of_a_boundary_decides_on_the_events_as_they_are_stored(s: System) -> None:
    await s.publish(Opened(["first"]), stream="basket-1", tags=["b:1"])
    await contested(s).decide(BOUNDARY, Fill(["own"]))

    assert (await stored(s))[-1] == Opened(["first", "other", "own"])


async def test_rows_that_one_event_changes_share_none_of_its_lists(store_url: Callable[[str], str]) -> None:
    keys = iter(["left", "right"])

    class Copy(fait.ReadModel, key="id"):
        id: str
        items: list[str] = fait.field(default_factory=list[str])

        @classmethod
        def key_of(cls, event: Opened | Added, at: fait.Envelope) -> list[str]:
            return ["left", "right"] if isinstance(event, Opened) else ["left"]

        @classmethod
        def evolve(cls, row: Self | None, event: Opened | Added, at: fait.Envelope) -> Self | None:
            if isinstance(event, Opened):
                return cls(id=next(keys), items=event.items)
            assert row is not None
            row.items.append(event.item)
            return row

    app = fait.App("shop")
    app.include(Copy)
    async with app.open(store_url("memory")) as system:
        result = await system.append(fait.NewEvents("basket-1", [Opened(["a"]), Added("b")]))
        rows = await system.find(Copy, after=result)

    assert {row.id: row.items for row in rows} == {"left": ["a", "b"], "right": ["a"]}
