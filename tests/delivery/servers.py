"""The brokers and databases of the services, and what happens to them."""

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

from msgspec import Struct

from tests.brokers.proxy import Proxy
from tests.fleet.run import Database, PostgresDatabase, SqliteDatabase
from tests.relay.published import (
    KafkaUnderTest,
    NatsUnderTest,
    RabbitmqUnderTest,
    RedisUnderTest,
    ServerUnderTest,
    UnorderedRabbitmqUnderTest,
)
from tests.servers.kafka import KafkaServer
from tests.servers.nats import NatsServer
from tests.servers.postgres import PostgresServer
from tests.servers.rabbitmq import RabbitmqServer
from tests.servers.redis import RedisServer

BROKERS: Mapping[str, Callable[[], ServerUnderTest]] = {
    "kafka": lambda: KafkaUnderTest(KafkaServer()),
    "nats": lambda: NatsUnderTest(NatsServer()),
    "rabbitmq": lambda: RabbitmqUnderTest(RabbitmqServer()),
    "rabbitmq-stream": lambda: RabbitmqUnderTest(RabbitmqServer(options="queues=stream")),
    "rabbitmq-unordered": lambda: UnorderedRabbitmqUnderTest(RabbitmqServer(options="order=none")),
    "redis": lambda: RedisUnderTest(RedisServer(settings={"proto-max-bulk-len": f"{1 << 20}"})),
}
"""The brokers by name; each call starts a server."""

WITHOUT_PROXY = frozenset({"kafka"})
"""Brokers that tell their clients the port of the server, so that these would pass a proxy by."""

CALM_FACTOR = 2.0
"""How many times as long as it was unavailable a broker works before it is disturbed again."""

MAX_DOWN_S = 1.0
MAX_FROZEN_S = 7.0
"""Maximum time for which a broker answers nothing: longer than the timeout of a relay for each call."""


class DisturbedBroker:
    """A broker that is killed and frozen, behind a proxy that loses connections.

    Attributes:
        tested: the broker, without the proxy.
        url: URL that the processes use.
        calm_until: monotonic time until which it is not disturbed again, so that it works most of the time: the delays
            of a relay grow with the duration of an outage.
    """

    def __init__(self, tested: ServerUnderTest, proxy: Proxy | None, max_frozen_s: float) -> None:
        self.tested = tested
        self.url = tested.url
        self.calm_until = 0.0
        self._server = tested.server
        self._proxy = proxy
        self._max_frozen_s = max_frozen_s
        if proxy is not None:
            self.url = tested.url.replace(f":{self._server.port}", f":{proxy.port}")

    async def crash(self, chance: Random) -> None:
        """Kill the server, and start it again after a while."""
        begun_at = time.monotonic()
        await _uninterrupted(self._server.kill)
        try:
            await asyncio.sleep(MAX_DOWN_S * chance.random())
        finally:
            await _uninterrupted(self._server.start)
            self._calm(begun_at)

    async def freeze(self, chance: Random) -> None:
        """Let the server answer nothing for a while, with open connections."""
        begun_at = time.monotonic()
        self._server.freeze()
        try:
            await asyncio.sleep(self._max_frozen_s * chance.random() ** 2)
        finally:
            self._server.thaw()
            self._calm(begun_at)

    def _calm(self, begun_at: float) -> None:
        now = time.monotonic()
        self.calm_until = now + CALM_FACTOR * (now - begun_at)

    async def cut(self, chance: Random) -> None:
        """Lose all connections at once."""
        if self._proxy is not None:
            self._proxy.cut()

    async def lose_answers(self, chance: Random) -> None:
        """Forward requests and lose the connections with the answers, for a while."""
        if self._proxy is not None:
            self._proxy.lose_answer = True
            await asyncio.sleep(0.5 * chance.random())
            self._proxy.lose_answer = False


class Databases(Struct):
    """The databases of the services.

    Attributes:
        orders: that of the orders.
        stock: that of the stock.
        server: the PostgreSQL server of those that are on one; None: both are files.
    """

    orders: Database
    stock: Database
    server: PostgresServer | None

    async def restart(self, chance: Random) -> None:
        """Stop the database server, with or without a checkpoint, and start it again."""
        assert self.server is not None
        mode: Any = chance.choice(["fast", "immediate"])
        await _uninterrupted(partial(self.server.stop, mode))
        await _uninterrupted(self.server.start)


@contextmanager
def open_databases(names: tuple[str, str]) -> Iterator[Databases]:
    """Create a database for orders and one for stock, each "sqlite" or "postgresql"."""
    with ExitStack() as started, TemporaryDirectory(prefix="fait-delivery-") as directory:
        server = started.enter_context(PostgresServer()) if "postgresql" in names else None

        def database(name: str, service: str) -> Database:
            if name == "sqlite":
                return SqliteDatabase(Path(directory) / f"{service}.db")
            assert server is not None
            return PostgresDatabase(server, service)

        yield Databases(database(names[0], "orders"), database(names[1], "stock"), server)


async def _uninterrupted(work: Callable[[], Any]) -> None:
    """Run work in a thread until its end, even if the caller is canceled."""
    task = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await task
        raise
