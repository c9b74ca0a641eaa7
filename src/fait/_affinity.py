"""The process and the event loop that a system or a store belongs to, checked by a call before it uses them.

Connections, threads and futures do not survive a fork, and they are of no use in another event loop: a call would wait
for a thread that does not exist, or read the answers that another process waits for. `Bound` checks all calls of a port
that an application can reach; a system checks its own.
"""

import asyncio
import inspect
import os
from collections.abc import Callable
from threading import get_ident
from typing import Any, NoReturn

from fait._errors import UsageError

__all__ = ["Affinity", "Bound"]

_forks = 0
"""Number of forks between the first process and this one: it differs in a forked child."""


def _count_fork() -> None:
    global _forks  # noqa: PLW0603 - a check reads it in a few nanoseconds
    _forks += 1


os.register_at_fork(after_in_child=_count_fork)


class Affinity:
    """Belongs to the process and the running event loop that create it.

    Args:
        subject: what belongs to them, for the message: "system" or "store".

    Attributes:
        loop: the event loop.
    """

    __slots__ = ("_generation", "_subject", "_thread", "loop")

    def __init__(self, subject: str) -> None:
        self._subject = subject
        self._generation = _forks
        self._thread = get_ident()
        self.loop: asyncio.AbstractEventLoop = asyncio.get_running_loop()

    @property
    def is_forked(self) -> bool:
        """Whether this process is a child, forked since the creation."""
        return _forks != self._generation

    def check(self) -> None:
        """Raise `UsageError` unless the caller is in the process and in the event loop."""
        # A thread runs one event loop at a time. `asyncio.get_running_loop` takes twice as long as the whole check,
        # because before Python 3.14 it asks the operating system for the process.
        # fault: system-in-another-loop
        if get_ident() == self._thread and self.loop.is_running() and _forks == self._generation:
            return
        raise self._error()

    def refuse_copy(self) -> NoReturn:
        """Raise `UsageError` for a copy, as a process pool or another interpreter makes it with pickle."""
        raise UsageError(
            f"the {self._subject} cannot be copied or passed to another process or interpreter: its connections and "
            "threads are those of this one. Open one there, with async with app.open(url)."
        )

    def _error(self) -> UsageError:
        if self.is_forked:
            return UsageError(
                f"the {self._subject} was opened before this process was forked: its connections and threads are those "
                "of the parent process. Nothing was read or written. Open one in each process after the fork, with "
                "async with app.open(url)."
            )
        return UsageError(
            f"the {self._subject} was opened in another event loop. Nothing was read or written. Open one in each "
            "event loop, with async with app.open(url), or pass the call to its event loop with "
            "asyncio.run_coroutine_threadsafe."
        )


class Bound:
    """A port, or another object with methods, whose calls are refused in another process or event loop.

    A call is checked when it runs, not when it is made, so that `asyncio.run_coroutine_threadsafe` can pass it on.

    Args:
        target: the object.
        affinity: where its methods may be called.
        parts: names of its attributes that are bound like it.
    """

    def __init__(self, target: object, affinity: Affinity, parts: tuple[str, ...] = ()) -> None:
        self._target = target
        self._affinity = affinity
        self.__dict__.update({name: Bound(getattr(target, name), affinity) for name in parts})

    def __getattr__(self, name: str) -> Any:
        """Return an attribute of the object; a method as a function that is kept, so this is called once for each."""
        member = getattr(self._target, name)
        if not inspect.isroutine(member):
            return member
        function = self._checked_coroutine(name) if inspect.iscoroutinefunction(member) else self._checked(name)
        self.__dict__[name] = function
        return function

    def __reduce__(self) -> str | tuple[Any, ...]:
        self._affinity.refuse_copy()

    def _checked(self, name: str) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            self._affinity.check()
            return getattr(self._target, name)(*args, **kwargs)

        return call

    def _checked_coroutine(self, name: str) -> Callable[..., Any]:
        async def call(*args: Any, **kwargs: Any) -> Any:
            # fault: port-in-another-loop
            self._affinity.check()
            return await getattr(self._target, name)(*args, **kwargs)

        return call
