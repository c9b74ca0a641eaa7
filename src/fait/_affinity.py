"""The process and the event loop that a system or a store belongs to, checked by a call before it uses them.

Connections, threads and futures do not survive a fork, and they are of no use in another event loop: a call would wait
for a thread that does not exist, or read the answers that another process waits for.
"""

import asyncio
import os
from typing import Final

from fait._errors import UsageError

__all__ = ["Affinity"]

_forks: Final[list[None]] = []
"""One element for each fork between the first process and this one: its length differs in a forked child."""

os.register_at_fork(after_in_child=lambda: _forks.append(None))


class Affinity:
    """Belongs to the process and the running event loop that create it.

    Args:
        subject: what belongs to them, for the message: "system" or "store".

    Attributes:
        loop: the event loop.
    """

    __slots__ = ("_generation", "_subject", "loop")

    def __init__(self, subject: str) -> None:
        self._subject = subject
        self._generation = len(_forks)
        self.loop: asyncio.AbstractEventLoop = asyncio.get_running_loop()

    @property
    def is_forked(self) -> bool:
        """Whether this process is a child, forked since the creation."""
        return len(_forks) != self._generation

    def check(self) -> None:
        """Raise `UsageError` unless the caller is in the process and in the event loop."""
        try:
            # fault: system-in-another-loop
            if asyncio.get_running_loop() is self.loop and len(_forks) == self._generation:
                return
        except RuntimeError:  # no event loop runs in this thread
            pass
        raise self._error()

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
