"""Measures publishing to each broker: one message at a time with the client library, or in batches by the port.

`make bench-brokers` takes two minutes; options are passed as in `make bench-brokers ARGS="--rounds 5 --n 20000"`.

It starts the servers itself, with each setting that decides when a confirmed message is on disk. Every message is
confirmed. Ways alternate round by round, and ratios are taken within a round, because the speed of machines drifts.
"""

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

import aiormq
import nats
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic
from machine import machine
from redis.asyncio import Redis

from fait.broker import Message, Source, Topology, open_broker
from tests.servers.broker import BrokerServer
from tests.servers.kafka import KafkaServer
from tests.servers.nats import NatsServer
from tests.servers.rabbitmq import RabbitmqServer
from tests.servers.redis import RedisServer

__all__ = ["main"]

TOPIC, LANES, KEYS = "orders", 16, 1_000
BODY = b"x" * 300
HEADERS = {
    "ce-id": "0193a0e1-7f00-7000-8000-000000000000",
    "ce-source": "fait:log/epoch/relay",
    "ce-specversion": "1.0",
    "ce-type": "shop.order-placed",
    "ce-sequence": "00000000000000000001",
}
BATCHES = (1, 100, 900)

SERVERS: dict[str, Callable[[], BrokerServer]] = {
    "NATS, sync_interval always": NatsServer,
    "NATS, sync_interval 2m (its default)": lambda: NatsServer(sync_interval="2m"),
    "Redis, appendfsync always": RedisServer,
    "Redis, appendfsync everysec (its default)": lambda: RedisServer(settings={"appendfsync": "everysec"}),
    "RabbitMQ, quorum queues": RabbitmqServer,
    "RabbitMQ, streams": lambda: RabbitmqServer(options="queues=stream"),
    "Kafka, flush.messages 1, linger.ms 0": KafkaServer,
    "Kafka, flush.messages 1, linger.ms 0, transactions off": lambda: KafkaServer(options="transactions=off"),
}

Publish = Callable[[int], Awaitable[None]]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=5_000, help="messages of a round in batches (default: 5,000)")
    parser.add_argument("--naive", type=int, default=500, help="messages of a round one by one (default: 500)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds (default: 3)")
    parser.add_argument("--skewed", action="store_true", help="the first key has half of the messages, and so on")
    options = parser.parse_args(arguments)
    print(", ".join(f"{name}: {value}" for name, value in machine(Path(tempfile.gettempdir())).items()))
    keys = f"{KEYS:,} keys{', skewed' if options.skewed else ''}"
    print(f"{len(BODY)} bytes, {len(HEADERS)} headers, {keys}, {LANES} lanes\n")
    for name, start in SERVERS.items():
        with start() as server:
            print(f"{name}\n", *asyncio.run(measured(server, options)), sep="")
    return 0


async def measured(server: BrokerServer, options: argparse.Namespace) -> list[str]:
    """Return a line for each way of publishing."""
    rates: dict[str, list[float]] = {}
    ways: dict[str, tuple[Publish, int]] = {}
    async with naive(server) as one_by_one, through_port(server, skewed=options.skewed) as in_batches:
        ways["one by one"] = (one_by_one, options.naive)
        for size in BATCHES:
            count = options.n if size > 1 else options.naive
            ways[f"through the port, up to {size} at a time"] = (in_batches(size), count)
        for _ in range(options.rounds):
            for name, (publish, count) in ways.items():
                started = time.perf_counter()
                await publish(count)
                rates.setdefault(name, []).append(count / (time.perf_counter() - started))
    return [line(name, each, rates["one by one"]) for name, each in rates.items()]


def line(name: str, rates: Sequence[float], base: Sequence[float]) -> str:
    ratio = statistics.median(rate / naive for rate, naive in zip(rates, base, strict=True))
    return f"  {name:36} {statistics.median(rates):10,.0f} messages/s {ratio:7.1f} times\n"


@asynccontextmanager
async def naive(server: BrokerServer) -> AsyncGenerator[Publish, None]:
    """Publish with the client library: one message, and wait for its confirmation."""
    if isinstance(server, NatsServer):
        client = await nats.connect(server.url)
        stream = client.jetstream()
        await stream.add_stream(name="naive", subjects=["naive.>"])

        async def publish(count: int) -> None:
            for number in range(count):
                await stream.publish(f"naive.{number % KEYS}", BODY, headers=HEADERS)

        yield publish
        await client.close()
    elif isinstance(server, RabbitmqServer):
        async with aiormq.connect(server.url) as connection:
            channel = await connection.channel()
            kind = "stream" if "stream" in server.url else "quorum"
            await channel.queue_declare("naive", durable=True, arguments={"x-queue-type": kind})

            async def send(count: int) -> None:
                for _ in range(count):
                    properties = aiormq.spec.Basic.Properties(headers=dict(HEADERS), delivery_mode=2)
                    await channel.basic_publish(BODY, routing_key="naive", properties=properties)

            yield send
    elif isinstance(server, KafkaServer):
        async with kafka_producer(server) as produce:

            async def produce_all(count: int) -> None:
                for _ in range(count):
                    await produce(BODY)

            yield produce_all
    else:
        redis = Redis.from_url(server.url)

        async def append(count: int) -> None:
            for _ in range(count):
                await redis.xadd("naive", {"data": BODY, **HEADERS})

        yield append
        await redis.aclose()


@asynccontextmanager
async def kafka_producer(server: KafkaServer) -> AsyncGenerator[Callable[[bytes], Awaitable[None]], None]:
    """Publish with the client library of Kafka, without a delay for batches (`linger.ms=0`)."""
    settings = {"bootstrap.servers": f"127.0.0.1:{server.port}", "acks": "all", "linger.ms": 0}
    topic, admin = f"naive-{uuid4().hex}", AdminClient(settings)
    admin.create_topics([NewTopic(topic, LANES, 1)])[topic].result()
    producer = Producer({**settings, "enable.idempotence": True})

    async def publish(body: bytes) -> None:
        producer.produce(topic, body, b"key", headers=dict(HEADERS))
        await asyncio.to_thread(producer.flush)

    yield publish


@asynccontextmanager
async def through_port(server: BrokerServer, *, skewed: bool) -> AsyncGenerator[Callable[[int], Publish], None]:
    """Publish with the adapter: batches one after another, with a fence and a stored position if there are any."""
    broker = await open_broker(server.url)
    await broker.check(Topology({TOPIC: LANES}), create=True)
    publisher = await broker.publisher(TOPIC, Source(uuid4().hex, uuid4().hex, "bench"), range(256), 1)
    position = 0

    def in_batches(size: int) -> Publish:
        async def publish(count: int) -> None:
            nonlocal position
            most = min(size, broker.features.maximum_batch)
            for start in range(0, count, most):
                batch = [message(position + at + 1, skewed=skewed) for at in range(min(most, count - start))]
                await publisher.publish(batch, after=position, upto=position + len(batch))
                position += len(batch)

        return publish

    yield in_batches
    await broker.close()


def message(position: int, *, skewed: bool) -> Message:
    # Of two positions one is odd, of four one has one zero at the end, and so on.
    key = (position & -position).bit_length() if skewed else position % KEYS
    return Message(
        key=f"order-{key}", bucket=key % 256, position=position, id=str(position), headers=HEADERS, body=BODY
    )


if __name__ == "__main__":
    sys.exit(main())
