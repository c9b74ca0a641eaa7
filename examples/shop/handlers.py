"""What an order sets in motion: stock is reserved, or released again, and the customer gets mail.

Each handler is a subscription of its own: they run side by side, and one that fails does not hold up the others.
"""

from collections import Counter
from contextlib import suppress

import fait

from .inventory import Release, Reserve, release, reserve
from .orders import Order, OrderCancelled, OrderPlaced, OrderShipped


async def reserve_stock(event: OrderPlaced, ctx: fait.Context) -> None:
    """Reserve every item, or cancel the order."""
    order_id, quantities = ctx.envelope.stream_id, Counter[str]()
    for item in event.items:
        quantities[item.sku] += item.quantity
    try:
        await ctx.decide(reserve, Reserve(order_id, quantities))
    except fait.Rejected as sold_out:
        with suppress(fait.Rejected):  # it is shipped already, and stays so
            await ctx.transact(Order.cancel, order_id, str(sold_out))


async def release_stock(_event: OrderCancelled, ctx: fait.Context) -> None:
    """Give back what was reserved for a cancelled order."""
    await ctx.decide(release, Release(ctx.envelope.stream_id))


async def send_email(event: OrderPlaced | OrderShipped, ctx: fait.Context) -> None:
    """Put a mail into the table that the mail server sends from: once, for it is written with the checkpoint."""
    order = await ctx.load(Order, ctx.envelope.stream_id, version=ctx.envelope.version)
    recipient = await address_book.look_up(order.customer_id)
    match event:
        case OrderPlaced():
            subject = f"Thank you: your order over {event.total} {event.currency}"
        case OrderShipped():
            subject = f"On its way to you: {event.tracking_number}"
    ctx.execute("CREATE TABLE IF NOT EXISTS outgoing_mail (event_id TEXT, recipient TEXT, subject TEXT)")
    ctx.execute("INSERT INTO outgoing_mail VALUES ($1, $2, $3)", ctx.envelope.id, recipient, subject)


class AddressBook:
    """Stands for a service elsewhere, which is sometimes down."""

    def __init__(self) -> None:
        self._failures = 0

    def fail(self, times: int) -> None:
        """Be down for the next questions."""
        self._failures = times

    async def look_up(self, customer_id: str) -> str:
        """The customer's address."""
        if self._failures:
            self._failures -= 1
            raise ConnectionError("the address book does not answer")
        return f"{customer_id}@example.com"


address_book = AddressBook()
