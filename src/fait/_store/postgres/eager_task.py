"""An eager task: a coroutine that starts immediately, and whose callbacks run as soon as it ends.

An `asyncio.Task` needs one more iteration of the event loop to start, and one more to run its callbacks.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

__all__ = ["EagerTask"]

T = TypeVar("T")


class EagerTask(Generic[T]):
    """The result of a coroutine. It cannot be canceled.

    The coroutine runs outside of any `asyncio.Task`. It must create a task for calls that need the current one, such
    as `asyncio.timeout`.
    """

    __slots__ = ("_callbacks", "_coroutine", "_error", "_value")

    def __init__(self, coroutine: Coroutine[Any, Any, T]) -> None:
        self._callbacks: list[Callable[[EagerTask[T]], object]] | None = []
        self._coroutine = coroutine
        self._error: BaseException | None = None
        self._value: T | None = None
        self._step()

    def add_done_callback(self, callback: "Callable[[EagerTask[T]], object]", /) -> None:
        """Call a function when the coroutine ends, in the same iteration of the event loop."""
        if self._callbacks is None:
            asyncio.get_running_loop().call_soon(callback, self)
        else:
            self._callbacks.append(callback)

    def cancelled(self) -> bool:
        """Whether the coroutine raised `CancelledError`, because a future that it awaited was canceled."""
        return isinstance(self._error, asyncio.CancelledError)

    def exception(self) -> BaseException | None:
        """The exception that the coroutine raised, if any."""
        return self._error

    def result(self) -> T:
        """The value that the coroutine returned. Raises its exception if it raised one."""
        if self._error is not None:
            raise self._error
        return self._value  # pyright: ignore[reportReturnType] - the coroutine has returned it

    def _step(self, _future: object = None) -> None:
        """Run to the next future that the coroutine awaits, as `asyncio.Task` does."""
        try:
            future = self._coroutine.send(None)
        except StopIteration as end:
            self._value = end.value
        except (Exception, asyncio.CancelledError) as error:
            self._error = error
        else:
            if future is None:  # `asyncio.sleep(0)` yields None
                asyncio.get_running_loop().call_soon(self._step)
            else:
                future._asyncio_future_blocking = False
                future.add_done_callback(self._step)
            return
        callbacks, self._callbacks = self._callbacks, None
        for callback in callbacks or ():
            self._call_back(callback)

    def _call_back(self, callback: "Callable[[EagerTask[T]], object]") -> None:
        """Run a callback. Its exception goes to the event loop's handler, and the other callbacks still run."""
        try:
            callback(self)
        except Exception as error:
            context = {"message": f"exception in a callback of EagerTask: {callback!r}", "exception": error}
            asyncio.get_running_loop().call_exception_handler(context)
