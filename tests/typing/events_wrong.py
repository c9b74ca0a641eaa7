"""Mistakes with events: each marked line must be rejected by both type checkers."""

from dataclasses import dataclass
from decimal import Decimal

from fait._events.event import event, event_type, replace
from fait._events.validation import Json


@event("shop.order-placed")
class OrderPlaced:
    customer_id: str
    total: Decimal


@event("shop.order-cancelled", kw_only=True)
class OrderCancelled:
    reason: str


@event("shop.order-closed")
@dataclass(frozen=True)
class OrderClosed:
    reason: str


@event("shop.order-paid", version="2")  # E: a version is an int
class WrongVersion:
    reason: str


placed = OrderPlaced("c-1", Decimal(1))

OrderPlaced("c-1")  # E: an argument is missing
OrderPlaced("c-1", "1")  # E: the type is wrong
OrderPlaced("c-1", Decimal(1), vat=2)  # E: there is no such field
OrderCancelled("late")  # E: by keyword only
OrderClosed(1)  # E: the type is wrong
placed.total = Decimal(2)  # E: events are immutable
OrderClosed("late").reason = "early"  # E: events are immutable
placed.totla  # E: there is no such field  # noqa: B018 - the mistake under test
wrong: OrderCancelled = replace(placed, total=Decimal(2))  # E: the copy has the class of the event
event_type(placed)  # E: not a class
free: Json = {"at": Decimal(1)}  # E: free-form JSON holds JSON only
