"""Runs a whole app in a test."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Final

from msgspec.structs import replace

from fait._app import App
from fait._clock import Clock, ManualClock
from fait._subscriptions.processor_group import ProcessorGroup
from fait._system import System
from fait.testing.in_memory import START

__all__ = ["running"]

_MAX_RETRY_DELAY_S: Final = 0.01
"""Maximum delay before a subscription handles an event again that failed."""


@asynccontextmanager
async def running(
    app: App, url: str = "memory:", *, clock: Clock | None = None, settle: bool = True
) -> AsyncGenerator[System, None]:
    """Run an app for a test.

        async with running(shop) as t:
            await t.transact(Order.place, "o-1", "c-1", items)
            await t.settle()

    It differs from `App.open` in three points: failed events are handled again almost immediately; the clock stands
    still; and the block ends only when nothing is left to do, so that no failure of a handler passes unnoticed.

    Args:
        app: the app.
        url: the store; by default a new one in memory.
        clock: the clock. None: one that shows 2024-01-01 00:00 UTC. `ManualClock.advance` changes it.
        settle: whether to wait at the end of the block until nothing is left to do; see `System.settle`.

    Raises:
        NotSettled: at the end of the block a subscription fails, or there is no end of new events.
        Exception: as `App.open`.
    """
    async with app.open(url, clock=clock or ManualClock(START)) as system:
        for group in system._subscription_runner.groups.values():  # pyright: ignore[reportPrivateUsage]
            _retry_soon(group)
        yield system
        if settle:
            await system.settle()


def _retry_soon(group: ProcessorGroup) -> None:
    policy = group.definition.policy
    delays = {name: min(getattr(policy, name), _MAX_RETRY_DELAY_S) for name in ("initial_s", "max_s")}
    group.run.definition = replace(group.definition, policy=replace(policy, **delays))
