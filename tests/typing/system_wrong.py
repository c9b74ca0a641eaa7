"""A user's mistakes: each marked line must be rejected by both type checkers."""

from datetime import datetime
from typing import Self

import fait


@fait.event("wrong.placed")
class Placed:
    customer: str


@fait.event("wrong.shipped")
class Shipped:
    tracking: str


class Order(fait.Aggregate, category="order"):
    status: str = "new"

    def place(self, customer: str) -> None:
        self.emit(Placed(customer))

    def ship(self) -> None:
        self.emit(Shipped("T-1"))  # E: evolve does not take it

    def evolve(self, event: Placed) -> None:
        self.status = "placed"


class Nameless(fait.Aggregate):  # E: no category
    pass


class Summary(fait.ReadModel, key="order"):
    order: str

    @classmethod
    def evolve(cls, row: Self | None, event: Placed, at: fait.Envelope) -> Self | None:
        return cls(order=1)  # E: not a str


class Keyless(fait.ReadModel):  # E: no key
    order: str


class Skipping(fait.ReadModel, key="order", on_failure="skip"):  # E: not a failure policy
    order: str


app = fait.App("wrong")


@app.on(Placed)  # E: the handler takes another event
async def other(event: Shipped) -> None: ...


@app.on(Placed, Shipped)  # E: the handler takes only one of them
async def narrow(event: Placed) -> None: ...


@app.on(Placed)  # E: the context is something else
async def context(event: Placed, ctx: str) -> None: ...


@app.on(Placed)  # E: a handler returns None
async def answers(event: Placed) -> int:
    return 1


@app.on(Placed, start="yesterday")  # E: no such start
async def late(event: Placed) -> None: ...


async def use(s: fait.System) -> None:
    await s.transact(Order.place, "o-1")  # E: an argument is missing
    await s.transact(Order.place, "o-1", 1)  # E: not a str
    await s.transact(Order.place, "o-1", "c-1", "more")  # E: one too many
    await s.transact(Order.place, 1, "c-1")  # E: an id is a str
    await s.transact(Order.place, "o-1", client="c-1")  # E: no such argument
    await s.using(expected="maybe").transact(Order.place, "o-1", "c-1")  # E: no such expectation
    await s.load(Order, "o-1", at="2024-01-15")  # E: not a datetime
    await s.load(Placed, "o-1")  # E: not an aggregate
    await s.find(Placed)  # E: not a read model
    print((await s.load(Order, "o-1")).stauts)  # E: no such state
    await s.publish(Placed("c-1"))  # E: no stream


print(fait.replace(Placed("c-1"), customer="c-2").customer.year)  # E: still a str
moment: datetime = fait.now  # E: not called
