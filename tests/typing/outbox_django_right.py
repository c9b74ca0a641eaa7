"""A user's program that both type checkers accept, with django-stubs: events in transactions of Django."""

from typing import assert_type

from asgiref.sync import sync_to_async
from django.db import connection, connections, transaction
from django.http import HttpRequest, HttpResponse

import fait
from fait._delivery.outbox.outbox import Outbox


@fait.event("typed-django.placed")
class Placed:
    customer: str


shop = fait.App("typed-django")
shop.include(Placed)


@transaction.atomic
def place(order_id: str, customer: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO orders VALUES (%s, %s)", [order_id, customer])
    assert_type(shop.outbox(connection), Outbox)
    assert_type(shop.outbox(connection).add(Placed(customer), stream=f"order-{order_id}", expected="no_stream"), None)


def place_elsewhere(order_id: str, customer: str) -> None:
    assert_type(shop.outbox(connections["other"], schema="shop"), Outbox)
    with shop.outbox(connections["other"]).transaction() as outbox:
        assert_type(outbox, Outbox)
        outbox.add(Placed(customer), stream=f"order-{order_id}", key=order_id, tags=["customer:c-1"])


def view(request: HttpRequest) -> HttpResponse:
    place("1", "ada")
    return HttpResponse(status=201)


async def async_view(request: HttpRequest) -> HttpResponse:
    await sync_to_async(place)("1", "ada")
    return HttpResponse(status=201)
