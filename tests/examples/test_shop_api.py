"""The shop's HTTP API: its routes, and generated requests against its OpenAPI document."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import apsw
import httpx
import pytest
import schemathesis
from fastapi import FastAPI
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

from examples.shop.inventory import stock_received
from examples.shop.summaries import OrderSummary
from examples.shop.traffic import TEAS
from examples.shop_api import app as shop_api
from examples.shop_api.app import shop
from fait._store.sqlite.table_sql import select_rows
from fait._subscriptions.find import column_conditions, sort_orders
from fait._subscriptions.read_model import definition_of
from fait.fastapi import lifespan
from tests.http.documented import compare_answers
from tests.http.servers import served

ROOT = Path(__file__).parents[2]
LINES = [{"sku": "matcha", "quantity": 2}]
ADA = {"X-Customer": "ada"}


async def stock(url: str) -> None:
    async with shop.open(url) as system:
        for tea in TEAS:
            await system.append(stock_received(tea, 1_000_000))


@contextmanager
def opened_on(url: str) -> Iterator[FastAPI]:
    """Let the API open another store."""
    web, original = shop_api.web, shop_api.web.router.lifespan_context
    web.router.lifespan_context = lifespan(shop, url)
    try:
        yield web
    finally:
        web.router.lifespan_context = original


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    url = f"sqlite:///{tmp_path}/shop.db"
    await stock(url)
    with opened_on(url) as web:
        async with served(web) as client:
            compare_answers(client, web.openapi())
            yield client


async def test_order_is_placed_read_and_canceled(client: httpx.AsyncClient) -> None:
    placed = await client.post("/orders", json=LINES, headers=ADA)
    position = {"Fait-Position": placed.headers["Fait-Position"]}
    read = await client.get(placed.headers["Location"], headers=ADA | position)
    url = f"{placed.headers['Location']}/cancellation?reason=late"
    careless = await client.post(url, headers=ADA)
    canceled = await client.post(url, headers=ADA | {"If-Match": read.headers["ETag"]})
    again = await client.post(url, headers=ADA | {"If-Match": read.headers["ETag"]})

    assert (placed.status_code, read.json()["total"], read.json()["status"]) == (201, "59.00", "placed")
    assert (careless.status_code, canceled.status_code, again.status_code) == (428, 204, 412)


async def test_customer_sees_only_own_orders_newest_first(client: httpx.AsyncClient) -> None:
    placed = [(await client.post("/orders", json=LINES, headers=ADA)) for _ in range(25)]
    other = await client.post("/orders", json=LINES, headers={"X-Customer": "bob"})
    position = {"Fait-Position": other.headers["Fait-Position"]}
    first = await client.get("/orders", headers=ADA | position)
    second = await client.get(first.links["next"]["url"], headers=ADA)

    ids = [row["order_id"] for row in [*first.json(), *second.json()]]
    assert ids == [each.json()["order_id"] for each in reversed(placed)]
    assert (len(first.json()), "Link" in second.headers) == (20, False)
    assert (await client.get(other.headers["Location"], headers=ADA)).status_code == 404


def test_orders_of_a_customer_are_one_query_on_an_index(tmp_path: Path) -> None:
    asyncio.run(stock(f"sqlite:///{tmp_path}/shop.db"))
    definition = definition_of(OrderSummary)
    orders = sort_orders(definition, "-placed_at")
    sql, values = select_rows(definition.table, column_conditions(definition, {"customer_id": "ada"}), orders, None, 21)
    plan = str(list(apsw.Connection(str(tmp_path / "shop.db")).execute(f"EXPLAIN QUERY PLAN {sql}", values)))

    assert "USING INDEX" in plan
    assert not [word for word in ("SCAN", "TEMP B-TREE") if word in plan]


@pytest.mark.filterwarnings("ignore")
def test_generated_requests_get_only_documented_answers(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/shop.db"
    asyncio.run(stock(url))
    with opened_on(url) as web:
        schema = schemathesis.openapi.from_asgi("/openapi.json", web)
        counts = Counter[int]()
        for operation in schema.get_all_operations():
            for mode in GenerationMode:
                _check(operation.ok(), mode, counts)

    assert counts.total() > 100
    assert counts.keys() >= {200, 201, 400, 404, 412, 422}  # the requests reach every part of the routes
    assert not [status for status in counts if status >= 500 and status != 503]


def _check(operation: Any, mode: GenerationMode, counts: "Counter[int]") -> None:
    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(
        max_examples=25, deadline=None, database=None, derandomize=True,
        phases=[Phase.generate], suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    def check(case: Any) -> None:
        # Excluded: text with NUL fits the schema of a string and is answered 422; a failed precondition is answered 412
        # before the body is read.
        response = case.call_and_validate(excluded_checks=[positive_data_acceptance, negative_data_rejection])
        counts[response.status_code] += 1

    with suppress(Unsatisfiable):  # a route without parameters has no invalid requests
        check()
