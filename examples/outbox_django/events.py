"""What others are told of. There is nothing of event sourcing here: the orders are rows of `models.Order`."""

from dataclasses import dataclass

import fait


@fait.event("shop.order-placed")
@dataclass(frozen=True)
class OrderPlaced:
    """A customer ordered so many pieces of a product."""

    customer: str
    sku: str
    quantity: int


@fait.event("shop.order-cancelled")
@dataclass(frozen=True)
class OrderCancelled:
    """There will be no parcel: the pieces are free again."""

    customer: str
    sku: str
    quantity: int


shop = fait.App("outbox-django-shop")
shop.include(OrderPlaced, OrderCancelled)
