"""Checks a sequence of delivered events for order, duplicates and gaps."""

from collections import defaultdict
from datetime import datetime

from fait._events.envelope import RecordedEvent
from fait._tools.verify.report import Violation

__all__ = ["OrderCheck"]


class OrderCheck:
    """Checks the events of one reader."""

    def __init__(self) -> None:
        self._positions: set[int] = set()
        self._last_position = 0
        self._versions: defaultdict[str, int] = defaultdict(int)
        self._times: dict[str, datetime] = {}

    def add(self, event: RecordedEvent) -> Violation | None:
        """Check the next event. A gap in a stream's versions is only provisional: the event may arrive later."""
        if event.position in self._positions:
            return Violation.DUPLICATE_EVENT
        self._positions.add(event.position)
        is_out_of_order = event.position < self._last_position
        self._last_position = max(self._last_position, event.position)
        last_version = self._versions[event.stream]
        self._versions[event.stream] = max(last_version, event.version)
        last_time = self._times.get(event.stream, event.recorded_at)
        self._times[event.stream] = max(last_time, event.recorded_at)
        # fault: order-checked-by-stream-alone
        if is_out_of_order or event.version <= last_version:
            return Violation.WRONG_ORDER
        if event.recorded_at < last_time:
            return Violation.TIME_REGRESSION
        return Violation.MISSED_EVENT if event.version > last_version + 1 else None
