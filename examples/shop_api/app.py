"""The shop's HTTP API: place an order, cancel it, read it, and list the orders of a customer.

FAIT_STORE=sqlite:///shop.db uvicorn examples.shop_api.app:web
"""

import os
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, FastAPI, Header, Response
from pydantic import Field

import fait
from examples.shop.app import shop
from examples.shop.orders import Item, Order
from examples.shop.summaries import OrderSummary
from examples.shop.traffic import TEAS
from fait.fastapi import Commands, CurrentPage, CurrentReads, commands, health, install, lifespan, problems


@dataclass(frozen=True)
class Line:
    sku: Annotated[str, Field(json_schema_extra={"enum": [*TEAS]})]
    quantity: Annotated[int, Field(ge=1, le=1000)]


async def signed_in(x_customer: Annotated[str, Header(pattern="^[a-z0-9.-]{1,64}$")]) -> str:
    """Return the customer who sends a request. A real shop verifies a session or a token here."""
    return x_customer


Customer = Annotated[str, Depends(signed_in)]
Write = Annotated[Commands, commands(principal=signed_in)]
Change = Annotated[Commands, commands(principal=signed_in, if_match="required")]

web = FastAPI(title="Shop", lifespan=lifespan(shop, os.environ.get("FAIT_STORE", "sqlite:///shop.db")))
install(web)
web.include_router(health())


@web.post("/orders", status_code=201)
async def place_order(
    lines: Annotated[list[Line], Field(min_length=1, max_length=100)], customer: Customer, cmd: Write, reply: Response
) -> dict[str, str]:
    if unknown := {line.sku for line in lines} - TEAS.keys():
        raise fait.Rejected(f"unknown products: {unknown}")
    order_id = cmd.new_id()
    await cmd.transact(
        Order.place, order_id, customer, [Item(each.sku, each.quantity, TEAS[each.sku]) for each in lines]
    )
    reply.headers["Location"] = f"/orders/{order_id}"
    return {"order_id": order_id}


@web.post("/orders/{order_id}/cancellation", status_code=204, responses=problems(404))
async def cancel_order(order_id: str, reason: str, customer: Customer, reads: CurrentReads, cmd: Change) -> None:
    await reads.one(OrderSummary, order_id=order_id, customer_id=customer)  # 404 for the order of another customer
    await cmd.transact(Order.cancel, order_id, reason)


@web.get("/orders")
async def list_orders(customer: Customer, reads: CurrentReads, page: CurrentPage) -> list[OrderSummary]:
    return await reads.page(OrderSummary, page, customer_id=customer, order_by="-placed_at")


@web.get("/orders/{order_id}", responses=problems(404))
async def get_order(order_id: str, customer: Customer, reads: CurrentReads) -> OrderSummary:
    order = await reads.one(OrderSummary, order_id=order_id, customer_id=customer)
    reads.etag(order.version)
    return order
