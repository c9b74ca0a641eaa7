"""The contract of `Consumer`: where it begins, order, acknowledgment, redelivery, lanes, pauses, and waiting."""
# ruff: noqa: D102 - test names replace docstrings

import asyncio
import time
from typing import Final

import pytest

from fait._broker_errors import OffsetLost, TopologyMismatch
from fait._delivery.brokers.port import BrokerFeatures, ConsumedBatch, ConsumedMessage, Consumer, Lane, LaneRevoked
from fait.testing.contract.broker_under_test import BrokerUnderTest, bucket_of, has_backlog, publish, received
from fait.testing.contract.turns import turns

__all__ = ["ConsumingContract"]

KEYS: Final = [next(key for key in map(str, range(99)) if bucket_of(key) % 2 == lane) for lane in (0, 1)]
"""A key for each lane of a topic with two lanes."""


def require_seekable(features: BrokerFeatures) -> None:
    """Skip the test if a consumer cannot begin at an offset."""
    if not features.seekable:
        pytest.skip("consumers of this broker cannot begin at an offset")


def require_acknowledgment(features: BrokerFeatures) -> None:
    """Skip the test if the broker does not remember what is acknowledged."""
    if features.acknowledges == "none":
        pytest.skip("this broker does not remember what is acknowledged")


def texts(messages: list[ConsumedMessage]) -> list[str]:
    """Return the bodies of messages as text."""
    return [each.body.decode() for each in messages]


async def nothing(consumer: Consumer) -> bool:
    """Whether there are no more messages for a consumer."""
    return await consumer.receive(0.3) is None


class ConsumingContract:
    """The contract of `Consumer` while the broker is available."""

    async def filled(self, tested: BrokerUnderTest, count: int = 10) -> tuple[str, Lane]:
        """Create a topic with one lane and messages with the bodies "1", "2" and so on."""
        topic = await tested.topic()
        await tested.published(topic, *[tested.message(body=str(n).encode()) for n in range(1, count + 1)])
        (lane,) = await tested.broker.lanes(topic)
        return topic, lane

    # Where it begins

    async def test_consumer_begins_before_all_messages_or_after_them(self, tested: BrokerUnderTest) -> None:
        require_seekable(tested.broker.features)
        topic, _ = await self.filled(tested, 3)
        beginning = await tested.consumer(topic, start="beginning")
        end = await tested.consumer(topic, start="end")

        await tested.published(topic, tested.message(body=b"4"))

        assert texts(await received(beginning, 4)) == ["1", "2", "3", "4"]
        assert texts(await received(end, 1)) == ["4"]

    async def test_consumer_begins_after_the_ends_of_lanes(self, tested: BrokerUnderTest) -> None:
        require_seekable(tested.broker.features)
        topic, empty = (await self.filled(tested, 3))[0], await tested.topic()
        lanes = {each: await tested.broker.lanes(each) for each in (topic, empty)}
        ends = {each: await tested.broker.ends(lanes[each]) for each in lanes}
        if ends[topic] is None:
            pytest.skip("this broker does not tell where a lane ends")

        await tested.published(topic, tested.message(body=b"4"))
        await tested.published(empty, tested.message(body=b"first"))
        consumers = {each: await tested.consumer(each, offsets=dict(ends[each] or {})) for each in lanes}

        assert texts(await received(consumers[topic], 1)) == ["4"]
        assert texts(await received(consumers[empty], 1)) == ["first"]
        assert list((ends[empty] or {}).values()) == [""]

    async def test_consumer_begins_after_its_own_offset(self, tested: BrokerUnderTest) -> None:
        require_seekable(tested.broker.features)
        topic, lane = await self.filled(tested)
        all_messages = await received(await tested.consumer(topic), 10)

        for index in (0, 4, 8):
            consumer = await tested.consumer(topic, offsets={lane: all_messages[index].offset}, start="end")
            assert await received(consumer, 9 - index) == all_messages[index + 1 :]
            assert await nothing(consumer)

    async def test_own_offset_of_the_last_message_delivers_only_later_ones(self, tested: BrokerUnderTest) -> None:
        require_seekable(tested.broker.features)
        topic, lane = await self.filled(tested, 2)
        last = (await received(await tested.consumer(topic), 2))[-1]
        consumer = await tested.consumer(topic, offsets={lane: last.offset})

        assert await nothing(consumer)
        await tested.published(topic, tested.message(body=b"3"))

        assert texts(await received(consumer, 1)) == ["3"]

    async def test_own_offset_counts_although_later_messages_were_acknowledged(self, tested: BrokerUnderTest) -> None:
        require_seekable(tested.broker.features)
        topic, lane = await self.filled(tested)
        first = await tested.consumer(topic, name="restored")
        messages = await received(first, 10)
        await first.acknowledge(lane, messages[9].offset)
        await first.close()

        restored = await tested.consumer(topic, name="restored", offsets={lane: messages[2].offset})

        assert texts(await received(restored, 7)) == ["4", "5", "6", "7", "8", "9", "10"]

    async def test_offset_that_the_broker_cannot_have_written_is_lost(self, tested: BrokerUnderTest) -> None:
        require_seekable(tested.broker.features)
        topic, lane = await self.filled(tested, 2)

        for offset in ("offset of another broker", "7e57-1", "@", "1-"):
            with pytest.raises(OffsetLost) as lost:
                await tested.consumer(topic, offsets={lane: offset})
            assert (lost.value.topic, lost.value.lane, lost.value.offset) == (topic, lane.number, offset)

    # Acknowledgment and redelivery

    async def test_messages_that_were_not_acknowledged_are_delivered_again_in_order(
        self, tested: BrokerUnderTest
    ) -> None:
        topic, _ = await self.filled(tested)
        start = "beginning" if tested.broker.features.seekable else "acknowledged"
        first = await tested.consumer(topic, name="again", start=start)
        before = await received(first, 10)
        await first.close()

        after = await received(await tested.consumer(topic, name="again", start=start), 10)

        assert texts(before) == texts(after) == [str(n) for n in range(1, 11)]

    async def test_only_messages_up_to_the_acknowledged_offset_are_not_delivered_again(
        self, tested: BrokerUnderTest
    ) -> None:
        require_acknowledgment(tested.broker.features)
        topic, lane = await self.filled(tested)
        first = await tested.consumer(topic, name="prefix", start="acknowledged")
        messages = await received(first, 10)

        await first.acknowledge(lane, messages[4].offset)
        await first.close()

        again = await tested.consumer(topic, name="prefix", start="acknowledged")
        assert texts(await received(again, 5)) == ["6", "7", "8", "9", "10"]
        assert await nothing(again)

    async def test_acknowledgment_never_moves_back(self, tested: BrokerUnderTest) -> None:
        require_acknowledgment(tested.broker.features)
        topic, lane = await self.filled(tested)
        first = await tested.consumer(topic, name="back", start="acknowledged")
        messages = await received(first, 10)

        for index in (6, 2, 6):
            await first.acknowledge(lane, messages[index].offset)
        await first.acknowledge(lane, messages[3].offset)
        await first.close()

        assert texts(await received(await tested.consumer(topic, name="back", start="acknowledged"), 3)) == [
            "8",
            "9",
            "10",
        ]

    async def test_acknowledgment_is_of_one_lane_and_one_name(self, tested: BrokerUnderTest) -> None:
        require_acknowledgment(tested.broker.features)
        topic = await tested.topic(lanes=2)
        await tested.published(topic, *[tested.message(key, key.encode()) for key in KEYS])
        lanes = await tested.broker.lanes(topic)
        first = await tested.consumer(topic, name="lanes", start="acknowledged")
        offsets = {message.key: message.offset for message in await received(first, 2)}

        await first.acknowledge(lanes[0], offsets[KEYS[0]])
        await first.close()

        again = await tested.consumer(topic, name="lanes", start="acknowledged")
        assert texts(await received(again, 1)) == [KEYS[1]]
        assert await nothing(again)
        await again.close()
        other = await tested.consumer(topic, name="other", start="acknowledged")
        remaining = KEYS[1:] if tested.broker.features.acknowledges == "removal" else KEYS
        assert sorted(texts(await received(other, len(remaining)))) == sorted(remaining)
        assert await nothing(other)

    async def test_message_is_delivered_once_by_a_consumer(self, tested: BrokerUnderTest) -> None:
        topic, _ = await self.filled(tested)
        consumer = await tested.consumer(topic, maximum_batch=3)

        assert len(await received(consumer, 10)) == 10
        assert await nothing(consumer)

    async def test_consumers_with_different_names_receive_all_messages(self, tested: BrokerUnderTest) -> None:
        require_seekable(tested.broker.features)
        topic, _ = await self.filled(tested)
        consumers = [await tested.consumer(topic) for _ in range(2)]

        assert [texts(await received(each, 10)) for each in consumers] == [[str(n) for n in range(1, 11)]] * 2

    # Batches, lanes, pauses

    async def test_batch_has_messages_of_one_lane_and_at_most_the_maximum(self, tested: BrokerUnderTest) -> None:
        topic = await tested.topic(lanes=2)
        await tested.published(topic, *[tested.message(f"key-{number}") for number in range(40)])
        consumer = await tested.consumer(topic, maximum_batch=7)

        batches: list[ConsumedBatch] = []
        while sum(len(each.messages) for each in batches) < 40:
            batch = await consumer.receive(10)
            assert isinstance(batch, ConsumedBatch)
            batches.append(batch)

        assert max(len(each.messages) for each in batches) <= 7
        for batch in batches:
            assert {bucket_of(str(each.key)) % 2 for each in batch.messages} == {batch.lane.number}

    async def test_consumer_of_one_lane_receives_no_other(self, tested: BrokerUnderTest) -> None:
        topic = await tested.topic(lanes=3)
        await tested.published(topic, *[tested.message(f"key-{number}") for number in range(30)])
        second = (await tested.broker.lanes(topic))[1]
        expected = [f"key-{number}" for number in range(30) if bucket_of(f"key-{number}") % 3 == 1]

        consumer = await tested.consumer(topic, lanes=[second])

        assert [each.key for each in await received(consumer, len(expected))] == expected
        assert await nothing(consumer)

    async def test_paused_lane_delivers_nothing_and_others_continue(self, tested: BrokerUnderTest) -> None:
        topic = await tested.topic(lanes=2)
        first, second = await tested.broker.lanes(topic)
        consumer = await tested.consumer(topic)
        consumer.pause(first)
        await tested.published(topic, *[tested.message(key) for key in KEYS * 3])

        assert {each.key for each in await received(consumer, 3)} == {KEYS[1]}
        assert await nothing(consumer)
        consumer.resume(first)
        consumer.pause(second)
        await tested.published(topic, *[tested.message(key) for key in KEYS])
        assert {each.key for each in await received(consumer, 4)} == {KEYS[0]}
        assert await nothing(consumer)
        consumer.resume(second)

        assert [each.key for each in await received(consumer, 1)] == [KEYS[1]]

    async def test_consumer_takes_the_lanes_of_one_with_the_same_name(self, tested: BrokerUnderTest) -> None:
        if not tested.broker.features.exclusive_lanes:
            pytest.skip("consumers of this broker do not take lanes from each other")
        topic, lane = await self.filled(tested)
        first = await tested.consumer(topic, name="same", start="acknowledged", maximum_batch=4)
        messages = await received(first, 4)

        second = await tested.consumer(topic, name="same", start="acknowledged", broker=await tested.another())

        assert await first.receive(10) == LaneRevoked(lane)
        await first.acknowledge(lane, messages[3].offset)
        await second.close()
        third = await tested.consumer(topic, name="same", start="acknowledged")
        assert texts(await received(third, 1))[0] == "1"

    async def test_consumer_of_a_missing_topic_is_refused(self, tested: BrokerUnderTest) -> None:
        lane = Lane(f"missing-{tested.source.log_id}", 0)

        with pytest.raises(TopologyMismatch):
            await received(await tested.consumer(lane.topic, lanes=[lane]), 1)

    # Waiting

    async def test_receive_without_messages_waits_for_the_timeout(self, tested: BrokerUnderTest) -> None:
        consumer = await tested.consumer(await tested.topic())

        began = time.monotonic()
        assert await consumer.receive(0.5) is None

        assert 0.3 <= time.monotonic() - began <= 3

    async def test_waiting_consumer_receives_a_new_message(self, tested: BrokerUnderTest) -> None:
        topic = await tested.topic()
        consumer = await tested.consumer(topic)

        waiting = asyncio.create_task(consumer.receive(20))
        publisher = await tested.publisher(topic)  # until it is open, the consumer waits
        await turns()
        await publish(publisher, [tested.message(body=b"new")])
        batch = await asyncio.wait_for(waiting, 5)

        assert isinstance(batch, ConsumedBatch)
        assert texts(list(batch.messages)) == ["new"]

    async def test_canceled_receive_loses_no_message(self, tested: BrokerUnderTest) -> None:
        topic = await tested.topic()
        consumer = await tested.consumer(topic)
        found: list[str] = []

        for number in range(30):
            receiving = asyncio.create_task(consumer.receive(20))
            await asyncio.sleep(0)
            publishing = asyncio.create_task(tested.published(topic, tested.message(body=str(number).encode())))
            if number % 5:
                await publishing
            await turns(number % 7)
            receiving.cancel()
            await publishing
            try:
                batch = await receiving
            except asyncio.CancelledError:
                continue
            assert isinstance(batch, ConsumedBatch)
            found += texts(list(batch.messages))
        found += texts(await received(consumer, 30 - len(found)))

        assert found == [str(number) for number in range(30)]

    # Backlog

    async def test_backlog_is_the_number_of_messages_that_were_not_received(self, tested: BrokerUnderTest) -> None:
        (topic, _), features = await self.filled(tested, 10), tested.broker.features
        consumer = await tested.consumer(topic, maximum_batch=4)

        assert await has_backlog(consumer, features, 10)
        left = 10 - len(await received(consumer, 4))
        assert await has_backlog(consumer, features, left)
        await received(consumer, left)
        assert await nothing(consumer)
        assert await has_backlog(consumer, features, 0)
        await tested.published(topic, tested.message(body=b"11"))
        assert await has_backlog(consumer, features, 1)

    async def test_backlog_is_that_of_all_lanes_after_their_own_offsets(self, tested: BrokerUnderTest) -> None:
        require_seekable(tested.broker.features)
        topic, features = await tested.topic(lanes=2), tested.broker.features
        await tested.published(topic, *[tested.message(key) for key in KEYS * 10])
        _, second = await tested.broker.lanes(topic)
        offset = (await received(await tested.consumer(topic, lanes=[second]), 10))[5].offset

        consumer = await tested.consumer(topic, offsets={second: offset})
        empty = await tested.consumer(await tested.topic())

        assert await has_backlog(consumer, features, 14)
        assert await has_backlog(empty, features, 0)

    async def test_backlog_is_told_while_the_consumer_waits_for_a_message(self, tested: BrokerUnderTest) -> None:
        topic = await tested.topic()
        consumer = await tested.consumer(topic)
        waiting = asyncio.create_task(consumer.receive(20))

        assert await has_backlog(consumer, tested.broker.features, 0)
        await tested.published(topic, tested.message(body=b"new"))
        batch = await asyncio.wait_for(waiting, 5)

        assert isinstance(batch, ConsumedBatch)
        assert texts(list(batch.messages)) == ["new"]
