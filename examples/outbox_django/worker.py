"""The handlers, in their own process: `python -m examples.outbox_django.worker URL` runs them until it is interrupted.

Each handler receives every event at least once, in order. Statements passed to `ctx.execute` run in the transaction of
the checkpoint and therefore take effect once. On SQLite this process must not also open the file with Django.
"""

import asyncio
import sys
from contextlib import suppress

import fait

from .events import OrderCanceled, OrderPlaced, shop


@shop.on(OrderPlaced, OrderCanceled, start="beginning")
def update_stock(event: OrderPlaced | OrderCanceled, ctx: fait.Context) -> None:
    """Subtract the ordered pieces from the stock, or add them back."""
    quantity = event.quantity if isinstance(event, OrderPlaced) else -event.quantity
    ctx.execute("UPDATE stock SET on_hand = on_hand - $1 WHERE sku = $2", quantity, event.sku)


@shop.on(OrderPlaced, OrderCanceled, start="beginning")
def send_email(event: OrderPlaced | OrderCanceled, ctx: fait.Context) -> None:
    """Insert an e-mail into the table that the mail server reads."""
    number = ctx.envelope.stream_id
    subject = f"Thank you for order {number}" if isinstance(event, OrderPlaced) else f"Order {number} is canceled"
    ctx.execute(
        "INSERT INTO outgoing_mail VALUES ($1, $2, $3)", ctx.envelope.id, f"{event.customer}@example.com", subject
    )


async def run_handlers(url: str) -> None:
    async with shop.open(url):
        await asyncio.Event().wait()


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(run_handlers(sys.argv[1]))
