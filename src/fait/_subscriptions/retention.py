"""Retention drops expiring events that are old enough and that every subscription has passed.

A subscription that makes no progress keeps all messages after its checkpoint. A warning names it, with the age of the
oldest message that it holds back.
"""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Final

from fait._clock import Clock
from fait._events.registry import Registry
from fait._store.ports.leases import Range, last_ranges
from fait._store.ports.registrations import RangeKey, Registration
from fait._store.ports.store import Store
from fait._telemetry import logger

__all__ = ["SWEEP_INTERVAL_S", "Retention"]

SWEEP_INTERVAL_S: Final = 60.0
"""Interval between two sweeps that drop expired messages."""

FULL_SWEEP_INTERVAL_S: Final = 24 * 3600.0
"""Interval between two sweeps from the beginning of the log.

They drop messages that earlier sweeps passed over because each was the last event of its stream.
"""


class Retention:
    """Drops expired messages of the event types of one app.

    One process per app does this at a time, under a lease. Two processes at once would do no harm, so a lease whose
    heartbeat stood still between two sweeps counts as free.
    """

    def __init__(self, app: str, registry: Registry, store: Store, clock: Clock) -> None:
        self._registry = registry
        self._app = app
        self._log = store.log
        self._store = store
        self._clock = clock
        self._key = RangeKey(f"fait:retention:{app}")
        self._seen: Range | None = None
        self._swept_positions: dict[str, int] = {}
        self._full_sweep_at = 0.0
        self._woken = asyncio.Event()

    async def run(self, worker: str, lease_s: float) -> None:
        """Sweep at intervals, whenever this worker has the lease."""
        while True:
            try:
                if self._retention_by_type() and await self._acquire_lease(worker):
                    await self.sweep()
            except Exception as error:  # the next sweep drops the same messages
                logger.warning("retention sweep failed, retrying: lease=%s error=%r", self._key.subscription, error)
            end = self._clock.monotonic() + max(SWEEP_INTERVAL_S, lease_s)
            while (left_s := end - self._clock.monotonic()) > 0:
                self._woken.clear()
                with suppress(TimeoutError):
                    async with asyncio.timeout(left_s):
                        await self._woken.wait()

    def wake(self) -> None:
        """Look again whether a sweep is due."""
        self._woken.set()

    async def sweep(self) -> int:
        """Drop all messages that can be dropped now, and warn of subscriptions that hold messages back.

        Returns:
            The number of dropped messages.
        """
        retentions, total = self._retention_by_type(), 0
        if self._clock.monotonic() >= self._full_sweep_at:
            self._swept_positions, self._full_sweep_at = {}, self._clock.monotonic() + FULL_SWEEP_INTERVAL_S
        head = await self._log.head()
        ranges = await self._ranges()
        for type, retention in retentions.items():
            total += await self._drop(type, retention, min([head, *(each.finished for each in ranges)]))
        for each in ranges:
            if each.finished < head:
                await self._warn_if_held(each, head, retentions)
        return total

    async def _ranges(self) -> Sequence[Range]:
        """Return the range of each subscription to the log that has finished the fewest events."""
        registrations = await self._store.registrations.registrations()
        consumers = {each.subscription for each in registrations if each.kind == "consumer"}
        last = last_ranges(await self._store.leases.ranges())
        # fault: consumer-holds-messages-back
        return [each for name, each in last.items() if name not in consumers]

    def _retention_by_type(self) -> Mapping[str, timedelta]:
        types = self._registry.types.values()
        return {name: each.retention for each in types if each.retention for name in (each.name, *each.was)}

    async def _drop(self, type: str, retention: timedelta, up_to: int) -> int:
        count, more = 0, True
        while more:
            after = self._swept_positions.get(type, 0)
            result = await self._log.expire(type, self._clock.now() - retention, up_to, after=after)
            self._swept_positions[type], more = result.position, result.more
            count += result.dropped
        if count:
            logger.info("expired messages dropped: type=%s count=%d retention=%s", type, count, retention)
        return count

    async def _warn_if_held(self, last: Range, head: int, retentions: Mapping[str, timedelta]) -> None:
        now = self._clock.now()
        for oldest in await self._log.oldest_messages(last.finished):
            age = now - oldest.recorded_at
            if age > retentions.get(oldest.type, age):
                logger.warning(
                    "subscription holds back expired messages: subscription=%s position=%d failed_key=%r head=%d "
                    "type=%s oldest_position=%d age=%s",
                    last.key.subscription, last.finished, last.failed_key, head, oldest.type, oldest.position,
                    timedelta(seconds=round(age.total_seconds())),
                )  # fmt: skip

    async def _acquire_lease(self, worker: str) -> bool:
        leases, previous, identity = self._store.leases, self._seen, self._log.identity
        current = await leases.range(self._key) or await self._register()
        self._seen = current
        if current.worker == worker:
            return True
        if current == previous and current.heartbeat is not None:
            await leases.expire(current.worker, current.heartbeat)
        return await leases.acquire(current, worker, "", identity.epoch_id) is not None

    async def _register(self) -> Range:
        identity = self._log.identity
        await self._store.registrations.register(
            Registration(self._key.subscription, self._app, "system", "", (), identity.log_id, identity.epoch_id), 0
        )
        current = await self._store.leases.range(self._key)
        assert current is not None
        return current
