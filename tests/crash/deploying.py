"""A shop during a rolling deploy: `old` and `new` code work on one store at the same time.

The new code has a new version of one event and another name for a second one. The old code was deployed before with
what reads both: a downcaster, and an upcaster from the new name to the old one.

    deploying.py URL old|new ORDERS
"""

import asyncio
import sys
from typing import Any, Literal, Self

import fait

Side = Literal["old", "new"]


@fait.event("deploy.handled")
class Handled:
    what: str


def keep(data: dict[str, Any]) -> dict[str, Any]:
    """Both names have the same fields."""
    return data


def old_events() -> tuple[Any, Any, list[fait.Upcaster]]:
    @fait.event("deploy.placed")
    class Placed:
        customer_name: str

    @fait.event("deploy.sent")
    class Sent:
        parcel: str

    return (
        Placed,
        Sent,
        [
            fait.downcast("deploy.placed", 2, fait.renamed("customer", "customer_name")),
            fait.upcast("deploy.shipped", 1, keep, to=("deploy.sent", 1)),
        ],
    )


def new_events() -> tuple[Any, Any, list[fait.Upcaster]]:
    @fait.event("deploy.placed", version=2)
    class Placed:
        customer: str

    @fait.event("deploy.shipped", was=("deploy.sent",))
    class Shipped:
        parcel: str

    return Placed, Shipped, [fait.upcast("deploy.placed", 1, fait.renamed("customer_name", "customer"))]


def shop_of(side: Side) -> tuple[fait.App, Any, Any, Any]:
    """Return the app of the old or the new code, its aggregate, its read model and the event that is renamed."""
    placed, sent, upcasters = old_events() if side == "old" else new_events()

    class Order(fait.Aggregate, category="order", snapshot_every=1):
        events: list[str] = fait.field(default_factory=list[str])

        def place(self, customer: str) -> None:
            self.emit(placed(customer))

        def ship(self, parcel: str) -> None:
            if not self.events:
                raise fait.Rejected("not placed yet")
            self.emit(sent(parcel))

        def evolve(self, event: placed | sent) -> None:
            self.events.append(text_of(event))

    class Orders(fait.ReadModel, key="id", table="deployed_orders"):
        id: str
        events: str

        @classmethod
        def evolve(cls, row: Self | None, event: placed | sent, envelope: fait.Envelope) -> Self | None:
            return cls(id=envelope.stream_id, events=f"{row.events if row else ''}{text_of(event)} ")

    app = fait.App("deployed")
    app.include(Order, Orders, Handled, *upcasters)

    @app.on(placed, sent, start="beginning", batch=20)
    async def handle(event: Any, ctx: fait.Context) -> None:
        await ctx.publish(Handled(text_of(event)), stream=f"handled-{ctx.envelope.stream_id}")

    return app, Order, Orders, sent


def text_of(event: Any) -> str:
    """Return the only value of an event."""
    return next(str(getattr(event, name)) for name in ("customer", "customer_name", "parcel") if hasattr(event, name))


async def main(url: str, side: Side, orders: int) -> None:
    """Place every second order, ship the others that the other process places, and publish a note under shared keys."""
    app, order, _, sent = shop_of(side)
    accept = ["deployed_orders"] if side == "new" else []
    async with app.open(url, accept=accept, lease_s=1.0) as s:
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        for number in range(orders):
            if (number % 2 == 0) == (side == "old"):
                await s.transact(order.place, str(number), f"c{number}")
            else:
                await ship(s, order, number)
            await s.using(key=f"note-{number}").publish(sent(f"n{number}"), stream=f"note-{number}")
        print("done", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        await s.wait(timeout_s=20)


async def ship(s: fait.System, order: Any, number: int) -> None:
    """Ship an order as soon as the other process has placed it."""
    while True:
        try:
            await s.transact(order.ship, str(number), f"p{number}")
        except fait.Rejected:
            await asyncio.sleep(0.005)
        else:
            return


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], "old" if sys.argv[2] == "old" else "new", int(sys.argv[3])))
