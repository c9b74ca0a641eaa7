"""The service of the inventory: it reserves stock for each order, or says that there is not enough."""

from dataclasses import dataclass

import fait

BROKER = "${SHOP_BROKER}"


@fait.event("inventory.received")
class StockReceived:
    """Pieces of a product were delivered."""

    quantity: int


@fait.event("inventory.reserved")
class StockReserved:
    """Pieces were reserved for an order."""

    order_id: str
    quantity: int


@fait.event("inventory.missing")
class StockMissing:
    """There were not enough pieces for an order."""

    order_id: str
    quantity: int


class Stock(fait.Aggregate, category="stock"):
    """The stock of one product; its stream is `stock-<sku>`."""

    on_hand: int = 0

    def receive(self, quantity: int) -> None:
        self.emit(StockReceived(quantity))

    def reserve(self, order_id: str, quantity: int) -> None:
        """Reserve stock. A repeated call reserves it again: `reserve_stock` makes one call for each order."""
        enough = quantity <= self.on_hand
        self.emit(StockReserved(order_id, quantity) if enough else StockMissing(order_id, quantity))

    def evolve(self, event: StockReceived | StockReserved | StockMissing) -> None:
        match event:
            case StockReceived():
                self.on_hand += event.quantity
            case StockReserved():
                self.on_hand -= event.quantity
            case StockMissing():
                pass


@dataclass(frozen=True)
class PlacedOrder:
    """What this service reads of the events of the orders."""

    order_id: str
    sku: str
    quantity: int


inventory = fait.App("inventory")
inventory.include(Stock)
inventory.relay(
    StockReserved, StockMissing, to=BROKER, topic="inventory", key=lambda event: event.order_id, start="beginning"
)


@inventory.consume("orders", from_=BROKER, type="orders.placed", as_=PlacedOrder)
async def reserve_stock(order: PlacedOrder, ctx: fait.Context) -> None:
    await ctx.transact(Stock.reserve, order.sku, order.order_id, order.quantity)
