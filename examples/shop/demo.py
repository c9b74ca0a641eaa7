"""The demo: runs the shop on a new SQLite file, shows each step, and checks the data at the end."""

import asyncio
import logging
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

import fait

from .app import shop
from .audit import FileContents, audit
from .handlers import address_book
from .inventory import stock_received
from .orders import Item, Order
from .summaries import CustomerSummary, OrderSummary
from .traffic import TEAS, PlannedOrder, plan_deliveries, plan_orders

T = TypeVar("T")
R = TypeVar("R")

MAX_CONCURRENT_CALLERS = 64
"""Maximum number of concurrent callers."""

PROGRESS_INTERVAL_S = 0.2
"""Interval between updates of the progress bars."""


async def main(path: Path, *, orders: int = 2000, seed: int = 7) -> bool:
    """Run the demo.

    Args:
        path: Path of the SQLite file; it must not exist.
        orders: Number of orders to generate, at least 1.
        seed: Seed of the generator; the same seed gives the same orders.

    Returns:
        Whether all checks passed.
    """
    path = await asyncio.to_thread(_require_new, path)
    url = f"sqlite:///{quote(str(path))}"
    async with shop.open(url) as system:
        return await Demo(system, url, path, plan_orders(orders, seed)).run()


def _require_new(path: Path) -> Path:
    if path.exists():
        raise fait.UsageError(f"{path} exists. The demo needs a new file; nothing was written.")
    return path.resolve()


class Demo:
    """The steps of the demo, in order, on one file."""

    def __init__(self, system: fait.System, url: str, path: Path, orders: list[PlannedOrder]) -> None:
        self.system = system
        self.url = url
        self.path = path
        self.orders = orders
        self.deliveries = plan_deliveries(orders)
        self.console = Console(highlight=False)

    async def run(self) -> bool:
        """Run all steps; return whether all checks passed."""
        await self.place_orders()
        await self.fulfill_orders()
        await self.show_log()
        await self.show_read_model()
        await self.show_past()
        await self.show_conflict()
        await self.show_retries()
        await self.show_idempotency_key()
        passed = await self.run_checks()
        await self.show_commands()
        return passed

    async def place_orders(self) -> None:
        """Step 1: place all orders concurrently."""
        self.title(1, f"Place {len(self.orders):,} orders, {MAX_CONCURRENT_CALLERS} at a time")
        await concurrently(lambda sku: self.system.append(stock_received(sku, self.deliveries[sku])), TEAS)
        start = time.perf_counter()
        await concurrently(self.place, self.orders)
        self.rate(len(self.orders), "orders", start, "each durable when acknowledged")
        await self.wait_for_subscriptions()
        self.say(f"stock reserved and e-mails written for all of them after {time.perf_counter() - start:.1f} s")

    async def fulfill_orders(self) -> None:
        """Step 1, continued: pay, ship and cancel orders."""
        log = self.system.store.log
        start, head = time.perf_counter(), await log.head()
        rejections = [reason for reason in await concurrently(self.fulfill, self.orders) if reason]
        self.rate(await log.head() - head, "events", start, "paid, shipped or canceled")
        await self.wait_for_subscriptions()
        for reason, count in Counter(rejections).most_common():
            self.say(f"{count} commands rejected: {reason}")

    async def place(self, order: PlannedOrder) -> fait.WriteResult[None]:
        with fait.caused_by(actor=order.customer_id):
            return await self.system.transact(Order.place, order.order_id, order.customer_id, order.items)

    async def fulfill(self, order: PlannedOrder) -> str | None:
        """Bring an order to its planned status; return the reason if a command is rejected."""
        try:
            if order.final_status == "canceled":
                await self.system.transact(Order.cancel, order.order_id, "changed my mind")
            if order.final_status in ("paid", "shipped"):
                await self.system.transact(Order.pay, order.order_id, order.total)
            if order.final_status == "shipped":
                await self.system.transact(Order.ship, order.order_id, f"TEA-{order.order_id}")
        except fait.Rejected as rejected:
            return str(rejected)
        return None

    async def show_log(self) -> None:
        """Step 2: the events of one order."""
        order_id = await self.sample_order_id()
        self.title(2, f"The log: all events of order {order_id}")
        table = Table("position", "version", "type", "recorded at", "command")
        for envelope in await self.system.read(f"order-{order_id}"):
            command = envelope.metadata.command
            table.add_row(
                str(envelope.position),
                str(envelope.version),
                envelope.type,
                f"{envelope.recorded_at:%H:%M:%S.%f}",
                command.name if command else "",
            )
        self.console.print(table)

    async def show_read_model(self) -> None:
        """Step 3: a query right after a write."""
        best = (await self.system.find(CustomerSummary, order_by="-orders", limit=1))[0]
        order = self.add_order(best.customer_id, "sencha")
        self.title(3, f"Read your writes: {best.customer_id} places an order and queries the read model")
        result = await self.place(order)
        start = time.perf_counter()
        rows = await self.system.find(
            OrderSummary, customer_id=best.customer_id, order_by="-placed_at", limit=5, after=result
        )
        duration_s = time.perf_counter() - start
        table = Table("order", "status", "total", "placed at", "tracking number")
        for row in rows:
            table.add_row(
                row.order_id,
                row.status,
                f"{row.total} {row.currency}",
                f"{row.placed_at:%H:%M:%S.%f}",
                row.tracking_number,
            )
        self.console.print(table)
        self.say(f"find(…, after=result) took {duration_s * 1000:.1f} ms, at position {result.position}")

    async def show_past(self) -> None:
        """Step 4: past states of one order."""
        order_id = await self.sample_order_id()
        self.title(4, f"Time travel: past states of order {order_id}")
        events = await self.system.read(f"order-{order_id}")
        for time_before in [event.recorded_at - timedelta(microseconds=1) for event in events]:
            order = await self.system.load(Order, order_id, at=time_before)
            self.say(f"at={time_before:%H:%M:%S.%f}  {order.status}")
        for event in events:
            order = await self.system.load(Order, order_id, version=event.version)
            self.say(f"version={event.version}           {order.status}")

    async def show_conflict(self) -> None:
        """Step 5: two concurrent decisions about one order."""
        planned = self.add_order("ada.berg", "earl-grey")
        await self.place(planned)
        self.title(5, f"Optimistic concurrency: order {planned.order_id} is paid and canceled concurrently")
        attempts = Counter[str]()

        class CountingOrder(Order, category="order"):
            """The same aggregate; counts how often each command runs."""

            def pay(self, amount: Decimal) -> None:
                attempts["pay"] += 1
                super().pay(amount)

            def cancel(self, reason: str) -> None:
                attempts["cancel"] += 1
                super().cancel(reason)

        outcomes = await asyncio.gather(
            self.system.transact(CountingOrder.pay, planned.order_id, planned.total),
            self.system.transact(CountingOrder.cancel, planned.order_id, "found it cheaper"),
            return_exceptions=True,
        )
        for command, outcome in zip(("pay", "cancel"), outcomes, strict=True):
            count = f"{attempts[command]} attempt{'s' if attempts[command] > 1 else ''}"
            if isinstance(outcome, fait.WriteResult):
                self.say(f"{command:6}  {count:10}  stored as version {outcome.version}")
            else:
                self.say(f"{command:6}  {count:10}  rejected: {outcome}")
        order = await self.system.load(Order, planned.order_id)
        self.say(f"no update was lost: the order is {order.status}, at version {order.version}")

    async def show_retries(self) -> None:
        """Step 6: a handler that fails twice."""
        self.title(6, "Retries: the address book is unavailable while an order is placed")
        address_book.fail(times=2)
        logger, log_lines = logging.getLogger("fait"), DemoLogHandler(self)
        logger.addHandler(log_lines)
        try:
            order = self.add_order("ada.berg", "earl-grey")
            result = await self.place(order)
            row = await self.system.get(OrderSummary, order.order_id, after=result)
            if row is not None:
                log_lines.say(f"others continue: order {row.order_id} is in the read model, {row.status}")
            await self.wait_for_subscriptions()
            log_lines.say("the e-mail is written; the handler has recovered")
        finally:
            logger.removeHandler(log_lines)

    async def show_idempotency_key(self) -> None:
        """Step 7: a repeated request."""
        order = self.add_order("ada.berg", "earl-grey")
        await self.place(order)
        self.title(7, "Idempotency keys: the same request arrives twice")
        client = self.system.using(key="request-4711")
        for attempt in ("first ", "second"):
            result = await client.transact(Order.pay, order.order_id, order.total)
            self.say(f"{attempt}  version {result.version}, position {result.position}, repeated: {result.repeated}")
        events = await self.system.read(f"order-{order.order_id}")
        self.say(f"events of the stream: {', '.join(event.type for event in events)}")

    async def run_checks(self) -> bool:
        """Step 8: compare the log, the read models and the planned orders."""
        self.title(8, "Checks: every value is computed in more than one way")
        await self.wait_for_subscriptions()
        file = await asyncio.to_thread(FileContents, self.path)
        checks = await audit(self.system, file, self.orders, self.deliveries)
        for check in checks:
            label = "[bold green]PASS[/]" if check.passed else "[bold red]FAIL[/]"
            self.console.print(f"  {label}  {check.claim}\n        [dim]{check.values}[/]")
        return all(check.passed for check in checks)

    async def show_commands(self) -> None:
        """Step 9: commands to try."""
        self.title(9, "Next: try these commands on the file")
        url, app, order_id = self.url, f"{__package__}.app:shop", await self.sample_order_id()
        # Print the program as it was called: it may not be on the PATH.
        fait = sys.argv[0] if Path(sys.argv[0]).name == "fait" else "fait"
        for command in (
            f"{fait} streams -s {url}",
            f"{fait} stream order-{order_id} -s {url}",
            f"{fait} state order-{order_id} -s {url} --app {app}",
            f"{fait} tail -s {url} --from-start --type shop.order-canceled",
            f"{fait} doctor -s {url}",
        ):
            self.console.print(f"  {command}", soft_wrap=True)

    def add_order(self, customer_id: str, sku: str) -> PlannedOrder:
        """Plan one more order, so that the checks expect it."""
        order = PlannedOrder(f"{len(self.orders) + 1:05}", customer_id, [Item(sku, 1, TEAS[sku])], "placed")
        self.orders.append(order)
        return order

    async def sample_order_id(self) -> str:
        """Return the id of a shipped order, or of any order if none was shipped."""
        find = self.system.find
        rows = await find(OrderSummary, status="shipped", limit=1) or await find(OrderSummary, limit=1)
        return rows[0].order_id

    async def wait_for_subscriptions(self) -> None:
        """Wait until every subscription has processed the whole log, including events appended by handlers."""
        store = self.system.store
        with Progress(console=self.console, transient=True, disable=not self.console.is_terminal) as progress:
            bars = {each.name: progress.add_task(f"  {each.name}") for each in await self.system.status()}
            head, processed = await store.log.head(), -1
            while head > processed:
                for each in await self.system.status():
                    progress.update(bars[each.name], completed=each.position, total=head)
                with suppress(fait.Stale):
                    await self.system.wait(timeout_s=PROGRESS_INTERVAL_S)
                    processed = head
                head = await store.log.head()

    def title(self, number: int, text: str) -> None:
        self.console.print(f"\n[bold]{number}  {text}[/]")

    def say(self, text: str) -> None:
        self.console.print(f"  {text}", markup=False)

    def rate(self, count: int, unit: str, start: float, text: str) -> None:
        duration_s = time.perf_counter() - start
        self.say(f"{count:,} {unit} in {duration_s:.1f} s ({count / duration_s:,.0f} per second), {text}")


class DemoLogHandler(logging.Handler):
    """Prints fait's log lines with the time since the handler was created."""

    def __init__(self, demo: Demo) -> None:
        super().__init__(logging.WARNING)
        self._demo = demo
        self._start = time.perf_counter()

    def say(self, text: str) -> None:
        self._demo.say(f"+{time.perf_counter() - self._start:.2f} s  {text}")

    def emit(self, record: logging.LogRecord) -> None:
        self.say(record.getMessage())


async def concurrently(function: Callable[[T], Awaitable[R]], arguments: Iterable[T]) -> list[R]:
    """Call a coroutine function once per argument, with a bounded number of concurrent calls."""
    semaphore = asyncio.Semaphore(MAX_CONCURRENT_CALLERS)

    async def call(argument: T) -> R:
        async with semaphore:
            return await function(argument)

    return await asyncio.gather(*map(call, arguments))
