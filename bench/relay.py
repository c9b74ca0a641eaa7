"""Measures relays: events from a log to each broker, next to the relay that a tutorial writes and to a peer.

`make bench-relay` takes five minutes; options are passed as in `make bench-relay ARGS="--rounds 5 --n 20000"`.

The tutorial's relay reads a row of an outbox table, publishes it, waits for the confirmation, and marks the row. Both
work on SQLite with `synchronous=FULL`. The peer is faststream-outbox (`relay_peer.py`). It works on PostgreSQL only,
and is measured next to a relay of fait on the same server. Every message is confirmed and flushed to disk by the
broker. Ways alternate round by round. The delay is the time from the moment at which a command has committed until a
consumer has the message, at a fixed rate of commands; all is in one process. With `--memory`, the peak memory of a
process with only a relay is measured, for two numbers of events.

    -m relay --child STORE BROKER      a relay that catches up; prints its peak memory in MB
"""

import argparse
import asyncio
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiormq
import nats
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic
from machine import machine
from properties import peak_mb
from redis.asyncio import Redis
from relay_peer import relayed_by_peer

import fait
from fait.broker import ConsumedBatch, ConsumerSpec, Topology, open_broker
from tests.servers.broker import BrokerServer
from tests.servers.kafka import KafkaServer
from tests.servers.nats import NatsServer
from tests.servers.postgres import PostgresServer
from tests.servers.rabbitmq import RabbitmqServer
from tests.servers.redis import RedisServer

__all__ = ["main"]

TOPIC, DELAYS, LANES, KEYS = "orders", "delays", 16, 1_000
TEXT = "x" * 300
MEMORY_EVENTS = (20_000, 200_000)
HAS_PEER = find_spec("faststream_outbox") is not None
SETTINGS = {"fsync": "on", "shared_buffers": "256MB", "max_wal_size": "4GB"}
SERVERS: dict[str, Callable[[], BrokerServer]] = {
    "NATS, sync_interval always": NatsServer,
    "Redis, appendfsync always": RedisServer,
    "RabbitMQ, quorum queues": RabbitmqServer,
    "RabbitMQ, streams": lambda: RabbitmqServer(options="queues=stream"),
    "Kafka, flush.messages 1, linger.ms 0": KafkaServer,
    "Kafka, flush.messages 1, linger.ms 0, transactions off": lambda: KafkaServer(options="transactions=off"),
    "Kafka, flushed by the system (its default), linger.ms 0": lambda: KafkaServer(
        settings={"log.flush.interval.messages": "1000000"}
    ),
}

Publish = Callable[[bytes], Awaitable[Any]]


@fait.event("bench.placed")
class Placed:
    text: str


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=20_000, help="events of a round of a relay (default: 20,000)")
    parser.add_argument("--naive", type=int, default=500, help="rows of a round of the tutorial's (default: 500)")
    parser.add_argument("--peer", type=int, default=1_000, help="rows of a round of the peer (default: 1,000)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds (default: 3)")
    parser.add_argument("--rate", type=int, default=1_000, help="events per second for the delay (default: 1,000)")
    parser.add_argument("--seconds", type=float, default=5, help="seconds of that (default: 5)")
    parser.add_argument("--only", default="", help="measure only brokers whose name begins with this, such as NATS")
    parser.add_argument("--memory", action="store_true", help="measure the peak memory of relays, too")
    options = parser.parse_args(arguments)
    print(", ".join(f"{name}: {value}" for name, value in machine(Path(tempfile.gettempdir())).items()))
    print(f"events of {len(TEXT)} bytes, {KEYS:,} keys, {LANES} lanes\n")
    with PostgresServer(options=SETTINGS) as postgres:
        for name, start in servers(options.only).items():
            with start() as server, tempfile.TemporaryDirectory() as directory:
                asyncio.run(measure(name, server, Path(directory), postgres.url, options))
    return 0


def servers(prefix: str) -> dict[str, Callable[[], BrokerServer]]:
    """Return the brokers whose name begins with a prefix."""
    return {name: start for name, start in SERVERS.items() if name.startswith(prefix)}


async def measure(name: str, server: BrokerServer, directory: Path, postgres: str, options: argparse.Namespace) -> None:
    url: str = server.url  # type: ignore[attr-defined]
    broker = await open_broker(url)
    await broker.check(Topology({TOPIC: LANES, DELAYS: LANES}), create=True)
    await broker.close()
    naive_rates, rates, peer_rates, postgres_rates = list[float](), list[float](), list[float](), list[float]()
    for number in range(options.rounds):
        naive_rates.append(await naive(server, directory / f"naive-{number}.db", options.naive))
        rates.append(await relayed(url, f"sqlite:///{directory}/log-{number}.db", options.n))
        if HAS_PEER:
            peer_rates.append(await relayed_by_peer(server, postgres, TEXT, options.peer))
        postgres_rates.append(await relayed(url, f"{postgres}?schema=s{uuid4().hex}", options.n))
    delays = await delayed(url, directory / "delay.db", options.rate, options.seconds)
    print(name)
    print_rates("SQLite", "one row, wait, mark", naive_rates, rates)
    print_rates("PostgreSQL", "faststream-outbox", peer_rates, postgres_rates)
    percentiles = [1_000 * delays[int(len(delays) * share)] for share in (0.5, 0.99)]
    print(
        f"  commit to consumer at {options.rate:,} events/s: p50 {percentiles[0]:.1f} ms, p99 {percentiles[1]:.1f} ms"
    )
    if options.memory:
        peaks = [f"{count:,} events {await memory(url, directory, count):.1f} MB" for count in MEMORY_EVENTS]
        print(f"  peak memory of the process of a relay: {', '.join(peaks)}")
    print()


def print_rates(database: str, other: str, other_rates: Sequence[float], rates: Sequence[float]) -> None:
    ours = f"  {database:10} {'relay of fait':20} {statistics.median(rates):10,.0f} events/s"
    if not other_rates:
        print(f"  {database:10} {other:20} NOT MEASURED: it is not installed\n{ours}")
        return
    ratio = statistics.median(rate / base for rate, base in zip(rates, other_rates, strict=True))
    print(f"  {database:10} {other:20} {statistics.median(other_rates):10,.0f} events/s")
    print(f"{ours} {ratio:7.1f} times")


async def naive(server: BrokerServer, path: Path, count: int) -> float:
    """Return the rate of the tutorial's relay."""
    database = sqlite3.connect(path, isolation_level=None)
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = FULL")
    database.execute("CREATE TABLE outbox (id INTEGER PRIMARY KEY, text TEXT, published INTEGER DEFAULT 0)")
    database.execute("CREATE INDEX unpublished ON outbox (id) WHERE published = 0")
    database.executemany("INSERT INTO outbox (text) VALUES (?)", [(TEXT,)] * count)
    async with client(server) as publish:
        started = time.perf_counter()
        statement = "SELECT id, text FROM outbox WHERE published = 0 ORDER BY id LIMIT 1"
        while (row := database.execute(statement).fetchone()) is not None:
            await publish(row[1].encode())
            database.execute("UPDATE outbox SET published = 1 WHERE id = ?", (row[0],))
        rate = count / (time.perf_counter() - started)
    database.close()
    return rate


@asynccontextmanager
async def client(server: BrokerServer) -> AsyncGenerator[Publish, None]:
    """The client library of the broker."""
    if isinstance(server, NatsServer):
        connection = await nats.connect(server.url)
        stream = connection.jetstream()
        await stream.add_stream(name="naive", subjects=["naive.>"])
        yield lambda body: stream.publish("naive.orders", body)
        await connection.close()
    elif isinstance(server, RabbitmqServer):
        async with aiormq.connect(server.url) as connected:
            channel = await connected.channel()
            await channel.queue_declare("naive", durable=True, arguments={"x-queue-type": "quorum"})
            persistent = aiormq.spec.Basic.Properties(delivery_mode=2)
            yield lambda body: channel.basic_publish(body, routing_key="naive", properties=persistent)
    elif isinstance(server, KafkaServer):
        async with kafka_producer(server) as produce:
            yield produce
    else:
        assert isinstance(server, RedisServer)
        redis: Any = Redis.from_url(server.url)
        yield lambda body: redis.xadd("naive", {"data": body})
        await redis.aclose()


@asynccontextmanager
async def kafka_producer(server: KafkaServer) -> AsyncGenerator[Callable[[bytes], Awaitable[None]], None]:
    """Publish with the client library of Kafka, without a delay for batches (`linger.ms=0`)."""
    settings = {"bootstrap.servers": f"127.0.0.1:{server.port}", "acks": "all", "linger.ms": 0}
    topic, admin = f"naive-{uuid4().hex}", AdminClient(settings)
    admin.create_topics([NewTopic(topic, LANES, 1)])[topic].result()
    producer = Producer({**settings, "enable.idempotence": True})

    async def publish(body: bytes) -> None:
        producer.produce(topic, body, b"key")
        await asyncio.to_thread(producer.flush)

    yield publish


def app(url: str, topic: str, start: str) -> fait.App:
    declared = fait.App("bench")
    declared.include(Placed)
    declared.relay(Placed, to=url, topic=topic, name=f"relay-{uuid4().hex}", start=start)  # type: ignore[arg-type]
    return declared


async def relayed(url: str, store: str, count: int) -> float:
    """Return the rate of a relay that catches up."""
    await fill(store, count)
    started = time.perf_counter()
    async with app(url, TOPIC, "beginning").open(store) as system:
        await system.wait(timeout_s=300)
        return count / (time.perf_counter() - started)


async def fill(store: str, count: int) -> None:
    """Append events."""
    plain = fait.App("bench")
    plain.include(Placed)
    async with plain.open(store) as system:
        for start in range(0, count, KEYS):
            new = [fait.NewEvents(f"order-{n}", [Placed(TEXT)]) for n in range(min(KEYS, count - start))]
            await system.append(*new)


async def memory(url: str, directory: Path, count: int) -> float:
    """Return the peak memory, in MB, of a process that publishes so many events."""
    store = f"sqlite:///{directory}/memory-{count}.db"
    await fill(store, count)
    relaying = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "relay", "--child", store, url, stdout=asyncio.subprocess.PIPE
    )
    return float((await relaying.communicate())[0])


async def catch_up(store: str, url: str) -> None:
    """Publish all events; print the peak memory."""
    async with app(url, TOPIC, "beginning").open(store) as system:
        await system.wait(timeout_s=300)
    print(peak_mb())


async def delayed(url: str, path: Path, rate: int, seconds: float) -> list[float]:
    """Return the delays from commit to consumer, sorted, of events at a fixed rate, without those of the first second.

    The former rounds have warmed the server up.
    """
    count = rate + int(rate * seconds)
    broker = await open_broker(url)
    start = "end" if broker.features.seekable else "acknowledged"
    consumer = await broker.consumer(ConsumerSpec(name="bench", lanes=await broker.lanes(DELAYS), start=start), {})
    committed, received = dict[int, float](), dict[int, float]()

    async def consume() -> None:
        while len(received) < count:
            if isinstance(batch := await consumer.receive(1), ConsumedBatch):
                now = time.perf_counter()
                received.update(
                    (int(each.headers.get("ce-sequence") or each.headers["ce_sequence"]), now)
                    for each in batch.messages
                )
                if broker.features.acknowledges == "removal":  # it delivers no more before
                    await consumer.acknowledge(batch.lane, batch.messages[-1].offset)

    async with app(url, DELAYS, "now").open(f"sqlite:///{path}") as system:
        consuming = asyncio.create_task(consume())
        started, commands = time.perf_counter(), set[asyncio.Task[None]]()

        async def place(number: int) -> None:
            result = await system.publish(Placed(TEXT), stream=f"order-{number % KEYS}")
            committed[result.position] = time.perf_counter()

        for number in range(count):
            await asyncio.sleep(started + number / rate - time.perf_counter())
            commands.add(asyncio.create_task(place(number)))
        await asyncio.gather(*commands)
        await asyncio.wait_for(consuming, 60)
    await broker.close()
    return sorted(received[position] - at for position, at in committed.items() if position > rate)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        asyncio.run(catch_up(*sys.argv[2:4]))
    else:
        sys.exit(main())
