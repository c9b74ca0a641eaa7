"""A coroutine that begins at once, and whose end is told at once: a task takes turns of the event loop for either."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

__all__ = ["EagerTask"]

T = TypeVar("T")


class EagerTask(Generic[T]):
    """What a coroutine comes to. It cannot be cancelled.

    The coroutine runs outside of any task: whatever asks for the current one, as every time-out does, has to be given a
    task of its own by whoever writes the coroutine.
    """

    __slots__ = ("_callbacks", "_coroutine", "_problem", "_value")

    def __init__(self, coroutine: Coroutine[Any, Any, T]) -> None:
        self._callbacks: list[Callable[[EagerTask[T]], object]] | None = []
        self._coroutine = coroutine
        self._problem: BaseException | None = None
        self._value: T | None = None
        self._step()

    def add_done_callback(self, callback: "Callable[[EagerTask[T]], object]", /) -> None:
        """Have this called when it ends, in the same turn of the event loop."""
        if self._callbacks is None:
            asyncio.get_running_loop().call_soon(callback, self)
        else:
            self._callbacks.append(callback)

    def cancelled(self) -> bool:
        """Whether something that it waited for was."""
        return isinstance(self._problem, asyncio.CancelledError)

    def exception(self) -> BaseException | None:
        """What it raised."""
        return self._problem

    def result(self) -> T:
        """What it returned."""
        if self._problem is not None:
            raise self._problem
        return self._value  # pyright: ignore[reportReturnType] - it has ended, and with a value

    def _step(self, _done: object = None) -> None:
        """To the next future that it waits for, as `asyncio.Task` would."""
        try:
            future = self._coroutine.send(None)
        except StopIteration as end:
            self._value = end.value
        except (Exception, asyncio.CancelledError) as problem:
            self._problem = problem
        else:
            if future is None:  # as of `asyncio.sleep(0)`
                asyncio.get_running_loop().call_soon(self._step)
            else:
                future._asyncio_future_blocking = False
                future.add_done_callback(self._step)
            return
        callbacks, self._callbacks = self._callbacks, None
        for callback in callbacks or ():
            self._call_back(callback)

    def _call_back(self, callback: "Callable[[EagerTask[T]], object]") -> None:
        """Call it; what it raises is told where the event loop tells of callbacks, and keeps nobody from being told."""
        try:
            callback(self)
        except Exception as problem:
            told = {"message": f"a callback of a prompt failed: {callback!r}", "exception": problem}
            asyncio.get_running_loop().call_exception_handler(told)
