"""Stock: pieces are received, reserved for an order (all of its products, or none), and released if it is cancelled.

An order's products are each a thing of their own, so no stream holds what a reservation depends on. It depends on a
query instead: everything about these products, and about this order. See docs/boundaries.md.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import fait


@fait.event("shop.stock-received")
class StockReceived:
    """Pieces came in."""

    sku: str
    quantity: int


@fait.event("shop.stock-reserved")
class StockReserved:
    """Pieces are put aside for an order: so many of each product."""

    order_id: str
    quantities: dict[str, int]


@fait.event("shop.stock-released")
class StockReleased:
    """The order does not need them any more; nothing if it had nothing."""

    order_id: str
    quantities: dict[str, int]


@dataclass
class Stock:
    """What is on hand, and what orders hold: true for the products, or the order, that it was folded for."""

    on_hand: Counter[str] = field(default_factory=Counter[str])
    reserved: dict[str, Mapping[str, int]] = field(default_factory=dict[str, Mapping[str, int]])
    released: set[str] = field(default_factory=set[str])


def evolve(stock: Stock, event: StockReceived | StockReserved | StockReleased) -> Stock:
    match event:
        case StockReceived():
            stock.on_hand[event.sku] += event.quantity
        case StockReserved():
            stock.on_hand.subtract(event.quantities)
            stock.reserved[event.order_id] = event.quantities
        case StockReleased():
            stock.on_hand.update(event.quantities)
            stock.reserved.pop(event.order_id, None)
            stock.released.add(event.order_id)
    return stock


@dataclass(frozen=True)
class Reserve:
    """Put these pieces aside for an order."""

    order_id: str
    quantities: Mapping[str, int]


@dataclass(frozen=True)
class Release:
    """Give back what the order holds."""

    order_id: str


def decide_reserve(command: Reserve, stock: Stock) -> list[fait.NewEvents]:
    if command.order_id in stock.reserved or command.order_id in stock.released:
        return []
    for sku, quantity in command.quantities.items():
        if quantity > stock.on_hand[sku]:
            raise fait.Rejected(f"{sku} is sold out: {quantity} wanted, {stock.on_hand[sku]} on hand")
    return [_about(StockReserved(command.order_id, dict(command.quantities)))]


def decide_release(command: Release, stock: Stock) -> list[fait.NewEvents]:
    # A cancellation may arrive before the reservation. It is remembered, so that nothing is reserved for nobody.
    if command.order_id in stock.released:
        return []
    return [_about(StockReleased(command.order_id, dict(stock.reserved.get(command.order_id, {}))))]


def received(sku: str, quantity: int) -> fait.NewEvents:
    """A delivery, to be appended: there is nothing to decide."""
    return fait.NewEvents(f"stock-{sku}", [StockReceived(sku, quantity)], tags=[f"product:{sku}"])


def _about(event: StockReserved | StockReleased) -> fait.NewEvents:
    tags = [f"order:{event.order_id}", *(f"product:{sku}" for sku in event.quantities)]
    return fait.NewEvents(f"reservation-{event.order_id}", [event], tags=tags)


def of_products(*skus: str) -> list[fait.Query]:
    """All about the stock of each of these products."""
    return [fait.Query.of(StockReceived, StockReserved, StockReleased, tags=[f"product:{sku}"]) for sku in skus]


def of_order(order_id: str) -> fait.Query:
    """All about the stock that an order holds."""
    return fait.Query.of(StockReserved, StockReleased, tags=[f"order:{order_id}"])


reserve = fait.Boundary(
    name="reserve",
    depends_on=lambda command: [of_order(command.order_id), *of_products(*command.quantities)],
    initial=Stock,
    decide=decide_reserve,
    evolve=evolve,
)

release = fait.Boundary(
    name="release",
    depends_on=lambda command: of_order(command.order_id),
    initial=Stock,
    decide=decide_release,
    evolve=evolve,
)


async def stock_of(system: fait.System, *skus: str) -> Stock:
    """How the stock of these products stands."""
    stock = Stock()
    for recorded in (await system.query(*of_products(*skus))).events:
        stock = evolve(stock, recorded.event)
    return stock
