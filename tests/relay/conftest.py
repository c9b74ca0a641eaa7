"""Fixtures of brokers that tests of relays stop and limit."""

from uuid import uuid4

import pytest

from tests.relay.published import (
    KafkaUnderTest,
    MemoryUnderTest,
    NatsUnderTest,
    RabbitmqUnderTest,
    RedisUnderTest,
    TestedBroker,
)

SERVERS = {"nats": NatsUnderTest, "redis": RedisUnderTest}


def server_under_test(request: pytest.FixtureRequest, name: str) -> TestedBroker:
    """Return a broker without topics."""
    if name == "kafka":
        return KafkaUnderTest(request.getfixturevalue("stoppable_kafka_server"))
    return SERVERS[name](request.getfixturevalue(f"{name}_servers")())


@pytest.fixture(params=["memory", "kafka", "nats", "redis"])
async def broker(request: pytest.FixtureRequest) -> TestedBroker:
    """A new broker with the topic `orders`."""
    return await prepared(request)


@pytest.fixture(params=["memory", "kafka", "nats", "redis", "rabbitmq"])
async def any_broker(request: pytest.FixtureRequest) -> TestedBroker:
    """As `broker`, also one that stores no position; the most important tests use it."""
    return await prepared(request)


async def prepared(request: pytest.FixtureRequest) -> TestedBroker:
    if request.param == "memory":
        tested: TestedBroker = MemoryUnderTest(f"memory:{uuid4().hex}")
    elif request.param.startswith("rabbitmq"):
        tested = RabbitmqUnderTest(request.getfixturevalue("rabbitmq_server"))
        tested.url += "?queues=stream" if request.param == "rabbitmq-stream" else ""
    else:
        tested = server_under_test(request, request.param)
    await tested.prepare()
    return tested


@pytest.fixture
async def memory_broker() -> TestedBroker:
    """A new broker in memory with the topic `orders`."""
    tested = MemoryUnderTest(f"memory:{uuid4().hex}")
    await tested.prepare()
    return tested
