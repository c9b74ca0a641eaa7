"""Runs the processors and the retention of an app in this process, and sends the heartbeat of their leases."""

import asyncio
import time
from collections.abc import Sequence
from typing import Final
from uuid import uuid4

from fait._errors import StoreUnavailable
from fait._store.ports.store import Store
from fait._subscriptions.processor import LEASE_DURATION_S, Processor
from fait._subscriptions.retention import Retention
from fait._subscriptions.subscription import Subscription
from fait._telemetry import logger

__all__ = ["IDLE_WORKER_TIMEOUT_S", "STOP_TIMEOUT_S", "Runner"]

IDLE_WORKER_TIMEOUT_S: Final = 60.0
"""Minimum time without a heartbeat after which a worker that owns no range is removed. It must have crashed."""

STOP_TIMEOUT_S: Final = 5.0
"""Timeout for the current handler calls when the system stops. Then they are canceled, and their events redelivered."""

CANCEL_TIMEOUT_S: Final = 1.0
"""Timeout for canceled handlers to end, and for the store to release the leases."""


class Runner:
    """Runs subscriptions in this process, each under a lease."""

    def __init__(
        self,
        subscriptions: Sequence[Subscription],
        store: Store,
        retention: Retention,
        *,
        lease_s: float = LEASE_DURATION_S,
    ) -> None:
        self._worker = str(uuid4())
        self._leases = store.leases
        self._lease_s = lease_s
        processors = [Processor(each, store, self._worker, lease_s=lease_s) for each in subscriptions]
        self.processors = {each.name: each for each in processors}
        self.retention = retention
        self._tasks: list[asyncio.Task[None]] = []
        self._background_tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Register the worker, then start all processors, the heartbeat and the retention sweeps."""
        await self._leases.heartbeat(self._worker)
        self._tasks = [
            asyncio.create_task(processor.run(), name=f"fait-{name}") for name, processor in self.processors.items()
        ]
        for task in self._tasks:
            task.add_done_callback(_log_unexpected_end)
        self._background_tasks = [
            asyncio.create_task(self._heartbeat(), name="fait-heartbeat"),
            asyncio.create_task(self.retention.run(self._worker, self._lease_s), name="fait-retention"),
            asyncio.create_task(self._expire_idle_workers(), name="fait-idle-workers"),
        ]

    async def stop(self) -> None:
        """Finish the current events, then release the leases. If canceled, cancel the handlers immediately."""
        for processor in self.processors.values():
            processor.stop()
        try:
            if self._tasks:
                await asyncio.wait(self._tasks, timeout=STOP_TIMEOUT_S)
        finally:
            running = [*self._tasks, *self._background_tasks]
            for task in running:
                task.cancel()
            if running:
                await asyncio.wait(running, timeout=CANCEL_TIMEOUT_S)
                await self._release_leases()

    async def _release_leases(self) -> None:
        try:
            async with asyncio.timeout(CANCEL_TIMEOUT_S):
                await self._leases.deregister(self._worker)
        except (StoreUnavailable, TimeoutError) as error:
            logger.warning(
                "failed to release the leases, other processes can acquire them after %g s: worker=%s error=%r",
                self._lease_s, self._worker, error,
            )  # fmt: skip

    async def _heartbeat(self) -> None:
        while True:
            await asyncio.sleep(self._lease_s / 4)
            try:
                heartbeat_at = time.monotonic()
                owned = await self._leases.heartbeat(self._worker)
                for processor in self.processors.values():
                    processor.confirm_leases(owned, heartbeat_at)
            except Exception as error:  # without further heartbeats this process would lose all its leases
                logger.warning("heartbeat failed, retrying: worker=%s error=%r", self._worker, error)

    async def _expire_idle_workers(self) -> None:
        """Remove crashed workers that own no range: no processor waits for one of their leases, and removes them."""
        previous: dict[str, int] = {}
        while True:
            try:
                current = await self._leases.idle_workers()
                # fault: idle-worker-expired-at-once
                for worker, heartbeat in previous.items() & current.items():
                    await self._leases.expire(worker, heartbeat)
                previous = current
            except Exception as error:  # the next sweep removes the same workers
                logger.warning("failed to remove crashed workers, retrying: worker=%s error=%r", self._worker, error)
            await asyncio.sleep(max(IDLE_WORKER_TIMEOUT_S, self._lease_s))


def _log_unexpected_end(task: "asyncio.Task[None]") -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        logger.critical("processor ended unexpectedly and will not restart: task=%s", task.get_name(), exc_info=error)
