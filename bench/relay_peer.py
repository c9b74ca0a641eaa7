"""The relay of faststream-outbox, for `bench/relay.py`: rows of a table on PostgreSQL, published with FastStream.

One worker publishes, because several do not keep the order of rows. It claims and deletes 100 rows at once, as the
project's page on performance advises, and polls without a delay. Each message waits for its confirmation. The library
has no keys: all rows are in one queue.
"""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import nats
from confluent_kafka.admin import AdminClient, NewTopic

from tests.servers.broker import BrokerServer
from tests.servers.kafka import KafkaServer
from tests.servers.nats import NatsServer
from tests.servers.rabbitmq import RabbitmqServer
from tests.servers.redis import RedisServer

__all__ = ["relayed_by_peer"]

BATCH = 100
"""Number of rows that are claimed, and deleted, at once."""

TIMEOUT_S = 50
"""Timeout for a round. A row that is lost in memory, or fails, is published again only after its lease of 60 s."""

POLL_INTERVAL_S = 0.01
"""Interval between two looks at the table."""


@asynccontextmanager
async def destination(server: BrokerServer) -> AsyncGenerator[Any, None]:
    """Yield a publisher of FastStream, whose broker is started."""
    name = f"peer-{uuid4().hex}"
    if isinstance(server, NatsServer):
        from faststream.nats import NatsBroker

        connection = await nats.connect(server.url)
        await connection.jetstream().add_stream(name=name, subjects=[f"{name}.>"])
        await connection.close()
        broker: Any = NatsBroker(server.url, logger=None)
        publisher = broker.publisher(f"{name}.orders", stream=name)
    elif isinstance(server, RedisServer):
        from faststream.redis import RedisBroker

        broker = RedisBroker(server.url, logger=None)
        publisher = broker.publisher(stream=name)
    elif isinstance(server, RabbitmqServer):
        from faststream.rabbit import QueueType, RabbitBroker, RabbitQueue

        broker = RabbitBroker(server.url, logger=None)
        publisher = broker.publisher(RabbitQueue(name, durable=True, queue_type=QueueType.QUORUM), persist=True)
    else:
        assert isinstance(server, KafkaServer)
        from faststream.confluent import KafkaBroker

        address = f"127.0.0.1:{server.port}"
        admin = AdminClient({"bootstrap.servers": address})
        admin.create_topics([NewTopic(name, 1, 1)])[name].result()
        broker = KafkaBroker(address, acks="all", enable_idempotence=True, logger=None)
        publisher = broker.publisher(name)
    async with broker:
        await broker.start()
        yield publisher


async def relayed_by_peer(server: BrokerServer, url: str, text: str, count: int) -> float:
    """Return the rate at which the peer publishes rows that were stored before it starts.

    Args:
        server: the broker.
        url: URL of a database on PostgreSQL.
        text: content of each row.
        count: number of rows.
    """
    from faststream_outbox import OutboxBroker, make_outbox_table
    from sqlalchemy import MetaData, select
    from sqlalchemy.ext.asyncio import create_async_engine

    metadata = MetaData()
    table = make_outbox_table(metadata, f"outbox_{uuid4().hex[:8]}")
    engine = create_async_engine(url.replace("postgresql://", "postgresql+asyncpg://", 1))
    outbox: Any = OutboxBroker(engine, outbox_table=table, logger=None)
    async with engine.begin() as connection:
        await connection.run_sync(metadata.create_all)
        await outbox.publish_batch(*[text] * count, queue="orders", session=connection)
    async with destination(server) as publisher:

        @publisher
        @outbox.subscriber(
            "orders",
            fetch_batch_size=BATCH,
            terminal_flush_batch_size=BATCH,
            min_fetch_interval=POLL_INTERVAL_S,
            max_fetch_interval=POLL_INTERVAL_S,
        )
        async def relay(body: str) -> str:
            return body

        started = time.perf_counter()
        async with outbox, engine.connect() as connection:  # this starts it; a second start would claim rows twice
            async with asyncio.timeout(TIMEOUT_S):
                while (await connection.execute(select(table.c.id).limit(1))).first():
                    await connection.rollback()
                    await asyncio.sleep(POLL_INTERVAL_S)
            rate = count / (time.perf_counter() - started)
    await engine.dispose()
    return rate
