"""Retention drops messages once they are old enough and every subscription has passed them; facts are kept for ever.

A subscription that stands still holds all messages behind it back. That is never silent: it is told with its name and
with the age of the oldest message that it holds.
"""

import asyncio
import time
from collections.abc import Mapping
from datetime import timedelta
from typing import Final

from fait._clock import Clock
from fait._events.registry import Registry
from fait._store.ledger import Lease, Ledger
from fait._store.log import Log
from fait._telemetry import logger

__all__ = ["SWEEP_INTERVAL_S", "Retention"]

SWEEP_INTERVAL_S: Final = 60.0
"""How often is looked for messages that are old enough."""

FULL_SWEEP_INTERVAL_S: Final = 24 * 3600.0
"""How often those are looked at again that were the last of their streams."""


class Retention:
    """Drops the messages of one app's types.

    One process of each app does it at a time. Two would do no harm, only the same work: so a lease that nobody has
    counted up between two looks is free.
    """

    def __init__(self, app: str, registry: Registry, log: Log, ledger: Ledger, clock: Clock) -> None:
        self._registry = registry
        self._log = log
        self._ledger = ledger
        self._clock = clock
        self._lease = Lease(f"fait:retention:{app}", "", 0, 0)
        self._passed: dict[str, int] = {}
        self._full_sweep_at = 0.0

    async def run(self, owner: str, lease_s: float) -> None:
        """Look again and again, as long as it is this owner's turn."""
        while True:
            try:
                if self._retention_by_type() and await self._acquire_lease(owner):
                    await self.sweep()
            except Exception as problem:  # whatever it is, it is tried again: nothing is lost meanwhile
                logger.warning("no messages could be dropped: %s", problem)
            await asyncio.sleep(max(SWEEP_INTERVAL_S, lease_s))

    async def sweep(self) -> int:
        """Drop all that can be dropped now, and tell who holds back the rest; returns how many were dropped."""
        keeps, total = self._retention_by_type(), 0
        if time.monotonic() >= self._full_sweep_at:
            self._passed, self._full_sweep_at = {}, time.monotonic() + FULL_SWEEP_INTERVAL_S
        head = await self._log.head()
        checkpoints = {each.subscription: each.position for each in await self._ledger.checkpoints()}
        for type, keep in keeps.items():
            total += await self._drop(type, keep, min([head, *checkpoints.values()]))
        for subscription, position in checkpoints.items():
            if position < head:
                await self._warn_if_held(subscription, position, head, keeps)
        return total

    def _retention_by_type(self) -> Mapping[str, timedelta]:
        return {name: each.retention for name, each in self._registry.types.items() if each.retention is not None}

    async def _drop(self, type: str, keep: timedelta, behind: int) -> int:
        count, more = 0, True
        while more:
            after = self._passed.get(type, 0)
            done = await self._log.expire(type, self._clock.now() - keep, behind, after=after)
            self._passed[type], more = done.position, done.more
            count += done.dropped
        if count:
            logger.info("%d messages %r were dropped that were older than %s", count, type, keep)
        return count

    async def _warn_if_held(self, name: str, position: int, head: int, keeps: Mapping[str, timedelta]) -> None:
        now = self._clock.now()
        for oldest in await self._log.oldest_messages(position):
            age = now - oldest.recorded_at
            if age > keeps.get(oldest.type, age):
                logger.warning(
                    "%s holds messages back from being dropped: it is at position %d of %d, and the oldest %r that it "
                    "has not passed is %s old",
                    name, position, head, oldest.type, timedelta(seconds=round(age.total_seconds())),
                )  # fmt: skip

    async def _acquire_lease(self, owner: str) -> bool:
        seen, before = await self._ledger.lease(self._lease.name), self._lease
        self._lease = seen
        if seen.owner == owner:
            return True
        return (not seen.owner or seen == before) and await self._ledger.acquire(seen, owner) is not None
