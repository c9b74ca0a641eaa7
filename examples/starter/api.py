"""The HTTP API."""

import os
from dataclasses import dataclass
from typing import Annotated

from fait.fastapi import Commands, CurrentReads, commands, install, lifespan, problems
from fastapi import FastAPI

from shop import Cart, Product, app

web = FastAPI(title="shop", lifespan=lifespan(app, os.environ["FAIT_STORE"]))
install(web)

# With principal=current_user, which you write, requests may have idempotency keys.
Write = Annotated[Commands, commands(principal=None)]


@dataclass
class Item:
    sku: str
    quantity: int = 1


@web.post("/carts/{cart_id}/items", status_code=201, responses=problems(409))
async def add_item(cart_id: str, item: Item, cmd: Write) -> dict[str, int]:
    result = await cmd.transact(Cart.add, cart_id, item.sku, item.quantity)
    return {"version": result.version}


@web.post("/carts/{cart_id}/check-out", status_code=204)
async def check_out(cart_id: str, cmd: Write) -> None:
    await cmd.transact(Cart.check_out, cart_id)


@web.get("/products/{sku}", responses=problems(404))
async def get_product(sku: str, reads: CurrentReads) -> Product:
    return await reads.one(Product, sku=sku)
