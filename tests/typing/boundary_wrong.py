"""Mistakes with boundaries: each marked line must be rejected by both type checkers."""

import fait


@fait.event("boundary.wrong.sold")
class Sold:
    seats: int


class Sell:
    seats: int = 1


class Close:
    pass


def decide(command: Sell, free: int) -> list[fait.NewEvents]:
    return [fait.NewEvents("order-1", [Sold(command.seats)], expected="maybe")]  # E: no such expectation


def decide_events(command: Sell, free: int) -> list[Sold]:
    return [Sold(command.seats)]


async def decide_later(command: Sell, free: int) -> list[fait.NewEvents]:
    return []


def decide_text(command: Sell, free: str) -> list[fait.NewEvents]:
    return []


def evolve(free: int, event: Sold) -> int:
    return free - event.seats


def everything(command: Sell) -> fait.Query:
    return fait.Query()


fait.Boundary(name="b", depends_on=everything, initial=int, decide=decide_events, evolve=evolve)  # E: events
fait.Boundary(name="b", depends_on=everything, initial=int, decide=decide_later, evolve=evolve)  # E: async
fait.Boundary(name="b", depends_on=everything, initial=int, decide=decide_text, evolve=evolve)  # E: another state
fait.Boundary(name="b", depends_on="show:1", initial=int, decide=decide, evolve=evolve)  # E: not a function
fait.Boundary(depends_on=everything, initial=int, decide=decide, evolve=evolve)  # E: no name
fait.Query(types="sold")  # E: one str, not a sequence
fait.Query.of("sold")  # E: a name, not a class

sell = fait.Boundary(name="sell", depends_on=everything, initial=int, decide=decide, evolve=evolve)


async def use(s: fait.System) -> None:
    await s.decide(sell, Close())  # E: another command
    await s.decide(sell, "1", Sell())  # E: a boundary has no id
    await s.append(fait.NewEvents("order-1", [Sold(1)]), only_if=fait.Query())  # E: not a QueryResult
    await s.append(fait.NewEvents("order-1", Sold(1)))  # E: not a sequence of events
    await s.query("show:1")  # E: not a query
