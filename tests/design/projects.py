"""An app in a module of its own, written to a folder: the code that a design document is compared with."""

import importlib.util
import linecache
import sys
from pathlib import Path

from fait._app import App, declarations_of
from fait._design.catalog import Catalog, build_catalog
from fait._evolution.locks.settings import Settings

__all__ = ["SHOP", "catalog_of", "load"]

SHOP = '''
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Self

import fait


@fait.event("shop.order-placed", version=2)
class OrderPlaced:
    """A customer ordered something."""

    customer: str
    total: int


@fait.event("shop.order-paid")
class OrderPaid:
    """The customer paid."""

    amount: int


@fait.event("shop.reminder", expires=timedelta(days=3))
class Reminder:
    text: str


upgrade = fait.upcast("shop.order-placed", 1, fait.renamed("client", "customer"))


class Order(fait.Aggregate, category="order"):
    paid: bool = False

    def place(self, customer: str) -> None:
        self._check()
        self.emit(OrderPlaced(customer, 1))

    def pay(self) -> None:
        self._add_payment()

    def _check(self) -> None: ...

    def _add_payment(self) -> None:
        self.emit(OrderPaid(1))

    def evolve(self, event: OrderPlaced | OrderPaid) -> None: ...


class Totals(fait.ReadModel, key="customer"):
    customer: str
    total: int

    @classmethod
    def key_of(cls, event: OrderPlaced, envelope: fait.Envelope) -> str:
        return event.customer

    @classmethod
    def evolve(cls, row: Self | None, event: OrderPlaced, envelope: fait.Envelope) -> Self | None:
        return row


async def remind(event: OrderPlaced, ctx: fait.Context) -> None:
    await ctx.publish(Reminder("pay"))
    await ctx.transact(Order.pay, ctx.envelope.stream_id)


shop = fait.App("shop")
shop.include(Order, Totals, upgrade)
shop.on(OrderPlaced)(remind)
shop.on(Reminder, OrderPaid, name="mail", on_failure=fait.FailurePolicy(attempts=3, then="skip"))(lambda event: None)
'''


def load(folder: Path, code: str) -> App:
    """Return the app `shop` of a module `shop` with this code, which replaces an earlier one."""
    file = folder / "shop.py"
    file.write_text(code, encoding="utf-8")
    linecache.checkcache(str(file))
    spec = importlib.util.spec_from_file_location("shop", file)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules["shop"] = importlib.util.module_from_spec(spec)
    exec(compile(code, str(file), "exec"), module.__dict__)  # not from the bytecode of an earlier one
    return module.shop


def catalog_of(folder: Path, code: str = SHOP, settings: Settings | None = None) -> Catalog:
    """Return the catalog of the app `shop` of a module with this code, without locks."""
    used = settings or Settings(folder=folder, locks=folder / "events")
    return build_catalog(declarations_of(load(folder, code)), used, None)
