"""Readers that do it wrong on purpose: a check that does not find them out is worth nothing."""

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any, Final, Protocol

import msgspec

from fait._events.append import PAGE_SIZE, Page
from fait._events.envelope import RecordedEvent
from fait._tools.verify.plan import FaultName, Plan
from fait._tools.verify.sessions import Session, open_session

__all__ = ["ReadableLog", "inject_faults"]

FAULT_INTERVAL: Final = 5
"""How many pages pass before one is tampered with."""


class ReadableLog(Protocol):
    """What a reader needs of a log."""

    async def read(self, after: int, *, limit: int = PAGE_SIZE) -> Page:
        """Events beyond a position."""
        ...

    async def wait_for_events(self, after: int) -> None:
        """Wait until there may be some."""
        ...


async def inject_faults(log: ReadableLog, plan: Plan) -> ReadableLog:
    """The log with the faults that a plan plants into its readers."""
    if "mark" in plan.faults:
        log = _LogWithoutHighWaterMark(log, await open_session(plan))
    return _FaultyLog(log, plan.faults)


class _LogWithoutHighWaterMark:
    """Goes on from the last position that it has seen: what is committed later and lies before it is never read."""

    def __init__(self, log: ReadableLog, session: Session) -> None:
        self._log = log
        self._session = session

    async def read(self, after: int, *, limit: int = PAGE_SIZE) -> Page:
        await self._session.begin()
        rows = await self._session.run("read_naively", after)
        await self._session.end(commit=True)
        events = [_recorded_event(row) for row in rows]
        return Page(events, events[-1].position if events else after, more=False)

    async def wait_for_events(self, after: int) -> None:
        await self._log.wait_for_events(after)


class _FaultyLog:
    def __init__(self, log: ReadableLog, plants: tuple[FaultName, ...]) -> None:
        self._log = log
        self._plants: list[FaultName] = [each for each in _TAMPER if each in plants]
        self._pages = 0

    async def read(self, after: int, *, limit: int = PAGE_SIZE) -> Page:
        page = await self._log.read(after, limit=limit)
        self._pages += len(page.events) > 1
        if not self._plants or len(page.events) < 2 or self._pages % FAULT_INTERVAL:
            return page
        plant = self._plants[self._pages // FAULT_INTERVAL % len(self._plants)]
        return Page(_TAMPER[plant](page.events), page.position, page.more)

    async def wait_for_events(self, after: int) -> None:
        await self._log.wait_for_events(after)


def _recorded_event(row: Sequence[Any]) -> RecordedEvent:
    columns = list(row)
    columns[8] = tuple(columns[8] or ())
    return RecordedEvent(*columns)


def _earlier(event: RecordedEvent) -> RecordedEvent:
    return msgspec.structs.replace(event, recorded_at=event.recorded_at - timedelta(days=1))


_TAMPER: Final[dict[FaultName, Callable[[list[RecordedEvent]], list[RecordedEvent]]]] = {
    "duplicate": lambda events: [events[0], *events],
    "order": lambda events: [events[1], events[0], *events[2:]],
    "skip": lambda events: [events[0], *events[2:]],
    "time": lambda events: [_earlier(each) for each in events],
}
