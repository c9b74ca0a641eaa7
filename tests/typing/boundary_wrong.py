"""Mistakes with boundaries: each marked line must be refused by both type checkers."""

import fait


@fait.event("boundary.wrong.sold")
class Sold:
    seats: int


class Sell:
    seats: int = 1


class Close:
    pass


def decide(command: Sell, free: int) -> list[fait.Facts]:
    return [fait.Facts("order-1", [Sold(command.seats)], expected="maybe")]  # E: no such expectation


def decide_events(command: Sell, free: int) -> list[Sold]:
    return [Sold(command.seats)]


async def decide_later(command: Sell, free: int) -> list[fait.Facts]:
    return []


def decide_text(command: Sell, free: str) -> list[fait.Facts]:
    return []


def evolve(free: int, event: Sold) -> int:
    return free - event.seats


def everything(command: Sell) -> fait.Query:
    return fait.Query()


fait.Boundary(name="b", depends_on=everything, initial=int, decide=decide_events, evolve=evolve)  # E: events, not facts
fait.Boundary(name="b", depends_on=everything, initial=int, decide=decide_later, evolve=evolve)  # E: it does not wait
fait.Boundary(name="b", depends_on=everything, initial=int, decide=decide_text, evolve=evolve)  # E: another state
fait.Boundary(name="b", depends_on="show:1", initial=int, decide=decide, evolve=evolve)  # E: not a function
fait.Boundary(depends_on=everything, initial=int, decide=decide, evolve=evolve)  # E: no name
fait.Query(types="sold")  # E: one text is not several
fait.Query.of("sold")  # E: a name, not a class

sell = fait.Boundary(name="sell", depends_on=everything, initial=int, decide=decide, evolve=evolve)


async def use(s: fait.System) -> None:
    await s.decide(sell, Close())  # E: another command
    await s.decide(sell, "1", Sell())  # E: a boundary has no id
    await s.append(fait.Facts("order-1", [Sold(1)]), only_if=fait.Query())  # E: not an answer
    await s.append(fait.Facts("order-1", Sold(1)))  # E: one event is not several
    await s.query("show:1")  # E: not a query
