"""Records in conflict with appends of others: their events are handled again, which counts no attempt."""

import logging
from typing import Final

from fait._decisions.decision_loop import back_off
from fait._events.append import Conflict, conflict_error
from fait._events.envelope import RecordedEvent
from fait._subscriptions.lane import RangeLane
from fait._telemetry import logger

__all__ = ["Conflicts"]

MAX_SILENT_CONFLICTS: Final = 10
"""Number of consecutive conflicts after which the subscription shows them as its error, until an event is recorded."""


class Conflicts:
    """The conflicts of a lane. They are counted for each queue: another one may record its events in the meantime.

    Args:
        name: name of the subscription.
        lane: the lane.

    Attributes:
        error: the last of many consecutive conflicts; None if there are few, or the events are recorded.
    """

    def __init__(self, name: str, lane: RangeLane) -> None:
        self.error: Exception | None = None
        self._name = name
        self._lane = lane
        self._numbers: dict[str, int] = {}

    def number_of(self, event: RecordedEvent) -> int:
        """Return the number of consecutive conflicts of the queue of an event."""
        return self._numbers.get(self._lane.queue_of(event), 0) if self._numbers else 0

    async def wait(self, event: RecordedEvent, conflict: Conflict) -> None:
        """Back off before an event is handled again."""
        queue = self._lane.queue_of(event)
        number = self._numbers[queue] = self._numbers.get(queue, 0) + 1
        error = conflict_error(conflict)
        if number >= MAX_SILENT_CONFLICTS:
            self.error = error
        logger.log(
            logging.WARNING if number == MAX_SILENT_CONFLICTS else logging.DEBUG,
            "event is handled again because of conflicts: subscription=%s position=%d conflicts=%d error=%r",
            self._name, event.position, number, error,
        )  # fmt: skip
        if number > 1:
            await back_off(number)

    def end(self, event: RecordedEvent) -> None:
        """Take note that an event was recorded, or has failed otherwise."""
        # fault: conflicts-forgotten-by-other-keys
        if self._numbers and self._numbers.pop(self._lane.queue_of(event), 0) >= MAX_SILENT_CONFLICTS:
            self.error = None
