"""The runner keeps an app's processors and its retention going, and shows other processes that this one lives."""

import asyncio
import time
from collections.abc import Sequence
from typing import Final
from uuid import uuid4

from fait._errors import StoreUnavailable
from fait._store.ledger import Ledger
from fait._store.log import Log
from fait._subscriptions.processor import LEASE_DURATION_S, Processor, Subscription
from fait._subscriptions.retention import Retention
from fait._telemetry import logger

__all__ = ["STOP_TIMEOUT_S", "Runner"]

STOP_TIMEOUT_S: Final = 10.0
"""How long a handler may take to finish when the system stops; then it is cancelled, and its event handled again."""


class Runner:
    """Runs subscriptions, leased, in this process."""

    def __init__(
        self,
        subscriptions: Sequence[Subscription],
        log: Log,
        ledger: Ledger,
        retention: Retention,
        *,
        lease_s: float = LEASE_DURATION_S,
    ) -> None:
        self._owner = str(uuid4())
        self._ledger = ledger
        self._lease_s = lease_s
        self.processors = {
            each.name: Processor(each, log, ledger, self._owner, lease_s=lease_s) for each in subscriptions
        }
        self.retention = retention
        self._tasks: list[asyncio.Task[None]] = []
        self._background_tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Start all processors, the heartbeat and the retention."""
        self._tasks = [
            asyncio.create_task(processor.run(), name=f"fait-{name}") for name, processor in self.processors.items()
        ]
        for task in self._tasks:
            task.add_done_callback(_log_unexpected_end)
        self._background_tasks = [
            asyncio.create_task(self._heartbeat(), name="fait-heartbeat"),
            asyncio.create_task(self.retention.run(self._owner, self._lease_s), name="fait-retention"),
        ]

    async def stop(self) -> None:
        """Let the events in hand be finished, then give the leases back. Cancelled, it stops at once."""
        for processor in self.processors.values():
            processor.stop()
        try:
            if self._tasks:
                await asyncio.wait(self._tasks, timeout=STOP_TIMEOUT_S)
        finally:
            running = [*self._tasks, *self._background_tasks]
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
            if running:
                await self._release_leases()

    async def _release_leases(self) -> None:
        try:
            await self._ledger.release_all(self._owner)
        except StoreUnavailable as problem:
            logger.warning("the leases could not be given back; others wait for %g s: %s", self._lease_s, problem)

    async def _heartbeat(self) -> None:
        while True:
            await asyncio.sleep(self._lease_s / 4)
            try:
                asked = time.monotonic()
                owned = await self._ledger.heartbeat(self._owner)
                for processor in self.processors.values():
                    processor.confirm_leases(owned, asked)
            except Exception as problem:  # the heart goes on: without it others would take over a living process
                logger.warning("no sign of life could be given: %s", problem)


def _log_unexpected_end(task: "asyncio.Task[None]") -> None:
    if not task.cancelled() and (problem := task.exception()) is not None:
        logger.critical("%s ended and will not start again", task.get_name(), exc_info=problem)
