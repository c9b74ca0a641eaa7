"""The example of two services prints what its README shows; a service that is killed loses and repeats nothing."""

import asyncio
import re
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest

import fait
from examples.shop_services.demo import create_topics, order_ids, run
from examples.shop_services.inventory import Stock, StockReserved, inventory
from examples.shop_services.orders import Order, OrderCanceled, OrderConfirmed, OrderPlaced, orders
from fait.testing import given
from tests.examples.killed_inventory import LEASE_S

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "examples" / "shop_services"
README = (FOLDER / "README.md").read_text("utf-8")

pytestmark = pytest.mark.anyio


def broker_url(request: pytest.FixtureRequest, name: str) -> str:
    """Return the URL of a new broker."""
    if name == "memory":
        return f"memory:{uuid4().hex}"
    options = {"options": "queues=stream"} if name == "rabbitmq" else {}
    return request.getfixturevalue(f"{name}_servers")(**options).url


@pytest.mark.parametrize("broker", ["memory", "nats", "redis", "kafka", "rabbitmq"])
def test_demo_prints_what_readme_shows(broker: str, request: pytest.FixtureRequest) -> None:
    url = broker_url(request, broker)
    command = [sys.executable, "-m", "examples.shop_services", "--broker", url]
    completed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100, check=False)
    shown = re.findall(rf"^(?:broker|{url.partition(':')[0]}) .*\n", README, re.MULTILINE)

    assert (completed.returncode, completed.stdout) == (0, "".join(shown)), completed.stderr


async def test_demo_on_topics_with_messages_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    broker = f"memory:{uuid4().hex}"
    monkeypatch.setenv("SHOP_BROKER", broker)
    assert (await run(broker)).passed

    with pytest.raises(fait.UsageError, match="messages of an earlier run"):
        await run(broker)


def test_order_with_an_answer_is_not_answered_again() -> None:
    placed = OrderPlaced("1", "sencha", 1)
    given(Order, placed).when(Order.confirm, "1").then(OrderConfirmed("1"))
    given(Order, placed, OrderCanceled("1")).when(Order.confirm, "1").rejected("it is canceled")
    given(Order, placed, OrderConfirmed("1")).when(Order.cancel, "1").rejected("it is confirmed")


@pytest.fixture(params=["nats", "redis", "kafka"])
async def shop(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[fait.System]:
    """The service of orders over a broker, and a store of the inventory that no process runs."""
    broker = broker_url(request, request.param)
    monkeypatch.setenv("SHOP_BROKER", broker)
    await create_topics(broker)
    async with orders.open(f"sqlite:///{tmp_path}/orders.db") as system:
        yield system


async def test_inventory_that_is_killed_before_and_after_commit_reserves_once(
    shop: fait.System, tmp_path: Path
) -> None:
    store, rounds = f"sqlite:///{tmp_path}/inventory.db", 3
    async with inventory.open(store, run="elsewhere") as stock:
        await stock.transact(Stock.receive, "sencha", 100)
        for number in range(rounds):
            for order_id in (f"{number}-a", f"{number}-b"):
                await shop.transact(Order.place, order_id, order_id, "sencha", 1)
            before = await order_ids(stock, StockReserved)
            await run_until_killed(store, "before")
            assert await order_ids(stock, StockReserved) == before
            await run_until_killed(store, "after")
            assert len(await order_ids(stock, StockReserved)) > len(before)
    async with inventory.open(store, lease_s=LEASE_S) as stock:
        await until_confirmed(shop, 2 * rounds)

        assert Counter(await order_ids(stock, StockReserved)) == Counter(await order_ids(shop, OrderPlaced))
        assert (await stock.load(Stock, "sencha")).on_hand == 100 - 2 * rounds
    assert await order_ids(shop, OrderCanceled) == []


async def run_until_killed(store: str, when: str) -> None:
    """Run a process of the inventory until it has killed itself."""
    command = ["-m", "tests.examples.killed_inventory", store, when]
    process = await asyncio.create_subprocess_exec(sys.executable, *command, cwd=ROOT)
    async with asyncio.timeout(60):
        assert await process.wait() == -9


async def until_confirmed(shop: fait.System, count: int) -> None:
    """Wait until a number of orders is confirmed."""
    async with asyncio.timeout(60):
        while len(await order_ids(shop, OrderConfirmed)) < count:  # noqa: ASYNC110 - another process appends
            await asyncio.sleep(0.05)


def test_links_of_readme_exist() -> None:
    for link in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        assert (FOLDER / link).exists(), link
