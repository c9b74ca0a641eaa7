"""Sells through the service of orders: `python -m examples.shop_services.sell STORE FIRST END`.

The process kills itself, as by kill -9, when the last order is committed. It publishes nothing: the relay of the
service does.
"""

import asyncio
import os
import signal
import sys

from .orders import Order, orders


async def sell(store: str, numbers: range) -> None:
    """Place orders: every third one is for a tea of which there is not enough."""
    async with orders.open(store, run="elsewhere") as system:
        for number in numbers:
            sku = "sencha" if number % 3 else "silver-needle"
            await system.transact(Order.place, str(number), str(number), sku, 1)
        os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    store, first, end = sys.argv[1:]
    asyncio.run(sell(store, range(int(first), int(end))))
