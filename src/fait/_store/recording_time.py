"""The time at which an event counts as recorded, when clocks jump or differ."""

from datetime import datetime, timedelta
from typing import Final

__all__ = ["MAX_CLOCK_SKEW", "WRONG_CLOCK", "recording_time"]

MAX_CLOCK_SKEW: Final = timedelta(minutes=1)
"""Maximum time by which the log's last event may be ahead of the clock, for later events to be recorded at its time.

If it is further ahead, its clock was wrong. Other streams then follow the clock again.
"""

WRONG_CLOCK: Final = (
    "a clock was wrong: correct it on all machines that append. Until these times have passed, later events of the "
    "same streams get the same recorded_at, loading with at= ends before them, and messages of the same types that "
    "follow them do not expire"
)
"""Advice of the health check for events that were recorded in the future."""


def recording_time(now: datetime, last: datetime | None) -> datetime:
    """Return `recorded_at` of the next event: the clock's time, or that of the log's last event if it is a bit later.

    `recorded_at` of a stream never decreases; the caller ensures this.
    """
    # fault: wrong-clock-is-followed
    if last is None or last <= now or last - now > MAX_CLOCK_SKEW:
        return now
    return last
