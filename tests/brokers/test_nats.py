"""What is particular to NATS JetStream: settings of streams, encoded headers, gaps, messages of other programs."""

import asyncio
import gc
from collections.abc import AsyncIterator
from typing import Any

import nats
import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg

from fait import BrokerUnavailable, Fenced
from fait._delivery.brokers.nats.consumer import numbers_of
from fait.broker import Broker, ConsumedBatch, ConsumerSpec, Message, Refused, Source, Topology, Unsent, open_broker
from tests.servers.nats import NatsServer


@pytest.fixture
async def broker(nats_server: NatsServer) -> AsyncIterator[Broker]:
    broker = await open_broker(nats_server.url, timeout_s=5)
    yield broker
    await broker.close()


@pytest.fixture
async def stream(nats_server: NatsServer) -> AsyncIterator[Any]:
    """JetStream through the client library."""
    client = await nats.connect(nats_server.url)
    yield client.jetstream()
    await client.close()


async def create(broker: Broker, topic: str) -> None:
    await broker.check(Topology({topic: 1}), create=True)


def message(position: int, body: bytes = b"x", **headers: str) -> Message:
    return Message(key="k", bucket=0, position=position, id=str(position), headers=headers, body=body)


async def test_limit_of_the_stream_refuses_a_message_and_stores_nothing_of_the_call(
    broker: Broker, stream: Any
) -> None:
    await create(broker, "limited")
    settings = (await stream.stream_info("limited")).config
    await stream.update_stream(settings.evolve(max_msg_size=20_000))
    publisher = await broker.publisher("limited", Source("log", "epoch", "relay"), range(256), 1)

    large = await publisher.publish([message(1), message(2, b"x" * 20_000), message(3)], after=0, upto=3)
    headers = await publisher.publish([message(1, b"", name="ä" * 4_000)], after=0, upto=3)

    assert [type(each) for each in large] == [Unsent, Refused, Unsent]
    assert isinstance(headers[0], Refused)
    assert headers[0].code == "too-large"
    assert await publisher.progress() == {}


async def test_call_with_a_wrong_limit_is_an_outage_of_which_nothing_is_stored(broker: Broker, stream: Any) -> None:
    await create(broker, "lowered")
    publisher = await broker.publisher("lowered", Source("log", "epoch", "relay"), range(256), 1)
    await publisher.publish([message(1)], after=0, upto=1)
    settings = (await stream.stream_info("lowered")).config
    await stream.update_stream(settings.evolve(max_msg_size=2_000))

    with pytest.raises(BrokerUnavailable):
        await publisher.publish([message(2), message(3, b"x" * 9_000), message(4)], after=1, upto=4)

    assert len(await bodies(broker, "lowered")) == 1


async def bodies(broker: Broker, topic: str) -> list[bytes]:
    spec = ConsumerSpec(name="reader", lanes=await broker.lanes(topic), start="beginning")
    consumer, found = await broker.consumer(spec, {}), list[bytes]()
    while isinstance(batch := await consumer.receive(0.5), ConsumedBatch):
        found += [each.body for each in batch.messages]
    await consumer.close()
    return found


async def test_of_publishers_that_open_at_the_same_time_at_most_one_publishes(
    broker: Broker, nats_server: NatsServer
) -> None:
    await create(broker, "contested")
    source = Source("log", "epoch", "relay")
    others = [await open_broker(nats_server.url) for _ in range(4)]
    ranges = [range(256), range(128), range(64, 256), range(256)]

    opening = [each.publisher("contested", source, buckets, 1) for each, buckets in zip(others, ranges, strict=True)]
    opened = await asyncio.gather(*opening, return_exceptions=True)

    published = 0
    for each in opened:
        if isinstance(each, BaseException):
            assert isinstance(each, BrokerUnavailable | Fenced)
            continue
        try:
            await each.publish(
                [Message(key="k", bucket=100, position=1, id="1", headers={}, body=b"x")], after=0, upto=1
            )
            published += 1
        except Fenced:
            pass
    assert published <= 1
    assert len(await bodies(broker, "contested")) == published
    for each in others:
        await each.close()


async def test_gap_in_delivered_messages_is_an_outage(broker: Broker, nats_server: NatsServer) -> None:
    await create(broker, "gap")
    (lane,) = await broker.lanes("gap")
    consumer: Any = await broker.consumer(ConsumerSpec(name="c", lanes=(lane,), start="beginning"), {})
    client = consumer._connection._client
    for number in (1, 3):
        reply = f"$JS.ACK.gap.consumer.1.{number}.{number}.0.0"
        consumer._handle(lane, Msg(client, subject="gap.lane.0", reply=reply, data=b"x"))

    first = await consumer.receive(1)
    with pytest.raises(BrokerUnavailable, match="messages 2 to 2 of a pull did not arrive"):
        await consumer.receive(1)

    assert [each.offset.partition("@")[0] for each in first.messages] == ["1"]


def test_reply_subject_has_sequences_with_and_without_a_domain() -> None:
    assert numbers_of("$JS.ACK.orders.c.1.47.11.1700.0") == ("47", 11, "1700")
    assert numbers_of("$JS.ACK.domain.account.orders.c.1.47.11.1700.0.token") == ("47", 11, "1700")


async def test_message_of_another_program_has_no_key_and_plain_headers(broker: Broker, stream: Any) -> None:
    await create(broker, "foreign")
    await stream.publish("foreign.lane.0", b"{}", headers={"X-Rate": "100%41", "ce-subject": "a%20b"})
    (lane,) = await broker.lanes("foreign")
    consumer = await broker.consumer(ConsumerSpec(name="c", lanes=(lane,), start="beginning"), {})

    batch = await consumer.receive(5)

    assert isinstance(batch, ConsumedBatch)
    (found,) = batch.messages
    assert (found.key, found.headers, found.body) == (None, {"x-rate": "100%41", "ce-subject": "a b"}, b"{}")


@pytest.mark.parametrize(
    ("changes", "check", "detail"),
    [
        ({"max_age": 3600.0}, "deletion", "max_age 3600 s: the server deletes older messages"),
        ({"max_msgs": 10}, "deletion", "max_msgs 10: the server deletes older messages"),
        ({"allow_rollup_hdrs": False}, "publishing", "allow_rollup_hdrs is off: nothing can be sent"),
    ],
)
async def test_check_finds_setting(
    broker: Broker, stream: Any, changes: dict[str, Any], check: str, detail: str
) -> None:
    topic = f"set-{'-'.join(changes)}"
    await create(broker, topic)
    await stream.update_stream((await stream.stream_info(topic)).config.evolve(**changes))

    findings = await broker.check(Topology({topic: 1}), create=False)

    assert [each.detail for each in findings if each.status == "problem"] == [detail]
    assert f"{check} {topic}" in [each.name for each in findings if each.status == "problem"]


async def test_check_finds_stream_in_memory_and_stream_of_another_program(broker: Broker, stream: Any) -> None:
    await stream.add_stream(name="volatile", subjects=["volatile.>"], storage="memory")

    findings = {each.name: each for each in await broker.check(Topology({"volatile": 1}), create=True)}

    assert findings["topic volatile"].status == "problem"
    assert findings["persistence volatile"].detail == "storage is memory: a restart loses all"
    assert findings["publishing volatile"].detail == "allow_atomic and allow_rollup_hdrs is off: nothing can be sent"


async def test_check_says_that_sync_interval_cannot_be_read(broker: Broker) -> None:
    await create(broker, "single")

    findings = {each.name: each for each in await broker.check(Topology({"single": 1}), create=False)}

    assert findings["persistence single"].status == "unknown"
    assert "sync_interval" in findings["persistence single"].detail


async def test_request_that_cannot_be_sent_is_an_outage_and_not_reported_by_asyncio(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    reported = list[Any]()
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))

    async def fail(*_: Any, **__: Any) -> None:
        raise nats.errors.ConnectionClosedError

    monkeypatch.setattr(nats.aio.client.Client, "publish", fail)
    with pytest.raises(BrokerUnavailable, match="connection closed"):
        await broker.lanes("never-created")
    gc.collect()

    assert reported == []


async def test_subscriptions_end_although_the_client_is_interrupted_while_it_closes(
    nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = await open_broker(nats_server.url)
    client: Any = opened
    with monkeypatch.context() as patched:
        patched.setattr(Client, "close", interrupted)
        await opened.close()

    running = [each for each in asyncio.all_tasks() if "_wait_for_msgs" in repr(each.get_coro())]
    await client._connection._client.close()
    assert running == []


async def interrupted(client: Client) -> None:
    raise TimeoutError
