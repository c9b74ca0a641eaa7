"""Views of a processor for its subscription: of one call, and of the work under one lease."""

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Protocol

from fait._subscriptions.lane import RangeLane
from fait._subscriptions.subscription import Tenure

__all__ = ["CallContext", "LaneTenure"]


class LaneTenure:
    """The `Tenure` of a lane: the work under its lease.

    Args:
        lane: the lane.
    """

    def __init__(self, lane: RangeLane) -> None:
        self.lease = lane.lease
        self._lane = lane
        self._closing = AsyncExitStack()

    @property
    def frontier(self) -> int:
        """Position up to which events are recorded as finished, except for those of failed keys."""
        return self._lane.frontier

    @property
    def floor(self) -> int:
        """Position up to which all events of the range are finished, also those of failed keys."""
        lane = self._lane
        # fault: floor-above-failed-key
        failed = min((each.next_position for each in lane.failures.values()), default=lane.position + 1)
        return min(failed - 1, lane.position)

    def on_end(self, close: Callable[[], Awaitable[None]], /) -> None:
        """Call a function when the work under the lease has ended, also if the lease was lost."""
        self._closing.push_async_callback(close)

    async def end(self) -> None:
        """Call the functions of `on_end`, the last one first."""
        await self._closing.aclose()


class _CallingWorker(Protocol):
    lane: RangeLane
    tenure: LaneTenure

    @property
    def stopping(self) -> bool: ...


class CallContext:
    """The `ProcessingContext` of one call.

    Args:
        worker: the lane's worker, which calls.
        attempt: number of the attempt at the first event.
        failed_key: the only key to handle; None: all that have no failure.
        conflicts: number of consecutive records of these events that were in conflict with appends of others.
    """

    __slots__ = ("_worker", "attempt", "conflicts", "failed_key")

    def __init__(
        self, worker: _CallingWorker, attempt: int = 1, failed_key: str | None = None, conflicts: int = 0
    ) -> None:
        self._worker = worker
        self.failed_key = failed_key
        self.attempt = attempt
        self.conflicts = conflicts

    @property
    def stopping(self) -> bool:
        """Whether the worker must not begin to handle another event."""
        return self._worker.stopping

    @property
    def tenure(self) -> Tenure:
        """The work under the lease."""
        return self._worker.tenure

    def is_concerned(self, key: str, /) -> bool:
        """Whether events shall be handled for a key: of a retry, only its key; else those without a failure."""
        if self.failed_key is not None:
            return key == self.failed_key
        lane = self._worker.lane
        return key not in lane.failures and lane.has_slot_of(key)
