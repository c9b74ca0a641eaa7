"""Calls a handler for a sequence of events: a coroutine function in the event loop, any other function in a thread.

Events that the handler appends have the handled event as their cause.
"""

import asyncio
import contextvars
import inspect
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, asynccontextmanager
from typing import Any, Final, Protocol
from weakref import WeakSet

from fait._events.envelope import Envelope
from fait._subscriptions.failure import ends_task
from fait._telemetry import Origin, caused_by

__all__ = ["MAX_BATCH_DURATION_S", "Handler", "HandlerCall", "HandlerThread", "call_each", "hung_calls"]

Handler = Callable[..., Awaitable[None] | None]

MAX_BATCH_DURATION_S: Final = 1.0
"""Maximum time for which a batch accepts further events. After a crash, those of its events that are not
recorded are redelivered."""


class HandlerCall(Protocol):
    """The second argument of a handler, which carries the event."""

    @property
    def envelope(self) -> Envelope[Any]:
        """The event with its recorded event."""
        ...

    def close(self) -> None:
        """Refuse what the handler still does with its call: the call has ended."""
        ...


async def call_each(
    handler: Handler,
    calls: Sequence[HandlerCall],
    *,
    thread: "HandlerThread | None",
    pass_call: bool,
    timeout_s: float,
    may_continue: Callable[[int], bool],
) -> tuple[int, Exception | None]:
    """Call a handler for one event after the other, until one fails or `may_continue` returns False.

    The first event is always handled.

    Args:
        handler: the function to call.
        calls: one per event, in order.
        thread: runs the handler; None: it is a coroutine function, which this event loop runs.
        pass_call: whether the handler takes the call as a second argument.
        timeout_s: timeout for one event. A thread cannot be stopped: after a timeout it may finish the event that it is
            handling, but it starts no other.
        may_continue: takes the number of events handled, and returns whether to handle another one.

    Returns:
        The number of events handled, and the exception raised for the next event, if any.
    """
    batch = _HandlerBatch(
        lambda call: handler(call.envelope.event, call) if pass_call else handler(call.envelope.event),
        calls,
        may_continue,
    )
    try:
        await (batch.run_in_loop(timeout_s) if thread is None else batch.run_in_thread(thread, timeout_s))
    except Exception as error:
        return batch.handled, error
    finally:
        batch.abandon()
    return batch.handled, None


class HandlerThread:
    """The thread of a handler that is not a coroutine function. It is shared with no other handler.

    A call that has passed its timeout keeps the thread until it returns. No other call runs in this thread before that.

    Attributes:
        name: name of the thread.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._executor = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._call: Future[Any] | None = None
        _THREADS.add(self)

    @property
    def is_busy(self) -> bool:
        """Whether a call runs, although it has passed its timeout."""
        # fault: call-during-a-hung-call
        return self._call is not None and not self._call.done()

    async def run(self, function: Callable[[], Any]) -> Any:
        """Run a function in the thread, in a copy of the current context, and return its result."""
        self._call = self._executor.submit(contextvars.copy_context().run, function)
        return await asyncio.wrap_future(self._call)


_THREADS: Final = WeakSet[HandlerThread]()


def hung_calls() -> list[str]:
    """Return the names of the threads of this process whose calls run, once for each call."""
    return sorted(each.name for each in _THREADS if each.is_busy)


class _HandlerBatch:
    """Consecutive calls of one handler.

    Attributes:
        handled: number of events handled.
        abandoned: whether the caller has stopped waiting. A thread then handles no further event.
    """

    def __init__(
        self,
        handle: Callable[[HandlerCall], Any],
        calls: Sequence[HandlerCall],
        may_continue: Callable[[int], bool],
    ) -> None:
        self.handled = 0
        self.abandoned = False
        self._handle = handle
        self._calls = calls
        self._may_continue = may_continue

    async def run_in_loop(self, timeout_s: float) -> None:
        """Call the handler, a coroutine function, for each event in turn. `timeout_s` limits each call."""
        while self._has_next():
            async with _time_limit(timeout_s, self.abandon):
                with self._cause():
                    await self._handle(self._calls[self.handled])
            self._finish()

    async def run_in_thread(self, thread: HandlerThread, timeout_s: float) -> None:
        """Call a function in one thread for all events, as a switch of threads can cost more than a short handler."""
        limit_s = timeout_s + (MAX_BATCH_DURATION_S if len(self._calls) > 1 else 0)
        while self._has_next():
            async with _time_limit(limit_s, self.abandon):
                awaitable = await thread.run(self._run)
                if awaitable is not None:
                    with self._cause():
                        await awaitable
            if awaitable is not None:
                self._finish()

    def _run(self) -> Any:
        """Handle events until one call returns an awaitable, and return that.

        A coroutine function behind a decorator is not recognized as one before it is called.
        """
        while self._has_next() and not self.abandoned:
            with self._cause():
                try:
                    result = self._handle(self._calls[self.handled])
                # The first cannot be raised by a future, and Ctrl-C reaches no thread.
                except (StopIteration, GeneratorExit, KeyboardInterrupt) as error:
                    raise RuntimeError(f"the handler raised {error!r}") from error
            if inspect.isawaitable(result):
                return result
            if inspect.isgenerator(result) or inspect.isasyncgen(result):
                raise TypeError(
                    "the handler returned a generator, and none of its statements ran: a handler has no yield"
                )
            self._finish()
        return None

    def abandon(self) -> None:
        """Stop waiting: a thread handles no further event, and the current call is refused what it still tries."""
        self.abandoned = True
        for call in self._calls[self.handled : self.handled + 1]:
            call.close()

    def _finish(self) -> None:
        self._calls[self.handled].close()
        self.handled += 1

    def _has_next(self) -> bool:
        return not self.handled or (self.handled < len(self._calls) and self._may_continue(self.handled))

    def _cause(self) -> AbstractContextManager[Origin]:
        envelope = self._calls[self.handled].envelope
        # The results of a split have numbered ids, which the log does not know.
        stored_id = envelope.id.partition("/")[0]
        # fault: result-of-split-is-the-cause
        return caused_by(correlation_id=envelope.metadata.correlation_id or stored_id, causation_id=stored_id)


@asynccontextmanager
async def _time_limit(timeout_s: float, abandon: Callable[[], None]) -> AsyncGenerator[None]:
    """Limit the time of a block. `abandon` is called before it is canceled: a handler may catch the cancellation."""
    limit = asyncio.timeout(None)

    def expire() -> None:
        # fault: call-continues-after-timeout
        abandon()
        limit.reschedule(0)

    expiry = asyncio.get_running_loop().call_later(timeout_s, expire)
    try:
        async with limit:
            yield
        if limit.expired():
            raise TimeoutError("the handler passed its timeout, and caught the cancellation")
    except asyncio.CancelledError as error:
        if ends_task(error):
            raise
        raise RuntimeError(
            "the handler raised CancelledError although its task was not canceled, for example because it awaited a "
            "canceled task"
        ) from None
    finally:
        expiry.cancel()
