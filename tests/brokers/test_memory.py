"""What is special about the broker in memory: several threads use one, and consumers share lanes fairly."""

import asyncio
import threading
from uuid import uuid4

import pytest

from fait.broker import Broker, ConsumedBatch, ConsumerSpec, Message, Source, Topology, open_broker

pytestmark = pytest.mark.anyio

THREADS, MESSAGES = 4, 200


def message(number: int, bucket: int = 0) -> Message:
    return Message(key="a", bucket=bucket, position=number, id=str(number), headers={}, body=str(number).encode())


async def topic_of(broker: Broker, lanes: int) -> ConsumerSpec:
    await broker.check(Topology({"t": lanes}), create=True)
    return ConsumerSpec(name="c", lanes=await broker.lanes("t"), start="beginning", maximum_batch=10)


async def test_publishers_and_a_consumer_in_different_threads_use_one_broker() -> None:
    url = f"memory:{uuid4().hex}"
    broker = await open_broker(url)
    consumer = await broker.consumer(await topic_of(broker, 2), {})

    async def publish(relay: str) -> None:
        publisher = await (await open_broker(url)).publisher("t", Source("log", "epoch", relay), range(256), 1)
        for number in range(MESSAGES):
            await publisher.publish([message(number, number % 2)], after=max(0, number - 1), upto=number)

    threads = [threading.Thread(target=lambda name=str(n): asyncio.run(publish(name))) for n in range(THREADS)]
    for each in threads:
        each.start()
    bodies: list[bytes] = []
    while len(bodies) < THREADS * MESSAGES:
        batch = await consumer.receive(30)
        assert isinstance(batch, ConsumedBatch)
        bodies += [each.body for each in batch.messages]
    for each in threads:
        await asyncio.to_thread(each.join)

    assert sorted(map(int, bodies)) == sorted(list(range(MESSAGES)) * THREADS)


async def test_lanes_take_turns() -> None:
    broker = await open_broker(f"memory:{uuid4().hex}")
    consumer = await broker.consumer(await topic_of(broker, 2), {})
    publisher = await broker.publisher("t", Source("log", "epoch", "relay"), range(256), 1)
    await publisher.publish([message(number, number % 2) for number in range(80)], after=0, upto=80)

    batches = [await consumer.receive(1) for _ in range(8)]

    assert [each.lane.number for each in batches if isinstance(each, ConsumedBatch)] == [0, 1] * 4
