"""Timestamps in an SQLite file: UTC text of fixed width, so that text order is time order."""

from datetime import UTC, datetime

__all__ = ["to_timestamp"]


def to_timestamp(time: datetime) -> str:
    """The UTC text of an aware datetime, with microseconds: `2024-01-15T12:00:00.000000Z`."""
    return time.astimezone(UTC).isoformat(timespec="microseconds")[:26] + "Z"
