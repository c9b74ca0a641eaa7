"""Consumers that read in a task, which continues over calls: canceling a read would lose messages or a connection."""

import asyncio
import contextlib
from abc import ABC, abstractmethod

from fait._delivery.brokers.port import ConsumedBatch, ConsumerSpec, Lane
from fait._delivery.brokers.ready_lanes import ReadyLanes

__all__ = ["PollingConsumer"]


class PollingConsumer(ABC):
    """What consumers of a broker have in common that are asked for messages.

    Args:
        spec: what it reads.
    """

    def __init__(self, spec: ConsumerSpec) -> None:
        self._ready = ReadyLanes(spec.lanes, spec.maximum_batch)
        self._reading: asyncio.Task[None] | None = None

    @abstractmethod
    async def _read(self) -> None:
        """Add messages of the lanes that `_ready` wants; wait a short time if there are none."""

    async def receive(self, timeout_s: float) -> ConsumedBatch | None:
        """Return the next messages of a lane."""
        end = asyncio.get_running_loop().time() + timeout_s
        while (batch := self._ready.next_batch()) is None:
            remaining_s = end - asyncio.get_running_loop().time()
            if remaining_s <= 0:
                return None
            if self._reading is None:
                self._reading = asyncio.create_task(self._read())
            done, _ = await asyncio.wait({self._reading}, timeout=remaining_s)
            if done:
                finished, self._reading = self._reading, None
                await finished
        return batch

    def pause(self, lane: Lane) -> None:
        """Deliver no messages of a lane. One that was wanted is part of a read that runs."""
        self._ready.pause(lane)

    def resume(self, lane: Lane) -> None:
        """Deliver messages of a lane again, from the next read on."""
        self._ready.resume(lane)

    async def _end_reading(self) -> None:
        """Cancel the read, after the connection was closed."""
        if self._reading is not None:
            self._reading.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await self._reading
