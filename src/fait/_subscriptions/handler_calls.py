"""How a handler is called: an async one in the event loop, any other in a thread, with the event as the cause.

One after another, for as many events as it may be called for before they are recorded.
"""

import asyncio
import inspect
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AbstractContextManager, asynccontextmanager
from typing import Any, Final, Protocol

from fait._events.envelope import Envelope
from fait._telemetry import Origin, caused_by

__all__ = ["MAX_BATCH_DURATION_S", "Handler", "HandlerCall", "call_each"]

Handler = Callable[..., Awaitable[None] | None]

MAX_BATCH_DURATION_S: Final = 1.0
"""For so long a batch takes further events: what is handled and not recorded yet is handled again after a crash."""


class HandlerCall(Protocol):
    """What a handler is called with beside the event."""

    @property
    def envelope(self) -> Envelope[Any]:
        """The event with its envelope."""
        ...


async def call_each(
    handler: Handler,
    calls: Sequence[HandlerCall],
    *,
    pass_call: bool,
    timeout_s: float,
    may_continue: Callable[[], bool],
) -> tuple[int, Exception | None]:
    """Call a handler for one event after another: for the first in any case, for the others while it may go on.

    Returns how many events it has handled, and what it raised at the next, if it did. `timeout_s` is for one event; a
    thread cannot be stopped, so that one that takes too long may go on with its event, but begins no other.
    """
    batch = _HandlerBatch(
        lambda call: handler(call.envelope.event, call) if pass_call else handler(call.envelope.event),
        calls,
        may_continue,
    )
    try:
        await (batch.run_in_loop if inspect.iscoroutinefunction(handler) else batch.run_in_thread)(timeout_s)
    except Exception as problem:
        return batch.done, problem
    finally:
        batch.abandoned = True
    return batch.done, None


class _HandlerBatch:
    """Calls of one handler, one after another.

    Attributes:
        done: how many events have been handled.
        abandoned: nobody waits for the rest.
    """

    def __init__(
        self, handle: Callable[[HandlerCall], Any], calls: Sequence[HandlerCall], goes_on: Callable[[], bool]
    ) -> None:
        self.done = 0
        self.abandoned = False
        self._handle = handle
        self._calls = calls
        self._may_continue = goes_on

    async def run_in_loop(self, timeout_s: float) -> None:
        """Call a coroutine function."""
        while self._has_next():
            async with _time_limit(timeout_s):
                with self._cause():
                    await self._handle(self._calls[self.done])
            self.done += 1

    async def run_in_thread(self, timeout_s: float) -> None:
        """In one thread for all: to get there takes longer than a small handler does."""
        limit_s = timeout_s + (MAX_BATCH_DURATION_S if len(self._calls) > 1 else 0)
        while self._has_next():
            async with _time_limit(limit_s):
                answer = await asyncio.to_thread(self._run)
                if answer is not None:
                    with self._cause():
                        await answer
                    self.done += 1

    def _run(self) -> Any:
        """As far as it gets; gives what is to be awaited, of a coroutine function that does not look like one."""
        while self._has_next() and not self.abandoned:
            with self._cause():
                answer = self._handle(self._calls[self.done])
            if inspect.isawaitable(answer):
                return answer
            self.done += 1
        return None

    def _has_next(self) -> bool:
        return not self.done or (self.done < len(self._calls) and self._may_continue())

    def _cause(self) -> AbstractContextManager[Origin]:
        at = self._calls[self.done].envelope
        return caused_by(correlation_id=at.metadata.correlation_id or at.id, causation_id=at.id)


@asynccontextmanager
async def _time_limit(timeout_s: float) -> AsyncGenerator[None]:
    task = asyncio.current_task()
    try:
        async with asyncio.timeout(timeout_s):
            yield
    except asyncio.CancelledError:
        if task is not None and task.cancelling():
            raise
        raise RuntimeError("the handler was cancelled from inside, as by awaiting a cancelled task") from None
