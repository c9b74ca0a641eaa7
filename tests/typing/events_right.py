"""Declarations and uses of events that every type checker must accept."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Generic, TypeVar, assert_type

import msgspec
import pydantic

from fait._events.event import EventType, describe, event, event_type, field, replace
from fait._events.validation import Json

T = TypeVar("T", bound=str)


@event("shop.order-placed", version=2)
class OrderPlaced:
    customer_id: str
    total: Decimal
    placed_at: datetime
    lines: list[str] = field(default_factory=list[str])
    currency: str = "USD"

    def is_dear(self) -> bool:
        return self.total > 100


@event("shop.order-cancelled", kw_only=True)
class OrderCancelled:
    reason: str = ""
    by: str


@event("shop.order-imported")
class OrderImported(Generic[T]):
    source: T
    data: Json


@event("shop.order-closed")
@dataclass(frozen=True)
class OrderClosed:
    reason: str


@event("shop.order-paid")
class OrderPaid(msgspec.Struct, frozen=True):
    amount: int


@event("shop.order-packed")
class OrderPacked(pydantic.BaseModel, frozen=True):
    boxes: int


@describe("crm.customer-changed")
@dataclass
class CustomerChanged:
    name: str


placed = OrderPlaced("c-1", Decimal(1), datetime.max)
assert_type(placed, OrderPlaced)
assert_type(placed.lines, list[str])
assert_type(placed.is_dear(), bool)
assert_type(replace(placed, currency="EUR"), OrderPlaced)
assert_type(OrderCancelled(by="c-1").by, str)
assert_type(OrderImported("a", {"b": [1, None, {"c": 2.5}]}).source, str)
assert_type(OrderClosed("late"), OrderClosed)
assert_type(OrderPaid(3).amount, int)
assert_type(OrderPacked(boxes=3).boxes, int)
assert_type(event_type(OrderPlaced), EventType | None)

changed = CustomerChanged("Ada")
changed.name = "Grace"

match placed:
    case OrderPlaced(customer_id, total):
        assert_type(customer_id, str)
        assert_type(total, Decimal)
