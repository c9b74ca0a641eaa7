"""Faults of a store, as context managers: what an application must bear, and what happens rarely without them.

    with conflicts(system, times=3):
        await system.transact(Account.withdraw, "7", 10)

They replace methods of the open store, on every backend, until the end of the block.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Generator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Final, TypeAlias

from fait._clock import new_id
from fait._errors import StoreUnavailable
from fait._events.append import (
    AppendCondition,
    AppendResult,
    ConditionFailed,
    Conflict,
    StreamWrite,
    VersionConflict,
)
from fait._events.envelope import RecordedEvent
from fait._events.version import ANY
from fait._store.ports.store import Store
from fait._store.ports.unit_of_work import RecordResult, UnitOfWork
from fait._system import System

__all__ = ["conflicts", "crash_after_commit", "redelivery", "slow_subscriptions", "store_unavailable"]

Append: TypeAlias = Callable[[Sequence[StreamWrite], AppendCondition | None], Awaitable[AppendResult]]
Record: TypeAlias = Callable[[UnitOfWork], Awaitable[RecordResult]]

_INJECTED: Final = "a fault of fait.testing."
_CONFLICT_TYPE: Final = "fait.testing.conflict"


@contextmanager
def conflicts(system: System, times: int = 1) -> Generator[None]:
    """Let the next decisions be in conflict with an append of another process that changed nothing.

    They are made again. This detects a command with effects of its own, or one that changes its arguments. An append
    without an expected version and without a condition has no conflicts.

    Args:
        system: the open system.
        times: number of appends, and of units of work with events of handlers, that are in conflict.
    """
    remaining = _Countdown(times)
    log = system.store.log

    async def append(
        original: Append, writes: Sequence[StreamWrite], condition: AppendCondition | None = None
    ) -> AppendResult:
        conflict = _conflict([(each.stream, each.expected) for each in writes], condition, await log.last_position())
        return conflict if conflict and remaining.draw() else await original(writes, condition)

    async def record(original: Record, work: UnitOfWork) -> RecordResult:
        events = work.append
        condition = next(iter(events.conditions), None) if events else None
        conflict = _conflict(list(events.expected.items()) if events else [], condition, await log.last_position())
        return conflict if conflict and remaining.draw() else await original(work)

    with _replaced(system, append, record):
        yield


@contextmanager
def crash_after_commit(system: System, times: int = 1) -> Generator[None]:
    """Let the next appends be stored, and their callers get `StoreUnavailable` with the outcome "unknown".

    So it is if the connection is lost, or the process dies, between the commit and the answer. This detects a caller
    that repeats a call without an idempotency key, so that its events are stored twice.

    Args:
        system: the open system.
        times: number of appends.
    """
    remaining, lost = _Countdown(times), set[str]()

    async def append(
        original: Append, writes: Sequence[StreamWrite], condition: AppendCondition | None = None
    ) -> AppendResult:
        first_id = writes[0].events[0].id
        if first_id not in lost and not remaining.draw():
            return await original(writes, condition)
        result = await original(writes, condition)
        lost.add(first_id)  # the client repeats an append once, with the same ids
        raise StoreUnavailable(f"the answer was lost after {type(result).__name__}: {_INJECTED}", "unknown")

    with _replaced(system, append):
        yield


@contextmanager
def redelivery(system: System, times: int = 1) -> Generator[None]:
    """Let the next units of work of each subscription be lost after its handlers have run, so that they run again.

    So it is if the process dies before the checkpoint is written. This detects effects of a handler outside of its
    context that take place again: requests to other services, or events appended through the system.

    Args:
        system: the open system.
        times: number of units of work of each subscription.
    """
    handled = Counter[str]()

    async def record(original: Record, work: UnitOfWork) -> RecordResult:
        handled[work.move.key.subscription] += 1
        if handled[work.move.key.subscription] <= times:
            raise StoreUnavailable(f"the unit of work was lost: {_INJECTED}")
        return await original(work)

    with _replaced(system, record=record):
        yield


@contextmanager
def store_unavailable(system: System, times: int | None = None) -> Generator[None]:
    """Let appends and units of work raise `StoreUnavailable`; nothing is written.

    This detects a caller that takes a refused write for a stored one.

    Args:
        system: the open system.
        times: number of writes that are refused; None: all in the block.
    """
    remaining = _Countdown(times)

    async def write(original: Callable[..., Awaitable[Any]], *arguments: Any) -> Any:
        if remaining.draw():
            raise StoreUnavailable(f"the write was refused: {_INJECTED}")
        return await original(*arguments)

    with _replaced(system, write, write):
        yield


@contextmanager
def slow_subscriptions(system: System, delay_s: float = 0.1) -> Generator[None]:
    """Let every subscription wait before it records its work.

    This detects a caller that queries a read model without `after=`: in memory, it is usually up to date.

    Args:
        system: the open system.
        delay_s: the delay, in seconds.
    """

    async def record(original: Record, work: UnitOfWork) -> RecordResult:
        await asyncio.sleep(delay_s)
        return await original(work)

    with _replaced(system, record=record):
        yield


class _Countdown:
    """Counts faults that remain; None: no end."""

    def __init__(self, times: int | None) -> None:
        self._times = times

    def draw(self) -> bool:
        """Return whether one remains, and use it up."""
        if self._times is None:
            return True
        self._times -= 1
        return self._times >= 0


@contextmanager
def _replaced(system: System, append: Any = None, record: Any = None) -> Generator[None]:
    """Replace methods of the store; each replacement gets the original method before its arguments."""
    store: Store = system._store  # pyright: ignore[reportPrivateUsage]
    replacements = ((store.log, "append", append), (store.recorder, "record", record))
    replaced = [(port, name, getattr(port, name), new) for port, name, new in replacements if new is not None]
    for port, name, original, new in replaced:
        setattr(port, name, _bound(new, original))
    try:
        yield
    finally:
        for port, name, original, _ in replaced:
            setattr(port, name, original)


def _bound(new: Callable[..., Awaitable[Any]], original: Any) -> Callable[..., Awaitable[Any]]:
    async def call(*arguments: Any) -> Any:
        return await new(original, *arguments)

    return call


def _conflict(expected: Sequence[tuple[str, int]], condition: AppendCondition | None, position: int) -> Conflict | None:
    """Return a conflict that an append can be in; None if there is none."""
    if condition is not None and condition.queries:
        # An event that no query of an application selects: the decision reads nothing new, and is made again.
        now = datetime.now(UTC)
        event = RecordedEvent(position, "fait", 1, _CONFLICT_TYPE, 1, new_id(), "{}", "{}", (), now, now)
        return ConditionFailed((event,), position)
    return next((VersionConflict(stream, each, each) for stream, each in expected if each != ANY), None)
