"""How a handler is called: an async one in the event loop, any other in a thread, with the event as the cause.

One after another, for as many events as it may be called for before they are recorded.
"""

import asyncio
import inspect
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AbstractContextManager, asynccontextmanager
from typing import Any, Final, Protocol

from fait.events.envelope import Recorded
from fait.telemetry import Origin, caused_by

__all__ = ["BATCH_S", "Call", "Handler", "call_each"]

Handler = Callable[..., Awaitable[None] | None]

BATCH_S: Final = 1.0
"""How long a batch may gather: what is handled and not recorded yet is handled again after a crash."""


class Call(Protocol):
    """What a handler is called with beside the event."""

    @property
    def at(self) -> Recorded[Any]:
        """The event with its envelope."""
        ...


async def call_each(
    handler: Handler, calls: Sequence[Call], *, wants_call: bool, timeout_s: float, goes_on: Callable[[], bool]
) -> int:
    """Call a handler for one event after another: for the first in any case, for the others while it may go on.

    Returns how many it was called for. `timeout_s` is for one event.
    """

    def result_of(call: Call) -> Any:
        return handler(call.at.event, call) if wants_call else handler(call.at.event)

    if not inspect.iscoroutinefunction(handler):
        return await _in_thread(result_of, calls, timeout_s, goes_on)
    done = 0
    while not done or (done < len(calls) and goes_on()):
        async with _in_time(timeout_s):
            with _cause(calls[done]):
                await result_of(calls[done])
        done += 1
    return done


async def _in_thread(
    result_of: Callable[[Call], Any], calls: Sequence[Call], timeout_s: float, goes_on: Callable[[], bool]
) -> int:
    """In one thread for all: to get there takes longer than a small handler does."""
    abandoned = threading.Event()

    def run(done: int) -> tuple[int, Any]:
        result = None
        while not done or (done < len(calls) and goes_on() and not abandoned.is_set()):
            with _cause(calls[done]):
                result = result_of(calls[done])
            done += 1
            if inspect.isawaitable(result):  # a decorated coroutine function does not look like one
                return done, result
        return done, None

    done, waits = 0, None
    try:
        while not done or waits is not None:
            async with _in_time(timeout_s + (BATCH_S if len(calls) > 1 else 0)):
                done, waits = await asyncio.to_thread(run, done)
                if waits is not None:
                    with _cause(calls[done - 1]):
                        await waits
    finally:
        abandoned.set()
    return done


def _cause(call: Call) -> AbstractContextManager[Origin]:
    at = call.at
    return caused_by(correlation_id=at.metadata.correlation_id or at.id, causation_id=at.id)


@asynccontextmanager
async def _in_time(timeout_s: float) -> AsyncGenerator[None]:
    task = asyncio.current_task()
    try:
        async with asyncio.timeout(timeout_s):
            yield
    except asyncio.CancelledError:
        if task is not None and task.cancelling():
            raise
        raise RuntimeError("the handler was cancelled from inside, as by awaiting a cancelled task") from None
