"""What is particular to Kafka: transactions, fences, settings of topics, threads, messages of other programs."""

import asyncio
import logging
import threading
import time
from collections.abc import AsyncIterator
from concurrent.futures import Future
from typing import Any
from uuid import uuid4

import pytest
from confluent_kafka import Consumer as KafkaClientConsumer
from confluent_kafka import KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    ResourceType,
)

from fait import BrokerUnavailable, Fenced, TopologyMismatch, UsageError
from fait._delivery.brokers.kafka.names import publisher_name, topic_name
from fait.broker import (
    Accepted,
    Broker,
    ConsumedBatch,
    ConsumedMessage,
    ConsumerSpec,
    Message,
    Publisher,
    Refused,
    Source,
    Topology,
    Unsent,
    open_broker,
)
from fait.testing.contract.broker_under_test import position as position_of
from tests.servers.kafka import KafkaServer

ALL = range(256)
SOURCE = Source("log", "epoch", "relay")


@pytest.fixture(params=["on", "off"])
def transactions(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
async def broker(kafka_server: KafkaServer) -> AsyncIterator[Broker]:
    broker = await open_broker(kafka_server.url, timeout_s=10)
    yield broker
    await broker.close()


@pytest.fixture
def settings(kafka_server: KafkaServer) -> dict[str, Any]:
    """Settings of the client library."""
    return {"bootstrap.servers": f"127.0.0.1:{kafka_server.port}", "log_level": 0}


@pytest.fixture
def admin(settings: dict[str, Any]) -> AdminClient:
    return AdminClient(settings)


async def new_topic(broker: Broker, lanes: int = 1) -> str:
    topic = f"t-{uuid4().hex}"
    await broker.check(Topology({topic: lanes}), create=True)
    return topic


def change(admin: AdminClient, topic: str, **settings: str) -> None:
    """Change settings of a topic, and wait until its server shows them; `_` is `.` in their names."""
    values = {name.replace("_", "."): value for name, value in settings.items()}
    entries = [ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET) for name, value in values.items()]
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=entries)
    admin.incremental_alter_configs([resource])[resource].result()
    end = time.monotonic() + 10
    while not values.items() <= settings_of(admin, topic).items():
        assert time.monotonic() < end, f"the server does not show {values}"


def settings_of(admin: AdminClient, topic: str) -> dict[str, str]:
    """Return the settings of a topic as its server shows them."""
    resource = ConfigResource(ResourceType.TOPIC, topic)
    return {name: entry.value for name, entry in admin.describe_configs([resource])[resource].result().items()}


def message(position: int, key: str = "k", body: bytes = b"", bucket: int = 0) -> Message:
    content = body or str(position).encode()
    return Message(key=key, bucket=bucket, position=position, id=str(position), headers={}, body=content)


async def visible(broker: Broker, topic: str) -> list[ConsumedMessage]:
    """Return all messages up to a pause."""
    spec = ConsumerSpec(name="reader", lanes=await broker.lanes(topic), start="beginning")
    consumer, found = await broker.consumer(spec, {}), list[ConsumedMessage]()
    while isinstance(batch := await consumer.receive(0.5 if found else 10), ConsumedBatch):
        found += batch.messages
    await consumer.close()
    return found


async def bodies(broker: Broker, topic: str) -> list[str]:
    return [each.body.decode() for each in await visible(broker, topic)]


# Fences


async def test_takeover_aborts_the_open_transaction_of_a_killed_publisher(
    broker: Broker, settings: dict[str, Any]
) -> None:
    topic = await new_topic(broker)
    former = await broker.publisher(topic, SOURCE, range(128), 1)
    await former.publish([message(1)], after=0, upto=1)
    name = f"fait/{topic}/{publisher_name(SOURCE, range(128))}"
    killed = Producer({**settings, "transactional.id": name, "transaction.timeout.ms": 60_000})
    killed.init_transactions(10)
    killed.begin_transaction()
    killed.produce(topic, b"open", b"k", 0)
    killed.flush(10)

    successor = await broker.publisher(topic, SOURCE, ALL, 2)
    stored = await successor.progress()
    await successor.publish([message(2, bucket=200)], after=0, upto=2)

    with pytest.raises(KafkaException):
        killed.commit_transaction(10)
    assert set(stored) == set(range(128))
    assert await bodies(broker, topic) == ["1", "2"]


async def test_publisher_with_a_smaller_token_is_refused_and_the_current_one_continues(broker: Broker) -> None:
    topic = await new_topic(broker)
    current = await broker.publisher(topic, SOURCE, ALL, 5)

    for buckets in (ALL, range(7, 8)):
        with pytest.raises(Fenced, match="greater fencing token"):
            await broker.publisher(topic, SOURCE, buckets, 4)

    assert await current.publish([message(1)], after=0, upto=1) == [Accepted()]


async def test_of_publishers_that_open_at_the_same_time_at_most_one_publishes(
    broker: Broker, kafka_server: KafkaServer
) -> None:
    topic = await new_topic(broker)
    others = [await open_broker(kafka_server.url) for _ in range(4)]
    ranges = [ALL, range(128), range(64, 256), ALL]

    opening = [each.publisher(topic, SOURCE, buckets, 1) for each, buckets in zip(others, ranges, strict=True)]
    opened = await asyncio.gather(*opening, return_exceptions=True)
    published = [await attempt(each) for each in opened]

    assert published.count(True) <= 1
    assert len(await bodies(broker, topic)) == published.count(True)
    for each in others:
        await each.close()


async def attempt(opened: Publisher | BaseException) -> bool:
    """Publish a message; return whether it was accepted."""
    if isinstance(opened, BaseException):
        assert isinstance(opened, BrokerUnavailable | Fenced)
        return False
    try:
        await opened.publish([message(1, bucket=100)], after=0, upto=1)
    except Fenced:
        return False
    return True


async def test_ranges_that_split_and_merge_leave_one_record_of_each_publisher_that_can_return(
    broker: Broker, settings: dict[str, Any]
) -> None:
    topic = await new_topic(broker)
    whole = await broker.publisher(topic, SOURCE, ALL, 1)
    await whole.publish([message(1)], after=0, upto=1)
    for position, buckets in enumerate((range(128), range(128, 256), range(64)), 2):
        part = await broker.publisher(topic, SOURCE, buckets, 2)
        progress = await position_of(part)
        assert progress is not None
        await part.publish([message(position, bucket=buckets.start)], after=progress.position, upto=position)

    merged = await broker.publisher(topic, SOURCE, ALL, 3)

    progress = await position_of(merged)
    assert progress is not None
    assert progress.position == 2
    last = {each.key(): each.value() for each in raw(settings, f"{topic}.Publishers")}
    assert {key.decode().rpartition("/")[0] for key, value in last.items() if value} == {publisher_name(SOURCE, ALL)}


def raw(settings: dict[str, Any], topic: str) -> list[Any]:
    """Return all messages of a partition."""
    consumer = KafkaClientConsumer(
        {**settings, "group.id": "raw", "auto.offset.reset": "earliest", "enable.partition.eof": True}
    )
    consumer.assign([TopicPartition(topic, 0, 0)])
    found: list[Any] = []
    while (each := consumer.poll(5)) is not None and each.error() is None:
        found.append(each)
    consumer.close()
    return found


async def test_added_partitions_are_a_mismatch_until_the_records_are_deleted(
    broker: Broker, admin: AdminClient
) -> None:
    topic = await new_topic(broker, 2)
    await broker.publisher(topic, SOURCE, ALL, 1)
    admin.create_partitions([NewPartitions(topic, 4)])[topic].result()

    with pytest.raises(TopologyMismatch, match="has 4 lanes, and had 2 when messages were published"):
        await broker.publisher(topic, Source("other", "epoch", "relay"), ALL, 2)

    admin.delete_topics([f"{topic}.Publishers"])[f"{topic}.Publishers"].result()
    await broker.check(Topology({topic: 4}), create=True)
    await broker.publisher(topic, SOURCE, ALL, 3)


# Refused messages and outages


async def test_limit_of_the_topic_refuses_a_message(kafka_server: KafkaServer, transactions: str) -> None:
    broker = await open_broker(f"{kafka_server.url}?transactions={transactions}")
    topic = await new_topic(broker)
    change(AdminClient({"bootstrap.servers": f"127.0.0.1:{kafka_server.port}"}), topic, max_message_bytes="20000")
    publisher = await broker.publisher(topic, SOURCE, ALL, 1)
    batch = [message(1), message(2, body=b"x" * 30_000), message(3, "other"), message(4)]

    outcomes = await publisher.publish(batch, after=0, upto=4)
    long_key = await publisher.publish([message(5, "ä" * 11_000)], after=0, upto=5)

    kinds = [Unsent, Refused, Unsent, Unsent] if transactions == "on" else [Accepted, Refused, Accepted, Unsent]
    assert [type(each) for each in outcomes] == kinds
    assert isinstance(long_key[0], Refused)
    assert long_key[0].code == "too-large"
    await broker.close()


async def test_call_with_a_wrong_limit_is_an_outage_of_which_nothing_is_stored(
    broker: Broker, admin: AdminClient
) -> None:
    topic = await new_topic(broker)
    publisher = await broker.publisher(topic, SOURCE, ALL, 1)
    await publisher.publish([message(1)], after=0, upto=1)
    change(admin, topic, max_message_bytes="2000")

    with pytest.raises(BrokerUnavailable):
        await publisher.publish([message(2), message(3, body=b"x" * 9_000), message(4)], after=1, upto=4)

    assert await bodies(broker, topic) == ["1"]
    successor = await broker.publisher(topic, SOURCE, ALL, 1)
    assert (await successor.publish([message(2)], after=1, upto=2))[0] == Accepted()


async def test_commit_whose_answer_is_lost_is_stored_and_the_same_call_again_is_fenced(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    topic = await new_topic(broker)
    publisher: Any = await broker.publisher(topic, SOURCE, ALL, 1)
    client = publisher._producer._client._client

    class Losing:
        def __getattr__(self, name: str) -> Any:
            return getattr(client, name)

        def commit_transaction(self, timeout_s: float) -> None:
            client.commit_transaction(timeout_s)
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT))

    monkeypatch.setattr(publisher._producer._client, "_client", Losing())
    with pytest.raises(BrokerUnavailable) as caught:
        await publisher.publish([message(1)], after=0, upto=1)

    successor = await broker.publisher(topic, SOURCE, ALL, 1)
    progress = await position_of(successor)
    assert caught.value.outcome == "unknown"
    assert progress is not None
    assert progress.position == 1
    with pytest.raises(Fenced, match="stores position 1, not 0"):
        await successor.publish([message(1)], after=0, upto=1)
    assert await bodies(broker, topic) == ["1"]


async def test_server_killed_with_unconfirmed_messages_stores_a_prefix_of_each_key_once(
    stoppable_kafka_server: KafkaServer, transactions: str
) -> None:
    url = f"{stoppable_kafka_server.url}?transactions={transactions}"
    broker = await open_broker(url, timeout_s=10)
    topic = await new_topic(broker, 4)
    publisher = await broker.publisher(topic, SOURCE, ALL, 1)
    batch = [message(n, f"key-{n % 10}", b"%d" % n + b" " * 3_000, n % 10) for n in range(1, 1_001)]

    publishing = asyncio.create_task(publisher.publish(batch, after=0, upto=1_000))
    await asyncio.sleep(0.003)
    stoppable_kafka_server.kill()
    with pytest.raises(BrokerUnavailable) as caught:
        await publishing
    stoppable_kafka_server.start()

    await broker.close()
    again = await open_broker(url, timeout_s=20)
    successor = await again.publisher(topic, SOURCE, ALL, 1)
    progress = await position_of(successor)
    after = progress.position if progress else 0
    last = [message(1_001 + n, f"key-{n}", bucket=n) for n in range(10)]
    await successor.publish(last, after=after, upto=1_010)
    found = await visible(again, topic)
    assert caught.value.outcome == "unknown" or len(found) == 10  # on a busy machine nothing may have been sent
    for key in range(10):
        of_key = [int(each.body) for each in found if each.key == f"key-{key}"]
        expected = [n for n in range(1, 1_001) if n % 10 == key]
        assert of_key == [*expected[: len(of_key) - 1], 1_001 + key]
    assert transactions == "off" or len(found) - 10 == after
    assert transactions == "off" or after in (0, 1_000)
    await again.close()


async def test_missing_records_are_a_mismatch_that_check_repairs(broker: Broker, admin: AdminClient) -> None:
    topic = f"t-{uuid4().hex}"
    admin.create_topics([NewTopic(topic, 3, -1)])[topic].result()

    with pytest.raises(TopologyMismatch, match=f"has no topic {topic}.Publishers"):
        await broker.publisher(topic, SOURCE, ALL, 1)
    assert f"publishers {topic}" in await problems(broker, topic, 3)
    await broker.check(Topology({topic: 3}), create=True)

    await broker.publisher(topic, SOURCE, ALL, 1)
    assert await problems(broker, topic, 3) == {f"deletion {topic}": DELETED}


# Threads and logs


async def test_waiting_for_a_frozen_server_blocks_no_other_task_and_its_threads_end(
    stoppable_kafka_server: KafkaServer,
) -> None:
    before = set(threading.enumerate())
    broker = await open_broker(stoppable_kafka_server.url, timeout_s=1)
    topic = await new_topic(broker)
    publisher = await broker.publisher(topic, SOURCE, ALL, 1)
    lanes = await broker.lanes(topic)
    consumer = await broker.consumer(ConsumerSpec(name="c", lanes=lanes, start="beginning"), {})
    stoppable_kafka_server.freeze()
    ticks = 0
    try:
        waiting = asyncio.gather(
            publisher.publish([message(1)], after=0, upto=1), consumer.receive(0.5), return_exceptions=True
        )
        while not waiting.done():
            await asyncio.sleep(0.01)
            ticks += 1
        await broker.close()
    finally:
        stoppable_kafka_server.thaw()

    assert isinstance((await waiting)[0], BrokerUnavailable)
    assert ticks > 20
    for each in set(threading.enumerate()) - before:
        each.join(5)
    assert not [each for each in set(threading.enumerate()) - before if each.is_alive()]


async def test_log_of_the_library_goes_to_the_logger_and_not_to_stderr(
    capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "fait")

    with pytest.raises(BrokerUnavailable, match=r"127.0.0.1:1/bootstrap.*Connection refused"):
        await open_broker("kafka://127.0.0.1:1", timeout_s=5)

    assert "Connection refused" in caplog.text
    assert capfd.readouterr().err == ""


# Topics, messages and settings


async def test_names_that_kafka_does_not_distinguish_are_different_topics(broker: Broker) -> None:
    suffix = uuid4().hex
    names = [f"a.b.{suffix}", f"a_b.{suffix}"]
    await broker.check(Topology(dict.fromkeys(names, 1)), create=True)

    for name in names:
        await (await broker.publisher(name, SOURCE, ALL, 1)).publish([message(1, body=name.encode())], after=0, upto=1)

    assert [await bodies(broker, name) for name in names] == [[name] for name in names]
    assert [topic_name(each) for each in ("orders", "order_events", "shop.orders", "shop.order_events")] == [
        "orders",
        "order_events",
        "shop.orders",
        "shop.orderUevents",
    ]


async def test_topic_that_collides_with_another_one_is_a_mismatch(broker: Broker) -> None:
    name = uuid4().hex
    await broker.check(Topology({f"a.{name}": 1}), create=True)

    with pytest.raises(TopologyMismatch, match="collides with existing topic"):
        await broker.check(Topology({f"a_{name}": 1}), create=True)


async def test_message_of_another_program_has_no_key_and_any_headers(broker: Broker, settings: dict[str, Any]) -> None:
    topic = await new_topic(broker)
    producer = Producer(settings)
    producer.produce(topic, None, None, headers=[("X-Rate", b"\xff"), ("empty", None), ("ce_id", "ä")])
    producer.flush(10)

    (found,) = await visible(broker, topic)

    assert (found.key, found.headers, found.body) == (None, {"x-rate": "\ufffd", "empty": "", "ce_id": "ä"}, b"")


async def test_acknowledged_offset_is_that_of_the_group_for_other_tools(
    broker: Broker, settings: dict[str, Any]
) -> None:
    topic = await new_topic(broker)
    publisher = await broker.publisher(topic, SOURCE, ALL, 1)
    await publisher.publish([message(1), message(2), message(3)], after=0, upto=3)
    (lane,) = await broker.lanes(topic)
    consumer = await broker.consumer(ConsumerSpec(name=f"group-{topic}", lanes=(lane,), start="beginning"), {})
    batch = await consumer.receive(5)
    assert isinstance(batch, ConsumedBatch)

    await consumer.acknowledge(lane, batch.messages[1].offset)
    await consumer.close()

    tool = KafkaClientConsumer({**settings, "group.id": f"group-{topic}"})
    assert [each.offset for each in tool.committed([TopicPartition(topic, 0)], 10)] == [2]
    tool.close()


async def test_frozen_server_does_not_hold_up_reads_by_the_commit_of_an_offset(
    stoppable_kafka_server: KafkaServer,
) -> None:
    broker = await open_broker(stoppable_kafka_server.url, timeout_s=10)
    topic = await new_topic(broker)
    [lane] = await broker.lanes(topic)
    publisher = await broker.publisher(topic, SOURCE, ALL, 1)
    await publisher.publish([message(1)], after=0, upto=1)
    consumer: Any = await broker.consumer(ConsumerSpec(name="c", lanes=[lane], start="beginning"), {})
    while not isinstance(batch := await consumer.receive(1), ConsumedBatch):
        pass
    stoppable_kafka_server.freeze()
    try:
        await consumer.acknowledge(lane, batch.messages[0].offset)
        async with asyncio.timeout(4):
            while consumer._committed.get(lane) is None:
                await consumer.receive(0.1)
    finally:
        stoppable_kafka_server.thaw()
    await broker.close()


async def test_offset_whose_message_is_deleted_continues_with_the_first_that_is_left(
    broker: Broker, admin: AdminClient
) -> None:
    topic = await new_topic(broker)
    publisher = await broker.publisher(topic, SOURCE, ALL, 1)
    await publisher.publish([message(n) for n in range(1, 6)], after=0, upto=5)
    (lane,) = await broker.lanes(topic)
    for deleted in admin.delete_records([TopicPartition(topic, 0, 3)]).values():
        deleted.result()

    consumer = await broker.consumer(ConsumerSpec(name="c", lanes=(lane,), start="beginning"), {lane: "0"})
    batch = await consumer.receive(5)

    assert isinstance(batch, ConsumedBatch)
    assert [each.body for each in batch.messages] == [b"4", b"5"]


async def test_one_of_several_servers_is_enough(kafka_server: KafkaServer) -> None:
    broker = await open_broker(f"kafka://127.0.0.1:1,127.0.0.1:{kafka_server.port}", timeout_s=5)

    assert len(await broker.lanes(await new_topic(broker))) == 1
    await broker.close()


DELETED = "retention.ms 604800000: the server deletes older messages, also those that a consumer has not read"


async def problems(broker: Broker, topic: str, lanes: int = 1) -> dict[str, str]:
    findings = await broker.check(Topology({topic: lanes}), create=False)
    return {each.name: each.detail for each in findings if each.status == "problem"}


@pytest.mark.parametrize(
    ("changes", "check", "detail"),
    [
        ({"retention_ms": "604800000"}, "deletion", DELETED),
        (
            {"cleanup_policy": "compact"},
            "deletion",
            "cleanup.policy is compact: the server deletes all events of a key but the last one",
        ),
        (
            {"flush_messages": "1000"},
            "persistence",
            "1 replica, and flush.messages is not 1: a power failure loses messages that were confirmed",
        ),
        (
            {"unclean_leader_election_enable": "true"},
            "persistence",
            "unclean.leader.election.enable is true: a failover to a replica that lags behind loses messages",
        ),
        (
            {"max_message_bytes": "50000"},
            "size",
            "max.message.bytes is 50,000: larger events are refused, and their keys are parked",
        ),
    ],
)
async def test_check_finds_setting_of_a_topic(
    broker: Broker, admin: AdminClient, changes: dict[str, str], check: str, detail: str
) -> None:
    topic = await new_topic(broker)
    assert await problems(broker, topic) == {}
    change(admin, topic, **changes)

    assert await problems(broker, topic) == {f"{check} {topic}": detail}


async def test_check_finds_records_that_are_not_compacted(broker: Broker, admin: AdminClient) -> None:
    topic = await new_topic(broker)
    change(admin, f"{topic}.Publishers", cleanup_policy="delete")

    assert await problems(broker, topic) == {
        f"publishers {topic}": f"cleanup.policy of {topic}.Publishers is delete: the server deletes positions"
    }


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("kafka://127.0.0.1/orders", "it has a path"),
        ("kafka://127.0.0.1/?retry=5", "unknown option 'retry'"),
        ("kafka://127.0.0.1?transactions=maybe", "transactions= must be on or off"),
        ("kafka://user:${PASSWORD}@127.0.0.1?sasl=gssapi", "sasl= must be one of plain, scram-sha-256"),
        ("kafka://user@127.0.0.1", "it needs both a user and a password"),
    ],
)
async def test_part_of_the_url_that_would_be_ignored_is_refused(url: str, reason: str) -> None:
    with pytest.raises(UsageError, match=f"{reason}.*Nothing was opened"):
        await open_broker(url, variables={"PASSWORD": "secret"})


# Leaders of new topics


class AdminWithoutLeaders:
    """A client to which partitions answer a few times that their node is not their leader yet."""

    def __init__(self, client: Any, failures: int) -> None:
        self.failures = failures
        self._client = client

    def list_offsets(self, asked: dict[TopicPartition, Any], **options: Any) -> dict[TopicPartition, Future[Any]]:
        answers = self._client.list_offsets(asked, **options)
        if self.failures > 0:
            self.failures -= 1
            answer = answers[next(iter(answers))] = Future[Any]()
            answer.set_exception(KafkaException(KafkaError(KafkaError.NOT_LEADER_FOR_PARTITION)))
        return answers

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)


async def test_topic_is_created_when_each_partition_answers_as_its_leader(broker: Any) -> None:
    broker._admin._client = client = AdminWithoutLeaders(broker._admin._client, failures=3)

    await broker.check(Topology({f"t-{uuid4().hex}": 3}), create=True)

    assert client.failures == 0


async def test_topic_whose_partitions_get_no_leader_in_time_is_an_outage(kafka_server: KafkaServer) -> None:
    broker: Any = await open_broker(kafka_server.url, timeout_s=1)
    broker._admin._client = AdminWithoutLeaders(broker._admin._client, failures=10_000)
    try:
        with pytest.raises(BrokerUnavailable, match="has partitions without a leader 1 s after it was created"):
            await broker.check(Topology({f"t-{uuid4().hex}": 3}), create=True)
    finally:
        await broker.close()
