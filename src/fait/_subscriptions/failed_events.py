"""Reads the events of a key that has a failure, from the failure's position on."""

from collections.abc import Sequence
from typing import NamedTuple

from fait._events.append import PAGE_SIZE, Until
from fait._events.envelope import RecordedEvent
from fait._events.query import Query
from fait._store.ports.failures import KeyFailure
from fait._store.ports.log import Log

__all__ = ["FailedEvents", "FailedPage"]


class FailedPage(NamedTuple):
    """Events of a key that has a failure.

    Attributes:
        events: the events, perhaps with events of other keys among them.
        position: position up to which these are all events of the key.
    """

    events: Sequence[RecordedEvent]
    position: int


class FailedEvents:
    """Reads the events of keys that have a failure, page by page.

    Args:
        log: the log.
        by_stream: whether the order key is the stream. Otherwise the log is read, with events of other keys among
            those that are returned.
    """

    def __init__(self, log: Log, *, by_stream: bool) -> None:
        self._log = log
        self._by_stream = by_stream
        # Position and version before the events that were read last, of each key of which more are left.
        self._starts: dict[str, tuple[int, int]] = {}

    async def read(self, failure: KeyFailure, query: Query, up_to: int, limit: int) -> FailedPage:
        """Return events from the failure's position up to another one.

        Args:
            failure: the failure.
            query: selects the handled types.
            up_to: last position.
            limit: maximum number of events.
        """
        if failure.next_position > up_to:
            self._starts.pop(failure.key, None)
            return FailedPage((), up_to)
        if self._by_stream:
            return await self._of_stream(failure, query, up_to, limit)
        page = await self._log.read(failure.next_position - 1, query=query, limit=limit)
        return FailedPage([each for each in page.events if each.position <= up_to], min(page.position, up_to))

    async def _of_stream(self, failure: KeyFailure, query: Query, up_to: int, limit: int) -> FailedPage:
        types, version = frozenset(query.types), await self._version_before(failure)
        events, more, size = list[RecordedEvent](), True, limit + 1
        while more and not events:
            page, more = await self._log.read_stream(
                failure.key, after=version, until=Until(position=up_to), limit=size
            )
            for event in page:
                version = event.version
                if event.position >= failure.next_position and (not types or event.type in types):
                    events.append(event)
            size = min(2 * size, PAGE_SIZE)
        # fault: rest-of-failed-key-forgotten
        is_rest = not more and len(events) <= limit
        position = up_to if is_rest else events[:limit][-1].position
        if position < up_to:
            self._starts[failure.key] = events[0].position - 1, events[0].version - 1
        else:  # the key may be handed back
            self._starts.pop(failure.key, None)
        return FailedPage(events[:limit], position)

    async def _version_before(self, failure: KeyFailure) -> int:
        """Return a version of the stream before the failure's position."""
        position, version = self._starts.get(failure.key, (failure.next_position, 0))
        if position < failure.next_position:
            return version
        failed = await self._log.find([failure.event_id])
        return failed[0].version - 1 if failed else 0
