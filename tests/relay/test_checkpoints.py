"""When a relay writes its checkpoint: once in an interval if its broker stores its position, otherwise at once."""

import asyncio
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import pytest
from msgspec.structs import replace

import fait
from fait._delivery.brokers.memory import broker as memory
from fait._delivery.relay import range_publisher
from fait._store.memory.recorder import MemoryRecorder
from fait._store.ports.failures import FailureRequest
from fait._store.ports.leases import Range
from fait._store.ports.unit_of_work import UnitOfWork
from fait._subscriptions import lane_worker
from tests.relay.published import Noted, TestedBroker, append, relay_app, until, until_published


@pytest.fixture
def records(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The frontiers that are recorded."""
    record, frontiers = MemoryRecorder.record, list[int]()

    async def counting(recorder: MemoryRecorder, work: UnitOfWork) -> Any:
        frontiers.append(work.move.frontier)
        return await record(recorder, work)

    monkeypatch.setattr(MemoryRecorder, "record", counting)
    return frontiers


@pytest.fixture
def rare_records(monkeypatch: pytest.MonkeyPatch) -> None:
    """Record what can be recorded later only with something else."""
    monkeypatch.setattr(lane_worker, "CHECKPOINT_INTERVAL_S", 1_000.0)


async def _publish_one_by_one(system: fait.System, count: int, start: int = 0) -> None:
    for number in range(start, start + count):
        await append(system, 1, start=number)
        await system.wait(timeout_s=5)


async def test_checkpoint_is_written_once_in_an_interval_and_at_the_end(
    memory_broker: TestedBroker, records: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    interval_s = 0.3
    monkeypatch.setattr(lane_worker, "CHECKPOINT_INTERVAL_S", interval_s)
    async with relay_app(memory_broker.url).open("memory:") as system:
        started = asyncio.get_running_loop().time()
        await _publish_one_by_one(system, 100)
        await until(lambda: _is_recorded(system, 100))
        seconds = asyncio.get_running_loop().time() - started
        await _publish_one_by_one(system, 2, start=100)
    number = len(records)

    assert 2 <= number <= 3 + seconds / interval_s
    assert records[-1] == 102
    assert len(await memory_broker.arrived()) == 102


async def test_checkpoint_of_a_broker_that_stores_no_position_is_written_at_once(
    memory_broker: TestedBroker, records: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "FEATURES", replace(memory.FEATURES, stores_position=False))
    async with relay_app(memory_broker.url).open("memory:") as system:
        await _publish_one_by_one(system, 10)
        recorded_at_once = list(records)

    assert recorded_at_once == [*range(1, 11)]


@pytest.mark.usefixtures("rare_records")
async def test_key_that_is_redriven_before_the_checkpoint_is_written_loses_no_later_event(
    memory_broker: TestedBroker,
) -> None:
    async with relay_app(memory_broker.url).open("memory:") as system:
        async with memory_broker.limited():
            await system.publish(Noted("x" * memory_broker.limited_bytes), stream="big")
            await until(lambda: _is_parked(system, 1))
        await append(system, 2)
        await system.publish(Noted("later"), stream="big")
        await append(system, 3, start=2)
        await until(lambda: _has_arrived(memory_broker, 5))
        request = FailureRequest("relay-orders", ("big",), "redriving", by="test")
        await system.store.failures.request(request)
        await until(lambda: _is_parked(system, 0))
        await system.publish(Noted("last"), stream="big")

        await until_published(system, memory_broker)


@pytest.mark.usefixtures("rare_records")
async def test_events_of_a_key_that_had_failed_are_recorded_at_once(
    memory_broker: TestedBroker, store_url: Callable[[str], str]
) -> None:
    url = store_url("sqlite")
    async with memory_broker.limited(), relay_app(memory_broker.url).open(url) as system:
        await system.publish(Noted("x" * memory_broker.limited_bytes), stream="big")
        await until(lambda: _is_parked(system, 1))
    async with relay_app(memory_broker.url).open(url) as system:
        await append(system, 1)
        await system.store.failures.request(FailureRequest("relay-orders", ("big",), "redriving", by="test"))
        await until(lambda: _is_parked(system, 0))
        result = await system.publish(Noted("later"), stream="big")
        await system.wait(result, timeout_s=5)
        position = await _stored_frontier(system)

    assert position == result.position


@pytest.mark.usefixtures("rare_records")
async def test_checkpoint_is_written_before_an_outage(
    memory_broker: TestedBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(range_publisher, "TIMEOUT_S", 0.5)
    async with relay_app(memory_broker.url).open("memory:") as system:
        await _publish_one_by_one(system, 3)
        before = await _stored_frontier(system)
        with memory_broker.down():
            await append(system, 1, start=3)
            await until(lambda: _is_unavailable(system))
            await until(lambda: _is_recorded(system, 3))

    assert before < 3


async def test_event_that_a_former_worker_left_behind_is_recorded_although_no_other_follows(
    memory_broker: TestedBroker, store_url: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(range_publisher, "TIMEOUT_S", 1.0)
    url = store_url("sqlite")
    async with memory_broker.limited():
        with ExitStack() as outage:
            async with relay_app(memory_broker.url).open(url) as system:
                await system.publish(Noted("x" * memory_broker.limited_bytes), stream="big")
                await until(lambda: _is_parked(system, 1))
                outage.enter_context(memory_broker.down())
                await system.append(
                    fait.NewEvents("other", [Noted("left behind")]), fait.NewEvents("big", [Noted("set aside")])
                )
                await until(lambda: _is_recorded(system, 3))
            left = await _range(url, memory_broker)
        async with relay_app(memory_broker.url).open(url) as system:
            await until(lambda: _is_finished(system, 3))

    assert (left.position, left.frontier, left.health) == (1, 3, "")


async def _range(url: str, broker: TestedBroker) -> Range:
    async with relay_app(broker.url).open(url, run="elsewhere") as system:
        [found] = await system.store.leases.ranges()
    return found


async def _is_finished(system: fait.System, position: int) -> bool:
    """Whether other processes can see that the relay has passed a position."""
    return min([each.position for each in await system.store.leases.ranges()]) >= position


async def _stored_frontier(system: fait.System) -> int:
    return min([each.frontier for each in await system.store.leases.ranges()])


async def _is_recorded(system: fait.System, position: int) -> bool:
    return await _stored_frontier(system) >= position


async def _has_arrived(broker: TestedBroker, count: int) -> bool:
    return len(await broker.arrived()) == count


async def _is_parked(system: fait.System, keys: int) -> bool:
    failures = await system.store.failures.failures()
    return len(failures) == keys and all(each.state == "parked" for each in failures)


async def _is_unavailable(system: fait.System) -> bool:
    [status] = await system.status()
    return isinstance(status.error, fait.BrokerUnavailable)
