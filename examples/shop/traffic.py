"""Generated orders of generated customers; the same seed gives the same orders."""

import random
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from .orders import Item, total

TEAS = {
    "assam": Decimal("9.80"),
    "darjeeling": Decimal("14.50"),
    "earl-grey": Decimal("8.90"),
    "genmaicha": Decimal("11.20"),
    "gunpowder": Decimal("7.60"),
    "gyokuro": Decimal("38.00"),
    "hojicha": Decimal("10.40"),
    "jasmine": Decimal("12.30"),
    "keemun": Decimal("16.70"),
    "lapsang-souchong": Decimal("13.90"),
    "matcha": Decimal("29.50"),
    "milk-oolong": Decimal("18.20"),
    "nilgiri": Decimal("9.10"),
    "pu-erh": Decimal("22.40"),
    "rooibos": Decimal("6.50"),
    "sencha": Decimal("15.60"),
    "silver-needle": Decimal("42.00"),
    "yunnan": Decimal("12.80"),
}
"""Price of each product."""

SCARCE = "silver-needle"
"""The product of which only half the ordered quantity is delivered."""

_FIRST_NAMES = (
    "ada",
    "alan",
    "barbara",
    "donald",
    "edsger",
    "frances",
    "grace",
    "jean",
    "joan",
    "john",
    "karen",
    "radia",
)
_LAST_NAMES = ("berg", "costa", "diaz", "haddad", "ito", "jansen", "kaur", "lopez", "novak", "okafor", "silva", "weber")

FinalStatus = Literal["placed", "paid", "shipped", "canceled"]
_STATUS_WEIGHTS: dict[FinalStatus, int] = {"shipped": 60, "paid": 20, "placed": 10, "canceled": 10}


@dataclass(frozen=True)
class PlannedOrder:
    """An order that the demo will place, and the status that it should reach."""

    order_id: str
    customer_id: str
    items: list[Item]
    final_status: FinalStatus

    @property
    def total(self) -> Decimal:
        return total(self.items)


def plan_orders(count: int, seed: int) -> list[PlannedOrder]:
    """Generate orders. A few customers order often, most of them rarely."""
    rng = random.Random(seed)  # noqa: S311 - plausible, not secret
    names = [f"{first}.{last}" for first in _FIRST_NAMES for last in _LAST_NAMES]
    customers = rng.sample(names, k=min(len(names), 3 + count // 8))
    weights = [1 / rank for rank in range(1, len(customers) + 1)]
    return [
        PlannedOrder(
            order_id=f"{number:05}",
            customer_id=rng.choices(customers, weights)[0],
            items=_generate_items(rng),
            final_status=rng.choices(list(_STATUS_WEIGHTS), list(_STATUS_WEIGHTS.values()))[0],
        )
        for number in range(1, count + 1)
    ]


def _generate_items(rng: random.Random) -> list[Item]:
    skus = rng.sample(list(TEAS), k=rng.choices((1, 2, 3), (5, 3, 1))[0])
    return [Item(sku, rng.choices((1, 2, 3, 5), (12, 5, 2, 1))[0], TEAS[sku]) for sku in skus]


def plan_deliveries(orders: Iterable[PlannedOrder]) -> dict[str, int]:
    """Return how many pieces of each product to deliver: enough for all orders, except for the scarce product."""
    ordered = Counter[str]()
    for order in orders:
        for item in order.items:
            ordered[item.sku] += item.quantity
    return {sku: ordered[sku] // 2 + 1 if sku == SCARCE else ordered[sku] + 50 for sku in TEAS}
