"""A user's program that both type checkers accept: aggregates, deciders, read models, handlers, queries."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Literal, Self, assert_type

import fait


@fait.event("typed.placed", version=2)
class Placed:
    customer: str
    total: Decimal
    at: datetime


@fait.event("typed.cancelled")
class Cancelled:
    reason: str


@fait.upcast("typed.placed", 1)
def with_total(data: dict[str, object]) -> dict[str, object]:
    return {**data, "total": "0"}


class Order(fait.Aggregate, category="order"):
    status: Literal["new", "placed", "cancelled"] = "new"
    lines: list[str] = fait.field(default_factory=list[str])

    def place(self, customer: str, total: Decimal) -> int:
        if self.status != "new":
            raise fait.Rejected(f"order {self.id} was placed before version {self.version}")
        self.emit(Placed(customer, total, fait.now()))
        return 1

    def cancel(self, *, reason: str = "none") -> None:
        self.emit(Cancelled(reason))

    def evolve(self, event: Placed | Cancelled) -> None:
        match event:
            case Placed():
                self.status = "placed"
            case Cancelled():
                self.status = "cancelled"


class Summary(
    fait.ReadModel, key="order", indexes=[("customer",)], on_failure=fait.FailurePolicy(attempts=2, then="skip")
):
    order: str
    customer: str
    total: Decimal
    paid_at: datetime | None = None

    @classmethod
    def evolve(cls, row: Self | None, event: Placed | Cancelled, at: fait.Envelope) -> Self | None:
        match event:
            case Placed():
                return cls(order=at.stream_id, customer=event.customer, total=event.total)
            case Cancelled():
                return None


class Add:
    def __init__(self, sku: str) -> None:
        self.sku = sku


@fait.event("typed.added")
class Added:
    sku: str


def decide(command: Add, state: list[str]) -> Iterable[Added]:
    return [] if command.sku in state else [Added(command.sku)]


def evolve(state: list[str], event: Added) -> list[str]:
    return [*state, event.sku]


cart = fait.Decider(category="cart", initial=list[str], decide=decide, evolve=evolve)
assert_type(cart, fait.Decider[Add, list[str], Added])

app = fait.App("typed")
app.include(Order, Summary, cart, with_total)


@app.on(Placed)
async def greet(event: Placed, ctx: fait.Context) -> None:
    ctx.execute("INSERT INTO greetings VALUES ($1)", event.customer)
    await ctx.transact(Order.cancel, ctx.envelope.stream_id, reason="test")


@app.on(Placed, Cancelled, name="count", start="beginning")
def count(event: Placed | Cancelled) -> None: ...


async def use(ctx: fait.Context) -> None:
    await greet(Placed("c", Decimal(1), fait.now()), ctx)
    async with app.open("sqlite:///typed.db", run="elsewhere") as s:
        placed = await s.transact(Order.place, "o-1", "c-1", Decimal(9))
        assert_type(placed, fait.WriteResult[int])
        await s.using(key="k", expected=1).transact(Order.cancel, "o-1", reason="none")
        assert_type(await s.decide(cart, "c-1", Add("tea")), fait.WriteResult[Sequence[Added]])
        assert_type(await s.load(Order, "o-1", at=datetime(2024, 1, 15, tzinfo=UTC)), Order)
        assert_type(await s.load(cart, "c-1"), list[str])
        rows = await s.find(Summary, customer="c-1", total=fait.ge(3), order_by=fait.desc(Summary.total), after=placed)
        assert_type(rows, fait.Rows[Summary])
        assert_type(await s.get(Summary, "o-1"), Summary | None)
        await s.publish(fait.Untyped("from elsewhere", {"a": 1}), stream="other-1", tags=["order:o-1"])
        await s.append(fait.NewEvents("order-o-2", [Placed("c", Decimal(1), fait.now())], expected="no_stream"))


assert_type(fait.fold(Order, [Placed("c", Decimal(1), fait.now())]), Order)
assert_type(cart.fold([Added("tea")]), list[str])
