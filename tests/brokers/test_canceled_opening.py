"""Opening a broker, a publisher or a consumer is canceled at each step: nothing stays open.

A step is a wait of any task. It is canceled while it waits, or late: when the result is there, and the task has not got
it yet.
"""

import asyncio
import gc
import warnings
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Generator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from itertools import count
from typing import Any
from uuid import uuid4

import pytest

from fait._delivery.brokers.open import open_broker
from fait._delivery.brokers.port import BUCKETS, Broker, ConsumerSpec, Source, Topology
from fait.testing.contract.turns import turns

pytestmark = [
    pytest.mark.parametrize("server", ["redis_server", "nats_server", "rabbitmq_server", "kafka_server"]),
    pytest.mark.parametrize("late", [False, True]),
]


class Steps:
    """Counts the steps of all tasks that are created, and cancels a task at one of them.

    Args:
        cancel_at: the step.
        late: cancel when the result is there and the task has not got it yet.

    Attributes:
        task: the task that is canceled.
        is_reached: whether it was canceled.
    """

    def __init__(self, cancel_at: int, late: bool) -> None:
        self.task: asyncio.Task[Any] | None = None
        self.is_reached = False
        self._cancel_at = cancel_at
        self._late = late
        self._count = 0

    def new_task(
        self, loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, Any], **options: Any
    ) -> "asyncio.Task[Any]":
        return asyncio.Task(CountedCoroutine(self, coroutine), loop=loop, **options)

    def count(self, awaited: "asyncio.Future[Any] | None") -> None:
        self._count += 1
        if self._count != self._cancel_at or self.task is None or self.task.done():
            return
        self.is_reached, task = True, self.task
        if self._late and awaited is not None:
            awaited.add_done_callback(lambda _: task.cancel())
        else:
            task.cancel()


class CountedCoroutine(Coroutine[Any, Any, Any]):
    """A coroutine whose steps are counted."""

    def __init__(self, steps: Steps, coroutine: Coroutine[Any, Any, Any]) -> None:
        self._steps = steps
        self._coroutine = coroutine

    def send(self, value: Any) -> Any:
        awaited = self._coroutine.send(value)
        self._steps.count(awaited)
        return awaited

    def throw(self, *error: Any) -> Any:
        awaited = self._coroutine.throw(*error)
        self._steps.count(awaited)
        return awaited

    def close(self) -> None:
        self._coroutine.close()

    def __await__(self) -> Generator[Any, Any, Any]:
        return self._coroutine.__await__()


async def cancel_at_each_step(
    late: bool,
    prepared: Callable[[], AbstractAsyncContextManager[Any]],
    opening: Callable[[Any], Coroutine[Any, Any, Any]],
) -> None:
    """Open something again and again, and cancel this one step later each time, until no step is left."""
    loop, is_reached = asyncio.get_running_loop(), True
    for step in count(1):
        async with prepared() as given:
            steps = Steps(step, late)
            loop.set_task_factory(steps.new_task)
            task = steps.task = asyncio.create_task(opening(given))
            await asyncio.wait({task})
            loop.set_task_factory(None)
            is_reached = steps.is_reached
            if not task.cancelled():
                await task.result().close()
        if not is_reached:
            return


async def left_open_by(work: Awaitable[None]) -> list[str]:
    """Return what is left open, as Python and asyncio report it."""
    problems, loop = list[str](), asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: problems.append(repr(context)))
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            await work
            for _ in range(3):
                await turns()  # transports are closed in a later iteration
                gc.collect()
    finally:
        loop.set_exception_handler(None)
    return problems + [str(each.message) for each in caught if issubclass(each.category, ResourceWarning)]


@asynccontextmanager
async def opened_broker(url: str) -> AsyncGenerator[Broker]:
    broker = await open_broker(url)
    try:
        yield broker
    finally:
        await broker.close()


@asynccontextmanager
async def nothing() -> AsyncGenerator[None]:
    yield


async def test_broker_whose_opening_is_canceled_at_any_step_leaves_nothing_open(
    server: str, late: bool, request: pytest.FixtureRequest
) -> None:
    url = request.getfixturevalue(server).url

    assert await left_open_by(cancel_at_each_step(late, nothing, lambda _: open_broker(url))) == []


@pytest.mark.parametrize("part", ["publisher", "consumer"])
async def test_publisher_or_consumer_whose_opening_is_canceled_at_any_step_leaves_nothing_open(
    server: str, part: str, late: bool, request: pytest.FixtureRequest
) -> None:
    url, topic, tokens = request.getfixturevalue(server).url, f"orders-{uuid4().hex}", count(1)
    async with opened_broker(url) as broker:
        await broker.check(Topology({topic: 2}), create=True)
        lanes = await broker.lanes(topic)

    async def opening(broker: Broker) -> Any:
        if part == "publisher":
            return await broker.publisher(topic, Source("log", "epoch", "relay"), range(BUCKETS), next(tokens))
        start = "beginning" if broker.features.seekable else "acknowledged"
        return await broker.consumer(ConsumerSpec(name="test", lanes=lanes, start=start), {})

    assert await left_open_by(cancel_at_each_step(late, lambda: opened_broker(url), opening)) == []
