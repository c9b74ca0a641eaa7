"""The service of orders: an order is placed, then confirmed if the inventory has reserved its stock, else canceled."""

from dataclasses import dataclass
from typing import Literal

import fait

BROKER = "${SHOP_BROKER}"


@fait.event("orders.placed")
class OrderPlaced:
    """A customer ordered a quantity of a product."""

    order_id: str
    sku: str
    quantity: int


@fait.event("orders.confirmed")
class OrderConfirmed:
    """The stock of the order is reserved."""

    order_id: str


@fait.event("orders.canceled")
class OrderCanceled:
    """The order was canceled: the stock did not suffice."""

    order_id: str


class Order(fait.Aggregate, category="order"):
    """One order; its stream is `order-<id>`."""

    status: Literal["new", "placed", "confirmed", "canceled"] = "new"

    def place(self, order_id: str, sku: str, quantity: int) -> None:
        if self.status != "new":
            raise fait.Rejected("this order has already been placed")
        self.emit(OrderPlaced(order_id, sku, quantity))

    def confirm(self, order_id: str) -> None:
        if self.status != "placed":
            raise fait.Rejected(f"this order cannot be confirmed: it is {self.status}")
        self.emit(OrderConfirmed(order_id))

    def cancel(self, order_id: str) -> None:
        if self.status != "placed":
            raise fait.Rejected(f"this order cannot be canceled: it is {self.status}")
        self.emit(OrderCanceled(order_id))

    def evolve(self, event: OrderPlaced | OrderConfirmed | OrderCanceled) -> None:
        match event:
            case OrderPlaced():
                self.status = "placed"
            case OrderConfirmed():
                self.status = "confirmed"
            case OrderCanceled():
                self.status = "canceled"


@dataclass(frozen=True)
class Answer:
    """What this service reads of the events of the inventory."""

    order_id: str


orders = fait.App("orders")
orders.include(Order)
orders.relay(OrderPlaced, to=BROKER, topic="orders", start="beginning")


@orders.consume("inventory", from_=BROKER, type="inventory.reserved", as_=Answer)
async def confirm(answer: Answer, ctx: fait.Context) -> None:
    await ctx.transact(Order.confirm, answer.order_id, answer.order_id)


@orders.consume("inventory", from_=BROKER, type="inventory.missing", as_=Answer)
async def cancel(answer: Answer, ctx: fait.Context) -> None:
    await ctx.transact(Order.cancel, answer.order_id, answer.order_id)
