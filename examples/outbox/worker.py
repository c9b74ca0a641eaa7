"""The handlers, in their own process: `python -m examples.outbox.worker URL` runs them until it is interrupted.

Each handler receives every event at least once, in order. Statements passed to `ctx.execute` run in the transaction of
the checkpoint and therefore take effect once.
"""

import asyncio
import sys
from contextlib import suppress

import fait

from .shop import OrderCanceled, OrderPlaced, shop


@shop.on(OrderPlaced, OrderCanceled, start="beginning")
def update_stock(event: OrderPlaced | OrderCanceled, ctx: fait.Context) -> None:
    """Subtract the ordered pieces from the stock, or add them back."""
    quantity = event.quantity if isinstance(event, OrderPlaced) else -event.quantity
    ctx.execute("UPDATE stock SET on_hand = on_hand - $1 WHERE sku = $2", quantity, event.sku)


@shop.on(OrderPlaced, OrderCanceled, start="beginning")
def send_email(event: OrderPlaced | OrderCanceled, ctx: fait.Context) -> None:
    """Insert an e-mail into the table that the mail server reads."""
    order_id = ctx.envelope.stream_id
    subject = f"Thank you for order {order_id}" if isinstance(event, OrderPlaced) else f"Order {order_id} is canceled"
    ctx.execute(
        "INSERT INTO outgoing_mail VALUES ($1, $2, $3)", ctx.envelope.id, f"{event.customer}@example.com", subject
    )


async def run_handlers(url: str) -> None:
    async with shop.open(url):
        await asyncio.Event().wait()


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(run_handlers(sys.argv[1]))
