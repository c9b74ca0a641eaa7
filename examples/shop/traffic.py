"""Made-up customers who order tea: the same seed gives the same orders."""

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

SCARCE = "silver-needle"
"""A tea of which only half arrives that is ordered."""

_FIRST = ("ada", "alan", "barbara", "donald", "edsger", "frances", "grace", "jean", "joan", "john", "karen", "radia")
_LAST = ("berg", "costa", "diaz", "haddad", "ito", "jansen", "kaur", "lopez", "novak", "okafor", "silva", "weber")

Fate = Literal["placed", "paid", "shipped", "cancelled"]
_FATES: dict[Fate, int] = {"shipped": 60, "paid": 20, "placed": 10, "cancelled": 10}


@dataclass(frozen=True)
class Wish:
    """An order that somebody is going to place, and how far it is meant to get."""

    order_id: str
    customer_id: str
    items: list[Item]
    fate: Fate

    @property
    def total(self) -> Decimal:
        return total(self.items)


def wishes(count: int, seed: int) -> list[Wish]:
    """So many orders. Some customers come often, most of them rarely."""
    chance = random.Random(seed)  # noqa: S311 - plausible, not secret
    names = [f"{first}.{last}" for first in _FIRST for last in _LAST]
    customers = chance.sample(names, k=min(len(names), 3 + count // 8))
    weights = [1 / rank for rank in range(1, len(customers) + 1)]
    return [
        Wish(
            order_id=f"{number:05}",
            customer_id=chance.choices(customers, weights)[0],
            items=_basket(chance),
            fate=chance.choices(list(_FATES), list(_FATES.values()))[0],
        )
        for number in range(1, count + 1)
    ]


def _basket(chance: random.Random) -> list[Item]:
    skus = chance.sample(list(TEAS), k=chance.choices((1, 2, 3), (5, 3, 1))[0])
    return [Item(sku, chance.choices((1, 2, 3, 5), (12, 5, 2, 1))[0], TEAS[sku]) for sku in skus]


def deliveries(planned: Iterable[Wish]) -> dict[str, int]:
    """What to receive of each tea, so that all orders can be served, but for the scarce tea, and some is left."""
    wanted = Counter[str]()
    for wish in planned:
        for item in wish.items:
            wanted[item.sku] += item.quantity
    return {sku: wanted[sku] // 2 + 1 if sku == SCARCE else wanted[sku] + 50 for sku in TEAS}
