"""Where a consumer begins, and what it does if its topic has changed behind its offset."""

import asyncio
import sqlite3
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiormq
import nats
import pytest
import redis.asyncio
from confluent_kafka.admin import AdminClient

import fait
from fait._delivery.brokers.kafka import consumer as kafka_consumer
from fait._delivery.brokers.memory.server import server_of
from fait._delivery.brokers.port import Source, Topology
from fait._delivery.inbox.rewind import rewind_consumer
from tests.inbox.topics import SOURCE, Placed, Reserved, idle, new_topic, placed, until
from tests.relay.published import TOPIC, Counted, NatsUnderTest, RedisUnderTest, append, relay_app, until_published
from tests.relay.test_lost_messages import rewind
from tests.servers.broker import BrokerServer


def app_of(url: str, topic: str, seen: list[int], **options: Any) -> fait.App:
    app = fait.App("stock")
    app.include(Reserved)

    @app.consume(topic, from_=url, name="consumer", **{"as_": Placed, "trusts": [SOURCE.log_id], **options})
    async def handle(event: Placed) -> None:
        seen.append(event.number)

    return app


async def test_variable_that_names_another_broker_needs_an_accepted_definition(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, seen = f"sqlite:///{tmp_path}/stock.db", list[int]()
    async with new_topic(f"memory:{uuid4().hex}") as topic, new_topic(f"memory:{uuid4().hex}") as other:
        server_of(other.url.partition(":")[2]).create(Topology({topic.name: 3}))
        app = app_of("${BROKER}", topic.name, seen)
        monkeypatch.setenv("BROKER", topic.url)
        await topic.publish(placed(1, "key-1"))
        async with app.open(store) as s:
            await until(lambda: len(seen) == 1)
            await idle(s, 1)
        monkeypatch.setenv("BROKER", other.url)
        with pytest.raises(fait.DefinitionChanged) as refused:
            async with app.open(store):
                pass
        broker, former = (each.url.removeprefix("memory:") for each in (other, topic))
        assert refused.value.differences == (f"broker (memory localhost {broker}, was memory localhost {former})",)
        async with app.open(store, run="elsewhere"):  # what its worker runs does not matter here
            pass
        async with app.open(store, accept=["consumer"]):
            pass
        async with app.open(store):
            pass


async def test_process_without_the_variables_leaves_the_broker_to_the_first_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, seen = f"sqlite:///{tmp_path}/stock.db", list[int]()
    async with new_topic(f"memory:{uuid4().hex}") as topic:
        app = app_of("${BROKER}", topic.name, seen)
        monkeypatch.setenv("BROKER", "nats://of-the-web-process")
        async with app.open(store, run="elsewhere"):
            pass
        monkeypatch.setenv("BROKER", topic.url)
        await topic.publish(placed(1, "key-1"))
        async with app.open(store):
            await until(lambda: len(seen) == 1)
        monkeypatch.delenv("BROKER")
        async with app.open(store, run="elsewhere"):
            pass


@pytest.fixture(params=["memory", "nats_server", "redis_server"])
def url(request: pytest.FixtureRequest) -> str:
    return url_of(request, request.param)


def url_of(request: pytest.FixtureRequest, server: str) -> str:
    """Return the URL of a broker whose consumers store offsets."""
    if server == "memory":
        return f"memory:{uuid4().hex}"
    url: str = request.getfixturevalue(server).url
    return f"{url}?queues=stream" if server == "rabbitmq_server" else url


async def test_consumer_that_begins_at_the_end_misses_nothing_after_its_first_start(url: str, tmp_path: Path) -> None:
    store, seen = f"sqlite:///{tmp_path}/stock.db", list[int]()
    async with new_topic(url) as topic:
        app = app_of(topic.url, topic.name, seen, start="end")
        await topic.publish(*[placed(number, f"key-{number}") for number in range(1, 6)])
        async with app.open(store) as s:
            await idle(s, 3)  # the ends of three lanes are recorded, although there is no message
        await topic.publish(*[placed(number, f"key-{number}") for number in range(6, 10)])
        async with app.open(store) as s:
            await until(lambda: len(seen) == 4)

    assert sorted(seen) == [6, 7, 8, 9]


@pytest.mark.parametrize("server", ["memory", "nats_server", "rabbitmq_server", "redis_server"])
async def test_consumer_waits_if_its_topic_was_created_again_and_reads_it_after_a_rewind(
    request: pytest.FixtureRequest, tmp_path: Path, server: str
) -> None:
    url = url_of(request, server)
    store, seen = f"sqlite:///{tmp_path}/stock.db", list[int]()
    async with new_topic(url, lanes=1) as topic:
        app = app_of(topic.url, topic.name, seen)
        await topic.publish(*[placed(number, "a") for number in range(1, 4)])
        async with app.open(store) as s:
            await idle(s, 3)
        await delete_topic(url, topic.name)
        await topic._broker.check(Topology({topic.name: 1}), create=True)
        topic._publisher = None
        async with app.open(store) as s:
            await until(lambda: isinstance(error_of(s), fait.OffsetLost))
            error = error_of(s)
            await topic.publish(*[placed(number, "a") for number in (2, 3, 4)])
            registration = await s.store.registrations.registration("consumer")
            assert registration is not None
            changed = await rewind_consumer(s.store, registration, execute=True)
            await until(lambda: 4 in seen)
            await until(lambda: error_of(s) is None)

    assert isinstance(error, fait.OffsetLost)
    assert (error.consumer, error.topic, error.lane) == ("consumer", topic.name, 0)
    assert [each.offset for each in changed] == [error.offset]
    assert seen == [1, 2, 3, 4]


@pytest.mark.parametrize("is_running", [True, False])
@pytest.mark.parametrize("server", ["kafka_server", "rabbitmq_server"])
async def test_topic_that_was_created_again_is_noticed_also_if_it_has_more_messages_than_before(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: str, is_running: bool
) -> None:
    monkeypatch.setattr(kafka_consumer, "TOPIC_CHECK_S", 0.5)
    url, store, seen = url_of(request, server), f"sqlite:///{tmp_path}/stock.db", list[int]()
    async with new_topic(url, lanes=1) as topic, AsyncExitStack() as closing:
        app = app_of(topic.url, topic.name, seen)
        await topic.publish(*[placed(number, "a") for number in range(1, 4)])
        async with app.open(store) as s:
            await idle(s, 3)
            if is_running:
                await create_again(url, topic.name, closing)
                await until(lambda: isinstance(error_of(s), fait.OffsetLost))
        if not is_running:
            await create_again(url, topic.name, closing)
        async with app.open(store) as s:
            await until(lambda: isinstance(error_of(s), fait.OffsetLost))
            registration = await s.store.registrations.registration("consumer")
            assert registration is not None
            await rewind_consumer(s.store, registration, execute=True)
            await until(lambda: set(seen) == set(range(1, 31)))

    assert len(seen) == 30


async def create_again(url: str, name: str, closing: AsyncExitStack) -> None:
    """Delete a topic, and create it with other messages, which are more than before."""
    await delete_topic(url, name)
    topic = await closing.enter_async_context(new_topic(url, lanes=1))
    await topic._broker.check(Topology({name: 1}), create=True)
    topic.name = name
    await topic.publish(*[placed(number, "a") for number in range(4, 31)])


def error_of(system: fait.System, name: str = "consumer") -> Exception | None:
    return system._subscription_runner.groups[name].run.error


async def delete_topic(url: str, topic: str) -> None:
    if url.startswith("memory"):
        server = server_of(url.partition(":")[2])
        del server._topics[topic]
    elif url.startswith("nats"):
        client = await nats.connect(url)
        await client.jetstream().delete_stream(topic)
        await client.close()
    elif url.startswith("kafka"):
        admin = AdminClient({"bootstrap.servers": url.removeprefix("kafka://")})
        await asyncio.to_thread(admin.delete_topics([topic])[topic].result)
    elif url.startswith("amqp"):
        async with aiormq.connect(url.partition("?")[0].replace("://", "://guest:guest@")) as client:
            channel = await client.channel()
            await channel.queue_delete(f"fait:{topic}:0")
            await channel.exchange_delete(f"fait:{topic}:1")
    else:
        connection: Any = redis.asyncio.Redis.from_url(url)
        await connection.hdel("fait:lanes", topic)
        await connection.delete(f"fait:{topic}:0")
        await connection.aclose()


async def test_message_that_replaced_the_last_one_is_noticed(nats_server: BrokerServer, tmp_path: Path) -> None:
    url: Any = nats_server.url  # type: ignore[attr-defined]
    store, seen = f"sqlite:///{tmp_path}/stock.db", list[int]()
    async with new_topic(url, lanes=1) as topic:
        app = app_of(url, topic.name, seen)
        await topic.publish(placed(1, "a"))
        async with app.open(store) as s:
            await idle(s, 1)
            [stored] = await s.store.inbox.offsets("consumer")
        sequence, _, time = stored.offset.partition("@")
        with sqlite3.connect(store.removeprefix("sqlite:///")) as connection:
            moved = f"{sequence}@{int(time) + 1}"
            connection.execute("UPDATE fait_inbox_offsets SET lane_offset = ?", (moved,))
        connection.close()
        async with app.open(store) as s:
            await until(lambda: isinstance(error_of(s), fait.OffsetLost))


@pytest.mark.parametrize("kind", ["nats", "redis"])
async def test_events_take_effect_once_although_the_broker_loses_and_gets_them_again(
    request: pytest.FixtureRequest, tmp_path: Path, kind: str
) -> None:
    tested = {"nats": NatsUnderTest, "redis": RedisUnderTest}[kind](request.getfixturevalue(f"{kind}_servers")())
    await tested.prepare(lanes=2)
    shop, seen = relay_app(tested.url), list[int]()
    async with shop.open(f"sqlite:///{tmp_path}/shop.db") as source:
        stock = app_of(tested.url, TOPIC, seen, as_=Counted, trusts=[source.store.log.identity.log_id])
        async with stock.open(f"sqlite:///{tmp_path}/stock.db") as consumer:
            await append(source, 10)
            await until(lambda: len(seen) == 10)
            tested.save(tmp_path / "saved")
            await append(source, 10, start=10)
            await until(lambda: len(seen) == 20)
            tested.lose(tmp_path / "saved")
            await append(source, 10, start=20)
            await until(lambda: isinstance(error_of(source, "relay-orders"), fait.BrokerLostMessages))
            await rewind(source, shop)
            await until_published(source, tested)
            if kind == "nats":  # its sequences are used again; ids of Redis are not
                await until(lambda: isinstance(error_of(consumer), fait.OffsetLost))
                registration = await consumer.store.registrations.registration("consumer")
                assert registration is not None
                await rewind_consumer(consumer.store, registration, execute=True)
            await until(lambda: len(seen) >= 30)
            await append(source, 1, start=30)
            await until(lambda: 30 in seen)

    assert sorted(seen) == list(range(31))


async def test_log_to_trust_can_be_named_by_a_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = list[int]()
    async with new_topic(f"memory:{uuid4().hex}") as topic:
        app = app_of(topic.url, topic.name, seen, trusts=["${ORDERS_LOG}"])
        await topic.publish(placed(1, "a"))
        with pytest.raises(fait.UsageError, match=r"ORDERS_LOG \(trusts= of consumer 'consumer'\)"):
            async with app.open(f"sqlite:///{tmp_path}/stock.db"):
                pass
        monkeypatch.setenv("ORDERS_LOG", SOURCE.log_id)
        async with app.open(f"sqlite:///{tmp_path}/stock.db") as s:
            await idle(s, 1)
            await topic.publish(placed(1, "a"), source=Source(SOURCE.log_id, SOURCE.epoch_id, SOURCE.relay))
            await idle(s, 2)

    assert seen == [1]


async def test_start_of_a_broker_that_keeps_the_offsets_must_be_the_beginning(rabbitmq_server: Any) -> None:
    async with new_topic(rabbitmq_server.url) as topic:
        app = app_of(topic.url, topic.name, [], start="end")
        async with app.open("memory:") as s:
            await until(lambda: isinstance(error_of(s), fait.UsageError))
            assert "cannot begin at the end" in str(error_of(s))


def test_wrong_start_is_refused() -> None:
    with pytest.raises(fait.DeclarationError, match="start= is 'beginning' or 'end'; got 'now'"):
        app_of("memory:x", "orders", [], start="now")
