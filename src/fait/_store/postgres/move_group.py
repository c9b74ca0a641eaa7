"""Moves ranges of which nothing else is recorded: those that wait while one is moved are moved by one statement.

A process that owns many ranges passes the same events in all of them at about the same time.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence

from fait._store.ports.registrations import RangeKey
from fait._store.ports.unit_of_work import RangeMove, RecordResult

__all__ = ["MoveGroup"]


class MoveGroup:
    """Combines the moves of different ranges.

    Args:
        move_all: moves ranges, in one statement. Returns the keys of those that were moved.
    """

    def __init__(self, move_all: Callable[[Sequence[RangeMove]], Awaitable[Collection[RangeKey]]]) -> None:
        self._move_all = move_all
        self._waiting: list[tuple[RangeMove, asyncio.Future[RecordResult]]] = []
        self._sending: asyncio.Task[None] | None = None
        self._is_busy = False

    async def record(self, move: RangeMove, record_alone: Callable[[], Awaitable[RecordResult]]) -> RecordResult:
        """Move a range: alone if no other one is being moved, else together with those that wait.

        Args:
            move: the move.
            record_alone: records it alone.
        """
        if self._is_busy:
            moved: asyncio.Future[RecordResult] = asyncio.get_running_loop().create_future()
            self._waiting.append((move, moved))
            return await moved
        self._is_busy = True
        try:
            return await record_alone()
        finally:
            self._continue()

    def _continue(self) -> None:
        self._is_busy = bool(self._waiting)
        if self._is_busy:  # in a task of its own, so that no caller that is canceled cancels the moves of others
            self._sending = asyncio.create_task(self._send(), name="fait-move-ranges")

    async def _send(self) -> None:
        group, self._waiting = self._waiting, []
        try:
            moved = await self._move_all([move for move, _ in group])
        except asyncio.CancelledError:  # at the end of the event loop
            for _, result in group:
                result.cancel()
            raise
        except Exception as error:
            for _, result in group:
                if not result.done():
                    result.set_exception(error)
        else:
            for move, result in group:
                if not result.done():
                    result.set_result("recorded" if move.key in moved else "refused")
        finally:
            self._continue()
