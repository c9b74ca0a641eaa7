"""What is particular to Redis Streams: settings of the server, keys of other kinds, entries of other programs."""

from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import pytest
from redis.asyncio import Redis

from fait import BrokerUnavailable, TopologyMismatch, UsageError
from fait._delivery.brokers.redis import consumer as consumer_module
from fait.broker import Broker, ConsumedBatch, ConsumerSpec, Message, Publisher, Source, Topology, open_broker
from tests.servers.redis import RedisServer


@pytest.fixture
async def broker(redis_server: RedisServer) -> AsyncIterator[Broker]:
    broker = await open_broker(redis_server.url, timeout_s=5)
    yield broker
    await broker.close()


@pytest.fixture
async def client(redis_server: RedisServer) -> AsyncIterator[Any]:
    """The client library."""
    client = Redis.from_url(redis_server.url)
    yield client
    await client.aclose()


async def publisher_of(broker: Broker, topic: str) -> Publisher:
    await broker.check(Topology({topic: 1}), create=True)
    return await broker.publisher(topic, Source("log", "epoch", "relay"), range(256), 1)


def message(position: int) -> Message:
    return Message(key="k", bucket=0, position=position, id=str(position), headers={}, body=b"x")


async def test_key_of_another_kind_is_a_mismatch_and_nothing_is_stored(broker: Broker, client: Any) -> None:
    publisher = await publisher_of(broker, "kind")
    await client.set("fait:kind:0", "text")

    with pytest.raises(TopologyMismatch, match="fait:kind:0 that is no stream"):
        await publisher.publish([message(1)], after=0, upto=1)

    findings = await broker.check(Topology({"kind": 1}), create=False)
    assert [each.detail for each in findings if each.name == "key fait:kind:0"] == ["it is a string, not a stream"]


async def test_changed_number_of_lanes_is_a_mismatch_and_nothing_is_stored(broker: Broker, client: Any) -> None:
    publisher = await publisher_of(broker, "lanes")
    await client.hset("fait:lanes", "lanes", 2)

    with pytest.raises(TopologyMismatch, match="another number of lanes"):
        await publisher.publish([message(1)], after=0, upto=1)

    assert await client.exists("fait:lanes:0") == 0


async def test_full_memory_is_an_outage_and_nothing_is_stored(redis_servers: Callable[..., RedisServer]) -> None:
    server = redis_servers()
    broker, client = await open_broker(server.url), Redis.from_url(server.url)
    publisher = await publisher_of(broker, "full")
    await client.config_set("maxmemory", "1mb")

    with pytest.raises(BrokerUnavailable, match=r"OOM|maxmemory"):
        await publisher.publish([message(1)], after=0, upto=1)
    await client.config_set("maxmemory", "0")

    assert await client.exists("fait:full:0") == 0
    with pytest.raises(BrokerUnavailable):
        await publisher.publish([message(1)], after=0, upto=1)
    await client.aclose()
    await broker.close()


async def test_entry_of_another_program_has_its_fields_as_headers(broker: Broker, client: Any) -> None:
    await publisher_of(broker, "foreign")
    await client.xadd("fait:foreign:0", {"Amount": "5", "data": b"\xff", "headers": "no json"})
    (lane,) = await broker.lanes("foreign")
    consumer = await broker.consumer(ConsumerSpec(name="c", lanes=(lane,), start="beginning"), {})

    batch = await consumer.receive(5)

    assert isinstance(batch, ConsumedBatch)
    (found,) = batch.messages
    assert (found.key, found.headers, found.body) == (None, {"amount": "5", "headers": "no json"}, b"\xff")


@pytest.mark.parametrize(
    ("settings", "check", "detail"),
    [
        ({"appendonly": "no"}, "persistence", "appendonly is no: a restart loses all entries since the last snapshot"),
        (
            {"appendfsync": "everysec"},
            "persistence",
            "appendfsync is everysec: a power failure loses entries that were confirmed",
        ),
        (
            {"maxmemory": "100mb", "maxmemory-policy": "allkeys-lru"},
            "eviction",
            "maxmemory-policy is allkeys-lru: the server deletes streams when its memory is full",
        ),
    ],
)
async def test_check_finds_setting_that_loses_entries(
    redis_servers: Callable[..., RedisServer], settings: Mapping[str, str], check: str, detail: str
) -> None:
    broker = await open_broker(redis_servers(settings=settings).url)

    findings = await broker.check(Topology({}), create=False)

    assert [(each.name, each.detail) for each in findings if each.status == "problem"] == [(check, detail)]
    await broker.close()


async def test_check_of_a_user_who_may_not_read_settings_is_unknown(redis_servers: Callable[..., RedisServer]) -> None:
    server = redis_servers()
    client = Redis.from_url(server.url)
    await client.execute_command("ACL", "SETUSER", "default", "-config")
    broker = await open_broker(server.url)

    (finding,) = await broker.check(Topology({}), create=False)

    assert (finding.name, finding.status) == ("settings", "unknown")
    await client.aclose()
    await broker.close()


@pytest.mark.parametrize("url", ["redis://127.0.0.1/orders", "redis://127.0.0.1/?retry=5"])
async def test_part_of_the_url_that_would_be_ignored_is_refused(url: str) -> None:
    with pytest.raises(UsageError, match="Nothing was opened"):
        await open_broker(url)


async def consumer_of(broker: Broker, topic: str, maximum_batch: int = 500) -> Any:
    spec = ConsumerSpec(name="c", lanes=await broker.lanes(topic), start="beginning", maximum_batch=maximum_batch)
    return await broker.consumer(spec, {})


async def test_large_backlog_is_counted_by_several_calls(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consumer_module, "COUNTED_ENTRIES", 3)
    monkeypatch.setattr(consumer_module, "MAX_COUNTS", 2)
    publisher = await publisher_of(broker, "large")
    await publisher.publish([message(position) for position in range(1, 12)], after=0, upto=11)
    consumer = await consumer_of(broker, "large", maximum_batch=2)

    assert [await consumer.backlog() for _ in range(2)] == [None, 11]
    await consumer.receive(1)
    await publisher.publish([message(12)], after=11, upto=12)
    assert await consumer.backlog() == 10


async def test_entries_that_are_received_during_a_count_are_no_backlog(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    publisher = await publisher_of(broker, "during")
    await publisher.publish([message(position) for position in range(1, 6)], after=0, upto=5)
    consumer = await consumer_of(broker, "during")
    call, counts = consumer._counting.call, list[Any]()

    async def receive_during_call(*command: Any) -> Any:
        counts.append(await call(*command))
        if len(counts) == 1:
            await consumer.receive(1)
        return counts[-1]

    monkeypatch.setattr(consumer._counting, "call", receive_during_call)

    assert await consumer.backlog() == 0
    assert [count[0] for count in counts] == [5, 0]


async def test_deleted_entries_are_no_backlog_after_the_next_read(broker: Broker, client: Any) -> None:
    publisher = await publisher_of(broker, "deleted")
    await publisher.publish([message(position) for position in range(1, 6)], after=0, upto=5)
    consumer = await consumer_of(broker, "deleted")
    assert await consumer.backlog() == 5

    await client.xtrim("fait:deleted:0", maxlen=0)
    assert await consumer.receive(0.3) is None

    assert await consumer.backlog() == 0
