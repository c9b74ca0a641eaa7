"""What customers do: each is one block of `atomic()`, which commits the row and the event together."""

from django.db import connection, transaction

from .events import OrderCancelled, OrderPlaced, shop
from .models import Order


@transaction.atomic
def place(number: str, customer: str, sku: str, quantity: int) -> None:
    """Place an order: its handlers will hear of it once the outermost block is committed."""
    Order.objects.create(number=number, customer=customer, sku=sku, quantity=quantity)
    shop.outbox(connection).add(OrderPlaced(customer, sku, quantity), stream=f"order-{number}")


@transaction.atomic
def cancel(number: str) -> None:
    """Cancel an order; a second time is nothing."""
    order = Order.objects.select_for_update().get(number=number)
    if order.status != "cancelled":
        order.status = "cancelled"
        order.save()
        event = OrderCancelled(order.customer, order.sku, order.quantity)
        shop.outbox(connection).add(event, stream=f"order-{number}")
