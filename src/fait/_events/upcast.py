"""Upcasters: functions that convert the data of an event from one schema version to the next.

    @fait.upcast("shop.order-placed", 1)                      # reads version 1 as version 2
    def with_currency(data: dict[str, Any]) -> dict[str, Any]:
        return {**data, "currency": "USD"}

They run when events are decoded; stored events never change. A schema version without an upcaster is decoded as it is,
which is sufficient if the next version only added fields with defaults.
"""

from collections.abc import Callable
from typing import Any

from fait._errors import DeclarationError

__all__ = ["Upcaster", "upcast"]

Data = dict[str, Any]


class Upcaster:
    """A conversion of an event type's data from one schema version to the next, made by `@upcast`.

    Calling it converts data.

    Attributes:
        name: stored name of the event type.
        from_version: the schema version it reads.
        function: the decorated function.
        source_location: file and line of the function.
    """

    def __init__(self, name: str, from_version: int, function: Callable[[Data], Data]) -> None:
        self.name = name
        self.from_version = from_version
        self.function = function
        code = function.__code__
        self.source_location: str = f"{code.co_filename}:{code.co_firstlineno}"
        self.__doc__ = function.__doc__

    def __call__(self, data: Data) -> Data:
        """Return the data converted to the next schema version."""
        return self.function(data)


def upcast(name: str, from_version: int, /) -> Callable[[Callable[[Data], Data]], Upcaster]:
    """Declare how schema version `from_version` of an event type is converted to the next one.

    The decorated function gets the event's JSON object as a dict, which it may change, and returns the object of the
    next version. It must depend on nothing but its argument. Include it in the app: `app.include(function)` or
    `app.include(module)`.

    Args:
        name: stored name of the event type.
        from_version: the schema version that the function reads, from 1.

    Raises:
        DeclarationError: `from_version` is not a number >= 1.
    """
    if isinstance(from_version, bool) or not isinstance(from_version, int) or from_version < 1:  # pyright: ignore[reportUnnecessaryIsInstance]
        raise DeclarationError(
            f"@upcast({name!r}, ...) needs the schema version to convert from, an int >= 1, not {from_version!r}"
        )
    return lambda function: Upcaster(name, from_version, function)
