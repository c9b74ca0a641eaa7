"""The events. The shop is not event-sourced: orders are rows of `models.Order`, updated in place."""

from dataclasses import dataclass

import fait


@fait.event("shop.order-placed")
@dataclass(frozen=True)
class OrderPlaced:
    """A customer ordered a quantity of a product."""

    customer: str
    sku: str
    quantity: int


@fait.event("shop.order-canceled")
@dataclass(frozen=True)
class OrderCanceled:
    """The order was canceled; its pieces are available again."""

    customer: str
    sku: str
    quantity: int


shop = fait.App("outbox-django-shop")
shop.include(OrderPlaced, OrderCanceled)
