"""Boundaries: decisions on the events of a query, and `query` with `append(..., only_if=...)`."""

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from msgspec import Struct

import fait
from fait._decisions.boundary import read_matching_events
from fait._decisions.client import Client
from fait._decisions.load import Loader
from fait._events.append import AppendCondition, AppendResult, Page, StreamWrite
from fait._events.envelope import EncodedEvent, RecordedEvent
from fait._events.query import EVERYTHING, Query
from fait._events.version import ANY
from fait._store.open import backend_names
from fait._system import System

FAIT = Path(sys.executable).with_name("fait")
T0 = datetime(2024, 1, 1, tzinfo=UTC)


@fait.event("show.opened", version=2)
class Opened:
    seats: int
    hall: str


@fait.upcast("show.opened", 1)
def with_hall(data: dict[str, Any]) -> dict[str, Any]:
    return {**data, "hall": "main"}


@fait.event("show.sold")
class Sold:
    seats: int
    to: str


@fait.event("show.closed")
class Closed:
    pass


@fait.event("show.reviewed")
class Reviewed:
    stars: int


class Seats(Struct):
    free: int = 0
    hall: str = ""
    log: list[str] = []


class Sell(Struct, frozen=True):
    show: str
    seats: int
    to: str = "ada"


def evolve(state: Seats, event: Opened | Sold | Closed) -> Seats:
    match event:
        case Opened():
            state.free, state.hall = event.seats, event.hall
        case Sold():
            state.free -= event.seats
        case Closed():
            state.free = 0
    state.log.append(type(event).__name__)
    return state


def decide(command: Sell, state: Seats) -> Iterable[fait.NewEvents]:
    if command.seats > state.free:
        raise fait.Rejected(f"{state.free} seats left")
    if command.seats:
        yield fait.NewEvents(f"order-{command.to}", [Sold(command.seats, command.to)], tags=[f"show:{command.show}"])


def of_show(command: Sell) -> Query:
    return Query(tags=(f"show:{command.show}",))


sell = fait.Boundary(name="sell-seats", depends_on=of_show, initial=Seats, decide=decide, evolve=evolve)


class Buyer(fait.Aggregate, category="order"):
    def buy(self, show: str) -> None:
        self.emit(Sold(1, self.id), tags=[f"show:{show}"])

    def evolve(self, event: Sold) -> None:
        pass


@pytest.fixture
def clock() -> fait.ManualClock:
    return fait.ManualClock(T0)


@pytest.fixture(params=sorted(backend_names()))
def url(request: pytest.FixtureRequest, store_url: Callable[[str], str]) -> str:
    return store_url(request.param)


@pytest.fixture
async def s(url: str, clock: fait.ManualClock) -> AsyncIterator[System]:
    theatre = fait.App("theatre")
    theatre.include(sell, with_hall, Buyer, Reviewed)
    async with theatre.open(url, clock=clock) as system:
        yield system


async def open_show(s: System, show: str, seats: int) -> None:
    await s.publish(Opened(seats, "main"), stream=f"show-{show}", tags=[f"show:{show}"])


Before = Callable[[], Awaitable[Any]]


class ObservedLog:
    """A log that records its calls and runs other calls before each append."""

    def __init__(self, system: System, *before: Before) -> None:
        self._log = system.store.log
        self._before = list(before)
        self.history = self._log.history
        self.reads = 0
        self.read_positions: list[int] = []
        self.appends: list[AppendCondition | None] = []

    async def append(self, writes: Sequence[StreamWrite], condition: AppendCondition | None = None) -> AppendResult:
        self.appends.append(condition)
        if self._before:
            await self._before.pop(0)()
        return await self._log.append(writes, condition)

    async def read(self, after: int, *, query: Query = EVERYTHING, limit: int = 1000) -> Page:
        page = await self._log.read(after, query=query, limit=limit)
        self.reads += 1
        self.read_positions += [event.position for event in page.events]
        return page

    async def find(self, event_ids: Sequence[str]) -> list[RecordedEvent]:
        return await self._log.find(event_ids)


def client_on(log: Any, system: System) -> Client:
    return Client(log, partial(read_matching_events, log), Loader(log, system._loader.codec), fait.ManualClock(T0))


def buying(s: System, *orders: str, show: str = "hamlet") -> list[Before]:
    """Concurrent commands that buy one seat each."""

    def one(order: str) -> Before:
        return lambda: s.transact(Buyer.buy, order, show)

    return [one(order) for order in orders]


async def test_boundary_folds_matching_events_of_all_streams(s: System) -> None:
    await open_show(s, "hamlet", 5)
    await open_show(s, "macbeth", 1)
    await s.transact(Buyer.buy, "bob", "hamlet")

    result = await s.decide(sell, Sell("hamlet", 4))

    assert result.value == [fait.NewEvents("order-ada", [Sold(4, "ada")], tags=["show:hamlet"])]
    assert (result.stream, result.version, result.position, result.attempts) == ("order-ada", 1, 4, 1)
    assert (await s.read("order-ada"))[0].tags == ("show:hamlet",)
    with pytest.raises(fait.Rejected, match="0 seats left"):
        await s.decide(sell, Sell("hamlet", 1))
    assert (await s.decide(sell, Sell("macbeth", 1))).position == 5


async def test_command_is_recorded_with_the_decided_events(s: System) -> None:
    await open_show(s, "hamlet", 5)
    with fait.caused_by(correlation_id="story", actor="ada"):
        await s.using(extra={"ip": "::1"}).decide(sell, Sell("hamlet", 1))

    metadata = (await s.read("order-ada"))[0].metadata
    assert metadata.command is not None
    assert metadata.command.name == "sell-seats.Sell"
    assert bytes(metadata.command.arguments) == b'{"command":{"show":"hamlet","seats":1,"to":"ada"}}'
    assert (metadata.correlation_id, metadata.actor, metadata.extra) == ("story", "ada", {"ip": "::1"})


async def test_conflicting_events_are_folded_without_reading_again(s: System) -> None:
    await open_show(s, "hamlet", 5)
    log = ObservedLog(s, *buying(s, "bob", "carol", "dave"))

    result = await client_on(log, s).decide(sell, Sell("hamlet", 2))

    assert (result.attempts, result.position, len(await s.read("order-ada"))) == (4, 5, 1)
    assert log.read_positions == [1]  # each failed condition returned the new events
    assert log.reads == 3  # the second attempt did not read
    assert [condition and condition.after for condition in log.appends] == [1, 2, 3, 4]
    with pytest.raises(fait.Rejected, match="0 seats left"):
        await s.decide(sell, Sell("hamlet", 1))


class LossyLog(ObservedLog):
    """A log that loses the response of its first append; the append may have been stored."""

    def __init__(self, system: System, *, written: bool) -> None:
        super().__init__(system)
        self._written = written

    async def append(self, writes: Sequence[StreamWrite], condition: AppendCondition | None = None) -> AppendResult:
        if not self.appends and not self._written:
            self.appends.append(condition)
            raise fait.StoreUnavailable("the connection broke.", "unknown")
        result = await super().append(writes, condition)
        if len(self.appends) == 1:
            raise fait.StoreUnavailable("the connection broke.", "unknown")
        return result


@pytest.mark.parametrize("written", [True, False])
async def test_append_condition_with_unknown_outcome_is_retried_with_the_same_ids(s: System, written: bool) -> None:
    await open_show(s, "hamlet", 5)
    decided = await client_on(LossyLog(s, written=written), s).decide(sell, Sell("hamlet", 2))
    client = client_on(LossyLog(s, written=written), s)
    queried = await client.query(of_show(Sell("hamlet", 1)))
    new_events = fait.NewEvents("order-bob", [Sold(1, "bob")], tags=["show:hamlet"])
    appended = await client.append(new_events, only_if=queried)

    assert (decided.version, decided.repeated, len(await s.read("order-ada"))) == (1, False, 1)
    assert (appended.version, appended.repeated, len(await s.read("order-bob"))) == (1, False, 1)


async def test_decision_that_no_longer_holds_is_rejected_at_retry(s: System) -> None:
    await open_show(s, "hamlet", 2)

    with pytest.raises(fait.Rejected, match="1 seats left"):
        await client_on(ObservedLog(s, *buying(s, "bob")), s).decide(sell, Sell("hamlet", 2))

    assert await s.read("order-ada") == []


async def test_events_that_do_not_match_cause_no_conflict(s: System) -> None:
    await open_show(s, "hamlet", 5)

    async def unrelated() -> None:
        await s.publish(
            Reviewed(5), stream="show-hamlet", tags=["show:hamlet"]
        )  # of a type that evolve does not handle
        await s.publish(Closed(), stream="show-macbeth", tags=["show:macbeth"])

    assert (await client_on(ObservedLog(s, unrelated), s).decide(sell, Sell("hamlet", 2))).attempts == 1


async def test_conflicts_at_every_attempt_raise_condition_failed(s: System) -> None:
    await open_show(s, "hamlet", 50)
    others = buying(s, *(f"o-{n}" for n in range(10)))

    with pytest.raises(fait.AppendConditionFailed) as error:
        await client_on(ObservedLog(s, *others), s).using(attempts=3).decide(sell, Sell("hamlet", 1))

    assert (error.value.types, error.value.position) == (("show.sold",), 4)
    assert await s.read("order-ada") == []


async def test_decision_without_events_returns_the_position_it_is_based_on(s: System) -> None:
    await open_show(s, "hamlet", 5)
    await s.publish(Reviewed(1), stream="other")

    assert await s.decide(sell, Sell("hamlet", 0)) == fait.WriteResult([], "", 0, 2)
    assert await s.store.log.head() == 2


async def test_each_attempt_gets_a_new_state(s: System) -> None:
    def spoil(command: Sell, state: Seats) -> Iterable[fait.NewEvents]:
        new_events = list(decide(command, state))
        for each in new_events:
            for event in each.events:
                evolve(state, event)  # as a command of an aggregate does; a boundary need not
        return new_events

    spoiling = fait.Boundary(name="spoil", depends_on=of_show, initial=Seats, decide=spoil, evolve=evolve)
    await open_show(s, "hamlet", 5)

    result = await client_on(ObservedLog(s, *buying(s, "bob", "carol")), s).decide(spoiling, Sell("hamlet", 3))

    assert result.attempts == 3


async def test_expected_version_is_refused_in_using_and_accepted_in_new_events(s: System) -> None:
    await open_show(s, "hamlet", 5)

    with pytest.raises(fait.UsageError, match=r"NewEvents\(\.\.\., expected"):
        await s.using(expected=1).decide(sell, Sell("hamlet", 1))

    def first(command: Sell, state: Seats) -> list[fait.NewEvents]:
        return [fait.NewEvents(f"order-{command.to}", [Sold(1, command.to)], expected="no_stream")]

    once = fait.Boundary(name="once", depends_on=of_show, initial=Seats, decide=first, evolve=evolve)
    await s.decide(once, Sell("hamlet", 1))
    with pytest.raises(fait.WrongExpectedVersion):
        await s.decide(once, Sell("hamlet", 1))


async def test_conflicting_decision_is_retried_although_its_stream_exists_now(s: System) -> None:
    def take_seat(command: Sell, state: Seats) -> list[fait.NewEvents]:
        if "Sold" in state.log:
            raise fait.Rejected("the seat is taken")
        return [fait.NewEvents("seat-1", [Sold(1, command.to)], expected="no_stream", tags=["show:hamlet"])]

    seat = fait.Boundary(name="seat", depends_on=of_show, initial=Seats, decide=take_seat, evolve=evolve)

    results = await asyncio.gather(
        *(s.decide(seat, Sell("hamlet", 1, to)) for to in ("ada", "bob")), return_exceptions=True
    )

    assert sorted(type(each).__name__ for each in results) == ["Rejected", "WriteResult"]


async def test_boundary_without_queries_is_refused(s: System) -> None:
    careless = fait.Boundary(name="careless", depends_on=lambda _: [], initial=Seats, decide=decide, evolve=evolve)

    with pytest.raises(fait.DeclarationError, match=r"depends_on .* returned no query"):
        await s.decide(careless, Sell("hamlet", 1))


# Folding


async def test_events_of_older_schema_versions_are_upcast(s: System) -> None:
    old = EncodedEvent("show.opened", 1, fait.new_id(), '{"seats":7}', tags=("show:hamlet",))
    await s.store.log.append([StreamWrite("show-hamlet", (old,), ANY)])
    halls: list[str] = []

    def inspect(_command: Sell, state: Seats) -> list[fait.NewEvents]:
        halls.append(state.hall)
        return []

    inspecting = fait.Boundary(name="inspect", depends_on=of_show, initial=Seats, decide=inspect, evolve=evolve)
    await s.decide(inspecting, Sell("hamlet", 1))

    assert halls == ["main"]


async def test_event_that_matches_several_queries_is_folded_once(s: System) -> None:
    await open_show(s, "hamlet", 5)
    await open_show(s, "macbeth", 5)
    both = ["show:hamlet", "show:macbeth"]
    await s.publish(Sold(1, "bob"), stream="order-bob", tags=both)
    await s.publish(Closed(), stream="show-hamlet", tags=["show:hamlet"])
    logs: list[list[str]] = []

    def inspect(_command: Sell, state: Seats) -> list[fait.NewEvents]:
        logs.append(state.log)
        return []

    inspecting = fait.Boundary(
        name="inspect",
        depends_on=lambda c: [Query(tags=(each,)) for each in both],
        initial=Seats,
        decide=inspect,
        evolve=evolve,
    )
    await s.decide(inspecting, Sell("both", 1))

    assert logs == [["Opened", "Opened", "Sold", "Closed"]]


async def test_unhandled_type_in_the_query_causes_a_conflict(s: System) -> None:
    reviewing = fait.Boundary(
        name="review",
        depends_on=lambda c: Query(("show.reviewed", "show.opened", "undeclared"), (f"show:{c.show}",)),
        initial=Seats,
        decide=decide,
        evolve=evolve,
    )
    await open_show(s, "hamlet", 5)

    async def other() -> None:
        await s.publish(fait.Untyped("undeclared", {}), stream="x-1", tags=["show:hamlet"])

    assert (await client_on(ObservedLog(s, other), s).decide(reviewing, Sell("hamlet", 1))).attempts == 2


async def test_undeclared_events_can_be_folded_as_untyped(s: System) -> None:
    def count(state: int, event: fait.Untyped) -> int:
        return state + 1

    def note(command: str, state: int) -> list[fait.NewEvents]:
        return [fait.NewEvents("notes", [fait.Untyped("noted", {"before": state})], tags=[command])]

    noting = fait.Boundary(name="note", depends_on=lambda c: Query(tags=(c,)), initial=int, decide=note, evolve=count)
    for _ in range(3):
        await s.decide(noting, "t:1")

    assert [each.event.data for each in await s.read("notes")] == [{"before": n} for n in range(3)]


async def test_long_history_is_read_in_pages(s: System) -> None:
    await open_show(s, "hamlet", 3000)
    await s.append(fait.NewEvents("order-bob", [Sold(1, "bob")] * 2500, tags=["show:hamlet"]))

    with pytest.raises(fait.Rejected, match="500 seats left"):
        await s.decide(sell, Sell("hamlet", 501))


# Idempotency keys


async def test_repeated_key_returns_the_stored_result(s: System, clock: fait.ManualClock) -> None:
    def twice(command: Sell, state: Seats) -> list[fait.NewEvents]:
        sold = [Sold(1, f"{command.to} at {fait.now():%H}, {state.free} left")] * 2
        tags = [f"show:{command.show}"]
        return [fait.NewEvents(f"order-{command.to}", sold, tags=tags), fait.NewEvents("all", sold[:1], tags=tags)]

    pair = fait.Boundary(name="pair", depends_on=of_show, initial=Seats, decide=twice, evolve=evolve)
    await open_show(s, "hamlet", 9)
    first = await s.using(key="k").decide(pair, Sell("hamlet", 2))
    await s.transact(Buyer.buy, "bob", "hamlet")
    clock.advance(hours=3)
    again = await s.using(key="k").decide(pair, Sell("hamlet", 2))

    assert again == fait.WriteResult(
        first.value, first.stream, first.version, first.position, repeated=True, events=first.events
    )
    assert (first.version, first.position, await s.store.log.head()) == (2, 4, 5)


async def test_key_of_another_command_raises_key_reused(s: System) -> None:
    await open_show(s, "hamlet", 9)
    await s.using(key="k").decide(sell, Sell("hamlet", 2))

    with pytest.raises(fait.KeyReused, match="with other arguments"):
        await s.using(key="k").decide(sell, Sell("hamlet", 3))
    assert len(await s.read("order-ada")) == 1


async def test_concurrent_call_with_the_same_key_gives_the_same_decision(s: System) -> None:
    await open_show(s, "hamlet", 2)
    command = Sell("hamlet", 2)

    async def concurrent() -> None:
        await s.using(key="k").decide(sell, command)

    result = await client_on(ObservedLog(s, concurrent), s).using(key="k").decide(sell, command)

    assert (result.repeated, result.value) == (
        True,
        [fait.NewEvents("order-ada", [Sold(2, "ada")], tags=["show:hamlet"])],
    )
    assert len(await s.read("order-ada")) == 1


async def test_concurrent_call_that_appends_before_reading_is_recognized(s: System) -> None:
    await open_show(s, "hamlet", 2)
    command = Sell("hamlet", 2)
    log = ObservedLog(s)
    read = log.read

    async def read_late(after: int, **options: Any) -> Page:
        await s.using(key="k").decide(sell, command)
        return await read(after, **options)

    log.read = read_late  # type: ignore[method-assign]
    result = await client_on(log, s).using(key="k").decide(sell, command)

    assert result.repeated


async def test_concurrent_call_with_the_same_key_and_another_command_raises(s: System) -> None:
    await open_show(s, "hamlet", 9)

    async def concurrent() -> None:
        await s.using(key="k").decide(sell, Sell("hamlet", 1))

    with pytest.raises(fait.KeyReused):
        await client_on(ObservedLog(s, concurrent), s).using(key="k").decide(sell, Sell("hamlet", 2))
    assert [each.event.seats for each in await s.read("order-ada")] == [1]


async def test_concurrent_call_with_the_same_key_and_another_decision_returns_it(s: System) -> None:
    def sell_rest(command: Sell, state: Seats) -> list[fait.NewEvents]:
        return [fait.NewEvents(f"order-{command.to}", [Sold(1, command.to)] * state.free, tags=["show:hamlet"])]

    all_seats = fait.Boundary(name="rest", depends_on=of_show, initial=Seats, decide=sell_rest, evolve=evolve)
    await open_show(s, "hamlet", 3)

    async def concurrent() -> None:
        await s.transact(Buyer.buy, "bob", "hamlet")
        await s.using(key="k").decide(all_seats, Sell("hamlet", 0))

    result = await client_on(ObservedLog(s, concurrent), s).using(key="k").decide(all_seats, Sell("hamlet", 0))

    assert (result.repeated, len(result.value[0].events), result.version) == (True, 2, 2)


# Conflicting appends of any origin


async def _published(s: System, _file: Path) -> None:
    await s.publish(Sold(1, "bob"), stream="order-bob", tags=["show:hamlet"])


async def _appended(s: System, _file: Path) -> None:
    await s.append(
        fait.NewEvents("x", [Reviewed(1)]), fait.NewEvents("order-bob", [Sold(1, "bob")], tags=["show:hamlet"])
    )


async def _transacted(s: System, _file: Path) -> None:
    await s.transact(Buyer.buy, "bob", "hamlet")


async def _decided(s: System, _file: Path) -> None:
    await s.decide(sell, Sell("hamlet", 1, "bob"))


async def _imported(url: str, file: Path) -> None:
    line = {"stream": "order-bob", "type": "show.sold", "tags": ["show:hamlet"], "time": "2024-01-01T00:00:00Z"}
    await asyncio.to_thread(file.write_text, json.dumps({**line, "data": {"seats": 1, "to": "bob"}}) + "\n")
    command = [FAIT, "import", file, "--store", url]
    await asyncio.to_thread(subprocess.run, command, check=True, capture_output=True)


@pytest.mark.parametrize("path", [_published, _appended, _transacted, _decided, _imported])
async def test_append_only_if_fails_on_matching_events_of_any_origin(
    s: System, url: str, path: Callable[[Any, Path], Awaitable[None]], tmp_path: Path
) -> None:
    if path is _imported and not s.store.log.features.shared:
        pytest.skip("another process does the import")
    await open_show(s, "hamlet", 5)
    new_events = fait.NewEvents("order-ada", [Sold(1, "ada")], tags=["show:hamlet"])
    query = Query.of(Opened, Sold, tags=["show:hamlet"])
    queried = await s.query(query)
    assert [each.event for each in queried.events] == [Opened(5, "main")]

    await path(url if path is _imported else s, tmp_path / "lines.jsonl")

    with pytest.raises(fait.AppendConditionFailed) as error:
        await s.append(new_events, fait.NewEvents("y", [Reviewed(1)]), only_if=queried)
    assert error.value.types == ("show.sold",)
    assert await s.read("order-ada") == await s.read("y") == []
    queried = await s.query(query)
    assert [each.stream for each in queried.events] == ["show-hamlet", "order-bob"]
    await s.append(new_events, only_if=queried)
    with pytest.raises(fait.AppendConditionFailed):
        await s.append(new_events, only_if=queried)


async def test_query_without_queries_is_refused(s: System) -> None:
    with pytest.raises(fait.UsageError, match="at least one Query"):
        await s.query()


async def test_query_returns_each_event_once_and_undeclared_ones_as_untyped(s: System) -> None:
    await s.publish(fait.Untyped("noted", {"n": 1}), stream="notes", tags=["a:1", "b:1"])

    queried = await s.query(Query(tags=("a:1",)), Query(tags=("b:1",)))

    assert [each.event for each in queried.events] == [fait.Untyped("noted", {"n": 1})]
    assert queried.position == 1


# Concurrency


async def test_64_concurrent_decisions_all_succeed(s: System) -> None:
    await open_show(s, "hamlet", 64)

    results = await asyncio.gather(*(s.decide(sell, Sell("hamlet", 1, f"o-{n}")) for n in range(64)))

    assert len({each.position for each in results}) == 64
    with pytest.raises(fait.Rejected, match="0 seats left"):
        await s.decide(sell, Sell("hamlet", 1))
