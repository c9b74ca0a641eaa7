"""Consumers on every store and broker: each message takes effect once, in order for each key."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from itertools import product
from typing import Any
from uuid import uuid4

import pytest
from msgspec.structs import replace

import fait
from fait._delivery.brokers.port import Source
from fait._store.ports.failures import FailureRequest
from tests.inbox.topics import (
    SHORT_RETRY,
    Placed,
    Reserved,
    Topic,
    by_key,
    cloud_event,
    eventually,
    foreign,
    idle,
    new_topic,
    placed,
    reserved,
    until,
)

KEYS = ("a", "b", "c", "d")


STORES = ("memory", "sqlite", "postgres 18")
BROKERS = ("memory", "nats_server", "redis_server")


@pytest.fixture(
    params=[*product(STORES, BROKERS), ("sqlite", "kafka_server"), ("sqlite", "rabbitmq_server")], ids=" ".join
)
def places(request: pytest.FixtureRequest) -> tuple[str, str]:
    """A store and a broker."""
    return request.param


@pytest.fixture
def url(places: tuple[str, str], store_url: Callable[[str], str]) -> str:
    return store_url(places[0])


@pytest.fixture
async def topic(places: tuple[str, str], request: pytest.FixtureRequest) -> AsyncGenerator[Topic, None]:
    broker = f"memory:{uuid4().hex}" if places[1] == "memory" else request.getfixturevalue(places[1]).url
    async with new_topic(broker) as created:
        yield created


class Calls:
    """A consumer that reserves stock, and remembers its calls.

    Attributes:
        app: the app.
        numbers: the numbers of the events with which it was called, with their keys.
        failing: numbers with which it fails.
    """

    def __init__(self, topic: Topic, **options: Any) -> None:
        self.numbers: list[tuple[str, int]] = []
        self.failing = set[int]()
        self.app = fait.App("stock")
        self.app.include(Reserved)
        options = {"as_": Placed, "trusts": ["log-1"], "on_failure": SHORT_RETRY, **options}
        self.app.consume(topic.name, from_=topic.url, name="consumer", **options)(self.handle)

    async def handle(self, event: Placed, ctx: fait.Context) -> None:
        """Reserve stock."""
        await asyncio.sleep(0)
        self.numbers.append((event.order, event.number))
        if event.number in self.failing:
            raise ValueError("out of stock")
        await ctx.publish(Reserved(event.order, event.number), stream=f"stock-{event.order}")


def numbers_of(events: list[Reserved]) -> dict[str, list[int]]:
    return by_key([(each.order, each.number) for each in events])


def expected(count: int) -> dict[str, list[int]]:
    return by_key([(KEYS[number % 4], number) for number in range(1, count + 1)])


def events_to(count: int) -> list[fait.RecordedEvent]:
    return [placed(number, KEYS[number % 4]) for number in range(1, count + 1)]


@pytest.mark.parametrize("concurrency", [1, 8])
async def test_each_event_takes_effect_once_in_order_for_each_key(url: str, topic: Topic, concurrency: int) -> None:
    calls = Calls(topic, concurrency=concurrency)
    await topic.publish(*events_to(60))
    async with calls.app.open(url) as s:
        await idle(s, 60)
        await topic.publish(*[placed(number, KEYS[number % 4]) for number in range(61, 101)])
        await idle(s, 100)

        assert numbers_of(await reserved(s)) == expected(100)
        assert len(calls.numbers) == 100


async def test_redelivered_and_repeated_events_are_recognized(url: str, topic: Topic) -> None:
    calls = Calls(topic, concurrency=4)
    await topic.publish(*events_to(20))
    async with calls.app.open(url) as s:
        await idle(s, 20)
        await topic.publish(*events_to(20))  # the whole prefix again, as after a crash of its relay
        await topic.publish(placed(20, "a"), placed(21, "b"), placed(21, "b"), placed(19, "d"))
        await idle(s, 44)

        assert [each.number for each in await reserved(s)].count(21) == 1
        assert len(calls.numbers) == 21


async def test_consumer_continues_at_its_own_offsets(url: str, topic: Topic) -> None:
    if url == "memory:":
        pytest.skip("a store in memory ends with the system")
    first, second = Calls(topic), Calls(topic)
    await topic.publish(*events_to(10))
    async with first.app.open(url) as s:
        await idle(s, 10)
    await topic.publish(placed(11, "a"))
    async with second.app.open(url) as s:
        await idle(s, 11)

        assert second.numbers == [("a", 11)]
        assert len(await s.store.inbox.offsets("consumer")) >= 1


async def test_reused_position_of_a_restored_log_is_new_and_redelivery_of_an_old_one_is_not(
    url: str, topic: Topic
) -> None:
    calls, restored = Calls(topic), Source("log-1", "epoch-2", "relay")
    await topic.publish(*events_to(8))
    async with calls.app.open(url) as s:
        await idle(s, 8)
        await topic.publish(*events_to(6))  # events before the restore keep their epoch
        await topic.publish(placed(7, "d", 107), placed(8, "a", 108), source=restored)
        await idle(s, 16)

        assert numbers_of(await reserved(s)) == {"a": [4, 8, 108], "b": [1, 5], "c": [2, 6], "d": [3, 7, 107]}


async def test_events_of_two_relays_and_of_an_unknown_log_are_separate_sources(url: str, topic: Topic) -> None:
    calls = Calls(topic)
    await topic.publish(placed(5, "a"))
    await topic.publish(placed(4, "a"), source=Source("log-1", "epoch-1", "other"))
    await topic.publish(placed(9, "a", 90), placed(3, "a", 30), placed(9, "a", 90), source=Source("log-9", "e", "r"))
    async with calls.app.open(url) as s:
        await idle(s, 5)

        assert [each.number for each in await reserved(s)] == [5, 4, 90, 30]


async def test_poisoned_event_parks_its_key_only_and_a_redrive_keeps_the_order(url: str, topic: Topic) -> None:
    calls = Calls(topic, concurrency=4)
    calls.failing = {4}
    await topic.publish(*events_to(12))
    async with calls.app.open(url, lease_s=0.5) as s:
        await idle(s, 12)
        assert numbers_of(await reserved(s)) == {"b": [1, 5, 9], "c": [2, 6, 10], "d": [3, 7, 11]}
        [failure] = await s.store.failures.failures()
        assert (failure.key, failure.state, failure.attempts, failure.event_type) == ("a", "parked", 3, "orders.placed")
        assert await s.store.inbox.count_messages("consumer") == 3
        await topic.publish(placed(13, "a"), placed(12, "a"))
        await idle(s, 14)
        assert await s.store.inbox.count_messages("consumer") == 4
        assert [each.parked for each in await s.status()] == [1]

        calls.failing = set()
        assert await s.store.failures.request(FailureRequest("consumer", ("a",), "redriving", "me")) == 1
        await topic.publish(placed(16, "a"))
        await until(lambda: ("a", 16) in calls.numbers)
        await idle(s, 15)

        assert numbers_of(await reserved(s))["a"] == [4, 8, 12, 13, 16]
        assert await s.store.inbox.count_messages("consumer") == 0
        assert await s.store.failures.failures() == []


async def test_parked_messages_survive_a_restart(url: str, topic: Topic) -> None:
    if url == "memory:":
        pytest.skip("a store in memory ends with the system")
    first, second = Calls(topic), Calls(topic)
    first.failing = {4}
    await topic.publish(*events_to(8))
    async with first.app.open(url) as s:
        await idle(s, 8)
    async with second.app.open(url, lease_s=0.5) as s:
        await s.store.failures.request(FailureRequest("consumer", ("a",), "redriving", "me"))
        await until(lambda: len(second.numbers) == 2)
        await idle(s, 8)

        assert second.numbers == [("a", 4), ("a", 8)]


async def test_discarded_message_is_never_handled_and_later_ones_are(url: str, topic: Topic) -> None:
    calls = Calls(topic)
    calls.failing = {4}
    await topic.publish(*events_to(8))
    async with calls.app.open(url, lease_s=0.5) as s:
        await idle(s, 8)
        [failure] = await s.store.failures.failures()
        request = FailureRequest("consumer", ("a",), "discarding", "me", discard_until=failure.next_position)
        await s.store.failures.request(request)
        await until(lambda: ("a", 8) in calls.numbers)
        await idle(s, 8)

        assert numbers_of(await reserved(s))["a"] == [8]
        assert await s.store.inbox.count_messages("consumer") == 0


async def test_cloud_events_of_other_programs_are_recognized_by_source_and_id(url: str, topic: Topic) -> None:
    app, seen = fait.App("stock"), list[tuple[str, int]]()

    @app.consume(topic.name, from_=topic.url, type="shop.sold", as_=dict[str, int], name="consumer")
    def sold(data: dict[str, int], ctx: fait.Context) -> None:
        seen.append((ctx.envelope.id, data["n"]))

    await topic.send([cloud_event("1", "k", '{"n":1}'), cloud_event("1", "k", '{"n":2}')])
    await topic.send([cloud_event("1", "k", '{"n":3}', source="/bank"), cloud_event("2", "k", "{}", type="other")])
    await topic.send([cloud_event("2", "k", '{"n":4}'), cloud_event("2", "k", '{"n":5}')])
    async with app.open(url) as s:
        await idle(s, 6)

    assert seen == [("1", 1), ("1", 3), ("2", 4)]


async def test_plain_json_is_mapped(url: str, topic: Topic) -> None:
    app, seen = fait.App("stock"), list[Any]()

    def mapped(message: fait.ReceivedMessage) -> fait.MappedMessage | None:
        number = int(message.data or b"0")
        return fait.MappedMessage(number, id=f"{number}") if number else None

    @app.consume(topic.name, from_=topic.url, as_=mapped, name="consumer")
    async def count(number: int) -> None:
        seen.append(number)

    await topic.send([foreign("k", {}, str(number).encode()) for number in (1, 2, 0, 2, 3)])
    async with app.open(url) as s:
        await idle(s, 5)

    assert seen == [1, 2, 3]


async def test_message_that_a_mapping_function_calls_malformed_is_parked_at_once(url: str, topic: Topic) -> None:
    app, seen = fait.App("stock"), list[Any]()

    def mapped(message: fait.ReceivedMessage) -> fait.MappedMessage:
        if message.data == b"x":
            raise fait.MalformedMessage("it is no number")
        return fait.MappedMessage(int(message.data or b"0"))

    @app.consume(topic.name, from_=topic.url, as_=mapped, on_failure=SHORT_RETRY, name="consumer")
    async def count(number: int) -> None:
        seen.append(number)

    await topic.send([foreign("a", {}, b"x"), foreign("b", {}, b"y"), foreign("c", {}, b"3")])
    async with app.open(url) as s:
        await idle(s, 3)

        failures = {each.key: each for each in await s.store.failures.failures()}
        assert seen == [3]
        assert {key: (each.error_type, each.attempts) for key, each in failures.items()} == {
            "a": ("fait.MalformedMessage", 1), "b": ("builtins.ValueError", 3)
        }  # fmt: skip


async def test_malformed_messages_are_parked_at_once_without_others(url: str, topic: Topic) -> None:
    calls = Calls(topic)
    structured = {"content-type": "application/cloudevents+json"}
    await topic.send([foreign("x", structured, b'{"specversion": "1.0", "id": "1"}'), foreign("y", {}, b"\xff\x00")])
    await topic.send([foreign("z", structured, b"[" * 200 + b"]" * 200), cloud_event("1", "v", '{"order":1}')])
    await topic.publish(*events_to(4))
    await topic.send([foreign("x", structured, b"{}")])
    async with calls.app.open(url) as s:
        await idle(s, 9)

        assert numbers_of(await reserved(s)) == expected(4)
        failures = {each.key: each for each in await s.store.failures.failures()}
        assert {key: each.attempts for key, each in failures.items()} == {"x": 1, "y": 1, "z": 1}
        assert {each.error_type for each in failures.values()} == {"fait.MalformedMessage"}
        assert len(await s.store.inbox.messages("consumer", "x", after=0, limit=9)) == 2


@pytest.mark.parametrize(
    "policy",
    [
        fait.FailurePolicy(attempts=3, then="stop"),
        fait.FailurePolicy(attempts=3, then="skip"),
        fait.FailurePolicy(attempts=None),
        fait.FailurePolicy(outages=(Exception,)),
    ],
    ids=["stop", "skip", "without end", "outage"],
)
async def test_malformed_message_is_parked_whatever_the_policy_is(
    url: str, topic: Topic, policy: fait.FailurePolicy
) -> None:
    calls = Calls(topic, on_failure=policy)
    await topic.send([foreign("junk", {"content-type": "application/cloudevents+json"}, b"{}")])
    await topic.publish(*events_to(4))
    async with calls.app.open(url) as s:
        await idle(s, 5)

        assert numbers_of(await reserved(s)) == expected(4)
        [failure] = await s.store.failures.failures()
        assert (failure.key, failure.state, failure.attempts) == ("junk", "parked", 1)
        [registration] = await s.store.registrations.registrations()
        assert not registration.paused


async def test_data_that_does_not_fit_the_event_class_is_parked_at_once(url: str, topic: Topic) -> None:
    calls = Calls(topic)
    data = ("{}", '{"order":"x","number":"secret"}', "[]", "null", '"x"')
    await topic.send([cloud_event(f"{n}", f"x{n}", each, type="orders.placed") for n, each in enumerate(data)])
    await topic.publish(*events_to(4))
    async with calls.app.open(url) as s:
        await idle(s, 9)

        assert numbers_of(await reserved(s)) == expected(4)
        failures = {each.key: each for each in await s.store.failures.failures()}
        assert {key: each.attempts for key, each in failures.items()} == {f"x{n}": 1 for n in range(5)}
        assert {each.error_type for each in failures.values()} == {"fait.MalformedMessage"}
        assert "Placed: Object missing required field `order`" in failures["x0"].error
        assert "Placed: Expected `int`, got `str` - at `$.number`" in failures["x1"].error


@pytest.mark.parametrize("trusts", [(), ("another-log",)])
async def test_version_that_any_program_can_claim_stops_no_consumer(
    url: str, topic: Topic, trusts: tuple[str, ...]
) -> None:
    calls = Calls(topic, trusts=trusts)
    await topic.publish(replace(placed(1, "junk"), schema_version=99), *events_to(4)[1:])
    async with calls.app.open(url) as s:
        await idle(s, 4)

        assert {number for _, number in calls.numbers} == {2, 3, 4}
        [failure] = await s.store.failures.failures()
        assert (failure.key, failure.attempts, failure.error_type) == ("junk", 1, "fait.MalformedMessage")
        assert "says that it has version 99" in failure.error


async def test_any_number_of_malformed_messages_delays_no_others(url: str, topic: Topic) -> None:
    """As many as a subscription whose handler is wrong would be paused for, each with a key of its own."""
    calls = Calls(topic)
    for first in (0, 40, 80):
        await topic.send([foreign(f"junk-{first + each}", {}, b"\xff\x00") for each in range(40)])
    await topic.publish(*events_to(4))
    async with calls.app.open(url) as s:
        await idle(s, 124)

        assert numbers_of(await reserved(s)) == expected(4)
        assert len(await s.store.failures.failures()) == 120

        async def is_live() -> bool:
            return [each.state for each in await s.status()] == ["live"]

        await eventually(is_live)


async def test_wrong_handler_is_paused_for_its_own_keys_only(url: str, topic: Topic) -> None:
    app = fait.App("stock")

    @app.consume(topic.name, from_=topic.url, as_=Placed, on_failure=fait.FailurePolicy(attempts=1), name="consumer")
    async def refuse(event: Placed) -> None:
        raise ValueError

    for first in (0, 50):
        await topic.send([foreign(f"junk-{first + each}", {}, b"\xff\x00") for each in range(50)])
    async with app.open(url) as s:
        await idle(s, 100)
        await topic.publish(*events_to(4))
        await idle(s, 104)

        assert len(await s.store.failures.failures()) > 100
        [registration] = await s.store.registrations.registrations()
        assert not registration.paused


async def test_failing_statement_of_a_handler_parks_its_key(url: str, topic: Topic) -> None:
    if url == "memory:":
        pytest.skip("a store in memory runs no SQL")
    app = fait.App("stock")

    @app.consume(topic.name, from_=topic.url, as_=Placed, on_failure=SHORT_RETRY, name="notes")
    async def note(event: Placed, ctx: fait.Context) -> None:
        if event.number == 4:
            ctx.execute("INSERT INTO missing (number) VALUES ($1)", event.number)

    await topic.publish(*events_to(8))
    async with app.open(url) as s:
        await idle(s, 8, "notes")

        [failure] = await s.store.failures.failures("notes")
        assert (failure.key, failure.error_type, failure.attempts) == ("a", "fait.UsageError", 3)


async def test_broker_without_the_topic_is_an_outage(url: str, topic: Topic) -> None:
    app = fait.App("stock")
    app.consume("missing", from_=topic.url, as_=Placed, name="consumer")(print)
    async with app.open(url, lease_s=1) as s:
        async with asyncio.timeout(20):
            while not isinstance((await s.status())[0].error, fait.TopologyMismatch):  # noqa: ASYNC110
                await asyncio.sleep(0.01)

        assert await s.store.failures.failures() == []
