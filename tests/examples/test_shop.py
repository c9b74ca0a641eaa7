"""The shop's decisions, read models and handlers, and the checks of its demo."""

import asyncio
import re
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from datetime import UTC, datetime
from decimal import Decimal
from functools import reduce
from pathlib import Path
from typing import Any

import pytest

import fait
from examples.shop import earlier_events, inventory, orders, summaries
from examples.shop.app import shop
from examples.shop.audit import EventRow, FileContents, audit
from examples.shop.demo import main
from examples.shop.handlers import address_book, release_stock, reserve_stock
from examples.shop.inventory import (
    Release,
    Reserve,
    Stock,
    StockReceived,
    StockReleased,
    StockReserved,
    evolve,
    release,
    reserve,
    stock_of,
    stock_received,
)
from examples.shop.orders import Item, Order, OrderCanceled, OrderPaid, OrderPlaced, OrderShipped, total
from examples.shop.summaries import CustomerSummary, OrderSummary
from examples.shop.traffic import SCARCE, TEAS, PlannedOrder, plan_deliveries, plan_orders
from fait._clock import freeze
from fait._decisions.aggregate import pending_events
from fait._events.append import StreamWrite
from fait._events.envelope import EncodedEvent
from fait._events.version import expected_number
from fait._store.open import backend_names
from fait.testing.event_check import check_events

ROOT = Path(__file__).parents[2]
FAIT = Path(sys.executable).with_name("fait")

NOON = datetime(2024, 1, 15, 12, tzinfo=UTC)
ITEMS = [Item("sencha", 2, Decimal("15.60")), Item("matcha", 1, Decimal("29.50"))]
PLACED = OrderPlaced("c-1", ITEMS, Decimal("60.70"), NOON, "USD")
PAID = OrderPaid(Decimal("60.70"))
SHIPPED = OrderShipped("T-1")
CANCELED = OrderCanceled("too late")


def decide(aggregate: fait.Aggregate, command: Callable[..., None], *arguments: Any) -> list[Any]:
    """Return the events that a command emits in a state."""
    with freeze(NOON):
        command(aggregate, *arguments)
    return [each.event for each in pending_events(aggregate)]


@pytest.mark.parametrize(
    ("given", "when", "then"),
    [
        ([], (Order.place, "c-1", ITEMS), [PLACED]),
        ([], (Order.place, "c-1", ITEMS, "EUR"), [fait.replace(PLACED, currency="EUR")]),
        ([PLACED], (Order.pay, Decimal("60.70")), [PAID]),
        ([PLACED, PAID], (Order.ship, "T-1"), [SHIPPED]),
        ([PLACED], (Order.cancel, "too late"), [CANCELED]),
        ([PLACED, PAID], (Order.cancel, "too late"), [CANCELED]),
        ([PLACED, CANCELED], (Order.cancel, "again"), []),
    ],
)
def test_order_command_in_valid_state_emits_events(given: list[Any], when: tuple[Any, ...], then: list[Any]) -> None:
    assert decide(fait.fold(Order, given), *when) == then


@pytest.mark.parametrize(
    ("given", "when", "reason"),
    [
        ([], (Order.place, "c-1", []), "at least one item"),
        ([PLACED], (Order.place, "c-1", ITEMS), "already been placed"),
        ([], (Order.pay, Decimal("60.70")), "it is new"),
        ([PLACED], (Order.pay, Decimal("60.69")), "must be 60.70, not 60.69"),
        ([PLACED, PAID], (Order.pay, Decimal("60.70")), "it is paid"),
        ([PLACED, CANCELED], (Order.pay, Decimal("60.70")), "it is canceled"),
        ([PLACED], (Order.ship, "T-1"), "it is placed, not paid"),
        ([], (Order.cancel, "why not"), "it is new"),
        ([PLACED, PAID, SHIPPED], (Order.cancel, "too late"), "it is shipped"),
    ],
)
def test_order_command_in_invalid_state_is_rejected(given: list[Any], when: tuple[Any, ...], reason: str) -> None:
    with pytest.raises(fait.Rejected, match=reason):
        decide(fait.fold(Order, given), *when)


def test_order_total_is_exact() -> None:
    assert total([Item("a", 3, Decimal("0.10"))]) == Decimal("0.30")


SENCHA, MATCHA = StockReceived("sencha", 5), StockReceived("matcha", 2)
BOTH = {"sencha": 2, "matcha": 1}
RESERVED, RELEASED = StockReserved("o-1", BOTH), StockReleased("o-1", BOTH)


def stock(*given: Any) -> Stock:
    return reduce(evolve, given, Stock())


@pytest.mark.parametrize(
    ("given", "boundary", "command", "then"),
    [
        ([SENCHA, MATCHA], reserve, Reserve("o-1", BOTH), [RESERVED]),
        ([SENCHA, MATCHA, RESERVED], reserve, Reserve("o-1", BOTH), []),
        ([SENCHA, MATCHA, RESERVED], reserve, Reserve("o-2", BOTH), [StockReserved("o-2", BOTH)]),
        ([SENCHA, MATCHA, RESERVED, RELEASED], reserve, Reserve("o-1", BOTH), []),
        ([RESERVED], release, Release("o-1"), [RELEASED]),
        ([RESERVED, RELEASED], release, Release("o-1"), []),
        ([], release, Release("o-1"), [StockReleased("o-1", {})]),
    ],
)
def test_stock_command_emits_events(given: list[Any], boundary: Any, command: Any, then: list[Any]) -> None:
    decided = boundary.decide(command, stock(*given))

    assert [event for new_events in decided for event in new_events.events] == then


def test_reservation_is_tagged_with_order_and_products() -> None:
    [new_events] = reserve.decide(Reserve("o-1", BOTH), stock(SENCHA, MATCHA))

    assert (new_events.stream, new_events.tags) == (
        "reservation-o-1",
        ["order:o-1", "product:sencha", "product:matcha"],
    )


def test_reservation_above_stock_is_rejected() -> None:
    with pytest.raises(fait.Rejected, match="sencha is sold out: 4 ordered, 3 on hand"):
        reserve.decide(Reserve("o-2", {"matcha": 1, "sencha": 4}), stock(SENCHA, MATCHA, RESERVED))


def test_cancellation_before_reservation_reserves_nothing() -> None:
    assert reserve.decide(Reserve("o-1", BOTH), stock(SENCHA, MATCHA, StockReleased("o-1", {}))) == []


def test_released_pieces_are_on_hand() -> None:
    after = stock(SENCHA, MATCHA, RESERVED, RELEASED)

    assert (after.on_hand, after.reserved) == ({"sencha": 5, "matcha": 2}, {})


def without_email() -> fait.App:
    """Return the shop without its e-mail handler, which needs SQL: it runs on every backend."""
    app = fait.App("shop")
    app.include(orders, earlier_events, inventory, summaries)
    app.on(OrderPlaced)(reserve_stock)
    app.on(OrderCanceled)(release_stock)
    return app


@pytest.fixture(params=sorted(backend_names()))
def url(request: pytest.FixtureRequest, store_url: Callable[[str], str]) -> str:
    return store_url(request.param)


@asynccontextmanager
async def opened(app: fait.App, url: str, **deliveries: int) -> AsyncIterator[fait.System]:
    async with app.open(url) as system:
        await system.append(*(stock_received(sku, quantity) for sku, quantity in deliveries.items()))
        yield system


async def wait_for_subscriptions(system: fait.System) -> None:
    """Wait until every subscription has processed the whole log, including events appended by handlers."""
    head, processed = await system.store.log.head(), -1
    while head > processed:
        await system.wait(fait.WriteResult(None, "", 0, head))
        head, processed = await system.store.log.head(), head


async def test_order_summary_shows_status(url: str) -> None:
    async with opened(without_email(), url, sencha=9, matcha=9) as s:
        result = await s.transact(Order.place, "o-1", "c-1", ITEMS)
        row = await s.get(OrderSummary, "o-1", after=result)
        assert row is not None
        assert (row.customer_id, row.status, row.total, row.currency) == ("c-1", "placed", Decimal("60.70"), "USD")

        await s.transact(Order.pay, "o-1", Decimal("60.70"))
        result = await s.transact(Order.ship, "o-1", "T-1")
        row = await s.get(OrderSummary, "o-1", after=result)
        assert row is not None
        assert (row.status, row.tracking_number) == ("shipped", "T-1")


async def test_customer_summary_counts_orders_of_customer(url: str) -> None:
    async with opened(without_email(), url, sencha=9, matcha=9) as s:
        await s.transact(Order.place, "o-1", "c-1", ITEMS)
        await s.transact(Order.place, "o-2", "c-2", ITEMS[:1])
        result = await s.transact(Order.place, "o-3", "c-1", ITEMS[1:])

        rows = await s.find(CustomerSummary, order_by="-orders", after=result)

        assert [(row.customer_id, row.orders, row.pieces) for row in rows] == [("c-1", 2, 4), ("c-2", 1, 2)]
        assert rows[0].last_order_at == (await s.read("order-o-3"))[0].event.placed_at


EARLIER_ORDER = (
    '"items":[{"sku":"sencha","quantity":1,"price":"15.60"}],"total":"15.60","placed_at":"2019-05-01T09:00:00Z"'
)


async def append_stored(system: fait.System, stream: str, *events: tuple[str, int, str]) -> None:
    """Append events to a new stream as an earlier version of the shop stored them."""
    encoded = tuple(EncodedEvent(type, version, fait.new_id(), data) for type, version, data in events)
    await system.store.log.append([StreamWrite(stream, encoded, expected_number("no_stream"))])
    await wait_for_subscriptions(system)


@pytest.mark.parametrize(
    ("version", "fields", "currency"), [(1, '"customer":"c-1"', "USD"), (2, '"customer":"c-1","currency":"EUR"', "EUR")]
)
async def test_order_of_earlier_schema_version_is_read(url: str, version: int, fields: str, currency: str) -> None:
    async with opened(without_email(), url, sencha=9) as s:
        await append_stored(s, "order-o-1", ("shop.order-placed", version, f"{{{fields},{EARLIER_ORDER}}}"))

        recorded = (await s.read("order-o-1"))[0]
        item = Item("sencha", 1, Decimal("15.60"))
        assert recorded.event == OrderPlaced(
            "c-1", [item], Decimal("15.60"), datetime(2019, 5, 1, 9, tzinfo=UTC), currency
        )
        row = await s.get(OrderSummary, "o-1")
        assert row is not None
        assert (row.customer_id, row.currency) == ("c-1", currency)
        assert (await stock_of(s, "sencha")).reserved == {"o-1": {"sencha": 1}}


async def test_completed_order_of_earlier_shop_was_paid_and_shipped(url: str) -> None:
    placed = ("shop.order-placed", 1, f'{{"customer":"c-1",{EARLIER_ORDER}}}')
    completed = ("shop.order-completed", 1, '{"amount":"15.60","tracking_number":"T-1"}')
    async with opened(without_email(), url, sencha=9) as s:
        await append_stored(s, "order-o-1", placed, completed)

        events = [each.event for each in await s.read("order-o-1")]
        assert events[1:] == [OrderPaid(Decimal("15.60")), OrderShipped("T-1")]
        row = await s.get(OrderSummary, "o-1")
        assert row is not None
        assert (row.status, row.tracking_number) == ("shipped", "T-1")
        with pytest.raises(fait.Rejected, match="cannot be canceled: it is shipped"):
            await s.transact(Order.cancel, "o-1", "too late")


async def test_canceled_order_is_read_under_its_former_name(url: str) -> None:
    placed = ("shop.order-placed", 1, f'{{"customer":"c-1",{EARLIER_ORDER}}}')
    async with opened(without_email(), url, sencha=9) as s:
        await append_stored(s, "order-o-1", placed, ("shop.order-cancelled", 1, '{"reason":"too late"}'))
        await wait_for_subscriptions(s)

        assert (await s.read("order-o-1"))[1].event == OrderCanceled("too late")
        assert (await stock_of(s, "sencha")).on_hand == {"sencha": 9}


def test_published_events_are_locked_and_readable() -> None:
    check_events(shop, ROOT / "examples" / "shop" / "events", drafts_allowed=False)


async def test_placed_order_reserves_items(url: str) -> None:
    async with opened(without_email(), url, sencha=9, matcha=9) as s:
        await s.transact(Order.place, "o-1", "c-1", ITEMS)
        await wait_for_subscriptions(s)

        remaining = await stock_of(s, "sencha", "matcha")
        assert (remaining.on_hand, remaining.reserved) == ({"sencha": 7, "matcha": 8}, {"o-1": BOTH})


async def test_order_with_one_product_in_two_items_reserves_both(url: str) -> None:
    async with opened(without_email(), url, sencha=9) as s:
        await s.transact(Order.place, "o-1", "c-1", ITEMS[:1] * 2)
        await wait_for_subscriptions(s)

        assert (await stock_of(s, "sencha")).on_hand == {"sencha": 5}


async def test_concurrent_reservations_do_not_exceed_stock(url: str) -> None:
    async with opened(without_email(), url, sencha=10, matcha=7) as s:
        decisions = [s.decide(reserve, Reserve(f"o-{n}", BOTH)) for n in range(20)]
        outcomes = await asyncio.gather(*decisions, return_exceptions=True)

        assert sorted(type(each).__name__ for each in outcomes) == ["Rejected"] * 15 + ["WriteResult"] * 5
        assert (await stock_of(s, "sencha", "matcha")).on_hand == {"sencha": 0, "matcha": 2}


async def test_canceled_order_releases_items(url: str) -> None:
    async with opened(without_email(), url, sencha=9, matcha=9) as s:
        await s.transact(Order.place, "o-1", "c-1", ITEMS)
        await s.transact(Order.cancel, "o-1", "changed my mind")
        await wait_for_subscriptions(s)

        assert (await stock_of(s, "sencha", "matcha")).on_hand == {"sencha": 9, "matcha": 9}


async def test_order_above_stock_is_canceled_and_reserves_nothing(url: str) -> None:
    async with opened(without_email(), url, sencha=9) as s:
        await s.transact(Order.place, "o-1", "c-1", ITEMS)
        await wait_for_subscriptions(s)

        last = (await s.read("order-o-1"))[-1]
        assert last.event == OrderCanceled("matcha is sold out: 1 ordered, 0 on hand")
        assert last.metadata.causation_id == (await s.read("order-o-1"))[0].id
        assert (await stock_of(s, "sencha")).reserved == {}


def emails(path: Path) -> list[tuple[str, str]]:
    with closing(sqlite3.connect(path)) as file:
        return file.execute("SELECT recipient, subject FROM outgoing_mail ORDER BY rowid").fetchall()


async def test_placed_and_shipped_orders_are_mailed(tmp_path: Path) -> None:
    async with opened(shop, f"sqlite:///{tmp_path}/shop.db", sencha=9, matcha=9) as s:
        await s.transact(Order.place, "o-1", "c-1", ITEMS)
        await s.transact(Order.pay, "o-1", Decimal("60.70"))
        await s.transact(Order.ship, "o-1", "T-1")
        await wait_for_subscriptions(s)

    assert emails(tmp_path / "shop.db") == [
        ("c-1@example.com", "Thank you: your order over 60.70 USD"),
        ("c-1@example.com", "On its way to you: T-1"),
    ]


async def test_failed_email_is_retried_and_written_once(tmp_path: Path) -> None:
    async with opened(shop, f"sqlite:///{tmp_path}/shop.db", sencha=9, matcha=9) as s:
        address_book.fail(times=2)
        await s.transact(Order.place, "o-1", "c-1", ITEMS)
        await wait_for_subscriptions(s)

    assert len(emails(tmp_path / "shop.db")) == 1


def test_same_seed_gives_same_orders() -> None:
    assert plan_orders(20, 7) == plan_orders(20, 7) != plan_orders(20, 8)


def test_only_scarce_tea_is_sold_out() -> None:
    orders = plan_orders(200, 7)
    ordered = {sku: sum(i.quantity for order in orders for i in order.items if i.sku == sku) for sku in TEAS}

    sold_out = [sku for sku, quantity in plan_deliveries(orders).items() if quantity < ordered[sku]]

    assert sold_out == [SCARCE]


@pytest.mark.parametrize(("orders", "seed"), [(1, 1), (1, 7), (50, 7)])
async def test_demo_passes_all_checks(
    orders: int, seed: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await main(tmp_path / "demo.db", orders=orders, seed=seed)

    output = capsys.readouterr().out
    assert output.count("PASS") == 7
    assert "FAIL" not in output
    assert re.search("attempt.2", output)  # the log line of the second failure
    assert "repeated: True" in output


def test_commands_shown_by_demo_succeed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asyncio.run(main(tmp_path / "a shop.db", orders=1))
    commands = [line.split() for line in capsys.readouterr().out.splitlines() if line.startswith("  fait ")]
    assert {command[1] for command in commands} == {"doctor", "state", "stream", "streams", "tail"}

    for _, *arguments in commands:
        if "tail" not in arguments:  # it runs until it is interrupted
            completed = subprocess.run([FAIT, *arguments], check=False, cwd=ROOT, capture_output=True, text=True)
            assert completed.returncode == 0, completed.stderr


async def test_demo_on_existing_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "demo.db").touch()

    with pytest.raises(fait.UsageError, match="needs a new file"):
        await main(tmp_path / "demo.db")


async def test_audit_of_wrong_data_fails_checks(tmp_path: Path) -> None:
    path = tmp_path / "shop.db"
    orders = [PlannedOrder("o-1", "c-1", ITEMS, "placed"), PlannedOrder("o-2", "c-2", ITEMS[:1], "placed")]
    async with opened(shop, f"sqlite:///{path}", sencha=9, matcha=4) as s:
        await s.append(stock_received("matcha", 5))
        for order in orders:
            await s.transact(Order.place, order.order_id, order.customer_id, order.items)
        await wait_for_subscriptions(s)
        intact = FileContents(path)
        assert await failed_checks(s, intact, orders) == []
        assert await failed_checks(s, intact, orders[:1]) == ["total", "orders and pieces"]

        file = FileContents(path)
        file.emails.append(file.emails[0])
        assert await failed_checks(s, file, orders) == ["e-mails"]

        placed = intact.events_of("shop.order-placed")[-1]
        assert await failed_checks(s, without(path, placed), orders) == [
            "total",
            "status",
            "e-mails",
            "stock",
            "positions",
        ]
        first = next(event for event in intact.events if event.stream == "stock-matcha")
        assert await failed_checks(s, without(path, first), orders) == ["versions", "positions"]


def without(path: Path, event: EventRow) -> FileContents:
    """Return the file's contents as if an event had been lost."""
    file = FileContents(path)
    file.events.remove(event)
    return file


async def failed_checks(system: fait.System, file: FileContents, orders: list[PlannedOrder]) -> list[str]:
    """Return the first words of the checks that fail."""
    checks = await audit(system, file, orders, {"sencha": 9, "matcha": 9})
    names = ("total", "status", "orders and pieces", "e-mails", "stock", "versions", "positions")
    return [next(name for name in names if check.claim.startswith(name)) for check in checks if not check.passed]
