"""The tail cache: the last events of the log in memory, so that one query serves all readers at the end of the log."""

from bisect import bisect_right
from collections.abc import Sequence
from operator import attrgetter
from typing import Final

from fait._events.envelope import RecordedEvent, size_of

__all__ = ["MAX_CACHED_BYTES", "MAX_CACHED_EVENTS", "TailCache"]

MAX_CACHED_EVENTS: Final = 100
"""Maximum number of events in the cache."""

MAX_CACHED_BYTES: Final = 256 << 10
"""Maximum size of their data, metadata and tags."""

_position = attrgetter("position")


class TailCache:
    """All events of the log after `start`, up to the last known high-water mark.

    Attributes:
        start: position of the last event that is not in the cache.
    """

    def __init__(self) -> None:
        self.start = 0
        self._end = 0
        self._events: list[RecordedEvent] = []
        self._bytes = 0

    def between(self, after: int, mark: int) -> Sequence[RecordedEvent] | None:
        """Return the events after a position, up to and including a mark; None if the cache does not cover them."""
        if not self.start <= after <= mark <= self._end:
            return None
        first, last = (bisect_right(self._events, position, key=_position) for position in (after, mark))
        return self._events[first:last]

    def extend(self, mark: int, events: Sequence[RecordedEvent]) -> None:
        """Advance to a mark, with the events up to it.

        If the last event is not at the mark, the events are incomplete, and the cache is emptied.
        """
        if mark <= self._end:
            return
        previous_end, self._end = self._end, mark
        if not events or events[-1].position < mark:
            self.evict(mark)
            return
        # Another call may have added some of the events while this query was in flight.
        # fault: tail-cache-adds-twice
        new = [event for event in events if event.position > previous_end]
        self._events += new
        self._bytes += sum(map(size_of, new))
        while len(self._events) > MAX_CACHED_EVENTS or self._bytes > MAX_CACHED_BYTES:
            self.evict(self._events[0].position)

    def evict(self, position: int) -> None:
        """Remove all events up to a position; readers query the database for them."""
        while self._events and self._events[0].position <= position:
            self._bytes -= size_of(self._events.pop(0))
        self.start = max(self.start, position)
