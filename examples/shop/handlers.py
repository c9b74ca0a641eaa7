"""Handlers of order events: they reserve stock, release it, and write e-mails to the customer.

Each handler is a subscription of its own: handlers run concurrently, and a failing handler does not delay the others.
"""

from collections import Counter
from contextlib import suppress

import fait

from .inventory import Release, Reserve, release, reserve
from .orders import Order, OrderCanceled, OrderPlaced, OrderShipped


async def reserve_stock(event: OrderPlaced, ctx: fait.Context) -> None:
    """Reserve all items of the order, or cancel it if one is sold out."""
    order_id, quantities = ctx.envelope.stream_id, Counter[str]()
    for item in event.items:
        quantities[item.sku] += item.quantity
    try:
        await ctx.decide(reserve, Reserve(order_id, quantities))
    except fait.Rejected as sold_out:
        with suppress(fait.Rejected):  # already shipped: nothing to cancel
            await ctx.transact(Order.cancel, order_id, str(sold_out))


async def release_stock(_event: OrderCanceled, ctx: fait.Context) -> None:
    """Release the stock that was reserved for a canceled order."""
    await ctx.decide(release, Release(ctx.envelope.stream_id))


async def send_email(event: OrderPlaced | OrderShipped, ctx: fait.Context) -> None:
    """Insert an e-mail into the table that the mail server reads, exactly once: in the checkpoint's transaction."""
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
    """A stand-in for an external service that is sometimes unavailable."""

    def __init__(self) -> None:
        self._failures = 0

    def fail(self, times: int) -> None:
        """Make the next `times` look-ups fail."""
        self._failures = times

    async def look_up(self, customer_id: str) -> str:
        """Return the e-mail address of a customer."""
        if self._failures:
            self._failures -= 1
            raise ConnectionError("the address book does not answer")
        return f"{customer_id}@example.com"


address_book = AddressBook()
