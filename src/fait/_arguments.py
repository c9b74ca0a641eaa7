"""Checks of versions, positions, limits, times, numbers and other arguments that callers pass.

Every backend and every method uses these checks before anything is sent. Without them one backend would return an empty
result for an argument that another backend's driver rejects with an error that looks like an outage.
"""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

from fait._errors import DeclarationError, UsageError

__all__ = [
    "MAX_INTEGER",
    "check_functions",
    "check_integer",
    "check_items",
    "check_iterable",
    "check_number",
    "check_time",
    "check_type",
    "described",
    "is_number",
]

T = TypeVar("T")

MAX_INTEGER: Final = (1 << 63) - 1
"""Maximum version, position or limit: databases use signed integers of 64 bits."""

MAX_SHOWN_CHARS: Final = 40
"""Maximum number of characters of a wrong text in an error message."""


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


def described(value: object, *, show_text: bool = False) -> str:
    """Return how an error message shows a wrong argument: a number as it is, anything else by its type.

    Args:
        value: the argument.
        show_text: whether a text is shown, because it is no data of the application but an option or a name.
    """
    if value is None or isinstance(value, int | float):
        return repr(value)
    if show_text and isinstance(value, str):
        return repr(value if len(value) <= MAX_SHOWN_CHARS else f"{value[:MAX_SHOWN_CHARS]}…")
    return f"the class {value.__qualname__}" if isinstance(value, type) else type(value).__qualname__


def check_type(argument: str, value: T, kind: type | tuple[type, ...], wanted: str) -> T:
    """Return an argument if it is of a type.

    Args:
        argument: name of the argument, for the error message.
        value: the argument.
        kind: its type, or its possible types.
        wanted: what it must be, for the error message: "a Query".

    Raises:
        UsageError: it is of another type.
    """
    if isinstance(value, kind):
        return value
    raise UsageError(f"{argument} must be {wanted}, not {described(value)}. Nothing was written.")


def check_iterable(argument: str, value: Iterable[T], wanted: str) -> Iterable[T]:
    """Return an argument if it is a collection or an iterator, and not a text; arguments and errors as `check_type`."""
    if hasattr(type(value), "__iter__") and not isinstance(value, str | bytes):
        return value
    raise UsageError(f"{argument} must be {wanted}, not {described(value)}. Nothing was written.")


def check_items(argument: str, values: Iterable[T], kind: type, wanted: str) -> tuple[T, ...]:
    """Return the items of a collection if all are of a type; arguments and errors as `check_type`."""
    return tuple(check_type(argument, each, kind, wanted) for each in check_iterable(argument, values, wanted))


def check_functions(owner: str, **functions: object) -> None:
    """Raise `DeclarationError` unless all of these arguments of a declaration can be called."""
    for argument, value in functions.items():
        if not callable(value):
            raise DeclarationError(f"{owner}: {argument}= must be a function, not {described(value)}")


def check_number(argument: str, value: float) -> float:
    """Return a number of seconds or another unit; raise `UsageError` for another type, and for NaN."""
    if is_number(value) and value == value:
        return value
    raise UsageError(f"{argument}= must be a number, not {described(value)}")


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
