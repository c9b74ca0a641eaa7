"""Producers: callers that add lines to orders, of which some are too large, and transactions that are held open."""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from itertools import count
from random import Random
from typing import Any

import asyncpg

import fait
from tests.delivery.apps import Order, Placed, orders

KEYS = 300
CALLERS = 4
APPENDS_PER_S = 60
MAX_LINES = 3
SIZE = 100
LARGE_INTERVAL = 150
"""Of so many orders, one has a line that is too large for the broker."""

MAX_HELD_S = 1.0
RETRY_DELAY_S = 0.05

OUTAGES = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, fait.StoreUnavailable)
"""What the transaction of another program gets if the database stops in the meantime."""


class Producers:
    """Appends to a log.

    Args:
        system: the system of the orders.
        chance: makes the random choices.
        large_bytes: size of a line that the broker refuses.

    Attributes:
        acknowledged: the last acknowledged version of each key.
    """

    def __init__(self, system: fait.System, chance: Random, large_bytes: int) -> None:
        self.acknowledged: dict[str, int] = {}
        self._system = system
        self._chance = chance
        self._large_bytes = large_bytes
        self._numbers = count()
        self._held = count()
        self._holds = False

    async def run(self, seconds: float) -> None:
        """Place orders at an even pace."""
        begun_at, numbers = time.monotonic(), iter(range(int(APPENDS_PER_S * seconds)))

        async def call() -> None:
            for number in numbers:
                await asyncio.sleep(begun_at + number / APPENDS_PER_S - time.monotonic())
                if time.monotonic() > begun_at + 1.5 * seconds:  # on a busy machine
                    return
                key, sizes = str(self._chance.randrange(KEYS)), [SIZE] * self._chance.randint(1, MAX_LINES)
                if number % LARGE_INTERVAL == 0:
                    sizes = [SIZE, self._large_bytes, SIZE]
                await self.place(key, sizes)

        await asyncio.gather(*(call() for _ in range(CALLERS)))

    async def place(self, order: str, sizes: list[int]) -> None:
        """Add lines of these sizes to an order, whatever happens to the database."""
        client = self._system.using(key=f"place-{next(self._numbers)}")
        while True:
            try:
                result = await client.transact(Order.place, order, sizes)
            except fait.StoreUnavailable:
                await asyncio.sleep(RETRY_DELAY_S)
            else:
                key = f"order-{order}"
                self.acknowledged[key] = max(self.acknowledged.get(key, 0), result.version)
                return

    @asynccontextmanager
    async def held_transactions(self, url: str) -> AsyncGenerator[None, None]:
        """Keep transactions of another program open, which append with an outbox, until the end of the block.

        Args:
            url: URL of the log's database, with its schema; of SQLite, where a transaction blocks all others: nothing
                is done.
        """
        self._holds = url.startswith("postgresql")
        holding = asyncio.create_task(self._hold(*url.split("?schema=")))
        try:
            yield
        finally:
            self._holds = False  # asyncpg may ignore a cancellation
            await holding

    async def _hold(self, url: str, schema: str = "") -> None:
        while self._holds:
            with suppress(*OUTAGES):
                await self._hold_one(url, schema, f"order-held{next(self._held)}")
            await asyncio.sleep(self._chance.random() * MAX_HELD_S / 3)

    async def _hold_one(self, url: str, schema: str, stream: str) -> None:
        connection: Any = await asyncpg.connect(url)
        try:
            async with connection.transaction():
                outbox = orders.outbox(connection, schema=schema)
                await outbox.add(Placed(1, "held"), stream=stream)
                await asyncio.sleep(self._chance.random() * MAX_HELD_S)
                await outbox.add(Placed(2, "held"), stream=stream)
            self.acknowledged[stream] = 2
        finally:
            connection.terminate()
