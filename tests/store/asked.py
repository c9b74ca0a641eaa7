"""Appends on their way through a coalescer, and a backend whose flushes end when a test says so."""

import asyncio
from collections.abc import Sequence
from typing import Any

from fait._events.append import AppendCondition, Appended, AppendResult, StreamWrite
from fait._events.envelope import EncodedEvent
from fait._events.version import ANY
from fait._store.group_commit import AppendOutcome, GroupCommit, PendingAppend

__all__ = ["Asked", "Backend", "expecting", "position_of", "stored", "turn", "write"]


def write(stream: str, events: int = 1, size: int = 0) -> StreamWrite:
    """So many events, of so many bytes together."""
    data = [" " * (size if place == 0 else 0) for place in range(events)]
    return StreamWrite(
        stream, tuple(EncodedEvent("x", 1, f"{stream}/{n}", each, "") for n, each in enumerate(data)), ANY
    )


def expecting(stream: str, version: int, size: int = 0) -> StreamWrite:
    """One event for a stream that must be at a version."""
    return StreamWrite(stream, write(stream, size=size).events, version)


class Backend:
    """Its flushes end when the test says so, in the order that the test wants."""

    def __init__(self) -> None:
        self.batches: list[list[PendingAppend]] = []
        self.answers: list[asyncio.Future[Sequence[AppendOutcome]]] = []

    def flush(self, batch: Sequence[PendingAppend]) -> "asyncio.Future[Sequence[AppendOutcome]]":
        self.batches.append(list(batch))
        self.answers.append(asyncio.get_running_loop().create_future())
        return self.answers[-1]

    @property
    def streams(self) -> list[list[str]]:
        """The first stream of each request of each batch, in the order in which they were flushed."""
        return [[request.writes[0].stream for request in batch] for batch in self.batches]

    async def answer(self, flush: int, *outcomes: AppendOutcome | BaseException) -> None:
        """End a flush: with these outcomes, with a failure of all, or well."""
        batch, answer = self.batches[flush], self.answers[flush]
        if outcomes and isinstance(outcomes[0], BaseException):
            answer.set_exception(outcomes[0])
        else:
            answer.set_result([each for each in outcomes if not isinstance(each, BaseException)] or stored(batch))
        await turn()

    async def answer_all(self) -> None:
        """End well whatever is under way, until nothing is."""
        while open := [n for n, answer in enumerate(self.answers) if not answer.done()]:
            for flush in open:
                await self.answer(flush)


def stored(batch: Sequence[PendingAppend]) -> list[AppendOutcome]:
    return [position_of(request.writes[0].stream) for request in batch]


def position_of(stream: str) -> Appended:
    """The answer that tells for whom it was."""
    return Appended(sum(map(ord, stream)), (1,))


async def turn() -> None:
    """Let everybody do what they can."""
    for _ in range(4):
        await asyncio.sleep(0)


class Asked:
    """Appends on their way, through a coalescer on a backend."""

    def __init__(self, **options: Any) -> None:
        self.backend = Backend()
        self.coalescer = GroupCommit(self.backend.flush, **options)

    async def __call__(
        self, *writes: StreamWrite, condition: AppendCondition | None = None
    ) -> "asyncio.Task[AppendResult]":
        task = asyncio.create_task(self.coalescer.append(writes, condition))
        await turn()
        return task
