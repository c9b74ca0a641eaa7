"""What people look at: a row per order, a row per customer. Both are plain tables, and can always be built anew."""

from datetime import datetime
from decimal import Decimal
from typing import Self

import fait

from .orders import OrderCancelled, OrderPaid, OrderPlaced, OrderShipped


class OrderSummary(fait.ReadModel, key="order_id", indexes=[("customer_id", "placed_at")]):
    """An order as it stands."""

    order_id: str
    customer_id: str
    status: str
    total: Decimal
    currency: str
    placed_at: datetime
    tracking_number: str | None = None

    @classmethod
    def evolve(
        cls, row: Self | None, event: OrderPlaced | OrderPaid | OrderShipped | OrderCancelled, at: fait.Envelope
    ) -> Self | None:
        if isinstance(event, OrderPlaced):
            return cls(
                order_id=at.stream_id,
                customer_id=event.customer_id,
                status="placed",
                total=event.total,
                currency=event.currency,
                placed_at=event.placed_at,
            )
        if row is None:
            return None
        match event:
            case OrderPaid():
                row.status = "paid"
            case OrderShipped():
                row.status, row.tracking_number = "shipped", event.tracking_number
            case OrderCancelled():
                row.status = "cancelled"
        return row


class CustomerSummary(fait.ReadModel, key="customer_id"):
    """How much a customer has ordered, cancelled or not."""

    customer_id: str
    orders: int = 0
    pieces: int = 0
    last_order_at: datetime

    @classmethod
    def key_of(cls, event: OrderPlaced, at: fait.Envelope) -> str:
        """An order's events lie in its own stream; the row is the customer's."""
        return event.customer_id

    @classmethod
    def evolve(cls, row: Self | None, event: OrderPlaced, at: fait.Envelope) -> Self | None:
        row = row or cls(customer_id=event.customer_id, last_order_at=event.placed_at)
        row.orders += 1
        row.pieces += sum(item.quantity for item in event.items)
        row.last_order_at = max(row.last_order_at, event.placed_at)
        return row
