"""Commands of the shop: each is a block of `atomic()`, which commits the row and the event together."""

from django.db import connection, transaction

from .events import OrderCanceled, OrderPlaced, shop
from .models import Order


@transaction.atomic
def place(number: str, customer: str, sku: str, quantity: int) -> None:
    """Place an order; the commit of the outermost block stores the row and the event."""
    Order.objects.create(number=number, customer=customer, sku=sku, quantity=quantity)
    shop.outbox(connection).add(OrderPlaced(customer, sku, quantity), stream=f"order-{number}")


@transaction.atomic
def cancel(number: str) -> None:
    """Cancel an order; does nothing if it is already canceled."""
    order = Order.objects.select_for_update().get(number=number)
    if order.status != "canceled":
        order.status = "canceled"
        order.save()
        event = OrderCanceled(order.customer, order.sku, order.quantity)
        shop.outbox(connection).add(event, stream=f"order-{number}")
