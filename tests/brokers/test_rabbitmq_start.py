"""A RabbitMQ server that has just been started knows its streams before they answer."""

import asyncio

from fait._broker_errors import BrokerUnavailable
from fait.broker import Lane, Topology, open_broker
from tests.servers.rabbitmq import RabbitmqServer

LANES = 4
SETTLE_S = 1.0
"""A queue that was declared less than half a second before its server is killed may be lost."""

STARTS_S = 60.0
"""Maximum time until a server that was started again has its streams."""


async def test_topic_of_a_server_that_is_starting_is_not_missing() -> None:
    with RabbitmqServer(options="queues=stream") as server:
        broker = await open_broker(server.url)
        await broker.check(Topology({"orders": LANES}), create=True)
        await broker.close()
        await asyncio.sleep(SETTLE_S)
        server.kill()
        starting = asyncio.create_task(asyncio.to_thread(server.start))

        async with asyncio.timeout(STARTS_S):
            while not (lanes := await _lanes(server.url)):
                pass
        await starting

    assert len(lanes) == LANES


async def _lanes(url: str) -> tuple[Lane, ...]:
    """Return the lanes of the topic; () if the server is not available. Any other error is a fault."""
    try:
        broker = await open_broker(url, timeout_s=5)
        try:
            return tuple(await broker.lanes("orders"))
        finally:
            await broker.close()
    except BrokerUnavailable:
        return ()
