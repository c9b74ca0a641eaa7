"""The demo: both services over a broker, next to the naive program. The processes that sell are killed."""

import asyncio
import os
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncGenerator, Generator
from contextlib import ExitStack, asynccontextmanager, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import fait
from fait.broker import Broker, ConsumedBatch, ConsumedMessage, ConsumerSpec, Topology, open_broker

from . import naive
from .inventory import Stock, StockMissing, StockReserved, inventory
from .orders import OrderCanceled, OrderConfirmed, OrderPlaced, orders

ROOT = Path(__file__).parents[2]

ORDERS = 30
"""Number of orders to place."""

ORDERS_PER_PROCESS = 15
"""Number of orders after which a process that sells is killed."""

DELIVERIES = {"sencha": 100, "silver-needle": 4}
"""Pieces of each product; ten orders are for a silver needle."""

LANES = 4
"""Number of lanes of each topic."""

TIMEOUT_S = 20.0
"""Timeout for the answers to all orders."""

POLL_S = 0.05
"""Interval between two looks at the orders."""


class Killed(BaseException):
    """Ends the naive program in this process: the broker in memory would be killed with a process."""


@dataclass(frozen=True)
class Result:
    """What became of the orders.

    Attributes:
        broker: scheme of the broker's URL.
        placed: number of orders that were placed with the service.
        confirmed: number of those that were confirmed.
        canceled: number of those that were canceled.
        lost_by_naive: number of orders of the naive program that were not published.
        lost_by_fait: number of placed orders that the inventory did not handle.
        repeated: number of times that the inventory handled an order again.
    """

    broker: str
    placed: int
    confirmed: int
    canceled: int
    lost_by_naive: int
    lost_by_fait: int
    repeated: int

    @property
    def passed(self) -> bool:
        """Whether the inventory handled each order once, and each was confirmed or canceled."""
        answered = self.confirmed + self.canceled
        return self.placed == answered == ORDERS and self.lost_by_fait == self.repeated == 0


async def run(broker: str) -> Result:
    """Run the services and the naive program over a broker. The databases are in a temporary directory.

    Args:
        broker: URL of the broker. Its topics `orders`, `inventory` and `naive-orders` are created.

    Raises:
        UsageError: a topic has messages of an earlier run.
        BrokerUnavailable: the broker cannot be reached.
    """
    os.environ["SHOP_BROKER"] = broker
    await create_topics(broker)
    with TemporaryDirectory(prefix="fait-shop-services-") as name:
        folder = Path(name)
        async with open_services(folder, broker) as (shop, stock):
            for sku, quantity in DELIVERIES.items():
                await stock.transact(Stock.receive, sku, quantity)
            for first in range(0, ORDERS, ORDERS_PER_PROCESS):
                numbers = range(first, first + ORDERS_PER_PROCESS)
                await asyncio.gather(sell(folder, numbers), sell_naively(folder, broker, numbers))
            await wait_for_answers(shop)
            return await count(shop, stock, folder, broker)


# Services


@asynccontextmanager
async def open_services(folder: Path, broker: str) -> AsyncGenerator[tuple[fait.System, fait.System], None]:
    """Run each service in a process of its own; with the broker in memory, in this one."""
    in_memory = broker.startswith("memory:")
    here = "here" if in_memory else "elsewhere"
    async with (
        orders.open(store(folder, "orders"), run=here) as shop,
        inventory.open(store(folder, "inventory"), run=here) as stock,
    ):
        with ExitStack() as processes:
            for name in () if in_memory else ("orders", "inventory"):
                processes.enter_context(service_process(folder, name))
            yield shop, stock


@contextmanager
def service_process(folder: Path, name: str) -> Generator[None, None, None]:
    """Run a service with `fait run`, until the end of the block."""
    app = f"examples.shop_services.{name}:{name}"
    command = [Path(sys.executable).with_name("fait"), "run", "--app", app, "--store", store(folder, name)]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL) as process:  # noqa: S603
        try:
            yield
            if process.poll() is not None:
                raise RuntimeError(f"the service {name} ended with {process.returncode}")
        finally:
            process.terminate()


def store(folder: Path, service: str) -> str:
    """Return the URL of a service's database."""
    return f"sqlite:///{folder / service}.db"


async def wait_for_answers(shop: fait.System) -> None:
    """Wait until each order is confirmed or canceled, or until the timeout."""
    with suppress(TimeoutError):
        async with asyncio.timeout(TIMEOUT_S):
            while len(await order_ids(shop, OrderConfirmed, OrderCanceled)) < ORDERS:  # noqa: ASYNC110 - another process appends
                await asyncio.sleep(POLL_S)


# Programs that sell


async def sell(folder: Path, numbers: range) -> None:
    """Place orders with the service, in a process that is killed after the last one."""
    await run_until_killed("sell", store(folder, "orders"), numbers)


async def sell_naively(folder: Path, broker: str, numbers: range) -> None:
    """Place orders with the naive program, which is killed between commit and publication of the last one."""
    if broker.startswith("memory:"):
        with suppress(Killed):
            await naive.sell(folder / "naive.db", broker, numbers, stop)
    else:
        await run_until_killed("naive", str(folder / "naive.db"), numbers)


def stop() -> None:
    raise Killed


async def run_until_killed(module: str, database: str, numbers: range) -> None:
    command = ["-m", f"examples.shop_services.{module}", database, str(numbers.start), str(numbers.stop)]
    process = await asyncio.create_subprocess_exec(sys.executable, *command, cwd=ROOT)
    if await process.wait() >= 0:
        raise RuntimeError(f"{module} was not killed; it ended with {process.returncode}")


# Topics and counts


async def create_topics(url: str) -> None:
    """Create the topics; refuse those that have messages, because the databases are new."""
    async with connected(url) as broker:
        topics = ("orders", "inventory", naive.TOPIC)
        await broker.check(Topology(dict.fromkeys(topics, LANES)), create=True)
        if await messages(broker, *topics):
            raise fait.UsageError(
                f"one of the topics {', '.join(topics)} has messages of an earlier run, but the databases of the demo "
                "are new. Delete the messages, or use another broker. Nothing was published."
            )


async def count(shop: fait.System, stock: fait.System, folder: Path, broker: str) -> Result:
    """Compare the two databases with each other, and the naive one with the broker."""
    placed = await order_ids(shop, OrderPlaced)
    handled = await order_ids(stock, StockReserved, StockMissing)
    return Result(
        broker=broker.partition(":")[0],
        placed=len(placed),
        confirmed=len(await order_ids(shop, OrderConfirmed)),
        canceled=len(await order_ids(shop, OrderCanceled)),
        lost_by_naive=await count_lost_by_naive(folder / "naive.db", broker),
        lost_by_fait=len(set(placed) - set(handled)),
        repeated=(Counter(handled) - Counter(set(handled))).total(),
    )


async def order_ids(system: fait.System, *events: type) -> list[str]:
    """Return the order of each event of these classes in the log of a service."""
    return [each.event.order_id async for each in system.events() if isinstance(each.event, events)]


async def count_lost_by_naive(database: Path, url: str) -> int:
    with closing(sqlite3.connect(database)) as connection:
        stored = {order_id for (order_id,) in connection.execute("SELECT id FROM orders")}
    async with connected(url) as broker:
        return len(stored - {each.body.decode() for each in await messages(broker, naive.TOPIC)})


async def messages(broker: Broker, *topics: str) -> list[ConsumedMessage]:
    """Return all messages of these topics."""
    lanes = [lane for topic in topics for lane in await broker.lanes(topic)]
    spec = ConsumerSpec(name="demo", lanes=tuple(lanes), start="beginning")
    consumer, found = await broker.consumer(spec, {}), list[ConsumedMessage]()
    while isinstance(batch := await consumer.receive(0.3 if found else 3), ConsumedBatch):
        found += batch.messages
    await consumer.close()
    return found


@asynccontextmanager
async def connected(url: str) -> AsyncGenerator[Broker, None]:
    """Connect to a broker until the end of the block."""
    broker = await open_broker(url)
    try:
        yield broker
    finally:
        await broker.close()
