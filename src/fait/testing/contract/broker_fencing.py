"""The contract of fencing: a former publisher of a topic, a source and buckets accepts nothing more."""
# ruff: noqa: D102 - test names replace docstrings

import pytest
from msgspec.structs import replace

from fait._broker_errors import Fenced
from fait._delivery.brokers.port import BrokerFeatures, Publisher
from fait.testing.contract.broker_under_test import BrokerUnderTest, bucket_of, kinds, position, publish

__all__ = ["FencingContract"]

LOWER, UPPER = range(128), range(128, 256)


def key_in(buckets: range) -> str:
    """Return a key of one of the buckets."""
    return next(key for key in map(str, range(1000)) if bucket_of(key) in buckets)


def require_fence(features: BrokerFeatures) -> None:
    """Skip the test if the broker does not fence."""
    if features.fence == "none":
        pytest.skip("this broker does not fence publishers")


async def attempt(publisher: Publisher, tested: BrokerUnderTest, body: bytes, key: str = "a") -> str:
    """Publish one message after any position; return the kind of its outcome, or "Fenced"."""
    try:
        return kinds(await publish(publisher, [tested.message(key, body)]))[0]
    except Fenced:
        return "Fenced"


class FencingContract:
    """The contract of publishers that follow each other, while the broker is available."""

    @pytest.mark.parametrize("token", [1, 2])
    async def test_former_publisher_is_fenced_once_its_successor_has_published(
        self, tested: BrokerUnderTest, token: int
    ) -> None:
        require_fence(tested.broker.features)
        topic = await tested.topic()
        former = await tested.publisher(topic)
        await publish(former, [tested.message(body=b"first")])
        successor = await tested.publisher(topic, broker=await tested.another(), token=token)
        await publish(successor, [tested.message(body=b"second")])

        with pytest.raises(Fenced) as caught:
            await former.publish([tested.message(body=b"zombie")], after=1, upto=9)

        assert caught.value.relay == "orders"
        assert await tested.bodies(topic) == ["first", "second"]

    async def test_former_publisher_is_fenced_before_its_successor_publishes(self, tested: BrokerUnderTest) -> None:
        features = tested.broker.features
        require_fence(features)
        topic = await tested.topic()
        former = await tested.publisher(topic)
        await publish(former, [tested.message(body=b"first")])
        successor = await tested.publisher(topic, broker=await tested.another(), token=2)

        zombie = await attempt_after(former, tested, b"zombie", after=1)
        second = await attempt(successor, tested, b"second")

        if features.fence == "expected-sequence":
            assert (zombie, second) in {("Fenced", "Accepted"), ("Accepted", "Fenced"), ("Accepted", "Accepted")}
        else:
            assert (zombie, second) == ("Fenced", "Accepted")
        stored = {"zombie": zombie, "second": second}
        assert (await tested.bodies(topic))[1:] == [body for body, outcome in stored.items() if outcome == "Accepted"]

    async def test_fenced_publisher_accepts_nothing_more(self, tested: BrokerUnderTest) -> None:
        require_fence(tested.broker.features)
        topic = await tested.topic()
        former = await tested.publisher(topic)
        await publish(former, [tested.message(body=b"first")])
        successor = await tested.publisher(topic, broker=await tested.another(), token=2)
        await publish(successor, [tested.message(body=b"second")])

        for after in (1, 1, 2, 2, 3):
            assert await attempt_after(former, tested, b"zombie", after=after) == "Fenced"

        assert await tested.bodies(topic) == ["first", "second"]
        assert await attempt(successor, tested, b"third") == "Accepted"

    async def test_publisher_with_a_smaller_token_is_refused(self, tested: BrokerUnderTest) -> None:
        if tested.broker.features.fence != "token":
            pytest.skip("this broker does not compare tokens")
        topic = await tested.topic()
        current = await tested.publisher(topic, token=5)

        with pytest.raises(Fenced):
            await tested.publisher(topic, broker=await tested.another(), token=4)

        assert await attempt(current, tested, b"first") == "Accepted"

    async def test_publisher_of_other_buckets_topic_relay_or_log_is_not_fenced(self, tested: BrokerUnderTest) -> None:
        require_fence(tested.broker.features)
        topic, other_topic = await tested.topic(), await tested.topic()
        publisher = await tested.publisher(topic, buckets=LOWER)
        key = key_in(LOWER)
        await attempt(publisher, tested, b"1", key)

        others = [
            await tested.publisher(topic, buckets=UPPER, token=2),
            await tested.publisher(other_topic, token=2),
            await tested.publisher(topic, source=replace(tested.source, relay="mail"), token=2),
            await tested.publisher(topic, source=replace(tested.source, log_id="other"), token=2),
        ]

        assert [await attempt(each, tested, b"other", key_in(UPPER)) for each in others] == ["Accepted"] * 4
        assert await attempt(publisher, tested, b"2", key) == "Accepted"

    async def test_publisher_of_another_epoch_of_the_log_fences(self, tested: BrokerUnderTest) -> None:
        require_fence(tested.broker.features)
        topic = await tested.topic()
        former = await tested.publisher(topic)
        await publish(former, [tested.message(body=b"first")])
        adopted = replace(tested.source, epoch_id="adopted")
        successor = await tested.publisher(topic, source=adopted, token=2)
        stored = await position(successor)
        await publish(successor, [tested.message(body=b"second")])

        assert await attempt_after(former, tested, b"zombie", after=1) == "Fenced"
        if stored is not None:
            assert (stored.epoch_id, stored.position) == (tested.source.epoch_id, 1)

    async def test_publishers_of_parts_follow_one_of_the_whole_and_the_reverse(self, tested: BrokerUnderTest) -> None:
        features = tested.broker.features
        require_fence(features)
        topic = await tested.topic()
        low, high = key_in(LOWER), key_in(UPPER)
        whole = await tested.publisher(topic)
        await publish(whole, [tested.message(low, b"1"), tested.message(high, b"2")])

        parts = [await tested.publisher(topic, buckets=each, token=2) for each in (LOWER, UPPER)]
        for part, key, body in zip(parts, (low, high), (b"3", b"4"), strict=True):
            assert await attempt(part, tested, body, key) == "Accepted"
        assert await attempt_after(whole, tested, b"zombie", after=2, key=high) == "Fenced"
        merged = await tested.publisher(topic, token=3)
        stored = await position(merged)
        assert await attempt(merged, tested, b"5", low) == "Accepted"
        assert await attempt_after(parts[0], tested, b"zombie", after=3, key=low) == "Fenced"

        assert stored is None or stored.position <= 3
        assert stored is not None or not features.stores_position
        assert sorted(await tested.bodies(topic)) == ["1", "2", "3", "4", "5"]


async def attempt_after(
    publisher: Publisher, tested: BrokerUnderTest, body: bytes, *, after: int, key: str = "a"
) -> str:
    """Publish one message after a position; return the kind of its outcome, or "Fenced"."""
    message = tested.message(key, body)
    try:
        return kinds(await publisher.publish([message], after=after, upto=message.position))[0]
    except Fenced:
        return "Fenced"
