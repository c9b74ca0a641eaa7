"""The process of a relay that kills itself (-9) at a numbered step.

A step is the time before or after a call of the store or the broker. At the end of the log, the process ends with 0.
Processes are forked from one that has imported everything, and has opened nothing: to import it takes most of the time.
"""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from functools import wraps
from multiprocessing import get_context
from typing import Any

from fait._delivery.relay import range_publisher
from fait._store.postgres.leases import PostgresLeases
from fait._store.postgres.recorder import PostgresRecorder
from fait._store.sqlite.leases import SqliteLeases
from fait._store.sqlite.recorder import SqliteRecorder
from fait._subscriptions.lane import RangeLane
from tests.relay.published import relay_app

LEASE_S = 0.1
TIMEOUT_S = 60.0

MAX_EVENTS = 10
"""Maximum number of events of a call: of several calls, only the first one is recorded before the end."""

PRELOADED = [__name__, "aiormq", "apsw", "confluent_kafka", "nats", "redis.asyncio"]
"""What a process imports before others are forked from it."""


class Steps:
    def __init__(self, last: int) -> None:
        self._left = last

    def pass_one(self) -> None:
        self._left -= 1
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def around(self, function: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        @wraps(function)
        async def stepping(*args: Any, **kwargs: Any) -> Any:
            self.pass_one()
            result = await function(*args, **kwargs)
            self.pass_one()
            return result

        return stepping


def install(steps: Steps) -> None:
    """Count the calls of the store that a subscription makes, and those of the broker that a relay makes."""
    for leases in (PostgresLeases, SqliteLeases):
        leases.acquire = steps.around(leases.acquire)  # type: ignore[method-assign]
    for recorder in (PostgresRecorder, SqliteRecorder):
        recorder.record = steps.around(recorder.record)  # type: ignore[method-assign]
    next_job = RangeLane.next_job
    RangeLane.next_job = lambda lane, limit: next_job(lane, min(limit, MAX_EVENTS))  # type: ignore[method-assign]
    connect = range_publisher.open_broker

    async def open_broker(*args: Any, **kwargs: Any) -> Any:
        broker: Any = await connect(*args, **kwargs)
        open_publisher = steps.around(broker.publisher)

        async def publisher(*args: Any) -> Any:
            opened: Any = await open_publisher(*args)
            opened.progress, opened.publish = steps.around(opened.progress), steps.around(opened.publish)
            return opened

        broker.publisher = publisher
        return broker

    range_publisher.open_broker = steps.around(open_broker)  # type: ignore[assignment]


def run_relay(store: str, broker: str, step: int) -> int:
    """Run a process of the relay until it is killed at a step, or has published all; return its exit code.

    Args:
        store: URL of the store.
        broker: URL of the broker.
        step: number of the step, from 1; 0: it is not killed.
    """
    context = get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    process = context.Process(target=publish_all, args=(store, broker, step))
    process.start()
    process.join(TIMEOUT_S)
    if process.exitcode is None:
        process.kill()
        raise TimeoutError(f"the relay has not published all within {TIMEOUT_S:g} s")
    return process.exitcode


def publish_all(store: str, broker: str, step: int) -> None:
    """Publish all events, or end at a step."""
    install(Steps(step))
    asyncio.run(_publish_all(store, broker))


async def _publish_all(store: str, broker: str) -> None:
    async with relay_app(broker).open(store, lease_s=LEASE_S) as system:
        while True:
            [status] = await system.status()
            busy = [each for each in await system.store.failures.failures() if each.state != "parked"]
            if status.lag == 0 and status.state == "live" and not busy:
                return
            await asyncio.sleep(0.01)
