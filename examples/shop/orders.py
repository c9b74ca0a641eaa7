"""An order: it is placed, paid and shipped, or canceled before it is shipped."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Literal

import fait


@dataclass(frozen=True)
class Item:
    """A quantity of a product, with the price per piece."""

    sku: str
    quantity: int
    price: Decimal


@fait.event("shop.order-placed", version=3)
class OrderPlaced:
    """A customer ordered these items at these prices."""

    customer_id: str
    items: list[Item]
    total: Decimal
    placed_at: datetime
    currency: str


@fait.event("shop.order-paid")
class OrderPaid:
    """The customer paid the whole amount."""

    amount: Decimal


@fait.event("shop.order-shipped")
class OrderShipped:
    """The parcel was handed to the carrier."""

    tracking_number: str


@fait.event("shop.order-canceled", was=("shop.order-cancelled",))
class OrderCanceled:
    """The order was canceled; nothing will be shipped."""

    reason: str


def total(items: Iterable[Item]) -> Decimal:
    """Return the total price of the items."""
    return sum((item.price * item.quantity for item in items), Decimal(0))


class Order(fait.Aggregate, category="order"):
    """One order; its stream is `order-<id>`."""

    status: Literal["new", "placed", "paid", "shipped", "canceled"] = "new"
    customer_id: str = ""
    items: Sequence[Item] = ()
    total: Decimal = Decimal(0)

    def place(self, customer_id: str, items: list[Item], currency: str = "USD") -> None:
        if self.status != "new":
            raise fait.Rejected("this order has already been placed")
        if not items:
            raise fait.Rejected("an order needs at least one item")
        self.emit(OrderPlaced(customer_id, items, total(items), fait.now(), currency))

    def pay(self, amount: Decimal) -> None:
        if self.status != "placed":
            raise fait.Rejected(f"this order cannot be paid: it is {self.status}")
        if amount != self.total:
            raise fait.Rejected(f"the amount must be {self.total}, not {amount}")
        self.emit(OrderPaid(amount))

    def ship(self, tracking_number: str) -> None:
        if self.status != "paid":
            raise fait.Rejected(f"this order cannot be shipped: it is {self.status}, not paid")
        self.emit(OrderShipped(tracking_number))

    def cancel(self, reason: str) -> None:
        if self.status in ("new", "shipped"):
            raise fait.Rejected(f"this order cannot be canceled: it is {self.status}")
        if self.status != "canceled":
            self.emit(OrderCanceled(reason))

    def evolve(self, event: OrderPlaced | OrderPaid | OrderShipped | OrderCanceled) -> None:
        match event:
            case OrderPlaced():
                self.status = "placed"
                self.customer_id, self.items, self.total = event.customer_id, event.items, event.total
            case OrderPaid():
                self.status = "paid"
            case OrderShipped():
                self.status = "shipped"
            case OrderCanceled():
                self.status = "canceled"
