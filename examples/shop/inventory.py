"""Stock: pieces are received, reserved for an order (all of its products or none), and released if it is canceled.

A reservation depends on the stock of several products, so no single stream holds its state. It is a boundary: it
depends on all events that carry the tag of one of the products or of the order. See docs/boundaries.md.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import fait


@fait.event("shop.stock-received")
class StockReceived:
    """Pieces of a product were delivered to the shop."""

    sku: str
    quantity: int


@fait.event("shop.stock-reserved")
class StockReserved:
    """Pieces were reserved for an order: a quantity per product."""

    order_id: str
    quantities: dict[str, int]


@fait.event("shop.stock-released")
class StockReleased:
    """The reservation of an order ended; `quantities` is empty if nothing was reserved."""

    order_id: str
    quantities: dict[str, int]


@dataclass
class Stock:
    """Stock on hand and reserved, for the products or the order whose events were folded."""

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
    """Reserve these quantities for an order."""

    order_id: str
    quantities: Mapping[str, int]


@dataclass(frozen=True)
class Release:
    """End the reservation of an order."""

    order_id: str


def decide_reserve(command: Reserve, stock: Stock) -> list[fait.NewEvents]:
    if command.order_id in stock.reserved or command.order_id in stock.released:
        return []
    for sku, quantity in command.quantities.items():
        if quantity > stock.on_hand[sku]:
            raise fait.Rejected(f"{sku} is sold out: {quantity} ordered, {stock.on_hand[sku]} on hand")
    return [_reservation_events(StockReserved(command.order_id, dict(command.quantities)))]


def decide_release(command: Release, stock: Stock) -> list[fait.NewEvents]:
    # A cancellation may be handled before the reservation: the event is stored even if nothing is reserved yet, so
    # that decide_reserve() reserves nothing for a canceled order.
    if command.order_id in stock.released:
        return []
    return [_reservation_events(StockReleased(command.order_id, dict(stock.reserved.get(command.order_id, {}))))]


def stock_received(sku: str, quantity: int) -> fait.NewEvents:
    """Return the event of a delivery, ready for `System.append`."""
    return fait.NewEvents(f"stock-{sku}", [StockReceived(sku, quantity)], tags=[f"product:{sku}"])


def _reservation_events(event: StockReserved | StockReleased) -> fait.NewEvents:
    tags = [f"order:{event.order_id}", *(f"product:{sku}" for sku in event.quantities)]
    return fait.NewEvents(f"reservation-{event.order_id}", [event], tags=tags)


def product_queries(*skus: str) -> list[fait.Query]:
    """Return a query per product: all events about its stock."""
    return [fait.Query.of(StockReceived, StockReserved, StockReleased, tags=[f"product:{sku}"]) for sku in skus]


def order_query(order_id: str) -> fait.Query:
    """Return a query for all events about the reservation of an order."""
    return fait.Query.of(StockReserved, StockReleased, tags=[f"order:{order_id}"])


reserve = fait.Boundary(
    name="reserve",
    depends_on=lambda command: [order_query(command.order_id), *product_queries(*command.quantities)],
    initial=Stock,
    decide=decide_reserve,
    evolve=evolve,
)

release = fait.Boundary(
    name="release",
    depends_on=lambda command: order_query(command.order_id),
    initial=Stock,
    decide=decide_release,
    evolve=evolve,
)


async def stock_of(system: fait.System, *skus: str) -> Stock:
    """Read the current stock of these products."""
    stock = Stock()
    for recorded in (await system.query(*product_queries(*skus))).events:
        stock = evolve(stock, recorded.event)
    return stock
