"""The contract of `Publisher`: order, outcomes, refused messages, headers, keys, limits, and the stored position."""
# ruff: noqa: D102 - test names replace docstrings

from collections.abc import Mapping

import pytest
from msgspec.structs import replace

from fait._broker_errors import Fenced, TopologyMismatch
from fait._delivery.brokers.port import (
    BUCKETS,
    MAX_MESSAGE_BYTES,
    Accepted,
    Message,
    Progress,
    Refused,
    Topology,
    lane_of,
)
from fait._errors import UsageError
from fait.testing.contract.broker_under_test import BrokerUnderTest, bucket_of, kinds, publish, visible_keys

__all__ = ["PublishingContract"]

TEXTS = [
    "",
    " ",
    " leading and trailing ",
    "a.b",
    "a*b",
    "a>b",
    "a/b:c#d?e=f&g",
    "100%",
    "%41",
    "a\r\nb: c",
    "a\tb\x00c\x7f",
    '"quoted" \\ back',
    "ä",
    "a\u0308",
    "日本語",
    "👩‍👩‍👧",
    "\U0010ffff\ufeff",
    "{a}",
    "~_-",
]
"""Texts that a transport may change, split or confuse: keys and values of headers."""

MAX_TESTED_BYTES = 8 * 1024 * 1024
"""Maximum limit of a broker that is tested with a message of that size."""


class PublishingContract:
    """The contract of `Publisher` while the broker is available, and nothing else publishes."""

    async def test_features_are_consistent(self, tested: BrokerUnderTest) -> None:
        features = tested.broker.features

        assert features.maximum_batch >= 1
        assert 1_000 <= features.maximum_message_bytes <= MAX_MESSAGE_BYTES
        assert features.seekable or features.acknowledges != "none"
        assert features.loses_acknowledged

    async def test_published_message_arrives_with_key_headers_and_body(self, tested: BrokerUnderTest) -> None:
        topic = await tested.topic()
        message = tested.message("order-7", b'{"n":1}')

        outcomes = await tested.published(topic, message)

        (found,) = (await tested.visible(topic)).values()
        assert [(each.key, each.body, common(each.headers, message)) for each in found] == [
            ("order-7", b'{"n":1}', message.headers)
        ]
        assert outcomes[0] in (Accepted(found[0].offset), Accepted(""))

    async def test_names_of_headers_arrive_in_lower_case(self, tested: BrokerUnderTest) -> None:
        if not tested.broker.features.header_prefix:
            pytest.skip("the broker has no headers")
        topic = await tested.topic()

        await tested.published(topic, tested.message(headers={"X-Shop-Id": "Seven"}))

        ((found,),) = (await tested.visible(topic)).values()
        assert found.headers.get("x-shop-id") == "Seven"

    async def test_messages_of_a_key_arrive_in_order_of_publication(self, tested: BrokerUnderTest) -> None:
        topic = await tested.topic(lanes=3)
        messages = [tested.message(f"key-{number % 7}") for number in range(70)]
        publisher = await tested.publisher(topic)

        for start in range(0, 70, 14):
            assert kinds(await publish(publisher, messages[start : start + 14])) == ["Accepted"] * 14

        assert visible_keys((await tested.visible(topic)).values()) == expected_keys(messages)

    async def test_message_is_in_the_lane_of_its_bucket(self, tested: BrokerUnderTest) -> None:
        topic = await tested.topic(lanes=3)
        messages = [tested.message(f"key-{number}") for number in range(20)]

        await tested.published(topic, *messages)

        assert {each.key: lane.number for lane, found in (await tested.visible(topic)).items() for each in found} == {
            each.key: lane_of(each.bucket, 3) for each in messages
        }

    async def test_topic_whose_name_begins_like_another_has_its_own_messages(self, tested: BrokerUnderTest) -> None:
        short = await tested.topic(prefix="a.b-c_d")
        names = [short, f"{short}.0", f"{short}.0.1", f"{short}-0", f"{short}_0"]
        for name in names[1:]:
            await tested.create(name)

        for name in names:
            await tested.published(name, tested.message(body=name.encode()))

        assert [await tested.bodies(name) for name in names] == [[name] for name in names]

    async def test_each_message_is_stored_once(self, tested: BrokerUnderTest) -> None:
        topic = await tested.topic()
        messages = [tested.message(f"key-{number % 50}") for number in range(300)]

        await tested.published(topic, *messages)

        assert sorted(await tested.bodies(topic), key=int) == [each.body.decode() for each in messages]

    # Outcomes

    async def test_outcomes_are_in_the_order_of_the_batch(self, tested: BrokerUnderTest) -> None:
        topic = await tested.topic()
        batch = [tested.message(key) for key in "abcde"]
        batch[3] = oversize(tested, "d")

        outcomes = await publish(await tested.publisher(topic), batch)

        kind = "Unsent" if tested.broker.features.batch == "atomic" else "Accepted"
        assert kinds(outcomes) == [kind, kind, kind, "Refused", kind]

    async def test_offsets_are_in_the_order_of_the_batch(self, tested: BrokerUnderTest) -> None:
        topic = await tested.topic()

        outcomes = await tested.published(topic, *(tested.message(f"key-{number}") for number in range(20)))

        (found,) = (await tested.visible(topic)).values()
        offsets = [each.offset for each in outcomes if isinstance(each, Accepted)]
        assert offsets in ([each.offset for each in found], [""] * 20)

    async def test_refused_message_holds_back_later_ones_of_its_key(self, tested: BrokerUnderTest) -> None:
        topic = await tested.topic()
        batch = [tested.message(key) for key in "abaabca"]
        batch[2] = oversize(tested, "a")

        outcomes = await publish(await tested.publisher(topic), batch)

        assert isinstance(outcomes[2], Refused)
        assert kinds([outcomes[n] for n in (3, 6)]) == ["Unsent", "Unsent"]
        accepted = [each for each, outcome in zip(batch, outcomes, strict=True) if isinstance(outcome, Accepted)]
        assert visible_keys((await tested.visible(topic)).values()) == expected_keys(accepted)

    async def test_refused_message_has_a_reason_without_its_content(self, tested: BrokerUnderTest) -> None:
        topic = await tested.topic()

        (refused,) = await publish(await tested.publisher(topic), [oversize(tested, "secret-key")])

        assert isinstance(refused, Refused)
        assert refused.code == "too-large"
        assert refused.reason
        assert "xxxx" not in refused.reason
        assert "secret-key" not in refused.reason

    async def test_call_after_a_refused_message_publishes_the_others(self, tested: BrokerUnderTest) -> None:
        topic = await tested.topic()
        publisher = await tested.publisher(topic)
        batch = [oversize(tested, "a"), *(tested.message(key) for key in "abc")]

        outcomes = await publish(publisher, batch)
        remainder = [
            each
            for each, outcome in zip(batch, outcomes, strict=True)
            if each.key != "a" and not isinstance(outcome, Accepted)
        ]
        if remainder:
            assert set(kinds(await publish(publisher, remainder))) == {"Accepted"}

        assert await tested.bodies(topic) == [each.body.decode() for each in batch[2:]]

    async def test_message_of_the_maximum_size_is_accepted_and_a_larger_one_refused(
        self, tested: BrokerUnderTest
    ) -> None:
        maximum = tested.broker.features.maximum_message_bytes
        if maximum > MAX_TESTED_BYTES:
            pytest.skip("the limit of this broker is too high for a test")
        topic = await tested.topic()
        largest = sized(tested, "a", maximum)

        outcomes = [
            *await tested.published(topic, largest),
            *await publish(await tested.publisher(topic), [sized(tested, "a", maximum + 1)]),
        ]

        assert kinds(outcomes) == ["Accepted", "Refused"]
        assert await tested.bodies(topic) == [largest.body.decode()]

    async def test_batch_of_the_maximum_length_is_published(self, tested: BrokerUnderTest) -> None:
        maximum = min(tested.broker.features.maximum_batch, 5_000)
        topic = await tested.topic()

        await tested.published(topic, *(tested.message(f"key-{number % 100}") for number in range(maximum)))

        assert len(await tested.bodies(topic)) == maximum

    async def test_invalid_call_sends_nothing(self, tested: BrokerUnderTest) -> None:
        topic = await tested.topic()
        publisher = await tested.publisher(topic, buckets=range(bucket_of("a"), bucket_of("a") + 1))
        maximum = tested.broker.features.maximum_batch

        for batch in ([], [tested.message("b")], [tested.message("a")] * (maximum + 1)):
            with pytest.raises(UsageError):
                await publisher.publish(batch, after=0, upto=10)

        assert await tested.bodies(topic) == []

    async def test_publisher_of_a_missing_topic_is_refused(self, tested: BrokerUnderTest) -> None:
        missing = f"missing-{tested.source.log_id}"

        with pytest.raises(TopologyMismatch) as caught:
            await publish(await tested.publisher(missing), [tested.message()])

        assert set(caught.value.problems) == {missing}

    # What transports change

    async def test_header_values_arrive_unchanged(self, tested: BrokerUnderTest) -> None:
        if not (prefix := tested.broker.features.header_prefix):
            pytest.skip("this broker has no headers")
        topic = await tested.topic()
        headers = {f"{prefix}x{number}": text for number, text in enumerate(TEXTS)}
        headers |= {"content-type": "application/json", "traceparent": "00-1-2-01", "other_name-2": "value"}
        message = tested.message(headers=headers)

        await tested.published(topic, message)

        (found,) = (await tested.visible(topic)).values()
        assert common(found[0].headers, message) == headers

    async def test_keys_arrive_unchanged(self, tested: BrokerUnderTest) -> None:
        topic = await tested.topic()
        keys = [*filter(None, TEXTS), "k" * 200, "A", "a", "order-1", "order.1", "order 1"]

        await tested.published(topic, *[tested.message(key, key.encode()) for key in keys])

        found = visible_keys((await tested.visible(topic)).values())
        assert found == {key: [key] for key in keys}

    @pytest.mark.parametrize("body", [b"", b"\x00", bytes(range(256)), b"\r\n\r\n", "ä".encode("latin-1")])
    async def test_body_arrives_unchanged(self, tested: BrokerUnderTest, body: bytes) -> None:
        topic = await tested.topic()

        await tested.published(topic, tested.message(body=body))

        (found,) = (await tested.visible(topic)).values()
        assert [each.body for each in found] == [body]

    # The stored position

    async def test_position_is_stored_with_the_messages(self, tested: BrokerUnderTest) -> None:
        topic = await tested.topic()
        publisher = await tested.publisher(topic)
        before = await publisher.progress()

        message = tested.message(position=5)
        await publisher.publish([message], after=0, upto=5)

        reached = dict.fromkeys(range(BUCKETS), Progress(tested.source.epoch_id, 5, message.id))
        stored = reached if tested.broker.features.stores_position else {}
        assert (before, await publisher.progress()) == ({}, stored)
        assert await (await tested.publisher(topic, broker=await tested.another(), token=2)).progress() == stored

    async def test_positions_are_those_of_the_buckets(self, tested: BrokerUnderTest) -> None:
        if not tested.broker.features.stores_position:
            pytest.skip("this broker stores no position")
        topic, key = await tested.topic(), next(key for key in map(str, range(999)) if bucket_of(key) < 64)
        low = await tested.publisher(topic, buckets=range(64))
        message = tested.message(key, position=5)
        await low.publish([message], after=0, upto=5)

        found = await (await tested.publisher(topic, broker=await tested.another(), token=2)).progress()

        assert found == dict.fromkeys(range(64), Progress(tested.source.epoch_id, 5, message.id))

    async def test_positions_are_read_without_fencing_a_publisher(self, tested: BrokerUnderTest) -> None:
        topic, stores = await tested.topic(), tested.broker.features.stores_position
        key = next(key for key in map(str, range(999)) if bucket_of(key) >= 64)
        before = await tested.broker.progress(topic, tested.source, range(BUCKETS))
        first = tested.message(key, position=5)
        await (await tested.publisher(topic, buckets=range(64, BUCKETS))).publish([first], after=0, upto=5)
        half = await tested.broker.progress(topic, tested.source, range(BUCKETS))
        publisher = await tested.publisher(topic, broker=await tested.another(), token=2)
        opened = await tested.broker.progress(topic, tested.source, range(BUCKETS))
        second, third = tested.message(key, position=6), tested.message(key, position=7)
        await publisher.publish([second], after=0, upto=6)

        found = await tested.broker.progress(topic, tested.source, range(32, 128))
        [accepted] = await publisher.publish([third], after=6, upto=7)

        upper = dict.fromkeys(range(64, BUCKETS), Progress(tested.source.epoch_id, 5, first.id))
        reached = dict.fromkeys(range(32, 128), Progress(tested.source.epoch_id, 6, second.id))
        assert isinstance(accepted, Accepted)
        assert (before, half, opened, found) == (({}, upper, upper, reached) if stores else ({}, {}, {}, {}))

    async def test_event_id_of_the_position_is_that_of_the_last_message(self, tested: BrokerUnderTest) -> None:
        if not tested.broker.features.stores_position:
            pytest.skip("this broker stores no position")
        topic = await tested.topic()
        publisher = await tested.publisher(topic)
        await publisher.publish([tested.message(position=n, id=f"id {n}") for n in (1, 2)], after=0, upto=2)
        await publisher.publish([tested.message(position=3, id="third")], after=2, upto=3)

        found = await (await tested.publisher(topic, broker=await tested.another(), token=2)).progress()

        assert found == dict.fromkeys(range(BUCKETS), Progress(tested.source.epoch_id, 3, "third"))

    async def test_call_that_does_not_move_the_position_tells_no_event_at_it(self, tested: BrokerUnderTest) -> None:
        if not tested.broker.features.stores_position:
            pytest.skip("this broker stores no position")
        topic = await tested.topic()
        publisher = await tested.publisher(topic)
        await publisher.publish([tested.message(position=5)], after=3, upto=3)

        found = await (await tested.publisher(topic, broker=await tested.another(), token=2)).progress()

        assert {each.event_id for each in found.values()} <= {""}

    async def test_position_of_an_earlier_epoch_remains_after_a_call_that_keeps_it(
        self, tested: BrokerUnderTest
    ) -> None:
        if not tested.broker.features.stores_position:
            pytest.skip("this broker stores no position")
        topic, source = await tested.topic(), replace(tested.source, epoch_id="next")
        first = tested.message("a", position=5)
        await (await tested.publisher(topic)).publish([first], after=0, upto=5)
        publisher = await tested.publisher(topic, broker=await tested.another(), source=source, token=2)
        await publisher.publish([tested.message("b", position=3)], after=5, upto=5)

        last = await tested.publisher(topic, broker=await tested.another(), source=source, token=3)

        assert await last.progress() == dict.fromkeys(range(BUCKETS), Progress(tested.source.epoch_id, 5, first.id))

    async def test_position_remains_if_nothing_of_an_atomic_batch_is_accepted(self, tested: BrokerUnderTest) -> None:
        if not tested.broker.features.stores_position or tested.broker.features.batch != "atomic":
            pytest.skip("this broker stores no position, or has no atomic batches")
        topic = await tested.topic()
        publisher = await tested.publisher(topic)
        message = tested.message(position=5)
        await publisher.publish([message], after=0, upto=5)

        await publisher.publish([oversize(tested, "a")], after=5, upto=9)

        stored = Progress(tested.source.epoch_id, 5, message.id)
        assert await publisher.progress() == dict.fromkeys(range(BUCKETS), stored)

    async def test_message_below_the_position_is_published_without_moving_it(self, tested: BrokerUnderTest) -> None:
        topic = await tested.topic()
        publisher = await tested.publisher(topic)
        await publisher.publish([tested.message("a", position=5)], after=0, upto=5)

        outcomes = await publisher.publish([tested.message("b", b"redriven", position=3)], after=5, upto=5)
        outcomes = [*outcomes, *await publisher.publish([tested.message("b", b"later")], after=5, upto=9)]

        assert kinds(outcomes) == ["Accepted", "Accepted"]
        assert (await tested.bodies(topic))[1:] == ["redriven", "later"]

    async def test_call_after_another_position_is_fenced(self, tested: BrokerUnderTest) -> None:
        if tested.broker.features.fence != "token":
            pytest.skip("this broker does not compare positions")
        topic = await tested.topic()
        publisher = await tested.publisher(topic)
        await publisher.publish([tested.message(body=b"first")], after=0, upto=5)

        for after in (4, 5):  # once fenced, always fenced
            with pytest.raises(Fenced):
                await publisher.publish([tested.message(body=b"second")], after=after, upto=6)

        assert await tested.bodies(topic) == ["first"]

    async def test_messages_that_are_sent_again_are_stored_once_if_the_broker_deduplicates(
        self, tested: BrokerUnderTest
    ) -> None:
        topic = await tested.topic()
        batch = [tested.message(key) for key in "ab"]
        await tested.published(topic, *batch)

        await publish(await tested.publisher(topic, broker=await tested.another(), token=2), batch)

        times = 1 if tested.broker.features.deduplicates else 2
        assert sorted(await tested.bodies(topic)) == sorted([each.body.decode() for each in batch] * times)

    # Topics

    async def test_check_reports_a_missing_topic_and_creates_nothing(self, tested: BrokerUnderTest) -> None:
        name = f"missing-{tested.source.log_id}"

        for _ in range(2):
            findings = await tested.broker.check(Topology({name: 1}), create=False)
            assert [each.status for each in findings if each.name == f"topic {name}"] == ["problem"]
        with pytest.raises(TopologyMismatch):
            await tested.broker.lanes(name)

    async def test_check_creates_a_topic_once_with_its_lanes(self, tested: BrokerUnderTest) -> None:
        topic = await tested.topic(lanes=3)
        await tested.published(topic, tested.message())

        await tested.create(topic, lanes=3)

        assert [(each.topic, each.number) for each in await tested.broker.lanes(topic)] == [
            (topic, number) for number in range(3)
        ]
        assert sum(map(len, (await tested.visible(topic)).values())) == 1

    async def test_check_reports_another_number_of_lanes_and_does_not_change_it(self, tested: BrokerUnderTest) -> None:
        topic = await tested.topic(lanes=2)

        findings = await tested.broker.check(Topology({topic: 3}), create=True)

        assert [each.status for each in findings if each.name == f"topic {topic}"] == ["problem"]
        assert len(await tested.broker.lanes(topic)) == 2


def oversize(tested: BrokerUnderTest, key: str) -> Message:
    """Return a message that the broker refuses."""
    return sized(tested, key, tested.broker.features.maximum_message_bytes + 1)


def sized(tested: BrokerUnderTest, key: str, size: int) -> Message:
    """Return a message whose body and headers have that many bytes."""
    others = tested.message(key, b"").size
    return tested.message(key, b"x" * (size - others))


def common(headers: Mapping[str, str], message: Message) -> dict[str, str]:
    """Return the headers of a message among those that were received."""
    return {name: value for name, value in headers.items() if name in message.headers}


def expected_keys(messages: list[Message]) -> dict[str, list[str]]:
    """Return the bodies of messages by key, as text."""
    keys: dict[str, list[str]] = {}
    for each in messages:
        keys.setdefault(each.key, []).append(each.body.decode())
    return keys
