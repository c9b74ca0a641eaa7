"""Reads your writes: waits until a subscription has passed a position, reads, and verifies that it had not been reset.

A read model can be rebuilt at any time, by any process: its table is emptied and its checkpoint reset. This increases
the fencing token of the lease, as does a change of its owner. If the token is the same before the checkpoint was read
and after the rows were read, the rows come from a table that had passed the position. Otherwise the read is repeated.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from fait._arguments import check_number
from fait._errors import Stale
from fait._store.ports.leases import Leases
from fait._subscriptions.processor import Processor

__all__ = ["Deadline", "read_nothing", "wait_for_position"]

T = TypeVar("T")

_INITIAL_POLL_INTERVAL_S: Final = 0.001
"""First interval between two reads of the checkpoint; it doubles with each read."""

_MAX_POLL_INTERVAL_S: Final = 0.05
"""Maximum interval between two reads of the checkpoint."""


class Deadline:
    """A point in time, `timeout_s` after its creation."""

    def __init__(self, timeout_s: float) -> None:
        self.timeout_s = check_number("timeout_s", timeout_s)
        self._end = time.monotonic() + timeout_s

    @property
    def remaining_s(self) -> float:
        """Seconds until the deadline; negative once it has passed."""
        return self._end - time.monotonic()


async def wait_for_position(
    processor: Processor, leases: Leases, target: int, deadline: Deadline, read: Callable[[], Awaitable[T]]
) -> T:
    """Return the result of `read`, executed while the subscription is at the target position or beyond it.

    Args:
        processor: the subscription's processor in this process, whether or not it owns the lease.
        leases: the ranges of the store.
        target: position to wait for.
        deadline: end of the wait.
        read: reads the rows. It is called again if the subscription was reset during the read.

    Raises:
        Stale: the subscription did not reach the target in time, or was reset.
    """
    while True:
        fencing_token = await _wait_until_passed(processor, leases, target, deadline)
        result = await read()
        current = await leases.range(processor.range_key)
        # fault: rebuild-during-find
        if current is not None and current.fencing_token == fencing_token:
            return result
        if current is not None:
            processor.observe_range(current)
        if deadline.remaining_s <= 0:
            reason = "It was rebuilt or acquired by another process during the read; try again."
            raise Stale(processor.name, processor.position, target, deadline.timeout_s, reason)
        await asyncio.sleep(_INITIAL_POLL_INTERVAL_S)


async def read_nothing() -> None:
    """Read nothing; for callers that only wait."""


async def _wait_until_passed(processor: Processor, leases: Leases, target: int, deadline: Deadline) -> int:
    """Wait until the subscription has passed the target: in this process, or according to its checkpoint.

    The checkpoint is polled at growing intervals. Returns the fencing token under which the target was passed.
    """
    name, interval_s = processor.name, _INITIAL_POLL_INTERVAL_S
    while not 0 < target <= processor.position:
        current = await leases.range(processor.range_key)
        position = current.position if current else 0
        if current is not None and position >= target:
            return current.fencing_token
        if deadline.remaining_s <= 0:
            raise Stale(name, max(position, processor.position), target, deadline.timeout_s, _lag_reason(processor))
        await processor.position_signal.wait(target - 1, min(deadline.remaining_s, interval_s))
        interval_s = min(interval_s * 2, _MAX_POLL_INTERVAL_S)
    return processor.fencing_token


def _lag_reason(processor: Processor) -> str:
    if processor.error is not None:
        return f"It fails in this process: {type(processor.error).__name__}: {processor.error}"
    if not processor.started:
        state = "This process runs no subscriptions"
    elif processor.state == "waiting" and (expires_in_s := processor.lease_expires_at - time.monotonic()) > 0:
        return (
            "Another worker owns its lease, which has not expired yet. This process takes it over in "
            f"{expires_in_s:.1f} s, unless a heartbeat of that worker arrives before. Check that worker, or use a "
            "longer timeout_s."
        )
    else:
        state = f"In this process it is {processor.state!r}"
    return f"{state}. Make sure that a worker is running, such as `fait run`, or use a longer timeout_s."
