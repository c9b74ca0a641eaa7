"""The contract of brokers while the server does not answer: timeouts, unknown outcomes, and what follows them."""
# ruff: noqa: D102 - test names replace docstrings

import asyncio
import time
from collections.abc import Awaitable

import pytest

from fait._broker_errors import BrokerUnavailable
from fait._delivery.brokers.port import CLOSE_TIMEOUT_S, Accepted, Broker, Publisher
from fait._errors import FaitError
from fait.testing.contract.broker_under_test import BrokerUnderTest, ServerControl, position, publish, received

__all__ = ["OutageContract"]

MARGIN_S = 2.0
"""Maximum delay of a timeout on a busy computer."""


def control_of(tested: BrokerUnderTest) -> ServerControl:
    """Return what stops the server, or skip the test."""
    if tested.server is None:
        pytest.skip("the server of this broker cannot be stopped")
    return tested.server


class OutageContract:
    """The contract of brokers whose server does not answer for some time."""

    async def test_call_to_a_frozen_server_is_an_outage_within_the_timeout(
        self, tested: BrokerUnderTest, timeout_s: float
    ) -> None:
        server, topic = control_of(tested), await tested.topic()
        publisher = await tested.publisher(topic)
        await server.freeze()
        try:
            began = time.monotonic()
            with pytest.raises(BrokerUnavailable) as caught:
                async with asyncio.timeout(timeout_s + MARGIN_S):
                    await publisher.publish([tested.message() for _ in range(10)], after=0, upto=10)
            assert time.monotonic() - began <= timeout_s + MARGIN_S
        finally:
            await server.thaw()

        if caught.value.outcome == "not_sent":
            assert await tested.bodies(topic) == []

    async def test_publisher_accepts_nothing_after_an_outage(self, tested: BrokerUnderTest) -> None:
        server, topic = control_of(tested), await tested.topic()
        publisher = await tested.publisher(topic)
        await publish(publisher, [tested.message(body=b"before")])
        await fail_to_publish(server, tested, publisher, b"unknown")

        for _ in range(3):
            with pytest.raises(FaitError):
                await publisher.publish([tested.message(body=b"after")], after=1, upto=9)

        assert await tested.bodies(topic) in (["before"], ["before", "unknown"])

    async def test_messages_with_unknown_outcome_are_stored_once_or_never(self, tested: BrokerUnderTest) -> None:
        server, topic = control_of(tested), await tested.topic()
        publisher = await tested.publisher(topic)
        batch = [tested.message("ab"[number % 2]) for number in range(20)]
        await server.freeze()
        try:
            with pytest.raises(BrokerUnavailable):
                await publisher.publish(batch, after=0, upto=20)
        finally:
            await server.thaw()
        await tested.bodies(topic)  # until then, a client that sends again has done so

        found = await tested.bodies(topic)

        everything = [each.body.decode() for each in batch]
        if tested.broker.features.batch == "atomic":
            assert found in ([], everything)
        else:
            assert len(set(found)) == len(found)
            for key in (0, 1):
                of_key = [body for body in found if body in everything[key::2]]
                assert of_key == everything[key::2][: len(of_key)]

    async def test_successor_continues_after_an_outage_without_a_gap(self, tested: BrokerUnderTest) -> None:
        server, topic = control_of(tested), await tested.topic()
        messages = [tested.message(position=number) for number in range(1, 31)]
        first = await tested.publisher(topic)
        await first.publish(messages[:10], after=0, upto=10)
        await server.freeze()
        try:
            with pytest.raises(BrokerUnavailable):
                await first.publish(messages[10:20], after=10, upto=20)
        finally:
            await server.thaw()

        successor = await tested.publisher(topic, broker=await tested.another(), token=1)
        progress = await position(successor)
        start = 10 if progress is None else progress.position
        outcomes = await successor.publish(messages[start:], after=start, upto=30)

        assert {type(each) for each in outcomes} == {Accepted}
        assert (progress is None) is not tested.broker.features.stores_position
        found = [int(body) for body in await tested.bodies(topic)]
        assert list(dict.fromkeys(found)) == sorted({int(each.body) for each in messages})
        if progress:
            assert len(found) == 30

    async def test_close_ends_in_time_while_the_server_is_frozen(self, tested: BrokerUnderTest) -> None:
        server, topic = control_of(tested), await tested.topic()
        broker = await tested.another()
        publisher = await tested.publisher(topic, broker=broker)
        consumer = await tested.consumer(topic, broker=broker)
        await server.freeze()
        try:
            for each in (publisher, consumer, broker):
                async with asyncio.timeout(CLOSE_TIMEOUT_S + MARGIN_S):
                    await each.close()
        finally:
            await server.thaw()

    async def test_receive_from_a_frozen_server_ends_in_time(self, tested: BrokerUnderTest, timeout_s: float) -> None:
        server, topic = control_of(tested), await tested.topic()
        consumer = await tested.consumer(topic)
        await server.freeze()
        try:
            async with asyncio.timeout(0.2 + timeout_s + MARGIN_S):
                assert await is_unavailable_or_empty(consumer.receive(0.2))
        finally:
            await server.thaw()

    async def test_backlog_is_unknown_while_the_server_is_frozen_and_that_is_no_outage(
        self, tested: BrokerUnderTest, timeout_s: float
    ) -> None:
        server, topic = control_of(tested), await tested.topic()
        consumer = await tested.consumer(topic)
        await server.freeze()
        try:
            async with asyncio.timeout(timeout_s + MARGIN_S):
                assert await consumer.backlog() is None
        finally:
            await server.thaw()
        await tested.published(topic, tested.message(body=b"later"))

        assert [each.body for each in await received(consumer, 1)] == [b"later"]

    async def test_closed_broker_and_what_it_opened_answer_with_an_outage(self, tested: BrokerUnderTest) -> None:
        topic = await tested.topic()
        broker = await tested.another()
        publisher = await tested.publisher(topic, broker=broker)
        await broker.close()
        await broker.close()

        for call in (publish(publisher, [tested.message()]), broker.lanes(topic), opened(broker, topic, tested)):
            with pytest.raises(BrokerUnavailable):
                await call

        assert await tested.bodies(topic) == []


async def opened(broker: Broker, topic: str, tested: BrokerUnderTest) -> Publisher:
    """Open a publisher."""
    return await tested.publisher(topic, broker=broker)


async def is_unavailable_or_empty(receiving: Awaitable[object]) -> bool:
    """Whether a call of `receive` returns None or raises `BrokerUnavailable`."""
    try:
        return await receiving is None
    except BrokerUnavailable:
        return True


async def fail_to_publish(server: ServerControl, tested: BrokerUnderTest, publisher: Publisher, body: bytes) -> None:
    """Publish one message while the server is frozen."""
    await server.freeze()
    try:
        with pytest.raises(BrokerUnavailable):
            await publisher.publish([tested.message(body=body)], after=1, upto=2)
    finally:
        await server.thaw()
