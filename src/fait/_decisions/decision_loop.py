"""The decision loop: read, decide, append; on a conflict back off, read and decide again.

    read ──► fold ──► decide ──► append ──► WriteResult
      ▲                            │
      └── back-off ◄── conflict ◄──┘

A decision is based on a history: the events of one stream, or all events that match the queries of a boundary. Its new
events are appended only if no further event was recorded in that history: optimistic concurrency. A stream's version or
an append condition says so to the log.
"""

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import Final, Protocol, TypeVar

from fait._clock import Clock
from fait._decisions.calls import WriteResult, write_result
from fait._decisions.idempotency import Basis, Intention, append, find_repeated
from fait._decisions.log import DecisionLog
from fait._events.append import AppendCondition, Appended, AppendResult, ConditionFailed, StreamWrite

__all__ = ["History", "back_off", "decide"]

R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)

_INITIAL_BACKOFF_S: Final = 0.002
"""Maximum delay before a retry; it doubles with each conflict."""

_MAX_BACKOFF_S: Final = 0.25
"""Maximum delay before a retry after any number of conflicts."""


class History(Protocol[R_co]):
    """The events that a decision depends on, as far as they have been read, and the decision on them."""

    @property
    def stream(self) -> str:
        """Name of the stream; "" if the history is not that of one stream."""
        ...

    @property
    def version(self) -> int:
        """Version of the stream; 0 if the history is not that of one stream."""
        ...

    @property
    def position(self) -> int:
        """Position that the history has been read up to."""
        ...

    @property
    def condition(self) -> AppendCondition | None:
        """The append condition that the history is complete; None if the expected versions of the writes say so."""
        ...

    async def refresh(self) -> None:
        """Read the events recorded since the last read."""
        ...

    def decide(self, intention: Intention, now: datetime) -> tuple[R_co, Sequence[StreamWrite]]:
        """Decide on a state that no earlier decision has changed; `fait.now()` returns `now`."""
        ...

    async def decide_again(self, basis: Basis, now: datetime) -> tuple[R_co, int]:
        """Repeat an earlier decision on its basis. Returns its value and the number of its events."""
        ...

    def absorb(self, conflict: AppendResult) -> bool:
        """Return whether this is a conflict that another attempt can avoid; keep the events that it carries."""
        ...


async def decide(history: History[R], intention: Intention, log: DecisionLog, clock: Clock) -> WriteResult[R]:
    """Read, decide and append; on a conflict back off and retry, up to the attempts that the options allow."""
    options = intention.options
    attempts = options.attempts if options.expected is None else 1
    attempt, result = 0, None
    while True:
        attempt += 1
        if attempt > 1:
            intention.check_unchanged()
        # A failed append condition returns the latest events, so the second attempt neither waits nor reads.
        # fault: second-attempt-reads
        if attempt != 2 or not isinstance(result, ConditionFailed):
            if attempt > 1:
                await back_off(attempt - 1)
            await history.refresh()
        # After reading, so that no decision is based on events that a concurrent call stored under the same key.
        if options.key and (repeated := await find_repeated(log, intention, history.decide_again)):
            return repeated
        value, writes = history.decide(intention, clock.now())
        # fault: nothing-decided-not-remembered
        if not writes and options.key is None:
            return WriteResult(value, history.stream, history.version, history.position, attempts=attempt)
        condition = history.condition if writes else None
        result = await append(log, intention, writes or [_nothing_decided(history, intention)], condition)
        if isinstance(result, Appended) and not result.repeated:
            if not writes:
                return WriteResult(value, history.stream, history.version, history.position, attempts=attempt)
            return write_result(value, writes, result, attempt)
        if attempt < attempts and history.absorb(result):
            continue
        # A concurrent call with the same key may have appended after the lookup above.
        if options.key and (repeated := await find_repeated(log, intention, history.decide_again)):
            return repeated
        return write_result(value, writes, result, attempt)


def _nothing_decided(history: History[object], intention: Intention) -> StreamWrite:
    return intention.nothing_decided(Basis(history.stream, history.version, history.position))


async def back_off(conflicts: int) -> None:
    """Sleep after a number of conflicts: exponential back-off with full jitter."""
    import random  # here, as it is slow to import and only conflicts need it

    await asyncio.sleep(random.uniform(0, min(_MAX_BACKOFF_S, _INITIAL_BACKOFF_S * 2**conflicts)))  # noqa: S311
