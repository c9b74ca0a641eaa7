"""Signatures of events: what they cover, which keys are accepted, and that no key is shown."""

import hmac
import pickle
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

import fait
from fait._delivery.brokers.port import ConsumedMessage, Lane
from fait._delivery.inbox.received_event import ReceivedEvent, Reception
from fait._delivery.wire.binary import decode_binary
from fait._delivery.wire.cloud_event import CloudEvent
from fait._delivery.wire.outgoing import cloud_event_of, encoded_message
from fait._delivery.wire.signature import SigningKey, is_signed, sign, signing_keys
from fait._store.ports.failures import FailureRequest
from tests.inbox.topics import SHORT_RETRY, SOURCE, TIME, Placed, cloud_event, idle, new_topic, placed, until
from tests.relay.published import MemoryUnderTest, append, relay_app, until_published

OLD, NEW = "old" * 11, "new" * 11
KEY, OTHER = SigningKey(OLD.encode()), SigningKey(NEW.encode())
LANE = Lane("orders", 0)
EVENT = cloud_event_of(placed(5, "order-1"), SOURCE, "order-1", 4)


def received(event: CloudEvent, *, prefix: str = "ce-", keys: tuple[SigningKey, ...] = (KEY,)) -> ReceivedEvent:
    message = encoded_message(placed(5, "order-1"), event, "order-1", prefix)
    consumed = ConsumedMessage(offset="7", key="order-1", headers=message.headers, body=message.body)
    result = Reception(frozenset(), frozenset({"log-1"}), keys=keys).event(1, LANE, consumed, TIME)
    assert result is not None
    return result


@pytest.mark.parametrize("prefix", ["ce-", "ce_", ""])
@pytest.mark.parametrize("keys", [(KEY,), (OTHER, KEY)])
def test_signed_event_is_believed_in_each_form(prefix: str, keys: tuple[SigningKey, ...]) -> None:
    event = received(sign(EVENT, "orders", KEY), prefix=prefix, keys=keys)

    assert event.problem is None
    assert event.source_position == 5


def with_attribute(name: str) -> Callable[[CloudEvent], CloudEvent]:
    def change(event: CloudEvent) -> CloudEvent:
        text = str(event.attributes.get(name, "1"))
        return replace(event, attributes={**event.attributes, name: text[:-1] + ("7" if text[-1] != "7" else "8")})

    return change


CHANGES: dict[str, Callable[[CloudEvent], CloudEvent]] = {
    **{
        name: with_attribute(name)
        for name in EVENT.attributes
        if name not in ("specversion", "time", "datacontenttype")
    },
    "signature": with_attribute("faitsignature"),
    "time": lambda each: replace(each, attributes={**each.attributes, "time": "2026-01-02T03:04:06Z"}),
    "another attribute": with_attribute("traceparent"),
    "data": lambda each: replace(each, data=b'{"order":"order-2","number":5}'),
    "another topic": lambda each: sign(EVENT, "orders-2", KEY),
    "another key": lambda each: sign(EVENT, "orders", OTHER),
    "no signature": lambda each: EVENT,
    "empty signature": lambda each: replace(each, attributes={**each.attributes, "faitsignature": ""}),
    "signature with other characters": lambda each: replace(each, attributes={**each.attributes, "faitsignature": "ä"}),
    "upper case": lambda each: replace(
        each, attributes={**each.attributes, "faitsignature": str(each.attributes["faitsignature"]).upper()}
    ),
}


@pytest.mark.parametrize("prefix", ["ce-", ""])
@pytest.mark.parametrize("change", CHANGES)
def test_event_that_was_changed_is_malformed_and_moves_no_mark(change: str, prefix: str) -> None:
    event = received(CHANGES[change](sign(EVENT, "orders", KEY)), prefix=prefix)

    assert isinstance(event.problem, fait.MalformedMessage)
    assert event.mark is None
    assert event.stream == "order-1"


def test_message_of_another_program_needs_a_signature_too() -> None:
    message = cloud_event("1", "k")
    consumed = ConsumedMessage(offset="7", key="k", headers=message.headers, body=message.body)
    for mapping in (None, lambda _: fait.MappedMessage("x")):
        event = Reception(frozenset(), frozenset(), mapping, keys=(KEY,)).event(1, LANE, consumed, TIME)

        assert event is not None
        assert "no signature" in str(event.problem)
    assert Reception(frozenset({"other"}), frozenset(), keys=(KEY,)).event(1, LANE, consumed, TIME) is None


Texts = st.text(max_size=4)
Events = st.builds(
    CloudEvent,
    st.dictionaries(st.sampled_from(["a", "ab", "b"]), Texts),
    st.one_of(st.none(), st.binary(min_size=1, max_size=4)),
)


@given(Events, Events, Texts, Texts)
def test_no_two_events_have_the_same_signature(first: CloudEvent, other: CloudEvent, topic: str, moved: str) -> None:
    is_same = (first, topic) == (other, moved)

    assert (KEY.signature_of(first, topic) == KEY.signature_of(other, moved)) == is_same


def test_parts_cannot_be_moved_between_attributes() -> None:
    first, other = CloudEvent({"a": "b:c:d"}, None), CloudEvent({"a": "b", "c": "d"}, None)

    assert KEY.signature_of(first, "orders") != KEY.signature_of(other, "orders")


def test_signature_is_a_stated_one() -> None:
    event = CloudEvent({"id": "1", "type": "t"}, b"{}")

    expected = hmac.new(OLD.encode(), b"6:fait 16:orders2:id1:14:type1:t2:{}", "sha256").hexdigest()
    assert KEY.signature_of(event, "orders") == expected
    assert is_signed(sign(event, "orders", KEY), "orders", [OTHER, KEY])


@pytest.mark.parametrize("value", ["", "k" * 31])
def test_short_or_missing_key_is_refused_and_not_shown(value: str) -> None:
    with pytest.raises(fait.UsageError, match="variable KEY has no key") as refused:
        signing_keys(["${KEY}"], {"KEY": value})

    assert not value or value not in str(refused.value)


@pytest.mark.parametrize("given_key", [OLD, "", "KEY", "${KEY", "${KEY}x", 7, b"${KEY}", None])
def test_key_itself_is_refused_in_declarations_and_not_shown(given_key: Any) -> None:
    def consume() -> None:
        fait.App("stock").consume("orders", from_="memory:x", verify=[given_key])(lambda event: None)

    def relay() -> None:
        fait.App("shop").relay(Placed, to="memory:x", topic="orders", sign=given_key)

    for declare in (consume, relay) if given_key is not None else (consume,):
        with pytest.raises(fait.DeclarationError, match="environment variable") as refused:
            declare()
        assert OLD not in str(refused.value)


def test_text_form_of_a_key_does_not_show_it() -> None:
    assert OLD not in f"{KEY!r} {KEY} {Reception(frozenset(), frozenset(), keys=(KEY,))!r}"
    with pytest.raises(TypeError):
        pickle.dumps(KEY, protocol=0)


async def test_relay_with_a_key_signs_each_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEY", OLD)
    broker = MemoryUnderTest(f"memory:{uuid4().hex}")
    await broker.prepare()
    async with relay_app(broker.url, sign="${KEY}").open("memory:") as system:
        await append(system, 3)
        await until_published(system, broker)

    assert all(
        is_signed(decode_binary(each.headers, each.body, "ce-"), "orders", [KEY]) for each in await broker.messages()
    )


@pytest.mark.parametrize("server", ["memory", "nats_server", "redis_server", "kafka_server", "rabbitmq_server"])
async def test_signature_is_valid_after_each_broker(
    server: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEY", OLD)
    url = f"memory:{uuid4().hex}" if server == "memory" else request.getfixturevalue(server).url
    async with new_topic(url) as topic:
        seen = list[Any]()
        app = fait.App("shop")
        app.relay(Placed, to=url, topic=topic.name, key=lambda each: each.order, sign="${KEY}", start="beginning")

        @app.consume(topic.name, from_=url, as_=Placed, verify="${KEY}", name="consumer", on_failure=SHORT_RETRY)
        async def handle(event: Placed) -> None:
            seen.append(event)

        events = [Placed(order, 1) for order in ("größe 1", "%41", 'a"b', " a ", "\U0001f600")]
        async with app.open("memory:") as system:
            for number, event in enumerate(events):
                await system.publish(event, stream=f"order-{number}")
            await until(lambda: len(seen) == len(events))

            assert sorted(seen, key=repr) == sorted(events, key=repr)
            assert await system.store.failures.failures() == []


async def test_key_is_rotated_without_a_lost_message_and_a_forged_one_is_parked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OLD_KEY", OLD)
    monkeypatch.setenv("NEW_KEY", NEW)
    async with new_topic(f"memory:{uuid4().hex}") as topic:
        seen = list[Any]()
        stock = fait.App("stock")

        @stock.consume(topic.name, from_=topic.url, as_=Placed, verify=["${OLD_KEY}", "${NEW_KEY}"], name="consumer",
                       on_failure=SHORT_RETRY)  # fmt: skip
        async def handle(event: Placed) -> None:
            seen.append(event.number)

        async with stock.open("memory:") as system:
            for number, key in enumerate(("${OLD_KEY}", "${NEW_KEY}")):
                shop = fait.App("shop")
                shop.relay(Placed, to=topic.url, topic=topic.name, sign=key, name=f"r{number}", start="beginning")
                async with shop.open("memory:") as log:
                    await log.publish(Placed("a", number), stream="order-1")
                    await until(lambda count=number + 1: len(seen) == count)
            await topic.publish(placed(9, "order-2"))
            await idle(system, 3)
            [failure] = await system.store.failures.failures()

    assert seen == [0, 1]
    assert (failure.key, failure.error_type) == ("order-2", "fait.MalformedMessage")


async def test_signing_begins_with_the_publisher_and_a_consumer_that_verifies_too_early_loses_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("KEY", OLD)
    url, seen = f"sqlite:///{tmp_path}/stock.db", list[int]()

    def stock(verify: str | None) -> fait.App:
        app, keys = fait.App("stock"), [verify] if verify else []

        @app.consume(topic.name, from_=topic.url, as_=Placed, verify=keys, name="consumer")
        async def handle(event: Placed) -> None:
            seen.append(event.number)

        return app

    def shop(sign: str | None) -> fait.App:
        app = fait.App("shop")
        app.relay(Placed, to=topic.url, topic=topic.name, name="orders", sign=sign, start="beginning")
        return app

    @asynccontextmanager
    async def opened(number: int, sign: str | None, verify: str | None) -> AsyncGenerator[fait.System]:
        async with shop(sign).open(f"sqlite:///{tmp_path}/shop.db") as log, stock(verify).open(url) as system:
            await log.publish(Placed("a", number), stream="order-1")
            await idle(system, number + 1)
            yield system
            assert await system.store.failures.failures() == [] or number == 0

    async with new_topic(f"memory:{uuid4().hex}") as topic:
        async with opened(0, sign=None, verify="${KEY}") as system:
            [failure] = await system.store.failures.failures()
        assert (failure.error_type, seen) == ("fait.MalformedMessage", [])
        async with opened(1, sign=None, verify=None) as system:
            await system.store.failures.request(FailureRequest("consumer", (failure.key,), "redriving", "me"))
            await until(lambda: len(seen) == 2)
            await idle(system, 2)
        async with opened(2, sign="${KEY}", verify=None):
            pass
        async with opened(3, sign="${KEY}", verify="${KEY}"):
            pass

    assert seen == [0, 1, 2, 3]
