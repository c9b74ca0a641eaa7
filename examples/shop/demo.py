"""The shop at work on a new SQLite file: what happens, shown as it happens, and checked at the end."""

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
from .audit import Books, audit
from .handlers import address_book
from .inventory import received
from .orders import Item, Order
from .summaries import CustomerSummary, OrderSummary
from .traffic import TEAS, Wish, deliveries, wishes

T = TypeVar("T")
R = TypeVar("R")

AT_ONCE = 64
"""How many callers there are at any time."""

LOOK_S = 0.2
"""How often the progress of handlers and read models is shown."""


async def main(path: Path, *, orders: int = 2000, seed: int = 7) -> bool:
    """Run the shop on a new file.

    Args:
        path: of the file; it must not exist.
        orders: how many orders are generated, from 1.
        seed: the same seed gives the same orders.

    Returns:
        Whether all sums were right.
    """
    path = await asyncio.to_thread(_new, path)
    url = f"sqlite:///{quote(str(path))}"
    async with shop.open(url) as system:
        return await Demo(system, url, path, wishes(orders, seed)).run()


def _new(path: Path) -> Path:
    if path.exists():
        raise fait.UsageError(f"{path} exists: the demo needs a new file. Nothing was written.")
    return path.resolve()


class Demo:
    """The stages, one after the other, on one file."""

    def __init__(self, system: fait.System, url: str, path: Path, planned: list[Wish]) -> None:
        self.system = system
        self.url = url
        self.path = path
        self.planned = planned
        self.received = deliveries(planned)
        self.console = Console(highlight=False)

    async def run(self) -> bool:
        """All stages; whether the sums are right."""
        await self.place_orders()
        await self.go_on()
        await self.show_log()
        await self.show_read_model()
        await self.show_past()
        await self.show_conflict()
        await self.show_retries()
        await self.show_key()
        right = await self.prove()
        await self.show_next()
        return right

    async def place_orders(self) -> None:
        """1: many customers at once."""
        self.title(1, f"{len(self.planned):,} orders are placed, {AT_ONCE} at a time")
        await concurrently(lambda tea: self.system.append(received(tea, self.received[tea])), TEAS)
        begun = time.perf_counter()
        await concurrently(self.place, self.planned)
        self.rate(len(self.planned), "orders", begun, "each safe on disk")
        await self.settled()
        self.say(f"after {time.perf_counter() - begun:.1f} s, stock was reserved and mail written for all of them")

    async def go_on(self) -> None:
        """1, later: orders are paid, shipped, cancelled."""
        log = self.system.store.log
        begun, head = time.perf_counter(), await log.head()
        refused = [no for no in await concurrently(self.fulfil, self.planned) if no]
        self.rate(await log.head() - head, "events", begun, "paid, shipped, cancelled, released")
        await self.settled()
        for reason, times in Counter(refused).most_common():
            self.say(f"{times} commands were rejected: “{reason}”")

    async def place(self, wish: Wish) -> fait.WriteResult[None]:
        with fait.caused_by(actor=wish.customer_id):
            return await self.system.transact(Order.place, wish.order_id, wish.customer_id, wish.items)

    async def fulfil(self, wish: Wish) -> str | None:
        """Bring an order as far as it is meant to get; the reason, if somebody says no."""
        try:
            if wish.fate == "cancelled":
                await self.system.transact(Order.cancel, wish.order_id, "changed my mind")
            if wish.fate in ("paid", "shipped"):
                await self.system.transact(Order.pay, wish.order_id, wish.total)
            if wish.fate == "shipped":
                await self.system.transact(Order.ship, wish.order_id, f"TEA-{wish.order_id}")
        except fait.Rejected as no:
            return str(no)
        return None

    async def show_log(self) -> None:
        """2: the truth."""
        order_id = await self.told()
        self.title(2, f"The log: everything that happened to order {order_id}")
        table = Table("position", "version", "type", "recorded at", "command")
        for recorded in await self.system.read(f"order-{order_id}"):
            command = recorded.metadata.command
            table.add_row(
                str(recorded.position),
                str(recorded.version),
                recorded.type,
                f"{recorded.recorded_at:%H:%M:%S.%f}",
                command.name if command else "",
            )
        self.console.print(table)

    async def show_read_model(self) -> None:
        """3: a question, asked right after a change."""
        best = (await self.system.find(CustomerSummary, order_by="-orders", limit=1))[0]
        wish = self.plan(best.customer_id, "sencha")
        self.title(3, f"A read model: {best.customer_id} orders again and looks at once")
        done = await self.place(wish)
        begun = time.perf_counter()
        rows = await self.system.find(
            OrderSummary, customer_id=best.customer_id, order_by="-placed_at", limit=5, after=done
        )
        took = time.perf_counter() - begun
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
        self.say(f"find(…, after=done) waited {took * 1000:.1f} ms for the table to pass position {done.position}")

    async def show_past(self) -> None:
        """4: what did we know then?"""
        order_id = await self.told()
        self.title(4, f"The past: order {order_id} as it was")
        events = await self.system.read(f"order-{order_id}")
        for moment in [event.recorded_at - timedelta(microseconds=1) for event in events]:
            order = await self.system.load(Order, order_id, at=moment)
            self.say(f"at={moment:%H:%M:%S.%f}  it was {order.status}")
        for event in events:
            order = await self.system.load(Order, order_id, version=event.version)
            self.say(f"version={event.version}           it was {order.status}")

    async def show_conflict(self) -> None:
        """5: two decisions about one order, at the same moment."""
        wish = self.plan("ada.berg", "earl-grey")
        await self.place(wish)
        self.title(5, f"A conflict: order {wish.order_id} is paid and cancelled at the same moment")
        runs = Counter[str]()

        class Watched(Order, category="order"):
            """The same order; it counts how often each decision is made."""

            def pay(self, amount: Decimal) -> None:
                runs["pay"] += 1
                super().pay(amount)

            def cancel(self, reason: str) -> None:
                runs["cancel"] += 1
                super().cancel(reason)

        outcomes = await asyncio.gather(
            self.system.transact(Watched.pay, wish.order_id, wish.total),
            self.system.transact(Watched.cancel, wish.order_id, "found it cheaper"),
            return_exceptions=True,
        )
        for command, outcome in zip(("pay", "cancel"), outcomes, strict=True):
            times = f"decided {runs[command]}×"
            if isinstance(outcome, fait.WriteResult):
                self.say(f"{command:6}  {times}  stored as version {outcome.version}")
            else:
                self.say(f"{command:6}  {times}  rejected: {outcome}")
        order = await self.system.load(Order, wish.order_id)
        self.say(f"nothing lost, nothing overwritten: the order is {order.status}, at version {order.version}")

    async def show_retries(self) -> None:
        """6: a handler whose service is down."""
        self.title(6, "A handler fails twice: the address book is down while an order comes in")
        address_book.fail(times=2)
        logger, shown = logging.getLogger("fait"), Shown(self)
        logger.addHandler(shown)
        try:
            wish = self.plan("ada.berg", "earl-grey")
            done = await self.place(wish)
            row = await self.system.get(OrderSummary, wish.order_id, after=done)
            if row is not None:
                shown.say(f"others need not wait: order {row.order_id} is in the table, {row.status}")
            await self.settled()
            shown.say("its mail is written, and the handler goes on")
        finally:
            logger.removeHandler(shown)

    async def show_key(self) -> None:
        """7: the same request, twice."""
        wish = self.plan("ada.berg", "earl-grey")
        await self.place(wish)
        self.title(7, "An idempotency key: the same request arrives twice")
        caller = self.system.using(key="request-4711")
        for attempt in ("first ", "second"):
            done = await caller.transact(Order.pay, wish.order_id, wish.total)
            self.say(f"{attempt}  version {done.version}, position {done.position}, repeated: {done.repeated}")
        events = await self.system.read(f"order-{wish.order_id}")
        self.say(f"the stream holds: {', '.join(event.type for event in events)}")

    async def prove(self) -> bool:
        """8: do the sums agree?"""
        self.title(8, "The proof: every sum, made in more than one way")
        await self.settled()
        books = await asyncio.to_thread(Books, self.path)
        checks = await audit(self.system, books, self.planned, self.received)
        for check in checks:
            verdict = "[bold green]PASS[/]" if check.holds else "[bold red]FAIL[/]"
            self.console.print(f"  {verdict}  {check.claim}\n        [dim]{check.found}[/]")
        return all(check.holds for check in checks)

    async def show_next(self) -> None:
        """9: over to you."""
        self.title(9, "Now you: these commands work on the file")
        url, app, order_id = self.url, f"{__package__}.app:shop", await self.told()
        fait = (
            sys.argv[0] if Path(sys.argv[0]).name == "fait" else "fait"
        )  # as it was called: it may not be on the PATH
        for command in (
            f"{fait} streams -s {url}",
            f"{fait} stream order-{order_id} -s {url}",
            f"{fait} state order-{order_id} -s {url} --app {app}",
            f"{fait} tail -s {url} --from-start --type shop.order-cancelled",
            f"{fait} doctor -s {url}",
        ):
            self.console.print(f"  {command}", soft_wrap=True)

    def plan(self, customer_id: str, tea: str) -> Wish:
        """One more order, which counts in the sums."""
        wish = Wish(f"{len(self.planned) + 1:05}", customer_id, [Item(tea, 1, TEAS[tea])], "placed")
        self.planned.append(wish)
        return wish

    async def told(self) -> str:
        """The order to tell about: the first that was shipped, if any was."""
        find = self.system.find
        rows = await find(OrderSummary, status="shipped", limit=1) or await find(OrderSummary, limit=1)
        return rows[0].order_id

    async def settled(self) -> None:
        """Wait until every subscription has seen the whole log. Handlers append too, so look again."""
        store = self.system.store
        with Progress(console=self.console, transient=True, disable=not self.console.is_terminal) as progress:
            bars = {each.name: progress.add_task(f"  {each.name}") for each in await self.system.status()}
            head, seen = await store.log.head(), -1
            while head > seen:
                for each in await self.system.status():
                    progress.update(bars[each.name], completed=each.position, total=head)
                with suppress(fait.Stale):
                    await self.system.wait(fait.WriteResult(None, "", 0, head), timeout_s=LOOK_S)
                    seen = head
                head = await store.log.head()

    def title(self, number: int, text: str) -> None:
        self.console.print(f"\n[bold]{number}  {text}[/]")

    def say(self, text: str) -> None:
        self.console.print(f"  {text}", markup=False)

    def rate(self, count: int, what: str, begun: float, text: str) -> None:
        took = time.perf_counter() - begun
        self.say(f"{count:,} {what} in {took:.1f} s ({count / took:,.0f} a second), {text}")


class Shown(logging.Handler):
    """Shows what fait logs, with the time since the demo began to listen."""

    def __init__(self, demo: Demo) -> None:
        super().__init__(logging.WARNING)
        self._demo = demo
        self._begun = time.perf_counter()

    def say(self, text: str) -> None:
        self._demo.say(f"+{time.perf_counter() - self._begun:.2f} s  {text}")

    def emit(self, record: logging.LogRecord) -> None:
        self.say(record.getMessage())


async def concurrently(each: Callable[[T], Awaitable[R]], of: Iterable[T]) -> list[R]:
    """Do something with each of many, at most so many at a time."""
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(thing: T) -> R:
        async with gate:
            return await each(thing)

    return await asyncio.gather(*map(one, of))
