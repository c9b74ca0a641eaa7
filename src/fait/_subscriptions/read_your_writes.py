"""How your own write is read: wait until a subscription has passed it, read, and make sure that it still had then.

A read model may be built anew at any time, by any process: its table is emptied, and its checkpoint goes back. The
fence of its lease tells, which grows with that and with each new owner. So what was read between two looks at one fence
was read from a table that had passed the position; if the fence has grown, it is read again.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from fait._errors import Stale
from fait._store.ledger import Ledger
from fait._subscriptions.processor import Processor

__all__ = ["Deadline", "read_nothing", "wait_for_position"]

T = TypeVar("T")

_INITIAL_POLL_INTERVAL_S: Final = 0.001
_MAX_POLL_INTERVAL_S: Final = 0.05


class Deadline:
    """How long somebody waits, from now on."""

    def __init__(self, timeout_s: float) -> None:
        self.timeout_s = timeout_s
        self._end = time.monotonic() + timeout_s

    @property
    def remaining_s(self) -> float:
        """What is left of it; less than 0 when it is over."""
        return self._end - time.monotonic()


async def wait_for_position(
    processor: Processor, ledger: Ledger, target: int, patience: Deadline, read: Callable[[], Awaitable[T]]
) -> T:
    """What `read` gives while the processor's subscription is at the target or beyond it.

    Raises:
        Stale: it did not get there in time, or did not stay there.
    """
    while True:
        fence = await _wait_until_passed(processor, ledger, target, patience)
        found = await read()
        lease = await ledger.lease(processor.subscription.name)
        # fault: rebuild-during-find
        if lease.fencing_token == fence:
            return found
        processor.observe_lease(lease)
        if patience.remaining_s <= 0:
            why = "It was built anew, or taken over by another process, meanwhile."
            raise Stale(lease.name, processor.position, target, patience.timeout_s, why)
        await asyncio.sleep(_INITIAL_POLL_INTERVAL_S)


async def read_nothing() -> None:
    """Read nothing: for who only waits."""


async def _wait_until_passed(processor: Processor, ledger: Ledger, target: int, patience: Deadline) -> int:
    """Wait here, if the subscription runs here; else look at its checkpoint, ever less often.

    Returns the fence under which it has passed the target.
    """
    name, fence, look_s = processor.subscription.name, None, _INITIAL_POLL_INTERVAL_S
    while not 0 < target <= processor.position:
        fence = (
            (await ledger.lease(name)).fencing_token if fence is None else fence
        )  # before the checkpoint: it may grow after
        checkpoint = await ledger.checkpoint(name)
        position = checkpoint.position if checkpoint else 0
        if position >= target:
            return fence
        if patience.remaining_s <= 0:
            raise Stale(name, max(position, processor.position), target, patience.timeout_s, _lag_reason(processor))
        await processor.position_signal.wait(target - 1, min(patience.remaining_s, look_s))
        look_s = min(look_s * 2, _MAX_POLL_INTERVAL_S)
    return processor.fencing_token


def _lag_reason(processor: Processor) -> str:
    if processor.error is not None:
        return f"It fails in this process: {type(processor.error).__name__}: {processor.error}"
    return f"In this process it is {processor.state}; is a process running that opened the app with run='here'?"
