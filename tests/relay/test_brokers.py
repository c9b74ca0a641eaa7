"""Relays on each broker: outages, refused messages, restarts, and workers that share the work."""

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any

import fait
from fait._store.ports.failures import FailureRequest, KeyFailure
from tests.relay.checker import Arrival, problems
from tests.relay.published import (
    Noted,
    TestedBroker,
    append,
    recorded,
    relay_app,
    until,
    until_published,
)

BIG = "big"


async def test_events_are_published_in_order_of_their_keys(any_broker: TestedBroker) -> None:
    async with relay_app(any_broker.url).open("memory:") as system:
        await append(system, 100)

        await until_published(system, any_broker)


async def test_relay_of_an_unavailable_broker_waits_without_attempts_and_appends_continue(
    broker: TestedBroker,
) -> None:
    async with relay_app(broker.url).open("memory:") as system:
        await append(system, 10)
        await system.wait()
        with broker.down():
            await append(system, 20, start=10)
            await until(lambda: _is_failing(system, fait.BrokerUnavailable))
            failures = await system.store.failures.failures()

        await until_published(system, broker)
        [status] = await system.status()
        assert failures == []
        assert (status.state, status.error) == ("live", None)


async def test_broker_that_dies_with_unconfirmed_messages_gets_each_message_once(any_broker: TestedBroker) -> None:
    async with relay_app(any_broker.url).open("memory:") as system:
        for number in range(any_broker.kills):
            appending = asyncio.create_task(append(system, 1_500, keys=50, start=1_500 * number))
            await until(lambda head=1_500 * number + 500: _is_appended(system, head))
            with any_broker.down():
                await until(lambda head=1_500 * number + 1_000: _is_appended(system, head))
            await appending

        await until_published(system, any_broker)


async def _is_appended(system: fait.System, position: int) -> bool:
    return await system.store.log.head() >= position


async def test_refused_message_parks_its_key_alone_and_is_redriven_in_order(
    any_broker: TestedBroker, store_url: Callable[[str], str]
) -> None:
    large = "x" * any_broker.limited_bytes
    async with AsyncExitStack() as opened:
        async with any_broker.limited():
            system = await opened.enter_async_context(relay_app(any_broker.url).open(store_url("sqlite")))
            await append(system, 5, keys=2)
            await system.append(fait.NewEvents(BIG, [Noted("before"), Noted(large), Noted("after")]))
            await append(system, 5, keys=2, start=5)
            await until(lambda: _has_passed_the_log(system))
            [failure] = await system.store.failures.failures()
            await system.publish(Noted("later"), stream=BIG)
            await append(system, 5, keys=2, start=10)
            await until(lambda: _has_passed_the_log(system))
            events = await recorded(system)
            [_, refused, *_] = [each for each in events if each.key == BIG]
            arrived = await any_broker.arrived()
        assert (failure.key, failure.state, failure.attempts, failure.next_position) == (BIG, "parked", 1, refused[1])
        assert failure.error.startswith("too-large: ")
        assert problems([each for each in events if _is_not_parked(each, refused)], arrived) == []

        await _redrive(system, failure)
        await until(lambda: _is_empty(system))

        await append(system, 5, keys=2, start=15)
        await system.publish(Noted("last"), stream=BIG)
        await until_published(system, any_broker)


async def test_several_refused_messages_of_a_batch_park_each_key_at_its_first_one(
    broker: TestedBroker, store_url: Callable[[str], str]
) -> None:
    url, large = store_url("sqlite"), Noted("x" * broker.limited_bytes)
    async with relay_app(broker.url).open(url, run="elsewhere") as system:
        await append(system, 5, keys=2)
        await system.append(fait.NewEvents(BIG, [Noted("before"), large, Noted("after")]))
        await system.append(fait.NewEvents("two", [Noted("before")]), fait.NewEvents(BIG, [large]))
        await system.append(fait.NewEvents("two", [Noted("second"), large, Noted("after"), large]))
        await append(system, 5, keys=2, start=5)
        events = await recorded(system)
    async with broker.limited(), relay_app(broker.url).open(url) as system:
        await until(lambda: _has_passed_the_log(system))
        failures = await system.store.failures.failures()
        arrived = await broker.arrived()

    async with relay_app(broker.url).open(url) as system:
        for each in failures:
            await _redrive(system, each)
        await until(lambda: _is_empty(system))

        parked = {each.key: each.next_position for each in failures}
        assert parked == {BIG: 7, "two": 12}
        unparked = [each for each in events if each.position < parked.get(each.key, len(events) + 1)]
        assert problems(unparked, arrived) == []
        await until_published(system, broker)


async def test_redriven_message_that_is_refused_again_is_parked_again(broker: TestedBroker) -> None:
    async with broker.limited(), relay_app(broker.url).open("memory:") as system:
        await system.publish(Noted("x" * broker.limited_bytes), stream=BIG)
        await append(system, 1)
        await until(lambda: _is_parked(system))
        [failure] = await system.store.failures.failures()

        await _redrive(system, failure)
        await until(lambda: _has_attempts(system, 2))

        [again] = await system.store.failures.failures()
        assert (again.state, again.next_position) == ("parked", failure.next_position)


async def test_restarted_relay_repeats_nothing(broker: TestedBroker, store_url: Callable[[str], str]) -> None:
    url = store_url("sqlite")
    for number in range(3):
        async with relay_app(broker.url).open(url) as system:
            await append(system, 50, start=50 * number)
            await until_published(system, broker)


async def test_relay_with_an_older_checkpoint_repeats_nothing(
    broker: TestedBroker, store_url: Callable[[str], str]
) -> None:
    url = store_url("sqlite")
    async with relay_app(broker.url).open(url) as system:
        await append(system, 50)
        await until_published(system, broker)

    # As if the process had died before it recorded what the broker had confirmed.
    await _set_position(url, 20)

    async with relay_app(broker.url).open(url) as system:
        await append(system, 10, start=50)
        await until_published(system, broker)


async def test_workers_share_the_ranges_and_publish_each_event_once(
    any_broker: TestedBroker, store_url: Callable[[str], str]
) -> None:
    url, app = store_url("sqlite"), relay_app(any_broker.url)
    async with app.open(url, lease_s=0.2) as first:
        await append(first, 100, keys=40)
        async with relay_app(any_broker.url).open(url, lease_s=0.2) as second:
            appending = asyncio.create_task(append(second, 2_000, keys=40, start=100))
            await until(lambda: _are_shared(first, 2))
            await append(first, 100, keys=40, start=2_100)
            await appending
            await first.wait(timeout_s=30)
        await append(first, 100, keys=40, start=2_200)
        await until(lambda: _are_shared(first, 1))
        await append(first, 100, keys=40, start=2_300)

        await until_published(first, any_broker)


async def test_worker_that_lost_its_lease_publishes_nothing_more(
    any_broker: TestedBroker, store_url: Callable[[str], str]
) -> None:
    url = store_url("sqlite")
    async with relay_app(any_broker.url).open(url, lease_s=0.3) as old:
        await append(old, 10)
        await old.wait()
        for each in old._subscription_runner.background_tasks:  # no heartbeat any more
            each.cancel()
        async with relay_app(any_broker.url).open(url, lease_s=0.3) as new:
            await until(lambda: _owns_all(new))
            await append(new, 200, keys=20, start=10)

            await until_published(new, any_broker)


# What is looked at


async def _is_failing(system: fait.System, kind: type[Exception]) -> bool:
    [status] = await system.status()
    return status.state == "failing" and isinstance(status.error, kind)


async def _has_passed_the_log(system: fait.System) -> bool:
    [status] = await system.status()
    return status.lag == 0


async def _is_parked(system: fait.System) -> bool:
    return [each.state for each in await system.store.failures.failures()] == ["parked"]


async def _has_attempts(system: fait.System, attempts: int) -> bool:
    return [(each.state, each.attempts) for each in await system.store.failures.failures()] == [("parked", attempts)]


async def _is_empty(system: fait.System) -> bool:
    return not await system.store.failures.failures()


async def _are_shared(system: fait.System, workers: int) -> bool:
    ranges = await system.store.leases.ranges()
    is_split = len(ranges) > 1
    return len({each.worker for each in ranges if each.worker}) == workers and is_split == (workers > 1)


async def _owns_all(system: fait.System) -> bool:
    ranges = await system.store.leases.ranges()
    return {each.worker for each in ranges} == {system._subscription_runner.worker}


async def _redrive(system: fait.System, failure: KeyFailure) -> None:
    request = FailureRequest(
        failure.subscription, (failure.key,), "redriving", by="test", reason="the limit was raised"
    )
    assert await system.store.failures.request(request) == 1


async def _set_position(url: str, position: int) -> None:
    import sqlite3

    with sqlite3.connect(url.removeprefix("sqlite:///")) as connection:
        connection.execute("UPDATE fait_ranges SET position = ?, frontier = ?", (position, position))
    connection.close()


def _is_not_parked(arrival: Arrival, refused: Any) -> bool:
    return arrival.key != BIG or arrival.position < refused.position
