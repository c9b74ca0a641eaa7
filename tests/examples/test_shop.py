"""The shop does what it says, and its demo is right about its sums."""

import asyncio
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
from examples.shop import inventory, orders, summaries
from examples.shop.app import shop
from examples.shop.audit import Books, Fact, audit
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
    received,
    release,
    reserve,
    stock_of,
)
from examples.shop.orders import (
    Item,
    Order,
    OrderCancelled,
    OrderPaid,
    OrderPlaced,
    OrderShipped,
    total,
    with_currency,
)
from examples.shop.summaries import CustomerSummary, OrderSummary
from examples.shop.traffic import SCARCE, TEAS, Wish, deliveries, wishes
from fait._clock import freeze
from fait._decisions.aggregate import pending_events
from fait._events.append import StreamWrite
from fait._events.envelope import EncodedEvent
from fait._events.version import expected_number
from fait._store.open import BACKENDS

ROOT = Path(__file__).parents[2]
FAIT = Path(sys.executable).with_name("fait")

NOON = datetime(2024, 1, 15, 12, tzinfo=UTC)
ITEMS = [Item("sencha", 2, Decimal("15.60")), Item("matcha", 1, Decimal("29.50"))]
PLACED = OrderPlaced("c-1", ITEMS, Decimal("60.70"), NOON, "USD")
PAID = OrderPaid(Decimal("60.70"))
SHIPPED = OrderShipped("T-1")
CANCELLED = OrderCancelled("too late")


def decided(aggregate: fait.Aggregate, command: Callable[..., None], *arguments: Any) -> list[Any]:
    """The events that a command emits in a state."""
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
        ([PLACED], (Order.cancel, "too late"), [CANCELLED]),
        ([PLACED, PAID], (Order.cancel, "too late"), [CANCELLED]),
        ([PLACED, CANCELLED], (Order.cancel, "again"), []),
    ],
)
def test_an_order_decides(given: list[Any], when: tuple[Any, ...], then: list[Any]) -> None:
    assert decided(fait.fold(Order, given), *when) == then


@pytest.mark.parametrize(
    ("given", "when", "reason"),
    [
        ([], (Order.place, "c-1", []), "at least one item"),
        ([PLACED], (Order.place, "c-1", ITEMS), "placed before"),
        ([], (Order.pay, Decimal("60.70")), "is new"),
        ([PLACED], (Order.pay, Decimal("60.69")), "costs 60.70, not 60.69"),
        ([PLACED, PAID], (Order.pay, Decimal("60.70")), "is paid"),
        ([PLACED, CANCELLED], (Order.pay, Decimal("60.70")), "is cancelled"),
        ([PLACED], (Order.ship, "T-1"), "only a paid one"),
        ([], (Order.cancel, "why not"), "is new"),
        ([PLACED, PAID, SHIPPED], (Order.cancel, "too late"), "is shipped"),
    ],
)
def test_an_order_says_no(given: list[Any], when: tuple[Any, ...], reason: str) -> None:
    with pytest.raises(fait.Rejected, match=reason):
        decided(fait.fold(Order, given), *when)


def test_a_total_is_exact() -> None:
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
def test_stock_decides(given: list[Any], boundary: Any, command: Any, then: list[Any]) -> None:
    facts = boundary.decide(command, stock(*given))

    assert [event for each in facts for event in each.events] == then


def test_facts_about_stock_belong_to_the_order_and_its_products() -> None:
    [facts] = reserve.decide(Reserve("o-1", BOTH), stock(SENCHA, MATCHA))

    assert (facts.stream, facts.tags) == ("reservation-o-1", ["order:o-1", "product:sencha", "product:matcha"])


def test_stock_is_not_reserved_twice_over() -> None:
    with pytest.raises(fait.Rejected, match="sencha is sold out: 4 wanted, 3 on hand"):
        reserve.decide(Reserve("o-2", {"matcha": 1, "sencha": 4}), stock(SENCHA, MATCHA, RESERVED))


def test_a_cancellation_that_overtakes_its_reservation_is_remembered() -> None:
    assert reserve.decide(Reserve("o-1", BOTH), stock(SENCHA, MATCHA, StockReleased("o-1", {}))) == []


def test_released_pieces_are_on_hand_again() -> None:
    after = stock(SENCHA, MATCHA, RESERVED, RELEASED)

    assert (after.on_hand, after.reserved) == ({"sencha": 5, "matcha": 2}, {})


def without_mail() -> fait.App:
    """The shop on any store: mail needs SQL."""
    app = fait.App("shop")
    app.include(orders, inventory, summaries)
    app.on(OrderPlaced)(reserve_stock)
    app.on(OrderCancelled)(release_stock)
    return app


@pytest.fixture(params=sorted(BACKENDS))
def url(request: pytest.FixtureRequest, store_url: Callable[[str], str]) -> str:
    return store_url(request.param)


@asynccontextmanager
async def opened(app: fait.App, url: str, **pieces: int) -> AsyncIterator[fait.System]:
    async with app.open(url) as system:
        await system.append(*(received(sku, quantity) for sku, quantity in pieces.items()))
        yield system


async def settled(system: fait.System) -> None:
    """Handlers append too: wait until nothing has come while waiting."""
    head, seen = await system.store.log.head(), -1
    while head > seen:
        await system.wait(fait.WriteResult(None, "", 0, head))
        head, seen = await system.store.log.head(), head


async def test_a_summary_tells_how_an_order_stands(url: str) -> None:
    async with opened(without_mail(), url, sencha=9, matcha=9) as s:
        done = await s.transact(Order.place, "o-1", "c-1", ITEMS)
        row = await s.get(OrderSummary, "o-1", after=done)
        assert row is not None
        assert (row.customer_id, row.status, row.total, row.currency) == ("c-1", "placed", Decimal("60.70"), "USD")

        await s.transact(Order.pay, "o-1", Decimal("60.70"))
        done = await s.transact(Order.ship, "o-1", "T-1")
        row = await s.get(OrderSummary, "o-1", after=done)
        assert row is not None
        assert (row.status, row.tracking_number) == ("shipped", "T-1")


async def test_a_customer_has_one_row(url: str) -> None:
    async with opened(without_mail(), url, sencha=9, matcha=9) as s:
        await s.transact(Order.place, "o-1", "c-1", ITEMS)
        await s.transact(Order.place, "o-2", "c-2", ITEMS[:1])
        done = await s.transact(Order.place, "o-3", "c-1", ITEMS[1:])

        rows = await s.find(CustomerSummary, order_by="-orders", after=done)

        assert [(row.customer_id, row.orders, row.pieces) for row in rows] == [("c-1", 2, 4), ("c-2", 1, 2)]
        assert rows[0].last_order_at == (await s.read("order-o-3"))[0].event.placed_at


async def test_an_order_from_before_currencies_is_in_dollars(url: str) -> None:
    old = (
        '{"customer_id":"c-1","items":[{"sku":"sencha","quantity":1,"price":"15.60"}],'
        '"total":"15.60","placed_at":"2019-05-01T09:00:00Z"}'
    )
    async with opened(without_mail(), url, sencha=9) as s:
        event = EncodedEvent("shop.order-placed", 1, fait.new_id(), old)
        await s.store.log.append([StreamWrite("order-o-1", (event,), expected_number("no_stream"))])
        await settled(s)

        recorded = (await s.read("order-o-1"))[0]
        assert recorded.event == OrderPlaced(
            "c-1",
            [Item("sencha", 1, Decimal("15.60"))],
            Decimal("15.60"),
            datetime(2019, 5, 1, 9, tzinfo=UTC),
            "USD",
        )
        row = await s.get(OrderSummary, "o-1")
        assert row is not None
        assert row.currency == "USD"
        assert (await stock_of(s, "sencha")).reserved == {"o-1": {"sencha": 1}}


def test_the_upcaster_leaves_the_rest_alone() -> None:
    data = {"customer_id": "c-1", "items": []}

    assert with_currency(data) == {"customer_id": "c-1", "items": [], "currency": "USD"}


async def test_an_order_reserves_its_items(url: str) -> None:
    async with opened(without_mail(), url, sencha=9, matcha=9) as s:
        await s.transact(Order.place, "o-1", "c-1", ITEMS)
        await settled(s)

        left = await stock_of(s, "sencha", "matcha")
        assert (left.on_hand, left.reserved) == ({"sencha": 7, "matcha": 8}, {"o-1": BOTH})


async def test_a_product_that_is_in_an_order_twice_is_reserved_twice(url: str) -> None:
    async with opened(without_mail(), url, sencha=9) as s:
        await s.transact(Order.place, "o-1", "c-1", ITEMS[:1] * 2)
        await settled(s)

        assert (await stock_of(s, "sencha")).on_hand == {"sencha": 5}


async def test_no_piece_is_promised_twice_however_many_ask_at_once(url: str) -> None:
    async with opened(without_mail(), url, sencha=10, matcha=7) as s:
        asked = [s.decide(reserve, Reserve(f"o-{n}", BOTH)) for n in range(20)]
        outcomes = await asyncio.gather(*asked, return_exceptions=True)

        assert sorted(type(each).__name__ for each in outcomes) == ["Rejected"] * 15 + ["WriteResult"] * 5
        assert (await stock_of(s, "sencha", "matcha")).on_hand == {"sencha": 0, "matcha": 2}


async def test_a_cancelled_order_gives_its_items_back(url: str) -> None:
    async with opened(without_mail(), url, sencha=9, matcha=9) as s:
        await s.transact(Order.place, "o-1", "c-1", ITEMS)
        await s.transact(Order.cancel, "o-1", "changed my mind")
        await settled(s)

        assert (await stock_of(s, "sencha", "matcha")).on_hand == {"sencha": 9, "matcha": 9}


async def test_an_order_that_cannot_be_served_is_cancelled_and_holds_nothing(url: str) -> None:
    async with opened(without_mail(), url, sencha=9) as s:
        await s.transact(Order.place, "o-1", "c-1", ITEMS)
        await settled(s)

        last = (await s.read("order-o-1"))[-1]
        assert last.event == OrderCancelled("matcha is sold out: 1 wanted, 0 on hand")
        assert last.metadata.causation_id == (await s.read("order-o-1"))[0].id
        assert (await stock_of(s, "sencha")).reserved == {}


def mails(path: Path) -> list[tuple[str, str]]:
    with closing(sqlite3.connect(path)) as file:
        return file.execute("SELECT recipient, subject FROM outgoing_mail ORDER BY rowid").fetchall()


async def test_an_order_placed_and_an_order_shipped_are_mailed(tmp_path: Path) -> None:
    async with opened(shop, f"sqlite:///{tmp_path}/shop.db", sencha=9, matcha=9) as s:
        await s.transact(Order.place, "o-1", "c-1", ITEMS)
        await s.transact(Order.pay, "o-1", Decimal("60.70"))
        await s.transact(Order.ship, "o-1", "T-1")
        await settled(s)

    assert mails(tmp_path / "shop.db") == [
        ("c-1@example.com", "Thank you: your order over 60.70 USD"),
        ("c-1@example.com", "On its way to you: T-1"),
    ]


async def test_a_mail_that_fails_is_written_later_and_once(tmp_path: Path) -> None:
    async with opened(shop, f"sqlite:///{tmp_path}/shop.db", sencha=9, matcha=9) as s:
        address_book.fail(times=2)
        await s.transact(Order.place, "o-1", "c-1", ITEMS)
        await settled(s)

    assert len(mails(tmp_path / "shop.db")) == 1


def test_the_same_seed_gives_the_same_orders() -> None:
    assert wishes(20, 7) == wishes(20, 7) != wishes(20, 8)


def test_only_the_scarce_tea_runs_out() -> None:
    planned = wishes(200, 7)
    wanted = {sku: sum(i.quantity for w in planned for i in w.items if i.sku == sku) for sku in TEAS}

    short = [sku for sku, quantity in deliveries(planned).items() if quantity < wanted[sku]]

    assert short == [SCARCE]


@pytest.mark.parametrize(("orders", "seed"), [(1, 1), (1, 7), (50, 7)])
async def test_the_demo_is_right_about_its_sums(
    orders: int, seed: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await main(tmp_path / "demo.db", orders=orders, seed=seed)

    shown = capsys.readouterr().out
    assert shown.count("PASS") == 7
    assert "FAIL" not in shown
    assert "attempt=2" in shown
    assert "repeated: True" in shown


def test_the_commands_that_the_demo_recommends_work(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asyncio.run(main(tmp_path / "a shop.db", orders=1))
    commands = [line.split() for line in capsys.readouterr().out.splitlines() if line.startswith("  fait ")]
    assert {command[1] for command in commands} == {"doctor", "state", "stream", "streams", "tail"}

    for _, *arguments in commands:
        if "tail" not in arguments:  # it would go on for ever
            done = subprocess.run([FAIT, *arguments], check=False, cwd=ROOT, capture_output=True, text=True)
            assert done.returncode == 0, done.stderr


async def test_the_demo_spares_a_file_that_is_there(tmp_path: Path) -> None:
    (tmp_path / "demo.db").touch()

    with pytest.raises(fait.UsageError, match="needs a new file"):
        await main(tmp_path / "demo.db")


async def test_the_audit_notices_what_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "shop.db"
    planned = [Wish("o-1", "c-1", ITEMS, "placed"), Wish("o-2", "c-2", ITEMS[:1], "placed")]
    async with opened(shop, f"sqlite:///{path}", sencha=9, matcha=4) as s:
        await s.append(received("matcha", 5))
        for wish in planned:
            await s.transact(Order.place, wish.order_id, wish.customer_id, wish.items)
        await settled(s)
        right = Books(path)
        assert await wrong(s, right, planned) == []
        assert await wrong(s, right, planned[:1]) == ["totals", "orders and pieces"]

        books = Books(path)
        books.mails.append(books.mails[0])
        assert await wrong(s, books, planned) == ["one mail"]

        placed = right.of("shop.order-placed")[-1]
        assert await wrong(s, without(path, placed), planned) == [
            "totals",
            "the status",
            "one mail",
            "every product",
            "positions",
        ]
        first = next(fact for fact in right.facts if fact.stream == "stock-matcha")
        assert await wrong(s, without(path, first), planned) == ["versions", "positions"]


def without(path: Path, fact: Fact) -> Books:
    """The books, had an event been lost."""
    books = Books(path)
    books.facts.remove(fact)
    return books


async def wrong(system: fait.System, books: Books, planned: list[Wish]) -> list[str]:
    """The first words of the claims that do not hold."""
    checks = await audit(system, books, planned, {"sencha": 9, "matcha": 9})
    known = ("totals", "the status", "orders and pieces", "one mail", "every product", "versions", "positions")
    return [next(name for name in known if check.claim.startswith(name)) for check in checks if not check.holds]
