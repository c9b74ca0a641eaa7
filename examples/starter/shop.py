"""Carts, and how many pieces of each product are in them."""

from typing import Self

import fait
from fait import Envelope


@fait.event("shop.item-added")
class ItemAdded:
    sku: str
    quantity: int


@fait.event("shop.checked-out")
class CheckedOut:
    pass


class Cart(fait.Aggregate, category="cart"):
    items: int = 0
    is_open: bool = True

    def add(self, sku: str, quantity: int) -> None:
        if not self.is_open:
            raise fait.Rejected("this cart is checked out")
        self.emit(ItemAdded(sku, quantity))

    def check_out(self) -> None:
        if self.is_open:
            self.emit(CheckedOut())

    def evolve(self, event: ItemAdded | CheckedOut) -> None:
        match event:
            case ItemAdded():
                self.items += event.quantity
            case CheckedOut():
                self.is_open = False


class Product(fait.ReadModel, key="sku"):
    sku: str
    pieces: int = 0

    @classmethod
    def key_of(cls, event: ItemAdded, envelope: Envelope) -> str:
        return event.sku

    @classmethod
    def evolve(cls, row: Self | None, event: ItemAdded, envelope: Envelope) -> Self:
        row = row or cls(sku=event.sku)
        row.pieces += event.quantity
        return row


app = fait.App("shop")
app.include(Cart, Product)
