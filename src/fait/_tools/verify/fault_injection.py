"""Readers that do it wrong on purpose: a check that does not find them out is worth nothing."""

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any, Final, Protocol

import msgspec

from fait._events.append import PAGE, Page
from fait._events.envelope import StoredEvent
from fait._tools.verify.plan import Plan, Plant
from fait._tools.verify.sessions import Session, open_session

__all__ = ["Readable", "tampered"]

EVERY: Final = 5
"""How many pages pass before one is tampered with."""


class Readable(Protocol):
    """What a reader needs of a log."""

    async def read(self, after: int, *, limit: int = PAGE) -> Page:
        """Events beyond a position."""
        ...

    async def changed(self, after: int) -> None:
        """Wait until there may be some."""
        ...


async def tampered(log: Readable, plan: Plan) -> Readable:
    """The log with the faults that a plan plants into its readers."""
    if "mark" in plan.plants:
        log = _WithoutMark(log, await open_session(plan))
    return _Tampered(log, plan.plants)


class _WithoutMark:
    """Goes on from the last position that it has seen: what is committed later and lies before it is never read."""

    def __init__(self, log: Readable, session: Session) -> None:
        self._log = log
        self._session = session

    async def read(self, after: int, *, limit: int = PAGE) -> Page:
        await self._session.begin()
        rows = await self._session.run("read_naively", after)
        await self._session.end(commit=True)
        events = [_stored(row) for row in rows]
        return Page(events, events[-1].position if events else after, more=False)

    async def changed(self, after: int) -> None:
        await self._log.changed(after)


class _Tampered:
    def __init__(self, log: Readable, plants: tuple[Plant, ...]) -> None:
        self._log = log
        self._plants: list[Plant] = [each for each in _TAMPER if each in plants]
        self._pages = 0

    async def read(self, after: int, *, limit: int = PAGE) -> Page:
        page = await self._log.read(after, limit=limit)
        self._pages += len(page.events) > 1
        if not self._plants or len(page.events) < 2 or self._pages % EVERY:
            return page
        plant = self._plants[self._pages // EVERY % len(self._plants)]
        return Page(_TAMPER[plant](page.events), page.position, page.more)

    async def changed(self, after: int) -> None:
        await self._log.changed(after)


def _stored(row: Sequence[Any]) -> StoredEvent:
    columns = list(row)
    columns[8] = tuple(columns[8] or ())
    return StoredEvent(*columns)


def _earlier(event: StoredEvent) -> StoredEvent:
    return msgspec.structs.replace(event, recorded_at=event.recorded_at - timedelta(days=1))


_TAMPER: Final[dict[Plant, Callable[[list[StoredEvent]], list[StoredEvent]]]] = {
    "duplicate": lambda events: [events[0], *events],
    "order": lambda events: [events[1], events[0], *events[2:]],
    "skip": lambda events: [events[0], *events[2:]],
    "time": lambda events: [_earlier(each) for each in events],
}
