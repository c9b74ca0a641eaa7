"""Moments in an SQLite file: UTC text of fixed width, which sorts as time does."""

from datetime import UTC, datetime

__all__ = ["to_timestamp"]


def to_timestamp(moment: datetime) -> str:
    """UTC text of fixed width: it sorts as time does."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")[:26] + "Z"
