"""Injects faults into readers, to prove that the checker detects them."""

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any, Final, Protocol

import msgspec

from fait._events.append import PAGE_SIZE, Page
from fait._events.envelope import RecordedEvent
from fait._tools.verify.plan import Fault, Plan
from fait._tools.verify.sessions import Session, open_session

__all__ = ["ReadableLog", "inject_faults"]

FAULT_INTERVAL: Final = 5
"""Interval between faults, in pages with two or more events."""


class ReadableLog(Protocol):
    """The part of a log that a reader needs."""

    async def read(self, after: int, *, limit: int = PAGE_SIZE) -> Page:
        """Read events after a position."""
        ...

    async def wait_for_events(self, after: int) -> None:
        """Wait until there may be events after a position."""
        ...


async def inject_faults(log: ReadableLog, plan: Plan) -> ReadableLog:
    """Wrap a log so that it has the reader faults of a plan."""
    if "ignore-high-water-mark" in plan.faults:
        log = _LogWithoutHighWaterMark(log, await open_session(plan))
    return _FaultyLog(log, plan.faults)


class _LogWithoutHighWaterMark:
    """Continues after the last visible position, so it misses events that are committed later at a lower position."""

    def __init__(self, log: ReadableLog, session: Session) -> None:
        self._log = log
        self._session = session

    async def read(self, after: int, *, limit: int = PAGE_SIZE) -> Page:
        await self._session.begin()
        rows = await self._session.run("read_without_high_water_mark", after)
        await self._session.end(commit=True)
        events = [_recorded_event(row) for row in rows]
        return Page(events, events[-1].position if events else after, more=False)

    async def wait_for_events(self, after: int) -> None:
        await self._log.wait_for_events(after)


class _FaultyLog:
    def __init__(self, log: ReadableLog, faults: tuple[Fault, ...]) -> None:
        self._log = log
        self._faults: list[Fault] = [each for each in _PAGE_FAULTS if each in faults]
        self._pages = 0

    async def read(self, after: int, *, limit: int = PAGE_SIZE) -> Page:
        page = await self._log.read(after, limit=limit)
        self._pages += len(page.events) > 1
        if not self._faults or len(page.events) < 2 or self._pages % FAULT_INTERVAL:
            return page
        fault = self._faults[self._pages // FAULT_INTERVAL % len(self._faults)]
        return Page(_PAGE_FAULTS[fault](page.events), page.position, page.more)

    async def wait_for_events(self, after: int) -> None:
        await self._log.wait_for_events(after)


def _recorded_event(row: Sequence[Any]) -> RecordedEvent:
    columns = list(row)
    columns[8] = tuple(columns[8] or ())
    return RecordedEvent(*columns)


def _backdate(event: RecordedEvent) -> RecordedEvent:
    return msgspec.structs.replace(event, recorded_at=event.recorded_at - timedelta(days=1))


_PAGE_FAULTS: Final[dict[Fault, Callable[[list[RecordedEvent]], list[RecordedEvent]]]] = {
    "duplicate-event": lambda events: [events[0], *events],
    "swap-events": lambda events: [events[1], events[0], *events[2:]],
    "skip-event": lambda events: [events[0], *events[2:]],
    "backdate-event": lambda events: [_backdate(each) for each in events],
}
