"""A user's tests that both type checkers accept: cases, handlers, whole apps, laws and strategies."""

import re
from collections.abc import Sequence
from typing import Self, assert_type

import fait
from fait.testing import AggregateCase, BoundaryCase, DeciderCase, ReadModelCase, given, handled, recorded, running
from fait.testing.faults import conflicts, crash_after_commit, redelivery, slow_subscriptions, store_unavailable
from fait.testing.laws import check_projection_idempotent, check_rebuild, check_replay, check_snapshot_equals_replay


@fait.event("tested.counted")
class Counted:
    amount: int


@fait.event("tested.renamed")
class Renamed:
    name: str


class Counter(fait.Aggregate, category="counter", snapshot_every=10):
    total: int = 0

    def count(self, amount: int, *, note: str = "") -> int:
        self.emit(Counted(amount))
        return self.total

    def evolve(self, event: Counted) -> None:
        self.total += event.amount


class Add:
    amount: int


def decide(command: Add, state: int) -> Sequence[Counted]:
    return [Counted(command.amount)]


def decide_shared(command: Add, state: int) -> Sequence[fait.NewEvents]:
    return [fait.NewEvents("counter-1", decide(command, state))]


def evolve(state: int, event: Counted) -> int:
    return state + event.amount


tally = fait.Decider(category="tally", initial=int, decide=decide, evolve=evolve)
shared = fait.Boundary(
    name="shared", depends_on=lambda _: fait.Query(), initial=int, decide=decide_shared, evolve=evolve
)


class Totals(fait.ReadModel, key="id"):
    id: str
    total: int = 0

    @classmethod
    def evolve(cls, row: Self | None, event: Counted, envelope: fait.Envelope) -> Self | None:
        return row


app = fait.App("tested")


async def on_count(event: Counted, ctx: fait.Context) -> None: ...


def test_decisions(fait_clock: fait.ManualClock) -> None:
    case = given(Counter, Counted(1), id="7", app=app, clock=fait_clock)
    assert_type(case, AggregateCase[Counter])
    case.when(Counter.count, 2, note="two").then(Counted(2)).returned(3).state(lambda counter: counter.total == 3)
    case.after(days=1).when(Counter.count, amount=2).rejected("no").nothing()
    case.when(Counter.count, 2).rejected(re.compile("^no")).when(Counter.count, 1).rejected(fait.Rejected)

    decider = given(tally, Counted(1))
    assert_type(decider, DeciderCase[Add, int])
    decider.when(Add()).then(Counted(2)).state(lambda total: total > 2)

    boundary = given(shared, fait.NewEvents("counter-1", [Counted(1)]))
    assert_type(boundary, BoundaryCase[Add, int])
    boundary.when(Add()).then(Counted(2)).state(lambda total: total > 2)


def test_read_models() -> None:
    case = given(Totals, Counted(1), fait.Untyped("tested.counted", {"amount": 1}))
    assert_type(case, ReadModelCase[Totals])
    case.duplicated().reordered().rows(Totals(id="1", total=2))


async def test_apps(fait_url: str) -> None:
    event = recorded(Counted(1), stream="counter-1", position=7)
    assert_type(event, fait.Envelope[Counted])
    effects = await handled(on_count, event, given=[fait.NewEvents("counter-1", [Counted(1)])], app=app)
    effects.then(Counted(2))
    async with running(app, fait_url, clock=fait.ManualClock(fait.now())) as t:
        assert_type(t, fait.System)
        with conflicts(t, 2), crash_after_commit(t), redelivery(t), store_unavailable(t), slow_subscriptions(t):
            await t.settle(await t.transact(Counter.count, "1", 2), timeout_s=1)


def test_laws() -> None:
    check_replay(Counter, app=app, arguments={Counter.count: [(1,), (2,)]})
    check_replay(tally)
    check_snapshot_equals_replay(Counter)
    check_rebuild(Totals)
    check_projection_idempotent(Totals)
