"""The last events of the log, kept in memory, so that one question serves all who read at its end."""

from bisect import bisect_right
from collections.abc import Sequence
from operator import attrgetter
from typing import Final

from fait._events.envelope import RecordedEvent

__all__ = ["MAX_CACHED_BYTES", "MAX_CACHED_EVENTS", "TailCache"]

MAX_CACHED_EVENTS: Final = 100
"""Events that are kept."""

MAX_CACHED_BYTES: Final = 256 << 10
"""Bytes of data and metadata that are kept."""

_position = attrgetter("position")


class TailCache:
    """All events of the log beyond `start`, up to the last mark that is known.

    Attributes:
        start: what lies at or below it is not here.
    """

    def __init__(self) -> None:
        self.start = 0
        self._end = 0
        self._events: list[RecordedEvent] = []
        self._bytes = 0

    def between(self, after: int, mark: int) -> Sequence[RecordedEvent] | None:
        """The events beyond a position, up to and including a mark; None if they may not all be here."""
        if not self.start <= after <= mark <= self._end:
            return None
        first, last = (bisect_right(self._events, position, key=_position) for position in (after, mark))
        return self._events[first:last]

    def extend(self, mark: int, events: Sequence[RecordedEvent]) -> None:
        """Go on to a mark, with the events up to it. If the last is not at the mark, they are not all: none is kept."""
        if mark <= self._end:
            return
        known, self._end = self._end, mark
        if not events or events[-1].position < mark:
            self.evict(mark)
            return
        # fault: tail-cache-adds-twice
        new = [event for event in events if event.position > known]  # some were learned while these were asked for
        self._events += new
        self._bytes += sum(map(_size, new))
        while len(self._events) > MAX_CACHED_EVENTS or self._bytes > MAX_CACHED_BYTES:
            self.evict(self._events[0].position)

    def evict(self, position: int) -> None:
        """Leave everything up to a position to the database."""
        while self._events and self._events[0].position <= position:
            self._bytes -= _size(self._events.pop(0))
        self.start = max(self.start, position)


def _size(event: RecordedEvent) -> int:
    return len(event.data) + len(event.metadata)
