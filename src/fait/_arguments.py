"""Checks of versions, positions, limits, times and numbers that callers pass.

Every backend and every method uses these checks before anything is sent. Without them one backend would return an empty
result for an argument that another backend's driver rejects with an error that looks like an outage.
"""

from datetime import UTC, datetime
from typing import Any, Final

from fait._errors import UsageError

__all__ = ["MAX_INTEGER", "check_integer", "check_time", "is_number"]

MAX_INTEGER: Final = (1 << 63) - 1
"""Maximum version, position or limit: databases use signed integers of 64 bits."""


def check_integer(name: str, value: int, minimum: int = 0) -> int:
    """Return a version, position or limit if it is an integer that every backend can use.

    Args:
        name: name of the argument, for the error message.
        value: the value.
        minimum: the least value allowed.

    Raises:
        UsageError: it is not an integer, or not between `minimum` and `MAX_INTEGER`.
    """
    if type(value) is int and minimum <= value <= MAX_INTEGER:
        return value
    given = value if isinstance(value, int) else type(value).__name__  # pyright: ignore[reportUnnecessaryIsInstance]
    raise UsageError(f"{name}= must be an integer from {minimum} to {MAX_INTEGER}, not {given}")


def is_number(value: Any) -> bool:
    """Return whether a value is an int or a float, and not a bool."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def check_time(name: str, value: datetime) -> datetime:
    """Return a time in UTC.

    Args:
        name: name of the argument, for the error message.
        value: the time.

    Raises:
        UsageError: it is not a datetime with a time zone, or in UTC it is outside of the years 1 to 9999.
    """
    if isinstance(value, datetime) and value.utcoffset() is not None:  # pyright: ignore[reportUnnecessaryIsInstance]
        try:
            return value.astimezone(UTC)
        except OverflowError:
            raise UsageError(f"{name}= is outside of the years 1 to 9999 in UTC") from None
    given = "one without" if isinstance(value, datetime) else type(value).__name__  # pyright: ignore[reportUnnecessaryIsInstance]
    raise UsageError(
        f"{name}= must be a datetime with a time zone, as in datetime(2024, 1, 15, tzinfo=UTC), not {given}"
    )
