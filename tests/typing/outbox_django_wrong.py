"""A user's mistakes with Django: each marked line must be rejected by both type checkers."""

from django.db import connection, connections

import fait


@fait.event("wrong-django.placed")
class Placed:
    customer: str


shop = fait.App("wrong-django")


def mistakes() -> None:
    shop.outbox("default")  # E: an alias is not a connection
    shop.outbox(connections)  # E: ambiguous connection
    shop.outbox(connection).add(Placed("c"))  # E: no stream
    shop.outbox(connection).add(Placed("c"), stream="order-1", expected="maybe")  # E: no such expectation


async def use() -> None:
    await shop.outbox(connection).add(Placed("c"), stream="order-1")  # E: add is not async here
    async with shop.outbox(connection).transaction():  # E: transaction is not async here
        pass
