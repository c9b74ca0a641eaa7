"""How events that earlier versions of the shop stored are read today. Stored events are never changed.

The lock files in `events/` next to this module describe every version; `fait schema check` proves that each one can
still be read.
"""

from collections.abc import Iterator
from typing import Any

import fait

# An order had no currency in its first version; all prices were in US dollars. Version 3 says that `customer` is an id.
add_currency = fait.upcast("shop.order-placed", 1, fait.defaulted("currency", "USD"))
rename_customer = fait.upcast("shop.order-placed", 2, fait.renamed("customer", "customer_id"))


@fait.upcast("shop.order-completed", 1, into=["shop.order-paid", "shop.order-shipped"])
def split_completion(data: dict[str, Any]) -> Iterator[fait.Untyped]:
    """Read a completed order as two events: the shop once took payments only when it shipped."""
    yield fait.Untyped("shop.order-paid", {"amount": data["amount"]})
    yield fait.Untyped("shop.order-shipped", {"tracking_number": data["tracking_number"]})
