"""The payload that every subject stores: an order of three items, about 300 bytes of JSON."""

from typing import Any

__all__ = ["EVENTS_PER_ORDER", "order"]

EVENTS_PER_ORDER = 10


def order(number: int) -> dict[str, Any]:
    """Return the fields of an order as plain JSON values."""
    return {
        "order_id": f"order-{number:010d}",
        "customer_id": f"customer-{number % 5000:06d}",
        "items": [
            {"product_id": f"product-{(number + place) % 1000:05d}", "quantity": 1 + place, "price": 19.99 + place}
            for place in range(3)
        ],
        "total": 131.94,
        "placed_at": "2024-05-01T12:34:56.789012+00:00",
    }
