"""How a handler is called: an async one in the event loop, any other in a thread, with the event as the cause.

One after another, for as many events as it may be called for before they are recorded.
"""

import asyncio
import inspect
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AbstractContextManager, asynccontextmanager
from typing import Any, Final, Protocol

from fait.events.envelope import Recorded
from fait.telemetry import Origin, caused_by

__all__ = ["BATCH_S", "Call", "Handler", "call_each"]

Handler = Callable[..., Awaitable[None] | None]

BATCH_S: Final = 1.0
"""For so long a batch takes further events: what is handled and not recorded yet is handled again after a crash."""


class Call(Protocol):
    """What a handler is called with beside the event."""

    @property
    def at(self) -> Recorded[Any]:
        """The event with its envelope."""
        ...


async def call_each(
    handler: Handler, calls: Sequence[Call], *, wants_call: bool, timeout_s: float, goes_on: Callable[[], bool]
) -> tuple[int, Exception | None]:
    """Call a handler for one event after another: for the first in any case, for the others while it may go on.

    Returns how many events it has handled, and what it raised at the next, if it did. `timeout_s` is for one event; a
    thread cannot be stopped, so that one that takes too long may go on with its event, but begins no other.
    """

    def result_of(call: Call) -> Any:
        return handler(call.at.event, call) if wants_call else handler(call.at.event)

    progress = _Progress()
    way = _in_loop if inspect.iscoroutinefunction(handler) else _in_thread
    try:
        await way(result_of, calls, progress, timeout_s, goes_on)
    except Exception as problem:
        return progress.done, problem
    finally:
        progress.abandoned = True
    return progress.done, None


class _Progress:
    """How far a batch is.

    Attributes:
        done: how many events have been handled.
        abandoned: nobody waits for the rest.
    """

    def __init__(self) -> None:
        self.done = 0
        self.abandoned = False


async def _in_loop(
    result_of: Callable[[Call], Any],
    calls: Sequence[Call],
    progress: _Progress,
    timeout_s: float,
    goes_on: Callable[[], bool],
) -> None:
    while not progress.done or (progress.done < len(calls) and goes_on()):
        async with _in_time(timeout_s):
            with _cause(calls[progress.done]):
                await result_of(calls[progress.done])
        progress.done += 1


async def _in_thread(
    result_of: Callable[[Call], Any],
    calls: Sequence[Call],
    progress: _Progress,
    timeout_s: float,
    goes_on: Callable[[], bool],
) -> None:
    """In one thread for all: to get there takes longer than a small handler does."""

    def run() -> Any:
        while not progress.done or (progress.done < len(calls) and goes_on() and not progress.abandoned):
            with _cause(calls[progress.done]):
                result = result_of(calls[progress.done])
            if inspect.isawaitable(result):  # a decorated coroutine function does not look like one
                return result
            progress.done += 1
        return None

    waits = True
    while waits:
        async with _in_time(timeout_s + (BATCH_S if len(calls) > 1 else 0)):
            waits = await asyncio.to_thread(run)
            if waits is not None:
                with _cause(calls[progress.done]):
                    await waits
                progress.done += 1


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
