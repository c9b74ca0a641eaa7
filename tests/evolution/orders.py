"""An event type in two versions with most kinds of fields, for upcasters that are right or wrong."""

import enum
from datetime import datetime
from decimal import Decimal
from typing import Literal

import msgspec

import fait

__all__ = ["NAME", "Listed", "Noted", "OrderPlaced1", "OrderPlaced2", "Published"]

NAME = "shop.order-placed"


class Customer1(msgspec.Struct, frozen=True):
    name: str
    email: str = ""


class Line(msgspec.Struct, frozen=True):
    sku: str
    quantity: int


class Card(msgspec.Struct, frozen=True, tag="card"):
    number: str


class Invoice(msgspec.Struct, frozen=True, tag="invoice"):
    due: datetime


class Status(enum.Enum):
    OPEN = "open"
    PAID = "paid"


@fait.event(NAME, version=1, kw_only=True)
class OrderPlaced1:
    order_id: str
    customer_name: str
    buyer: Customer1
    amount: Decimal
    lines: list[Line]
    tags: list[str]
    payment: Card | Invoice
    state: Literal["o", "p"]
    placed_at: datetime
    note: str = ""
    legacy: int | None = None


@fait.event(NAME, version=2, kw_only=True)
class OrderPlaced2:
    order_id: str
    customer: str
    buyer: Customer1
    amount: Decimal
    lines: list[Line]
    tags: list[str]
    payment: Card | Invoice
    state: Status
    placed_at: datetime
    currency: Literal["EUR", "USD"]
    note: str = ""
    remark: str = ""


@fait.event("shop.listed", version=1, kw_only=True)
class Listed:
    title: str
    seats: int
    hint: str = ""


@fait.event("shop.published", version=1, kw_only=True)
class Published:
    title: str
    hint: str = ""


@fait.event("shop.noted", version=2)
class Noted:
    seats: int
