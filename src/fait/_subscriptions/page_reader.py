"""Reads the log for the ranges of a subscription in this process: what one has read, the others need not read again."""

import asyncio
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Final

from msgspec import Struct

from fait._events.append import PAGE_SIZE, Page
from fait._events.envelope import RecordedEvent
from fait._events.query import Query
from fait._store.ports.leases import Lease
from fait._store.ports.log import Log
from fait._store.ports.registrations import SLOTS, slot_of

__all__ = ["PageReader"]

MAX_PAGES: Final = 4
"""Maximum number of pages that are kept for other ranges."""

_position: Final = attrgetter("position")


class _KeptPage(Struct, eq=False):
    """A page of all ranges, and the hash of the key of each event; None if only its handling finds the keys."""

    after: int
    query: Query
    page: Page
    slots: Sequence[int | None]


class PageReader:
    """Reads pages of the log.

    Args:
        log: the log.
        key_of: returns the order key of an event; None if only its handling finds the keys.
    """

    def __init__(self, log: Log, key_of: Callable[[RecordedEvent], str | None]) -> None:
        self._log = log
        self._key_of = key_of
        self._pages: deque[_KeptPage] = deque(maxlen=MAX_PAGES)
        self._lock = asyncio.Lock()

    async def read(self, after: int, query: Query, limit: int, lease: Lease) -> Page:
        """Return the next matching events of a range, with those whose keys are unknown.

        Args:
            after: position after which to read.
            query: selects the handled types.
            limit: maximum number of events.
            lease: the lease of the range.
        """
        if lease.high - lease.key.low == SLOTS:
            return await self._log.read(after, query=query, limit=limit)
        async with self._lock:
            kept = self._find(after, query) or await self._read(after, query)
        return _part(kept, after, limit, lease)

    def _find(self, after: int, query: Query) -> _KeptPage | None:
        return next((p for p in self._pages if p.query == query and p.after <= after < p.page.position), None)

    async def _read(self, after: int, query: Query) -> _KeptPage:
        page = await self._log.read(after, query=query, limit=PAGE_SIZE)
        keys = map(self._key_of, page.events)
        slots = [None if key is None else slot_of(key) for key in keys]
        kept = _KeptPage(after, query, page, slots)
        if page.position > after:
            self._pages.append(kept)
        return kept


def _part(kept: _KeptPage, after: int, limit: int, lease: Lease) -> Page:
    """Return the part of a page that belongs to a range, after a position."""
    page, low, high = kept.page, lease.key.low, lease.high
    first = bisect_right(page.events, after, key=_position)
    slots = enumerate(kept.slots[first:], first)
    # fault: range-handles-keys-of-another
    numbers = [number for number, slot in slots if slot is None or low <= slot < high]
    events = [page.events[number] for number in numbers[:limit]]
    if len(numbers) > limit:
        return Page(events, events[-1].position, more=True, revisions=page.revisions)
    return Page(events, page.position, page.more, page.revisions)
