"""Runs the subscriptions and the retention of an app in this process, together with other processes that do the same.

heartbeat   every quarter of a lease: this worker lives; which ranges it owns; what operators have requested
look        every quarter of a lease, or sooner: all workers and all ranges; each `ProcessorGroup` draws its conclusions
"""

import asyncio
import logging
import math
import os
import socket
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from types import MappingProxyType
from typing import Final
from uuid import uuid4

from fait._clock import Clock, ManualClock, SystemClock
from fait._errors import StoreUnavailable
from fait._store.ports.leases import Range, Worker
from fait._store.ports.store import Store
from fait._subscriptions.event_source import OpenSource
from fait._subscriptions.processor_group import LEASE_DURATION_S, ProcessorGroup
from fait._subscriptions.retention import Retention
from fait._subscriptions.subscription import Subscription
from fait._subscriptions.worker_observer import WorkerObserver
from fait._telemetry import logger

__all__ = ["HEARTBEAT_SHARE", "STOP_TIMEOUT_S", "Runner"]

HEARTBEAT_SHARE: Final = 1 / 4
"""Interval between two heartbeats, and between two looks at the ranges, as a fraction of the lease duration."""

LOOK_SHARE: Final = 1 / 20
"""Interval between two looks of a worker that has fewer ranges than it should, as a fraction of the lease duration."""

MIN_CALL_S: Final = 1.0
"""Minimum duration of a call of which a heartbeat tells."""

STOP_TIMEOUT_S: Final = 5.0
"""Timeout for the current handler calls when the system stops. Then they are canceled, and their events redelivered."""

CANCEL_TIMEOUT_S: Final = 1.0
"""Timeout for canceled handlers to end, and for the store to release the leases."""


class Runner:
    """Runs subscriptions in this process.

    Args:
        subscriptions: the subscriptions.
        store: their store.
        retention: drops expired messages.
        app: name of the app.
        clock: current time, for the times of failures; by default that of the system.
        lease_s: duration of a lease, in seconds.
        sources: where the events of subscriptions come from, by name; of others, from the log.

    Attributes:
        worker: id of this process, for its leases.
        groups: the processors of each subscription, by its name.
        retention: drops expired messages.
        alive_until: monotonic time at which its leases may expire, unless it sends another heartbeat.
        background_tasks: the heartbeat, the looks at the ranges and the retention.
    """

    def __init__(
        self,
        subscriptions: Sequence[Subscription],
        store: Store,
        retention: Retention,
        *,
        app: str = "",
        clock: Clock | None = None,
        lease_s: float = LEASE_DURATION_S,
        sources: Mapping[str, OpenSource] = MappingProxyType({}),
    ) -> None:
        self.worker = str(uuid4())
        self._app = app
        self._leases = store.leases
        self._failures = store.failures
        self._lease_s = lease_s
        self._clock = clock or SystemClock()
        groups = [
            ProcessorGroup(
                each,
                store,
                self.worker,
                lease_s=lease_s,
                clock=self._clock,
                open_source=sources.get(each.definition.name),
            )
            for each in subscriptions
        ]
        self.groups = {each.name: each for each in groups}
        self.retention = retention
        self._observer = WorkerObserver(self.worker, frozenset(self.groups), lease_s)
        self.alive_until = 0.0
        self._version = ""  # known from the second heartbeat on: to find it out would delay the start
        self._changed = asyncio.Event()
        self._time_passed = asyncio.Event()
        self._stop_listening: Callable[[], None] = lambda: None
        self.background_tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Register the worker, then start the heartbeat, the looks at the ranges, and the retention sweeps."""
        await self._send_heartbeat()
        self._listen()
        for each in self.groups.values():
            each.run.is_alive, each.changed, each.started = self._is_alive, self._changed, True
        self.background_tasks = [
            asyncio.create_task(self._heartbeat(), name="fait-heartbeat"),
            asyncio.create_task(self._look_repeatedly(), name="fait-ranges"),
            asyncio.create_task(self.retention.run(self.worker, self._lease_s), name="fait-retention"),
        ]

    def _listen(self) -> None:
        """Let everything look again whether it is due when a manual clock is advanced."""
        if isinstance(self._clock, ManualClock):
            loop = asyncio.get_running_loop()

            def wake() -> None:
                with suppress(RuntimeError):  # the event loop is closed
                    loop.call_soon_threadsafe(self._wake)

            self._stop_listening = self._clock.add_listener(wake)

    def _wake(self) -> None:
        self._changed.set()
        self._time_passed.set()
        self.retention.wake()
        for each in self.groups.values():
            each.wake()

    def _is_alive(self) -> bool:
        return self._clock.monotonic() < self.alive_until

    def _description(self) -> Worker:
        # fault: waiting-worker-unregistered
        runs = {name: None if each.rests else each.definition.definition_hash for name, each in self.groups.items()}
        ages = {name: each.run.oldest_call_s for name, each in self.groups.items()}
        calls = {name: round(age_s, 1) for name, age_s in ages.items() if age_s >= MIN_CALL_S}
        # fault: backlog-not-told
        backlogs = {name: backlog for name, each in self.groups.items() if (backlog := each.backlog) is not None}
        return Worker(self.worker, self._app, socket.gethostname(), os.getpid(), self._version, runs, calls, backlogs)

    async def stop(self) -> None:
        """Finish the current events, then release the leases. If canceled, cancel the handlers immediately."""
        self._stop_listening()
        stopping = [asyncio.create_task(each.stopped()) for each in self.groups.values() if each.started]
        for group in self.groups.values():
            group.stop()
        try:
            if stopping:
                await asyncio.wait(stopping, timeout=STOP_TIMEOUT_S)
        finally:
            running = [*stopping, *self.background_tasks]
            for task in running:
                task.cancel()
            if running:
                await asyncio.wait(running, timeout=CANCEL_TIMEOUT_S)
                await self._release_leases()

    async def _release_leases(self) -> None:
        try:
            async with asyncio.timeout(CANCEL_TIMEOUT_S):
                await self._leases.deregister(self.worker)
        except (StoreUnavailable, TimeoutError) as error:
            logger.warning(
                "failed to release the leases, other processes can acquire them after %g s: worker=%s error=%r",
                self._lease_s, self.worker, error,
            )  # fmt: skip

    async def _heartbeat(self) -> None:
        failures = unread = 0
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(HEARTBEAT_SHARE * self._lease_s):
                    await self._time_passed.wait()
            self._time_passed.clear()  # not after the heartbeat: time that passes during it counts
            try:
                self._version = self._version or await asyncio.to_thread(_version_of_fait)
                # fault: time-that-passes-during-a-heartbeat-forgotten
                await self._send_heartbeat()
                failures = 0
            except Exception as error:  # without further heartbeats this process would lose all its leases
                failures += 1
                self._log_failure("heartbeat failed", failures, error)
                continue
            try:
                await self._accept_requests()
                unread = 0
            except Exception as error:
                unread += 1
                self._log_failure("failed to read the requests of operators", unread, error)

    async def _send_heartbeat(self) -> None:
        begun_at = self._clock.monotonic()
        owned = await self._leases.heartbeat(self._description())
        self.alive_until = begun_at + self._lease_s
        for group in self.groups.values():
            group.confirm_leases(owned, begun_at)

    async def _accept_requests(self) -> None:
        requested = await self._failures.requested()
        for group in self.groups.values():
            group.accept_requests(requested)

    async def _look_repeatedly(self) -> None:
        failures = 0
        while True:
            self._changed.clear()
            try:
                share = LOOK_SHARE if await self._look() else HEARTBEAT_SHARE
                failures = 0
                await self._pause(share * self._lease_s, self._observer.expires_at)
            except Exception as error:  # the next look sees the same
                failures += 1
                self._log_failure("failed to look at the ranges", failures, error)
                # fault: failed-look-repeated-at-once
                await self._pause(HEARTBEAT_SHARE * self._lease_s)

    def _log_failure(self, problem: str, failures: int, error: Exception) -> None:
        """Log the first of several failures in a row as a warning: an outage may last for hours."""
        level = logging.WARNING if failures == 1 else logging.DEBUG
        logger.log(level, "%s, retrying: worker=%s error=%r", problem, self.worker, error)

    async def _pause(self, seconds: float, until: float = math.inf) -> None:
        """Wait, or return early if a range is to be acquired.

        Args:
            seconds: maximum time.
            until: monotonic time at which the heartbeat of another worker has stood still for as long as its lease.
        """
        now = self._clock.monotonic()
        rests = [each.run.rests_until - now for each in self.groups.values() if each.rests]
        due_s = min([seconds, *rests, until - now])
        with suppress(TimeoutError):
            async with asyncio.timeout(max(0.001, due_s)):
                await self._changed.wait()

    async def _look(self) -> bool:
        """Share the ranges with the other workers. Returns whether this worker has fewer than it should."""
        workers, all_ranges = await self._leases.workers(), await self._leases.ranges()
        if expired := self._observer.expired(workers, all_ranges, self._clock.monotonic()):
            for each in expired:
                await self._leases.expire(each.worker.id, each.heartbeat)
            workers, all_ranges = await self._leases.workers(), await self._leases.ranges()
        ranges = defaultdict[str, list[Range]](list)
        for each in all_ranges:
            ranges[each.key.subscription].append(each)
        expires_at = self._observer.expiries
        lacks = [each.follow(workers, ranges[name], expires_at) for name, each in self.groups.items()]
        return any(lacks)


def _version_of_fait() -> str:
    from importlib.metadata import version  # slow to import

    return version("fait")
