"""Checks of the shop's data: the read models against the log, and the log against the planned orders.

The log is read with plain SQL, without fait.
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
from .traffic import PlannedOrder

M = TypeVar("M", bound=fait.ReadModel)


@dataclass(frozen=True)
class Check:
    """A value that was computed in several ways; `values` shows the result of each."""

    claim: str
    values: str
    passed: bool


@dataclass(frozen=True)
class EventRow:
    """A row of the table of events."""

    position: int
    stream: str
    version: int
    type: str
    id: str
    data: dict[str, Any]


class FileContents:
    """The events and the e-mails in the SQLite file."""

    def __init__(self, path: Path) -> None:
        # With apsw, not sqlite3: a process must not open one file through two copies of SQLite.
        with closing(cast("Any", apsw.Connection(str(path), apsw.SQLITE_OPEN_READONLY))) as file:
            rows = file.execute("SELECT position, stream, version, type, id, data FROM fait_events ORDER BY position")
            self.events = [
                EventRow(position, stream, version, type, id, json.loads(data))
                for position, stream, version, type, id, data in rows
            ]
            self.emails = [str(event_id) for (event_id,) in file.execute("SELECT event_id FROM outgoing_mail")]

    def events_of(self, *types: str) -> list[EventRow]:
        """Return the events of these types."""
        return [event for event in self.events if event.type in types]


async def audit(
    system: fait.System, file: FileContents, orders: Sequence[PlannedOrder], deliveries: Mapping[str, int]
) -> list[Check]:
    """Run all checks. No append may be in progress, and every subscription must have caught up."""
    order_rows = [row async for row in all_rows(system, OrderSummary)]
    customer_rows = [row async for row in all_rows(system, CustomerSummary)]
    stock = await stock_of(system, *deliveries)
    positions = [envelope.position async for envelope in system.events()]
    return [
        _check_totals(file, orders, order_rows),
        _check_statuses(file, order_rows),
        _check_customers(orders, customer_rows),
        _check_emails(file),
        _check_stock(file, deliveries, stock),
        _check_versions(file),
        _check_positions(file, positions),
    ]


async def all_rows(system: fait.System, model: type[M]) -> AsyncIterator[M]:
    """Iterate over all rows of a read model, page by page."""
    page = await system.find(model)
    while True:
        for row in page:
            yield row
        if page.cursor is None:
            return
        page = await system.find(model, cursor=page.cursor)


def _check_totals(file: FileContents, orders: Sequence[PlannedOrder], rows: Sequence[OrderSummary]) -> Check:
    in_table = sum((row.total for row in rows), Decimal(0))
    in_log = sum((Decimal(event.data["total"]) for event in file.events_of("shop.order-placed")), Decimal(0))
    planned = sum((order.total for order in orders), Decimal(0))
    return Check(
        "total of all orders: read model = log = planned orders",
        f"{in_table:,} = {in_log:,} = {planned:,}",
        in_table == in_log == planned,
    )


def _check_statuses(file: FileContents, rows: Sequence[OrderSummary]) -> Check:
    last_types = {event.stream: event.type for event in file.events if event.stream.startswith("order-")}
    in_log = {stream.removeprefix("order-"): type.removeprefix("shop.order-") for stream, type in last_types.items()}
    in_table = {row.order_id: row.status for row in rows}
    return Check(
        "status of every order: read model = last event in the log",
        _format_counts(in_table.values()),
        in_table == in_log,
    )


def _check_customers(orders: Sequence[PlannedOrder], rows: Sequence[CustomerSummary]) -> Check:
    planned, pieces = Counter[str](), Counter[str]()
    for order in orders:
        planned[order.customer_id] += 1
        pieces[order.customer_id] += sum(item.quantity for item in order.items)
    return Check(
        "orders and pieces of every customer: read model = planned orders",
        f"{len(rows)} customers, {sum(row.orders for row in rows)} orders, {sum(row.pieces for row in rows)} pieces",
        {row.customer_id: (row.orders, row.pieces) for row in rows}
        == {customer: (planned[customer], pieces[customer]) for customer in planned},
    )


def _check_emails(file: FileContents) -> Check:
    expected = Counter(event.id for event in file.events_of("shop.order-placed", "shop.order-shipped"))
    written = Counter(file.emails)
    return Check(
        "e-mails: exactly one for every placed and every shipped order",
        f"{written.total()} e-mails, {len(written)} of them distinct, {len(expected)} expected",
        written == expected,
    )


def _check_stock(file: FileContents, deliveries: Mapping[str, int], stock: Stock) -> Check:
    """Check that delivered = on hand + reserved, and that exactly the orders that are not canceled hold stock."""
    canceled = {event.stream for event in file.events_of("shop.order-canceled")}
    ordered = Counter[str]()
    for event in file.events_of("shop.order-placed"):
        if event.stream not in canceled:
            ordered.update({item["sku"]: item["quantity"] for item in event.data["items"]})
    reserved, on_hand = Counter[str](), stock.on_hand
    for quantities in stock.reserved.values():
        reserved.update(quantities)
    return Check(
        "stock of every product: delivered = on hand + reserved for open orders",
        f"{sum(deliveries.values()):,} = {on_hand.total():,} + {reserved.total():,}",
        all(deliveries[sku] == on_hand[sku] + reserved[sku] and reserved[sku] == ordered[sku] for sku in deliveries),
    )


def _check_versions(file: FileContents) -> Check:
    versions_by_stream: dict[str, list[int]] = {}
    for event in file.events:
        versions_by_stream.setdefault(event.stream, []).append(event.version)
    longest = max(map(len, versions_by_stream.values()), default=0)
    return Check(
        "versions of every stream: 1, 2, 3, … in the order of the log",
        f"{len(versions_by_stream):,} streams, {longest} events in the longest",
        all(versions == list(range(1, len(versions) + 1)) for versions in versions_by_stream.values()),
    )


def _check_positions(file: FileContents, positions: Sequence[int]) -> Check:
    increasing = all(earlier < later for earlier, later in pairwise(positions))
    return Check(
        "positions: increasing, and a reader receives every event in the file",
        f"{len(positions):,} events read, {len(file.events):,} in the file",
        increasing and positions == [event.position for event in file.events],
    )


def _format_counts(values: Iterable[str]) -> str:
    return ", ".join(f"{count} {value}" for value, count in Counter(values).most_common())
