"""The handlers, in a process of their own: `python -m examples.outbox_django.worker URL` runs them until interrupted.

Each is told of an event at least once, in the order of its stream. What it passes to `ctx.execute` is committed with
the record that the event is handled: that happens once. On SQLite this process must not open the file with Django too.
"""

import asyncio
import sys
from contextlib import suppress

import fait

from .events import OrderCancelled, OrderPlaced, shop


@shop.on(OrderPlaced, OrderCancelled, start="beginning")
def keep_stock(event: OrderPlaced | OrderCancelled, ctx: fait.Context) -> None:
    """Take the pieces from the shelf, or put them back."""
    taken = event.quantity if isinstance(event, OrderPlaced) else -event.quantity
    ctx.execute("UPDATE stock SET on_hand = on_hand - $1 WHERE sku = $2", taken, event.sku)


@shop.on(OrderPlaced, OrderCancelled, start="beginning")
def send_email(event: OrderPlaced | OrderCancelled, ctx: fait.Context) -> None:
    """Put a mail into the table that the mail server sends from."""
    number = ctx.envelope.stream_id
    subject = f"Thank you for order {number}" if isinstance(event, OrderPlaced) else f"Order {number} is cancelled"
    ctx.execute(
        "INSERT INTO outgoing_mail VALUES ($1, $2, $3)", ctx.envelope.id, f"{event.customer}@example.com", subject
    )


async def work(url: str) -> None:
    async with shop.open(url):
        await asyncio.Event().wait()


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(work(sys.argv[1]))
