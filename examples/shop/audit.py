"""Whether everything adds up: the tables against the log, and the log against what the customers wanted.

The log is read here as anybody could who owns the file: with SQL, without fait.
"""

import json
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar, cast

import apsw

import fait

from .inventory import Stock, stock_of
from .summaries import CustomerSummary, OrderSummary
from .traffic import Wish

M = TypeVar("M", bound=fait.ReadModel)


@dataclass(frozen=True)
class Check:
    """A sum that was made in several ways: `found` says what each of them gave."""

    claim: str
    found: str
    holds: bool


@dataclass(frozen=True)
class Fact:
    """An event as it lies in the file."""

    position: int
    stream: str
    version: int
    type: str
    id: str
    data: dict[str, Any]


class Books:
    """All that is in the file: the log, the mails, and what the read models say."""

    def __init__(self, path: Path) -> None:
        # apsw, not sqlite3: one process must not open one file through two copies of SQLite.
        with closing(cast("Any", apsw.Connection(str(path), apsw.SQLITE_OPEN_READONLY))) as file:
            log = file.execute("SELECT position, stream, version, type, id, data FROM fait_events ORDER BY position")
            self.facts = [
                Fact(at, stream, version, type, id, json.loads(data)) for at, stream, version, type, id, data in log
            ]
            self.mails = [str(event_id) for (event_id,) in file.execute("SELECT event_id FROM outgoing_mail")]

    def of(self, *types: str) -> list[Fact]:
        """The events of these types."""
        return [fact for fact in self.facts if fact.type in types]


async def audit(system: fait.System, books: Books, wishes: Sequence[Wish], received: Mapping[str, int]) -> list[Check]:
    """All sums. The system must be at rest: nothing is being appended, and every subscription has caught up."""
    orders = [row async for row in every(system, OrderSummary)]
    customers = [row async for row in every(system, CustomerSummary)]
    stock = await stock_of(system, *received)
    positions = [recorded.position async for recorded in system.events()]
    return [
        _totals(books, wishes, orders),
        _statuses(books, orders),
        _customers(wishes, customers),
        _mails(books),
        _stock(books, received, stock),
        _versions(books),
        _positions(books, positions),
    ]


async def every(system: fait.System, model: type[M]) -> AsyncIterator[M]:
    """All rows of a read model, page by page."""
    page = await system.find(model)
    while True:
        for row in page:
            yield row
        if page.cursor is None:
            return
        page = await system.find(model, cursor=page.cursor)


def _totals(books: Books, wishes: Sequence[Wish], rows: Sequence[OrderSummary]) -> Check:
    in_table = sum((row.total for row in rows), Decimal(0))
    in_log = sum((Decimal(fact.data["total"]) for fact in books.of("shop.order-placed")), Decimal(0))
    wanted = sum((wish.total for wish in wishes), Decimal(0))
    return Check(
        "totals of the orders: table = log = what was ordered",
        f"{in_table:,} = {in_log:,} = {wanted:,}",
        in_table == in_log == wanted,
    )


def _statuses(books: Books, rows: Sequence[OrderSummary]) -> Check:
    last = {fact.stream: fact.type for fact in books.facts if fact.stream.startswith("order-")}
    in_log = {stream.removeprefix("order-"): type.removeprefix("shop.order-") for stream, type in last.items()}
    in_table = {row.order_id: row.status for row in rows}
    return Check("the status of every order: table = its last event", _counted(in_table.values()), in_table == in_log)


def _customers(wishes: Sequence[Wish], rows: Sequence[CustomerSummary]) -> Check:
    wanted, pieces = Counter[str](), Counter[str]()
    for wish in wishes:
        wanted[wish.customer_id] += 1
        pieces[wish.customer_id] += sum(item.quantity for item in wish.items)
    return Check(
        "orders and pieces of every customer: table = what was ordered",
        f"{len(rows)} customers, {sum(row.orders for row in rows)} orders, {sum(row.pieces for row in rows)} pieces",
        {row.customer_id: (row.orders, row.pieces) for row in rows}
        == {customer: (wanted[customer], pieces[customer]) for customer in wanted},
    )


def _mails(books: Books) -> Check:
    due = Counter(fact.id for fact in books.of("shop.order-placed", "shop.order-shipped"))
    written = Counter(books.mails)
    return Check(
        "one mail for every order placed or shipped: none twice, none missing",
        f"{written.total()} mails, {len(written)} different, {len(due)} due",
        written == due,
    )


def _stock(books: Books, received: Mapping[str, int], stock: Stock) -> Check:
    """What was received is on hand or held for an order, and what is held is what the living orders need."""
    cancelled = {fact.stream for fact in books.of("shop.order-cancelled")}
    needed = Counter[str]()
    for fact in books.of("shop.order-placed"):
        if fact.stream not in cancelled:
            needed.update({item["sku"]: item["quantity"] for item in fact.data["items"]})
    held, on_hand = Counter[str](), stock.on_hand
    for quantities in stock.reserved.values():
        held.update(quantities)
    return Check(
        "every product: received = on hand + reserved for living orders",
        f"{sum(received.values()):,} = {on_hand.total():,} + {held.total():,}",
        all(received[sku] == on_hand[sku] + held[sku] and held[sku] == needed[sku] for sku in received),
    )


def _versions(books: Books) -> Check:
    versions: dict[str, list[int]] = {}
    for fact in books.facts:
        versions.setdefault(fact.stream, []).append(fact.version)
    return Check(
        "versions of every stream: 1, 2, 3, …, in the order of the log",
        f"{len(versions):,} streams, the longest has {max(map(len, versions.values()), default=0)} events",
        all(found == list(range(1, len(found) + 1)) for found in versions.values()),
    )


def _positions(books: Books, read: Sequence[int]) -> Check:
    rising = all(before < after for before, after in pairwise(read))
    return Check(
        "positions only rise, and a reader gets every event of the file",
        f"{len(read):,} events read, {len(books.facts):,} in the file",
        rising and read == [fact.position for fact in books.facts],
    )


def _counted(values: Iterable[str]) -> str:
    return ", ".join(f"{count} {value}" for value, count in Counter(values).most_common())
