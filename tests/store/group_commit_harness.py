"""A `GroupCommit` on a backend whose flushes end when a test says so."""

import asyncio
from collections.abc import Sequence
from typing import Any

from fait._events.append import AppendCondition, Appended, AppendResult, StreamWrite
from fait._events.envelope import EncodedEvent
from fait._events.version import ANY
from fait._store.group_commit import AppendOutcome, GroupCommit, PendingAppend

__all__ = ["Backend", "Harness", "expecting", "position_of", "results_of", "turn", "write"]


def write(stream: str, events: int = 1, size: int = 0) -> StreamWrite:
    """A write of a number of events, of `size` bytes in total."""
    data = [" " * (size if index == 0 else 0) for index in range(events)]
    return StreamWrite(
        stream, tuple(EncodedEvent("x", 1, f"{stream}/{n}", each, "") for n, each in enumerate(data)), ANY
    )


def expecting(stream: str, version: int, size: int = 0) -> StreamWrite:
    """A write of one event that expects a version."""
    return StreamWrite(stream, write(stream, size=size).events, version)


class Backend:
    """A backend whose flushes end when the test says so, in any order."""

    def __init__(self) -> None:
        self.batches: list[list[PendingAppend]] = []
        self.futures: list[asyncio.Future[Sequence[AppendOutcome]]] = []

    async def flush(self, batch: Sequence[PendingAppend]) -> Sequence[AppendOutcome]:
        self.batches.append(list(batch))
        self.futures.append(asyncio.get_running_loop().create_future())
        return await self.futures[-1]

    @property
    def streams(self) -> list[list[str]]:
        """The first stream of each append of each batch, in the order of the flushes."""
        return [[append.writes[0].stream for append in batch] for batch in self.batches]

    async def finish(self, flush: int, *outcomes: AppendOutcome | BaseException) -> None:
        """Finish a flush: with these outcomes, with an error, or successfully."""
        batch, future = self.batches[flush], self.futures[flush]
        if outcomes and isinstance(outcomes[0], BaseException):
            future.set_exception(outcomes[0])
        else:
            future.set_result([each for each in outcomes if not isinstance(each, BaseException)] or results_of(batch))
        await turn()

    async def finish_all(self) -> None:
        """Finish all flushes successfully, including those that start then."""
        while open := [n for n, future in enumerate(self.futures) if not future.done()]:
            for flush in open:
                await self.finish(flush)


def results_of(batch: Sequence[PendingAppend]) -> list[AppendOutcome]:
    """A success for each append."""
    return [position_of(append.writes[0].stream) for append in batch]


def position_of(stream: str) -> Appended:
    """A success that identifies the append."""
    return Appended(sum(map(ord, stream)), (1,))


async def turn() -> None:
    """Let all tasks run until they wait."""
    for _ in range(4):
        await asyncio.sleep(0)


class Harness:
    """A group commit on a `Backend`."""

    def __init__(self, **options: Any) -> None:
        self.backend = Backend()
        self.group_commit = GroupCommit(self.backend.flush, **options)

    async def append(
        self, *writes: StreamWrite, condition: AppendCondition | None = None
    ) -> "asyncio.Task[AppendResult]":
        """Start an append in a task."""
        task = asyncio.create_task(self.group_commit.append(writes, condition))
        await turn()
        return task
