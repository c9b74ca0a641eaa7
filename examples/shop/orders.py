"""An order is placed, paid and shipped, or cancelled on the way."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal

import fait


@dataclass(frozen=True)
class Item:
    """So many pieces of a product, at the price of one."""

    sku: str
    quantity: int
    price: Decimal


@fait.event("shop.order-placed", version=2)
class OrderPlaced:
    """A customer ordered these items, at these prices."""

    customer_id: str
    items: list[Item]
    total: Decimal
    placed_at: datetime
    currency: str


@fait.upcast("shop.order-placed", 1)
def with_currency(data: dict[str, Any]) -> dict[str, Any]:
    """Before version 2 the shop sold in dollars, and did not say so."""
    return {**data, "currency": "USD"}


@fait.event("shop.order-paid")
class OrderPaid:
    """The whole amount has arrived."""

    amount: Decimal


@fait.event("shop.order-shipped")
class OrderShipped:
    """The parcel is on its way."""

    tracking_number: str


@fait.event("shop.order-cancelled")
class OrderCancelled:
    """There will be no parcel."""

    reason: str


def total(items: Iterable[Item]) -> Decimal:
    """What the items cost together."""
    return sum((item.price * item.quantity for item in items), Decimal(0))


class Order(fait.Aggregate, category="order"):
    """One order: its stream is `order-<id>`."""

    status: Literal["new", "placed", "paid", "shipped", "cancelled"] = "new"
    customer_id: str = ""
    items: Sequence[Item] = ()
    total: Decimal = Decimal(0)

    def place(self, customer_id: str, items: list[Item], currency: str = "USD") -> None:
        if self.status != "new":
            raise fait.Rejected("this order was placed before")
        if not items:
            raise fait.Rejected("an order needs at least one item")
        self.emit(OrderPlaced(customer_id, items, total(items), fait.now(), currency))

    def pay(self, amount: Decimal) -> None:
        if self.status != "placed":
            raise fait.Rejected(f"this order is {self.status}, it cannot be paid")
        if amount != self.total:
            raise fait.Rejected(f"this order costs {self.total}, not {amount}")
        self.emit(OrderPaid(amount))

    def ship(self, tracking_number: str) -> None:
        if self.status != "paid":
            raise fait.Rejected(f"this order is {self.status}, only a paid one is shipped")
        self.emit(OrderShipped(tracking_number))

    def cancel(self, reason: str) -> None:
        if self.status in ("new", "shipped"):
            raise fait.Rejected(f"this order is {self.status}, it cannot be cancelled")
        if self.status != "cancelled":
            self.emit(OrderCancelled(reason))

    def evolve(self, event: OrderPlaced | OrderPaid | OrderShipped | OrderCancelled) -> None:
        match event:
            case OrderPlaced():
                self.status = "placed"
                self.customer_id, self.items, self.total = event.customer_id, event.items, event.total
            case OrderPaid():
                self.status = "paid"
            case OrderShipped():
                self.status = "shipped"
            case OrderCancelled():
                self.status = "cancelled"
