"""What is particular to RabbitMQ: queues, confirmations, limits, and what its client library does at an outage."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack
from typing import Any
from uuid import uuid4

import aiormq
import pytest

from fait import BrokerUnavailable, TopologyMismatch, UsageError
from fait._delivery.brokers.destination import destination_of
from fait._delivery.brokers.rabbitmq import consumer
from fait._delivery.brokers.rabbitmq.connection import RabbitmqConnection
from fait._delivery.brokers.rabbitmq.queues import queue_arguments
from fait.broker import (
    Accepted,
    Broker,
    ConsumedBatch,
    ConsumedMessage,
    Consumer,
    ConsumerSpec,
    LaneRevoked,
    Message,
    Publisher,
    Refused,
    Source,
    Topology,
    Unsent,
    open_broker,
)
from tests.brokers.proxy import Proxy
from tests.inbox.topics import until
from tests.servers.certificate import Certificate
from tests.servers.home import free_port
from tests.servers.rabbitmq import RabbitmqServer

QUORUM = {"x-queue-type": "quorum", "x-single-active-consumer": True}
SETTLE_S = 1.0
"""A queue that was declared less than half a second before its server is killed may be lost."""


class Opened:
    """Opens brokers, publishers and consumers of one topic, which are closed after the test."""

    def __init__(self, server: RabbitmqServer, closing: AsyncExitStack) -> None:
        self.topic = f"t-{uuid4().hex}"
        self.server = server
        self._closing = closing

    async def broker(self, lanes: int = 0, options: str = "") -> Broker:
        broker = await open_broker(f"{self.server.url}{options}", timeout_s=5)
        self._closing.push_async_callback(broker.close)
        if lanes:
            await broker.check(Topology({self.topic: lanes}), create=True)
        return broker

    async def publisher(self, broker: Broker) -> Publisher:
        return await broker.publisher(self.topic, Source("log", "epoch", "relay"), range(256), 1)

    async def consumer(self, broker: Broker, maximum_batch: int = 500) -> Consumer:
        lanes = await broker.lanes(self.topic)
        spec = ConsumerSpec(name="c", lanes=lanes, start="acknowledged", maximum_batch=maximum_batch)
        return await broker.consumer(spec, {})

    async def stored(self) -> dict[str | None, list[str]]:
        """Return the bodies of all messages by key."""
        broker, found = await self.broker(), dict[str | None, list[str]]()
        consumer = await self.consumer(broker)
        while isinstance(batch := await consumer.receive(0.5), ConsumedBatch):
            for each in batch.messages:
                found.setdefault(each.key, []).append(each.body.decode())
        await broker.close()
        return found

    async def queue(self, number: int, arguments: Mapping[str, Any] | None, *, durable: bool = True) -> None:
        """Declare the queue of a lane as another program does; without arguments, delete it."""
        async with aiormq.connect(client_url(self.server)) as connection:
            channel = await connection.channel()
            if arguments is None:
                await channel.queue_delete(f"fait:{self.topic}:{number}")
            else:
                await channel.exchange_declare(f"fait:{self.topic}:{number + 1}", durable=True, internal=True)
                await channel.queue_declare(f"fait:{self.topic}:{number}", durable=durable, arguments=dict(arguments))

    async def send(self, body: bytes, properties: Any) -> None:
        """Publish a message to the first lane as another program does."""
        async with aiormq.connect(client_url(self.server)) as connection:
            channel = await connection.channel()
            await channel.basic_publish(body, routing_key=f"fait:{self.topic}:0", properties=properties)


def client_url(server: RabbitmqServer) -> str:
    return f"{server.url}/".replace("://", "://guest:guest@")


@pytest.fixture
async def opened(rabbitmq_server: RabbitmqServer) -> AsyncIterator[Opened]:
    async with AsyncExitStack() as closing:
        yield Opened(rabbitmq_server, closing)


def message(position: int, key: str = "k", body: bytes = b"", **headers: str) -> Message:
    content = body or str(position).encode()
    return Message(key=key, bucket=len(key) - 1, position=position, id=f"{position}", headers=headers, body=content)


async def publish(publisher: Publisher, *batch: Message) -> list[str]:
    """Publish messages and return the kinds of the outcomes."""
    return [type(each).__name__ for each in await publisher.publish(batch, after=0, upto=1)]


async def received(consumer: Consumer) -> list[ConsumedMessage]:
    batch = await consumer.receive(10)
    assert isinstance(batch, ConsumedBatch)
    return list(batch.messages)


async def receive_until_outage(consumer: Consumer) -> None:
    while True:
        await consumer.receive(10)


# Publishing


async def test_message_without_a_queue_is_an_outage_and_then_a_mismatch_until_the_queue_is_created(
    opened: Opened,
) -> None:
    broker = await opened.broker(lanes=2)
    publisher = await opened.publisher(broker)
    await opened.queue(1, None)

    with pytest.raises(BrokerUnavailable, match=f"there is no queue 'fait:{opened.topic}:1'") as caught:
        await publish(publisher, message(1, "kk"))

    assert caught.value.outcome == "unknown"
    with pytest.raises(TopologyMismatch, match="is missing"):
        await opened.publisher(await opened.broker())
    again = await opened.broker(lanes=2)
    assert await publish(await opened.publisher(again), message(1, "kk")) == ["Accepted"]


async def test_full_queue_is_an_outage_and_keeps_the_order_of_the_key(opened: Opened) -> None:
    await opened.queue(0, {**QUORUM, "x-max-length": 3, "x-overflow": "reject-publish"})
    publisher = await opened.publisher(await opened.broker())

    async def publish_until_outage() -> None:
        for start in range(1, 1_000, 20):
            await publish(publisher, *[message(position) for position in range(start, start + 20)])

    with pytest.raises(BrokerUnavailable, match="is full or not available"):
        await publish_until_outage()

    (found,) = (await opened.stored()).values()
    assert found == [str(position) for position in range(1, len(found) + 1)]
    with pytest.raises(BrokerUnavailable):
        await publish(publisher, message(1_000))


async def test_message_above_the_limit_of_the_server_is_refused_alone(opened: Opened) -> None:
    limit = "application:{0}_env(rabbit, max_message_size{1})."
    broker = await opened.broker(lanes=1)
    await opened.server.control("eval", limit.format("set", ", 100000"))
    try:
        publisher = await opened.publisher(broker)
        large = message(2, body=b"x" * 100_001)
        outcomes = await publisher.publish(
            [message(1), large, message(3), message(4, "kk"), message(5, "kk", b"x" * 100_000)], after=0, upto=5
        )
        again = await publish(publisher, message(6, "kk", b"y" * 100_000), message(7, "kk"))
    finally:
        await opened.server.control("eval", limit.format("set", ", 134217728"))

    assert [type(each) for each in outcomes] == [Accepted, Refused, Unsent, Accepted, Accepted]
    assert isinstance(refused := outcomes[1], Refused)
    assert refused.code == "too-large"
    assert "larger than configured max size 100000" in refused.reason
    assert again == ["Accepted", "Accepted"]


async def test_headers_that_do_not_fit_into_a_frame_are_refused(opened: Opened) -> None:
    publisher = await opened.publisher(await opened.broker(lanes=1))
    headers = {f"ce-{number}": "x" * 10_000 for number in range(13)}
    wide = message(1, "k", b"", **headers)

    outcomes = await publisher.publish([wide, message(2), message(3, "kk")], after=0, upto=3)

    assert [type(each) for each in outcomes] == [Refused, Unsent, Accepted]
    assert isinstance(outcomes[0], Refused)
    assert outcomes[0].code == "header"


async def test_one_message_of_a_key_is_unconfirmed_at_a_time(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    publish_one, unconfirmed, most = aiormq.Channel.basic_publish, list[str](), dict[str, int]()

    async def counting(self: Any, body: bytes, **options: Any) -> Any:
        key = options["properties"].headers["Fait-Key"]
        unconfirmed.append(key)
        most[key] = max(most.get(key, 0), unconfirmed.count(key))
        most["all"] = max(most.get("all", 0), len(unconfirmed))
        confirmed = await publish_one(self, body, **options)
        unconfirmed.remove(key)
        return confirmed

    monkeypatch.setattr(aiormq.Channel, "basic_publish", counting)
    publisher = await opened.publisher(await opened.broker(lanes=2))

    await publish(publisher, *[message(position, "k" * (position % 7 + 1)) for position in range(70)])

    assert most.pop("all") == 7
    assert set(most.values()) == {1}


async def test_killed_server_loses_no_confirmed_message_and_delivers_unacknowledged_ones_again_in_order(
    opened: Opened,
) -> None:
    broker = await opened.broker(lanes=2)
    publisher, confirmed = await opened.publisher(broker), 0
    consumer, lanes = await opened.consumer(broker, maximum_batch=5), await broker.lanes(opened.topic)
    await asyncio.sleep(SETTLE_S)

    def batch() -> list[Message]:
        return [message(confirmed + at, "k" * (at % 20 + 1)) for at in range(1, 201)]

    async def publish_until_outage() -> None:
        nonlocal confirmed
        while True:
            await publish(publisher, *batch())
            confirmed += 200

    publishing = asyncio.create_task(publish_until_outage())
    first, *_ = [await received(consumer) for _ in range(6)]
    opened.server.kill()
    with pytest.raises(BrokerUnavailable):
        await publishing
    with pytest.raises(BrokerUnavailable):
        await receive_until_outage(consumer)
    for call in (broker.lanes(opened.topic), consumer.acknowledge(lanes[0], first[0].offset)):
        with pytest.raises(BrokerUnavailable):
            await call
    opened.server.start()
    with pytest.raises(BrokerUnavailable):
        await publish(publisher, message(1))
    await publish(await opened.publisher(await opened.broker()), *batch())

    found = {key: [int(body) for body in bodies] for key, bodies in (await opened.stored()).items()}
    everything = [position for positions in found.values() for position in positions]
    assert set(everything) == set(range(1, confirmed + 201))
    assert len(everything) <= confirmed + 400
    for positions in found.values():
        assert list(dict.fromkeys(positions)) == sorted(set(positions))


# Consuming


async def test_second_consumer_of_a_queue_is_refused_and_the_first_one_continues(opened: Opened) -> None:
    broker = await opened.broker(lanes=1)
    first = await opened.consumer(broker)

    with pytest.raises(BrokerUnavailable, match=r"has another consumer.*\?queues=stream"):
        await opened.consumer(await opened.broker())

    await publish(await opened.publisher(broker), message(1))
    assert [each.body for each in await received(first)] == [b"1"]


async def test_consumer_waits_for_a_former_one_that_is_closed_soon(opened: Opened) -> None:
    broker = await opened.broker(lanes=2)
    await publish(await opened.publisher(broker), message(1))
    former = await opened.consumer(broker)
    opening = asyncio.create_task(opened.consumer(await opened.broker()))
    await round_trips(await opened.broker(), opened.topic)
    assert not opening.done()

    await former.close()

    assert [each.body for each in await received(await opening)] == [b"1"]


async def test_one_of_two_consumers_that_begin_at_the_same_time_gets_all_queues(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumer, "LOCK_WAIT_S", 0.3)
    await opened.broker(lanes=8)
    for _ in range(3):
        brokers = [await opened.broker() for _ in range(2)]
        results = await asyncio.gather(*map(opened.consumer, brokers), return_exceptions=True)

        assert sum(isinstance(each, BrokerUnavailable) for each in results) == 1
        await asyncio.gather(*(each.close() for each in brokers))


async def test_new_consumer_gets_few_messages_before_it_acknowledges_some(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumer, "MAX_UNACKNOWLEDGED", 200)
    broker = await opened.broker(lanes=4)
    publisher, lanes = await opened.publisher(broker), await broker.lanes(opened.topic)
    for start in range(0, 400, 200):
        await publish(publisher, *[message(start + at, "k" * (at % 4 + 1)) for at in range(200)])
    reader, batches = await opened.consumer(broker), list[ConsumedBatch]()
    while isinstance(batch := await reader.receive(0.5), ConsumedBatch):
        batches.append(batch)

    assert sum(len(each.messages) for each in batches) == 200

    await reader.acknowledge(lanes[0], [each for each in batches if each.lane == lanes[0]][-1].messages[-1].offset)
    assert await received(reader)


async def test_queue_without_single_active_consumer_has_no_consumer(opened: Opened) -> None:
    await opened.queue(0, {"x-queue-type": "quorum"})

    with pytest.raises(TopologyMismatch, match="without x-single-active-consumer"):
        await opened.consumer(await opened.broker())


async def test_queue_without_order_has_several_consumers_and_each_message_goes_to_one(opened: Opened) -> None:
    broker = await opened.broker(lanes=1, options="?order=none")
    consumers = [await opened.consumer(await opened.broker(options="?order=none"), maximum_batch=1) for _ in range(3)]

    await publish(await opened.publisher(broker), *[message(number) for number in range(9)])

    found = [[each.body for each in await received(consumer)] for consumer in consumers * 3]
    assert sorted(found) == [[str(number).encode()] for number in range(9)]
    assert [await each.receive(0.2) for each in consumers] == [None, None, None]
    assert broker.features.order == "none"


async def test_queue_with_single_active_consumer_has_no_consumer_without_order(opened: Opened) -> None:
    await opened.broker(lanes=1)

    with pytest.raises(TopologyMismatch, match="with x-single-active-consumer: only one consumer"):
        await opened.consumer(await opened.broker(options="?order=none"))


async def test_queue_of_another_kind_has_no_consumer(opened: Opened) -> None:
    broker = await opened.broker(lanes=1, options="?queues=stream")

    with pytest.raises(TopologyMismatch, match="of type stream, not quorum"):
        await opened.consumer(await opened.broker())
    assert broker.features.seekable


async def test_deleted_queue_revokes_its_lane(opened: Opened) -> None:
    broker = await opened.broker(lanes=2)
    consumer = await opened.consumer(broker)
    first, second = await broker.lanes(opened.topic)
    await opened.queue(1, None)

    assert await consumer.receive(10) == LaneRevoked(second)
    await publish(await opened.publisher(await opened.broker(lanes=2)), message(1))
    batch = await consumer.receive(10)
    assert isinstance(batch, ConsumedBatch)
    assert batch.lane == first


async def test_offsets_of_two_consumers_differ_and_one_does_not_acknowledge_for_the_other(opened: Opened) -> None:
    broker = await opened.broker(lanes=1)
    await publish(await opened.publisher(broker), message(1), message(2))
    (lane,) = await broker.lanes(opened.topic)
    first = await opened.consumer(broker)
    former = await received(first)
    await first.close()
    second = await opened.consumer(broker)
    current = await received(second)

    await second.acknowledge(lane, former[1].offset)
    await second.close()

    assert not {each.offset for each in former} & {each.offset for each in current}
    assert await opened.stored() == {"k": ["1", "2"]}


async def test_stream_that_deleted_the_last_message_by_a_limit_is_read_from_its_first_message(opened: Opened) -> None:
    limits = {"x-max-length-bytes": 5_000, "x-stream-max-segment-size-bytes": 1_000}
    await opened.queue(0, {"x-queue-type": "stream", **limits})
    broker = await opened.broker(options="?queues=stream")
    publisher, lanes = await opened.publisher(broker), await broker.lanes(opened.topic)
    spec = ConsumerSpec(name="c", lanes=lanes, start="beginning")
    await publish(publisher, message(1))
    first = await received(await broker.consumer(spec, {}))

    for position in range(2, 42):
        await publish(publisher, message(position, body=b"%d" % position + b"-" * 500))
    consumer = await broker.consumer(spec, {lanes[0]: first[0].offset})

    found = [int(each.body.partition(b"-")[0]) for each in await received(consumer)]
    assert found == list(range(found[0], found[0] + len(found)))
    assert found[0] > 2


async def test_server_that_stops_before_it_delivers_the_last_message_is_an_outage_and_no_loss(
    rabbitmq_servers: Callable[..., RabbitmqServer],
) -> None:
    server = rabbitmq_servers(options="queues=stream")
    broker = await open_broker(server.url, timeout_s=4)
    await broker.check(Topology({"orders": 1}), create=True)
    lanes = await broker.lanes("orders")
    spec = ConsumerSpec(name="c", lanes=lanes, start="beginning")
    opening = asyncio.create_task(
        broker.consumer(spec, {lanes[0]: f"4@{0:016x}"})
    )  # until 2 s later, it waits for the message

    other = await open_broker(server.url)
    await round_trips(other, "orders")
    await other.close()
    server.freeze()
    try:
        with pytest.raises(BrokerUnavailable, match="no answer within 4 s"):
            await opening
    finally:
        server.thaw()
        await broker.close()


async def test_message_of_another_program_has_its_properties_as_headers(opened: Opened) -> None:
    broker = await opened.broker(lanes=1)
    headers: Any = {"Amount": 5, "Raw": bytearray(b"\xff"), "Text": "ä"}
    properties = aiormq.spec.Basic.Properties(content_type="application/json", message_id="7", headers=headers)
    await opened.send(b"{}", properties)

    (found,) = await received(await opened.consumer(broker))

    expected = {"content-type": "application/json", "message-id": "7", "amount": "5", "raw": "\ufffd", "text": "ä"}
    assert (found.key, found.headers, found.body) == (None, expected, b"{}")


@pytest.mark.parametrize(("options", "start"), [("", "beginning"), ("", "end"), ("?queues=stream", "acknowledged")])
async def test_start_that_queues_do_not_have_is_refused(opened: Opened, options: str, start: Any) -> None:
    broker = await opened.broker(lanes=1, options=options)
    spec = ConsumerSpec(name="c", lanes=await broker.lanes(opened.topic), start=start)

    with pytest.raises(UsageError, match="no such start"):
        await broker.consumer(spec, {})


async def round_trips(broker: Broker, topic: str) -> None:
    """Let the server answer many requests, so that other connections have got their first answers."""
    for _ in range(5):
        await broker.check(Topology({topic: 1}), create=False)


# Topics


async def test_topic_without_one_of_its_queues_is_missing(opened: Opened) -> None:
    broker = await opened.broker(lanes=4)
    await opened.queue(2, None)

    with pytest.raises(TopologyMismatch, match="is missing"):
        await broker.lanes(opened.topic)

    assert len(await (await opened.broker(lanes=4)).lanes(opened.topic)) == 4


@pytest.mark.parametrize(
    ("arguments", "check", "detail"),
    [
        (QUORUM, "", ""),
        ({**QUORUM, "x-max-length": 9, "x-overflow": "reject-publish"}, "", ""),
        ({**QUORUM, "x-max-length": 9}, "deletion", "x-max-length 9: the server deletes messages"),
        ({**QUORUM, "x-message-ttl": 9, "x-expires": 99_999}, "deletion", "x-message-ttl 9, x-expires 99999: the "),
        ({**QUORUM, "x-delivery-limit": 3}, "deletion", "x-delivery-limit 3: the server deletes messages"),
        (
            {**QUORUM, "x-delivery-limit": 3, "x-dead-letter-exchange": "dead"},
            "deletion",
            "x-delivery-limit 3: the server moves messages to the exchange dead, and the consumer never gets them",
        ),
        ({"x-queue-type": "quorum"}, "queues", "without x-single-active-consumer"),
        ({"x-single-active-consumer": True}, "queues", "of type classic, not quorum"),
        ({"x-queue-type": "stream", "x-max-age": "1D"}, "deletion", "x-max-age 1D: the server deletes messages"),
    ],
)
async def test_check_finds_arguments_that_lose_messages(
    opened: Opened, arguments: Mapping[str, Any], check: str, detail: str
) -> None:
    await opened.queue(0, arguments)
    is_stream = arguments.get("x-queue-type") == "stream"
    broker = await opened.broker(options="?queues=stream" if is_stream else "")

    findings = await broker.check(Topology({opened.topic: 1}), create=False)

    problems = {each.name.split()[0]: each.detail for each in findings if each.status == "problem"}
    assert set(problems) == ({check} if check else set())
    assert detail in problems.get(check, "")
    unknown = {each.name.split()[0] for each in findings if each.status == "unknown"}
    assert unknown == ({"policies", "persistence"} if is_stream else {"policies"})


async def test_check_says_nothing_of_the_persistence_of_queues_of_another_type(opened: Opened) -> None:
    await opened.queue(0, {"x-queue-type": "stream"})

    findings = await (await opened.broker()).check(Topology({opened.topic: 1}), create=False)

    assert {each.name.split()[0]: each.status for each in findings} == {
        "topic": "ok", "queues": "problem", "deletion": "ok", "policies": "unknown",
    }  # fmt: skip


async def test_check_finds_a_queue_that_is_not_durable_behind_others(opened: Opened) -> None:
    await opened.broker(lanes=2)
    await opened.queue(1, None)
    await opened.queue(1, {}, durable=False)

    findings = await (await opened.broker()).check(Topology({opened.topic: 2}), create=False)

    assert {each.name.split()[0] for each in findings if each.status == "problem"} == {"queues", "persistence"}


def test_messages_are_delivered_without_limit_by_a_server_that_has_one_by_default() -> None:
    assert queue_arguments("quorum", 4) == {**QUORUM, "x-delivery-limit": -1}
    assert queue_arguments("quorum", 3) == QUORUM


# The connection


async def test_cancellation_by_the_client_library_is_an_outage(rabbitmq_server: RabbitmqServer) -> None:
    connection = RabbitmqConnection(destination_of(rabbitmq_server.url, {}), 5)
    await connection.open()

    async def canceled() -> None:
        raise asyncio.CancelledError

    with pytest.raises(BrokerUnavailable):
        await connection.run(canceled, "unknown")
    await connection.close()


async def test_cancellation_of_a_call_is_none_of_the_broker(opened: Opened) -> None:
    broker = await opened.broker(lanes=1)
    opened.server.freeze()
    try:
        asking = asyncio.create_task(broker.lanes(opened.topic))
        await until(broker._connection._one_at_a_time.locked)
        await asyncio.sleep(0)  # it waits for the answer
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
    finally:
        opened.server.thaw()


async def test_wrong_password_is_an_outage_and_is_never_shown(
    rabbitmq_server: RabbitmqServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    url = rabbitmq_server.url.replace("://", "://guest:${PASSWORD}@")

    with pytest.raises(BrokerUnavailable, match="ACCESS_REFUSED") as caught:
        await open_broker(url, variables={"PASSWORD": "wrong-secret"})
    await (await open_broker(url, variables={"PASSWORD": "guest"})).close()

    for shown in (str(caught.value), repr(caught.value), caplog.text):
        assert "secret" not in shown
    assert caught.value.__suppress_context__


async def test_certificate_is_verified_unless_the_url_says_otherwise(
    rabbitmq_servers: Callable[..., RabbitmqServer], certificate: Certificate
) -> None:
    server = rabbitmq_servers(certificate=certificate)

    with pytest.raises(BrokerUnavailable, match="certificate verify failed"):
        await open_broker(server.url)
    for options in ("?tls=unverified", f"?ca={certificate.public}"):
        await (await open_broker(f"{server.url}{options}")).close()
    plain = server.url.replace("amqps", "amqp")
    await (await open_broker(f"{plain}?tls=verified&ca={certificate.public}")).close()


async def test_password_is_not_sent_without_tls_if_the_url_demands_it(rabbitmq_server: RabbitmqServer) -> None:
    async with Proxy(rabbitmq_server.port) as proxy:
        url = f"amqp://guest:${{PASSWORD}}@127.0.0.1:{proxy.port}?tls=verified"

        with pytest.raises(BrokerUnavailable):
            await open_broker(url, timeout_s=2, variables={"PASSWORD": "guest"})

        assert b"guest" not in proxy.received


async def test_unreachable_server_is_an_outage_at_once() -> None:
    port = free_port()

    async with asyncio.timeout(2):
        with pytest.raises(BrokerUnavailable, match=f"127.0.0.1:{port}"):
            await open_broker(f"amqp://127.0.0.1:{port}", timeout_s=10)


async def test_path_is_the_virtual_host(rabbitmq_server: RabbitmqServer) -> None:
    await (await open_broker(f"{rabbitmq_server.url}/%2F")).close()

    with pytest.raises(BrokerUnavailable, match="refuses the virtual host 'other'"):
        await open_broker(f"{rabbitmq_server.url}/other")
