"""The stock of a product: pieces are received, reserved for an order, and released if the order is cancelled."""

import fait


@fait.event("shop.stock-received")
class StockReceived:
    """Pieces came in."""

    quantity: int


@fait.event("shop.stock-reserved")
class StockReserved:
    """Pieces are put aside for an order."""

    order_id: str
    quantity: int


@fait.event("shop.stock-released")
class StockReleased:
    """The order does not need them any more; 0 if it had none."""

    order_id: str
    quantity: int


class Stock(fait.Aggregate, category="stock"):
    """The stock of one product: its stream is `stock-<sku>`."""

    on_hand: int = 0
    reserved: dict[str, int] = fait.field(default_factory=dict[str, int])
    released: set[str] = fait.field(default_factory=set[str])

    def receive(self, quantity: int) -> None:
        if quantity < 1:
            raise fait.Rejected("a delivery holds at least one piece")
        self.emit(StockReceived(quantity))

    def reserve(self, order_id: str, quantity: int) -> None:
        if order_id in self.reserved or order_id in self.released:
            return
        if quantity > self.on_hand:
            raise fait.Rejected(f"{self.id} is sold out: {quantity} wanted, {self.on_hand} on hand")
        self.emit(StockReserved(order_id, quantity))

    def release(self, order_id: str) -> None:
        # A cancellation may arrive before the reservation. It is remembered, so that nothing is reserved for nobody.
        if order_id not in self.released:
            self.emit(StockReleased(order_id, self.reserved.get(order_id, 0)))

    def evolve(self, event: StockReceived | StockReserved | StockReleased) -> None:
        match event:
            case StockReceived():
                self.on_hand += event.quantity
            case StockReserved():
                self.on_hand -= event.quantity
                self.reserved[event.order_id] = event.quantity
            case StockReleased():
                self.on_hand += event.quantity
                self.reserved.pop(event.order_id, None)
                self.released.add(event.order_id)
