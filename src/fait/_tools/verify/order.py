"""What a reader is given, event by event: is it in order, once, and without a gap?"""

from collections import defaultdict
from datetime import datetime

from fait._events.envelope import RecordedEvent
from fait._tools.verify.report import DUPLICATED, MISSED, REORDERED, TIME_BACK, Fault

__all__ = ["OrderCheck"]


class OrderCheck:
    """Follows one reader."""

    def __init__(self) -> None:
        self._given: set[int] = set()
        self._last = 0
        self._versions: defaultdict[str, int] = defaultdict(int)
        self._times: dict[str, datetime] = {}

    def add(self, event: RecordedEvent) -> Fault | None:
        """The next event; what is wrong with it. A gap in a stream's versions may be filled later, out of order."""
        if event.position in self._given:
            return DUPLICATED
        self._given.add(event.position)
        behind, self._last = event.position < self._last, max(self._last, event.position)
        known = self._versions[event.stream]
        self._versions[event.stream] = max(known, event.version)
        earlier = self._times.get(event.stream, event.recorded_at)
        self._times[event.stream] = max(earlier, event.recorded_at)
        # fault: order-checked-by-stream-alone
        if behind or event.version <= known:
            return REORDERED
        if event.recorded_at < earlier:
            return TIME_BACK
        return MISSED if event.version > known + 1 else None
