"""Boundaries that both type checkers accept."""

from collections.abc import Iterator, Sequence
from typing import assert_type

import fait


@fait.event("boundary.opened")
class Opened:
    seats: int


@fait.event("boundary.sold")
class Sold:
    seats: int


class Sell:
    def __init__(self, show: str, seats: int) -> None:
        self.show = show
        self.seats = seats


def decide(command: Sell, free: int) -> list[fait.NewEvents]:
    return [fait.NewEvents("order-1", [Sold(command.seats)], tags=[f"show:{command.show}"], expected="no_stream")]


def decide_lazily(command: Sell, free: int) -> Iterator[fait.NewEvents]:
    if command.seats > free:
        raise fait.Rejected("sold out")
    yield from decide(command, free)


def evolve(free: int, event: Opened | Sold) -> int:
    match event:
        case Opened():
            return free + event.seats
        case Sold():
            return free - event.seats


def of_show(command: Sell) -> fait.Query:
    return fait.Query(tags=(f"show:{command.show}",))


sell = fait.Boundary(name="sell", depends_on=of_show, initial=int, decide=decide, evolve=evolve)
assert_type(sell, fait.Boundary[Sell, int, Opened | Sold])
lazy = fait.Boundary(
    name="lazy",
    depends_on=lambda c: [of_show(c), fait.Query.of(Opened)],
    initial=int,
    decide=decide_lazily,
    evolve=evolve,
)

app = fait.App("typed")
app.include(sell, lazy)


@app.on(Opened)
async def first(event: Opened, ctx: fait.Context) -> None:
    done = await ctx.decide(sell, Sell("hamlet", 1))
    assert_type(done, fait.WriteResult[Sequence[fait.NewEvents]])


async def use(s: fait.System) -> None:
    done = await s.using(key="k", attempts=3).decide(sell, Sell("hamlet", 1))
    assert_type(done.value[0].stream, str)
    found = await s.query(of_show(Sell("hamlet", 1)), fait.Query.of(Sold, tags=["show:hamlet"]))
    assert_type(found, fait.QueryResult)
    await s.append(fait.NewEvents("order-2", [Sold(1)]), fait.NewEvents("order-3", [Sold(1)]), only_if=found)
