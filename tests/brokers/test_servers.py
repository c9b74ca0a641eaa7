"""What the contract does not test: killed servers, lost answers, passwords, TLS, and ranges that split and merge."""

import asyncio
import logging
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from fait import BrokerUnavailable, Fenced, MissingExtra, TopologyMismatch
from fait.broker import (
    Accepted,
    Broker,
    ConsumedBatch,
    ConsumedMessage,
    Consumer,
    ConsumerSpec,
    Message,
    Publisher,
    Source,
    Topology,
    open_broker,
)
from fait.testing.contract.broker_under_test import position
from tests.brokers.proxy import Proxy
from tests.servers.broker import BrokerServer
from tests.servers.certificate import Certificate

KINDS = ["kafka", "nats", "redis"]
ALL = range(256)
SOURCE = Source("log", "epoch", "relay")


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def servers(request: pytest.FixtureRequest, kind: str) -> Callable[..., BrokerServer]:
    return request.getfixturevalue(f"{kind}_servers")


@pytest.fixture
def server(request: pytest.FixtureRequest, kind: str) -> BrokerServer:
    if kind == "kafka":
        return request.getfixturevalue("stoppable_kafka_server")
    return request.getfixturevalue(f"{kind}_servers")()


class Brokers:
    """Opens brokers, which are closed after the test."""

    def __init__(self, opened: AsyncExitStack) -> None:
        self._opened = opened

    async def open(self, url: str, **variables: str) -> Broker:
        broker = await open_broker(url, timeout_s=10, variables=variables)
        self._opened.push_async_callback(broker.close)
        return broker

    async def with_topic(self, url: str, lanes: int = 4, **variables: str) -> Broker:
        broker = await self.open(url, **variables)
        await broker.check(Topology({"orders": lanes}), create=True)
        return broker


@pytest.fixture
async def brokers() -> AsyncIterator[Brokers]:
    async with AsyncExitStack() as opened:
        yield Brokers(opened)


def message(position: int, key: int = 0, body: bytes = b"") -> Message:
    """Return a message; the key is its bucket."""
    content = body or str(position).encode()
    return Message(key=f"key-{key}", bucket=key, position=position, id=f"id-{position}", headers={}, body=content)


def messages(start: int, stop: int, keys: int = 4) -> list[Message]:
    return [message(position, position % keys) for position in range(start, stop)]


async def stored(brokers: Brokers, url: str) -> dict[str | None, list[int]]:
    """Return the positions of all stored messages by key, in their order."""
    broker = await brokers.open(url)
    spec = ConsumerSpec(name="reader", lanes=await broker.lanes("orders"), start="beginning")
    found: dict[str | None, list[int]] = {}
    for each in await received(await broker.consumer(spec, {})):
        found.setdefault(each.key, []).append(int(each.body))
    return found


async def received(consumer: Consumer) -> list[ConsumedMessage]:
    """Return all messages of a consumer up to a pause. Kafka shows those of a transaction a little after its commit."""
    everything: list[ConsumedMessage] = []
    while isinstance(batch := await consumer.receive(1 if everything else 3), ConsumedBatch):
        everything += batch.messages
    return everything


async def receive_until_outage(consumer: Consumer) -> None:
    async with asyncio.timeout(20):
        while True:
            await consumer.receive(5)


def by_key(expected: Sequence[Message]) -> dict[str, list[int]]:
    keys: dict[str, list[int]] = {}
    for each in expected:
        keys.setdefault(each.key, []).append(each.position)
    return keys


async def publisher_of(broker: Broker, buckets: range = ALL, token: int = 1) -> Publisher:
    return await broker.publisher("orders", SOURCE, buckets, token)


# Outages


async def test_server_killed_with_calls_in_flight_loses_no_confirmed_message_and_repeats_none(
    server: BrokerServer, brokers: Brokers
) -> None:
    publisher = await publisher_of(await brokers.with_topic(server.url))
    confirmed = 0

    async def publish_until_outage() -> None:
        nonlocal confirmed
        while True:
            await publisher.publish(messages(confirmed + 1, confirmed + 201), after=confirmed, upto=confirmed + 200)
            confirmed += 200

    publishing = asyncio.create_task(publish_until_outage())
    await asyncio.sleep(0.3)
    server.kill()
    with pytest.raises(BrokerUnavailable):
        await publishing
    server.start()

    successor = await publisher_of(await brokers.open(server.url))
    progress = await position(successor)
    reached = progress.position if progress else 0
    assert reached in (confirmed, confirmed + 200)
    await successor.publish(messages(reached + 1, reached + 101), after=reached, upto=reached + 100)
    assert await stored(brokers, server.url) == by_key(messages(1, reached + 101))


@pytest.mark.parametrize("kind", ["nats", "redis"])  # clients of Kafka connect to the address that the server names
async def test_answer_that_is_lost_leaves_messages_stored_and_the_same_call_again_stores_nothing(
    server: BrokerServer, brokers: Brokers
) -> None:
    await brokers.with_topic(server.url)
    batch = messages(1, 21)
    async with Proxy(server.port) as proxy:
        publisher = await publisher_of(await brokers.open(server.url.replace(str(server.port), str(proxy.port))))
        proxy.lose_answer = True

        with pytest.raises(BrokerUnavailable) as caught:
            await publisher.publish(batch, after=0, upto=20)

    assert caught.value.outcome == "unknown"
    successor = await publisher_of(await brokers.open(server.url))
    progress = await position(successor)
    assert progress is not None
    assert progress.position == 20
    with pytest.raises(Fenced, match="stores position 20, not 0"):
        await successor.publish(batch, after=0, upto=20)
    assert await stored(brokers, server.url) == by_key(batch)


async def test_publisher_does_not_connect_again_after_a_restart(server: BrokerServer, brokers: Brokers) -> None:
    broker = await brokers.with_topic(server.url)
    publisher = await publisher_of(broker)
    server.kill()
    server.start()

    for _ in range(3):
        with pytest.raises(BrokerUnavailable):
            await publisher.publish([message(1)], after=0, upto=1)
        with pytest.raises(BrokerUnavailable):
            await broker.lanes("orders")

    assert await stored(brokers, server.url) == {}


async def test_consumer_continues_at_its_own_offset_after_a_restart(server: BrokerServer, brokers: Brokers) -> None:
    broker = await brokers.with_topic(server.url, lanes=1)
    await (await publisher_of(broker)).publish(messages(1, 11, keys=1), after=0, upto=10)
    (lane,) = await broker.lanes("orders")
    spec = ConsumerSpec(name="c", lanes=(lane,), start="beginning", maximum_batch=4)
    consumer = await broker.consumer(spec, {})
    first = await consumer.receive(5)
    assert isinstance(first, ConsumedBatch)
    server.kill()
    with pytest.raises(BrokerUnavailable):
        await receive_until_outage(consumer)
    server.start()

    again = await brokers.open(server.url)
    remainder = await received(await again.consumer(spec, {lane: first.messages[-1].offset}))

    assert [int(each.body) for each in remainder] == [5, 6, 7, 8, 9, 10]


async def test_unreachable_server_is_an_outage_at_once(server: BrokerServer) -> None:
    server.kill()

    async with asyncio.timeout(2):
        with pytest.raises(BrokerUnavailable, match=f"127.0.0.1:{server.port}"):
            await open_broker(server.url, timeout_s=10)


# Ranges


async def test_range_that_was_merged_from_two_begins_at_the_lower_position_and_repeats_nothing(
    server: BrokerServer, brokers: Brokers
) -> None:
    broker = await brokers.with_topic(server.url)
    left, right = await publisher_of(broker, range(2)), await publisher_of(broker, range(2, 256))
    everything = messages(1, 41)
    await left.publish([each for each in everything if each.bucket < 2], after=0, upto=40)
    await right.publish([each for each in everything[:10] if each.bucket >= 2], after=0, upto=10)

    merged = await publisher_of(broker, token=2)
    progress = await position(merged)
    outcomes = await merged.publish(everything[10:], after=10, upto=40)

    assert progress is not None
    assert progress.position == 10
    assert all(isinstance(each, Accepted) for each in outcomes)
    assert await stored(brokers, server.url) == by_key(everything)


async def test_range_that_was_split_begins_at_the_position_of_the_whole(server: BrokerServer, brokers: Brokers) -> None:
    broker = await brokers.with_topic(server.url)
    whole = await publisher_of(broker)
    await whole.publish(messages(1, 11), after=0, upto=10)
    half = await publisher_of(broker, range(128), token=2)
    progress = await position(half)
    await half.publish([message(11, 1)], after=10, upto=11)
    other = await publisher_of(broker, range(128, 256), token=2)
    await half.publish([message(12, 1)], after=11, upto=12)

    with pytest.raises(Fenced):
        await whole.publish([message(13, 200)], after=10, upto=13)
    assert [each and each.position for each in (progress, await position(half), await position(other))] == [
        10,
        12,
        10,
    ]


async def test_publisher_is_fenced_by_one_of_a_part_of_its_buckets_before_that_publishes(
    server: BrokerServer, brokers: Brokers
) -> None:
    broker = await brokers.with_topic(server.url)
    former = await publisher_of(broker)
    await former.publish([message(1)], after=0, upto=1)
    await publisher_of(await brokers.open(server.url), range(7, 8))

    for _ in range(2):
        with pytest.raises(Fenced):
            await former.publish([message(2)], after=1, upto=2)

    assert await stored(brokers, server.url) == {"key-0": [1]}


async def test_topic_that_is_deleted_while_a_publisher_is_open_accepts_nothing(
    server: BrokerServer, brokers: Brokers
) -> None:
    publisher = await publisher_of(await brokers.with_topic(server.url))
    server.kill()
    server.erase()
    server.start()

    with pytest.raises(BrokerUnavailable):
        await publisher.publish([message(1)], after=0, upto=1)
    with pytest.raises(TopologyMismatch, match="'orders' is missing"):
        await publisher_of(await brokers.open(server.url))


# Secrets and TLS


async def test_wrong_password_is_an_outage_and_is_never_shown(
    kind: str, servers: Callable[..., BrokerServer], brokers: Brokers, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    server = servers(password="right-secret")
    url = server.url.replace("fait@", "").replace("://", "://${USER}:${PASSWORD}@", 1)
    user = "default" if kind == "redis" else "fait"

    with pytest.raises(BrokerUnavailable) as caught:
        await brokers.open(url, USER=user, PASSWORD="wrong-secret")
    await brokers.with_topic(url, USER=user, PASSWORD="right-secret")

    for shown in (str(caught.value), repr(caught.value), caplog.text):
        assert "secret" not in shown
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


async def test_self_signed_certificate_is_refused_unless_the_url_says_otherwise(
    servers: Callable[..., BrokerServer], brokers: Brokers, certificate: Certificate
) -> None:
    server = servers(certificate=certificate)

    with pytest.raises(BrokerUnavailable, match="certificate verify failed"):
        await brokers.open(server.url)
    await brokers.with_topic(f"{server.url}?tls=unverified")
    await brokers.with_topic(f"{server.url}?tls=verified&ca={certificate.public}")


async def test_password_is_not_sent_to_a_server_without_tls_if_the_url_demands_it(
    server: BrokerServer, brokers: Brokers
) -> None:
    async with Proxy(server.port) as proxy:
        url = server.url.replace(str(server.port), str(proxy.port)).replace("://", "://user:${PASSWORD}@")

        with pytest.raises(BrokerUnavailable):
            await brokers.open(f"{url}?tls=verified", PASSWORD="secret-of-user")

        assert b"secret-of-user" not in proxy.received


async def test_server_without_tls_and_without_users_is_refused_if_the_url_demands_tls(
    server: BrokerServer, brokers: Brokers
) -> None:
    with pytest.raises(BrokerUnavailable):
        await brokers.open(f"{server.url}?tls=verified")


# Client libraries


@pytest.mark.parametrize(
    ("scheme", "library", "extra"),
    [
        ("kafka", "confluent_kafka", "kafka"),
        ("kafka+ssl", "confluent_kafka", "kafka"),
        ("nats", "nats", "nats"),
        ("redis", "redis", "redis"),
        ("rediss", "redis", "redis"),
        ("amqp", "aiormq", "rabbitmq"),
        ("amqps", "aiormq", "rabbitmq"),
    ],
)
async def test_missing_library_names_the_extra_that_installs_it(
    scheme: str, library: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, library, None)

    with pytest.raises(MissingExtra, match=rf"fait\[{extra}\]"):
        await open_broker(f"{scheme}://127.0.0.1")


def test_libraries_are_imported_on_use_only() -> None:
    program = "import sys, fait.broker; print({'aiormq', 'confluent_kafka', 'nats', 'redis'} & set(sys.modules))"

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert done.stdout == "set()\n"


def test_scripts_are_part_of_the_package() -> None:
    folder = Path(sys.modules[Publisher.__module__].__file__ or "").parent / "_delivery" / "brokers" / "redis"

    assert {each.name for each in folder.glob("*.lua")} == {"open_publisher.lua", "publish.lua"}
