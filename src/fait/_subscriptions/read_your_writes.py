"""Reads your writes: waits until a subscription has passed a position, reads, and verifies that it had not been reset.

A read model can be rebuilt at any time, by any process: its table is emptied and its checkpoints reset. This increases
the fencing tokens of its ranges, as does a change of their owners. If the tokens are the same before the checkpoints
were read and after the rows were read, the rows come from a table that had passed the position. Otherwise the read is
repeated.

A read of one row waits only for the range of its key: a range without events records its position a little later, and
that of a worker that has been lost only when another one acquires it.

A subscription also passes the events of a key that has failed, without handling them. A read that depends on such a key
waits while it is retried, and raises if it is parked.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from shlex import quote
from typing import Final, TypeVar

from fait._arguments import check_number
from fait._errors import Stale
from fait._store.ports.failures import KeyFailure
from fait._store.ports.leases import Range
from fait._store.ports.store import Store
from fait._subscriptions.processor_group import ProcessorGroup, Tokens, tokens_of

__all__ = ["Deadline", "every_key", "read_nothing", "wait_for_position"]

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

    @property
    def waited_s(self) -> float:
        """Seconds since its creation, at most `timeout_s`."""
        return round(self.timeout_s - max(0.0, self.remaining_s), 2)


async def wait_for_position(
    group: ProcessorGroup,
    store: Store,
    target: int,
    deadline: Deadline,
    read: Callable[[], Awaitable[T]],
    depends_on: Callable[[KeyFailure, T], Awaitable[bool]],
    slot: int | None = None,
) -> T:
    """Return the result of `read`, executed while the subscription is at the target position or beyond it.

    Args:
        group: the subscription's processors in this process, whether or not it owns ranges.
        store: the store.
        target: position to wait for.
        deadline: end of the wait.
        read: reads the rows. It is called again if the subscription was reset during the read.
        depends_on: whether the result depends on the events of a key that has failed.
        slot: hash of the only order key whose events are waited for; None: those of all keys.

    Raises:
        Stale: the subscription did not reach the target in time, was reset, or the result depends on a parked key.
    """
    interval_s = _INITIAL_POLL_INTERVAL_S
    while True:
        # What has failed is looked up before the read: a failure that is removed afterwards concerns what was read.
        tokens, failures = await _wait_until_passed(group, store, target, deadline, slot)
        result = await read()
        # fault: failed-key-passed-as-handled
        failure = await _first(failures, depends_on, result)
        if failure is not None:
            is_parked = await _is_parked(store, failure)
            if is_parked or deadline.remaining_s <= 0:
                raise _stale(group, target, deadline, failure, is_parked=is_parked)
        elif await _is_current(group, store, target, deadline, tokens):
            return result
        await asyncio.sleep(max(0, min(interval_s, deadline.remaining_s)))
        interval_s = min(interval_s * 2, _MAX_POLL_INTERVAL_S)


async def _is_parked(store: Store, failure: KeyFailure) -> bool:
    """Return whether a key is parked. The process that parked it may not know yet that an operator has redriven it."""
    if failure.state != "parked":
        return False
    stored = await store.failures.failures(failure.subscription)
    return any(each.key == failure.key and each.state == "parked" for each in stored)


async def _is_current(group: ProcessorGroup, store: Store, target: int, deadline: Deadline, tokens: Tokens) -> bool:
    """Return whether none of the ranges with these tokens was reset, acquired, split or merged since."""
    current = await store.leases.ranges(group.name)
    # fault: rebuild-during-find
    if tokens <= tokens_of(current):
        return True
    group.observe_ranges(current)
    if current and deadline.remaining_s <= 0:
        reason = "It was rebuilt or acquired by another process during the read; try again."
        raise Stale(group.name, group.position, target, deadline.timeout_s, reason)
    return False


async def read_nothing() -> None:
    """Read nothing; for callers that only wait."""


async def every_key(_failure: KeyFailure, _result: object) -> bool:
    """Depend on all keys; for callers that only wait."""
    return True


async def _first(
    failures: Iterable[KeyFailure], depends_on: Callable[[KeyFailure, T], Awaitable[bool]], result: T
) -> KeyFailure | None:
    """Return the first failure that a result depends on."""
    for each in list(failures):
        if await depends_on(each, result):
            return each
    return None


async def _failures(group: ProcessorGroup, store: Store, ranges: Iterable[Range], target: int) -> Sequence[KeyFailure]:
    """Return the failures of keys whose events up to a position are not all handled."""
    if all(each.failed_position is None or each.failed_position > target for each in ranges):
        return ()
    return [each for each in await store.failures.failures(group.name) if each.next_position <= target]


def _stale(group: ProcessorGroup, target: int, deadline: Deadline, failure: KeyFailure, *, is_parked: bool) -> Stale:
    name = group.name
    error = f"{failure.error_type}: {failure.error}"
    reason = f"Its key {failure.key!r} is being retried: attempt {failure.attempts} failed with {error}"
    if is_parked:
        reason = (
            f"Attempt {failure.attempts} failed with {error}\n"
            f"Show it with fait parked show {name}. When the cause is removed, handle it again with fait parked "
            f"redrive {name} --key {quote(failure.key)}."
        )
    parked = (failure.key, failure.last_failed_at) if is_parked else (None, None)
    stale = Stale(name, failure.next_position - 1, target, deadline.timeout_s, reason, *parked)
    stale.__cause__ = group.cause
    return stale


async def _wait_until_passed(
    group: ProcessorGroup, store: Store, target: int, deadline: Deadline, slot: int | None
) -> tuple[Tokens, Sequence[KeyFailure]]:
    """Wait until the subscription has passed the target: in this process, or according to its checkpoint.

    The checkpoint is polled at growing intervals.

    Returns:
        The fencing tokens under which the target was passed, and the failures of keys whose events up to it are not all
        handled.
    """
    name, interval_s = group.name, _INITIAL_POLL_INTERVAL_S
    while not 0 < target <= group.position:
        current = await store.leases.ranges(group.name)
        concerned = [each for each in current if slot is None or each.key.low <= slot < each.high]
        position = min((each.position for each in concerned), default=0)
        # fault: position-of-another-range-awaited
        if concerned and position >= target:
            return tokens_of(concerned), await _failures(group, store, current, target)
        if deadline.remaining_s <= 0:
            raise Stale(name, max(position, group.position), target, deadline.timeout_s, _lag_reason(group))
        await group.position_signal.wait(target - 1, min(deadline.remaining_s, interval_s))
        interval_s = min(interval_s * 2, _MAX_POLL_INTERVAL_S)
    return group.tokens, [each for each in group.failures if each.next_position <= target]


def _lag_reason(group: ProcessorGroup) -> str:
    if group.state == "paused":
        return f"It is paused. Continue it with fait resume {group.name}."
    if group.error is not None:
        return f"It fails in this process: {group.error_text}"
    if not group.started:
        state = "This process runs no subscriptions"
    elif group.state == "waiting" and (expires_in_s := group.lease_expires_at - group.run.clock.monotonic()) > 0:
        return (
            "Another worker owns its lease, which has not expired yet. This process takes it over in "
            f"{expires_in_s:.1f} s, unless a heartbeat of that worker arrives before. Check that worker, or use a "
            "longer timeout_s."
        )
    else:
        state = f"In this process it is {group.state!r}"
    return f"{state}. Make sure that a worker is running, such as `fait run`, or use a longer timeout_s."
