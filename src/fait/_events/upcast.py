"""Old events are read as new ones: an upcaster turns the plain data of one schema version into that of the next.

    @fait.upcast("shop.order-placed", 1)                      # reads version 1 as version 2
    def with_currency(data: dict[str, Any]) -> dict[str, Any]:
        return {**data, "currency": "USD"}

What is stored never changes. A version without an upcaster is read as it is: right when only fields with defaults
were added.
"""

from collections.abc import Callable
from typing import Any

from fait._errors import DeclarationError

__all__ = ["Upcaster", "upcast"]

Data = dict[str, Any]


class Upcaster:
    """A declared step from one schema version of an event type to the next. Calling it runs the step."""

    def __init__(self, name: str, from_version: int, function: Callable[[Data], Data]) -> None:
        self.name = name
        self.from_version = from_version
        self.function = function
        code = function.__code__
        self.source_location = f"{code.co_filename}:{code.co_firstlineno}"
        self.__doc__ = function.__doc__

    def __call__(self, data: Data) -> Data:
        """The data of the next version."""
        return self.function(data)


def upcast(name: str, from_version: int, /) -> Callable[[Callable[[Data], Data]], Upcaster]:
    """Declare how version `from_version` of the event type `name` is read as the next version.

    The function gets the JSON object as a dict of its own and returns the next version's. It must not depend on
    anything but its argument. An `App` knows it when it is included: `app.include(function)` or `app.include(module)`.
    """
    if isinstance(from_version, bool) or not isinstance(from_version, int) or from_version < 1:  # pyright: ignore[reportUnnecessaryIsInstance]
        raise DeclarationError(
            f"@upcast({name!r}, ...) needs the version it reads from, a number >= 1, not {from_version!r}"
        )
    return lambda function: Upcaster(name, from_version, function)
