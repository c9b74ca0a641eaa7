"""Two read models: a row per order and a row per customer. Both are SQL tables that can be rebuilt from the log."""

from datetime import datetime
from decimal import Decimal
from typing import Self

import fait

from .orders import OrderCanceled, OrderPaid, OrderPlaced, OrderShipped


class OrderSummary(fait.ReadModel, key="order_id", indexes=[("customer_id", "placed_at", "order_id")]):
    """The current status of an order; `version` is that of its stream, so that a web page can tell what it shows."""

    order_id: str
    customer_id: str
    status: str
    total: Decimal
    currency: str
    placed_at: datetime
    version: int
    tracking_number: str | None = None

    @classmethod
    def evolve(
        cls, row: Self | None, event: OrderPlaced | OrderPaid | OrderShipped | OrderCanceled, envelope: fait.Envelope
    ) -> Self | None:
        if isinstance(event, OrderPlaced):
            return cls(
                order_id=envelope.stream_id,
                customer_id=event.customer_id,
                status="placed",
                total=event.total,
                currency=event.currency,
                placed_at=event.placed_at,
                version=envelope.version,
            )
        if row is None:
            return None
        row.version = envelope.version
        match event:
            case OrderPaid():
                row.status = "paid"
            case OrderShipped():
                row.status, row.tracking_number = "shipped", event.tracking_number
            case OrderCanceled():
                row.status = "canceled"
        return row


class CustomerSummary(fait.ReadModel, key="customer_id"):
    """How much a customer has ordered, including canceled orders."""

    customer_id: str
    orders: int = 0
    pieces: int = 0
    last_order_at: datetime

    @classmethod
    def key_of(cls, event: OrderPlaced, envelope: fait.Envelope) -> str:
        """Return the customer's id: an event's stream is the order's, but the row belongs to the customer."""
        return event.customer_id

    @classmethod
    def evolve(cls, row: Self | None, event: OrderPlaced, envelope: fait.Envelope) -> Self | None:
        row = row or cls(customer_id=event.customer_id, last_order_at=event.placed_at)
        row.orders += 1
        row.pieces += sum(item.quantity for item in event.items)
        row.last_order_at = max(row.last_order_at, event.placed_at)
        return row
