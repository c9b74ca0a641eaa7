"""What tutorials do: write to the database, then publish. If the program is killed between both, the message is lost.

`python -m examples.shop_services.naive DATABASE FIRST END` sells through the broker in the variable SHOP_BROKER. The
process kills itself, as by kill -9, after the commit of the last order.
"""

import asyncio
import os
import signal
import sqlite3
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path
from uuid import uuid4

from fait.broker import BUCKETS, Message, Source, open_broker

TOPIC = "naive-orders"


async def sell(database: Path, broker: str, numbers: range, crash: Callable[[], None]) -> None:
    """Place orders; crash when the last one is committed and not yet published."""
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:  # each statement is committed
        connection.execute("CREATE TABLE IF NOT EXISTS orders (id TEXT PRIMARY KEY)")
        async with publisher(broker) as publish:
            for number in numbers:
                connection.execute("INSERT INTO orders VALUES (?)", (str(number),))
                if number == numbers[-1]:
                    crash()
                await publish(str(number))


@asynccontextmanager
async def publisher(url: str) -> AsyncGenerator[Callable[[str], Awaitable[object]], None]:
    """Connect to the broker, and yield a function that publishes an order."""
    broker = await open_broker(url)
    opened = await broker.publisher(TOPIC, Source(uuid4().hex, "naive", "naive"), range(BUCKETS), 1)

    def publish(order_id: str) -> Awaitable[object]:
        message = Message(key=order_id, bucket=0, position=1, id=order_id, headers={}, body=order_id.encode())
        return opened.publish([message], after=0, upto=0)

    try:
        yield publish
    finally:
        await opened.close()
        await broker.close()


def kill_process() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    database, first, end = sys.argv[1:]
    asyncio.run(sell(Path(database), os.environ["SHOP_BROKER"], range(int(first), int(end)), kill_process))
