"""Timestamps in an SQLite file: UTC text of fixed width, so that text order is time order."""

from datetime import UTC, datetime

from fait._store.recording_time import recording_time

__all__ = ["recording_timestamp", "to_timestamp"]


def to_timestamp(time: datetime) -> str:
    """The UTC text of an aware datetime, with microseconds: `2024-01-15T12:00:00.000000Z`."""
    return time.astimezone(UTC).isoformat(timespec="microseconds")[:26] + "Z"


def recording_timestamp(now: str, last: str) -> str:
    """`recording_time` of timestamps."""
    if last <= now:
        return now
    return to_timestamp(recording_time(datetime.fromisoformat(now), datetime.fromisoformat(last)))
