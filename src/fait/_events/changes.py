"""Declared changes of an event's fields, for upcasters: `renamed`, `dropped` and `defaulted`.

A change is a function from data to data that leaves its argument as it is. It knows the fields that it concerns, so a
check of schemas can tell a renamed field from a lost one.

A path names a field of a nested object: "customer.name", or "lines[].sku" for the objects of a list, or the values of
an object with arbitrary keys.
"""

import copy
from collections.abc import Callable
from typing import Any, Final, NamedTuple, cast

from fait._errors import DeclarationError
from fait._events.validation import encode_json

__all__ = ["Change", "Data", "Defaulted", "Dropped", "Renamed", "change_at", "defaulted", "dropped", "renamed"]

Data = dict[str, Any]
"""The JSON object of an event, or one in it."""

Change = Callable[[Data], Data]
"""Converts data, and leaves its argument as it is."""

_EACH: Final = "[]"


class Renamed(NamedTuple):
    """A renamed field; made by `renamed`.

    Attributes:
        old: path of the field.
        new: its new name.
    """

    old: str
    new: str

    def __call__(self, data: Data) -> Data:
        """Return the data with the field renamed, if it is there."""
        path, name = _split(self.old)

        def rename(fields: Data) -> Data:
            if name not in fields:
                return fields
            return {**{key: value for key, value in fields.items() if key != name}, self.new: fields[name]}

        return change_at(data, path, rename)


class Dropped(NamedTuple):
    """A removed field; made by `dropped`.

    Attributes:
        path: path of the field.
    """

    path: str

    def __call__(self, data: Data) -> Data:
        """Return the data without the field."""
        path, name = _split(self.path)
        return change_at(data, path, lambda fields: {key: value for key, value in fields.items() if key != name})


class Defaulted(NamedTuple):
    """An added field; made by `defaulted`.

    Attributes:
        path: path of the field.
        value: its JSON value in events that do not have it.
    """

    path: str
    value: Any

    def __call__(self, data: Data) -> Data:
        """Return the data with the field; a value that is there remains."""
        path, name = _split(self.path)
        return change_at(data, path, lambda fields: {name: copy.deepcopy(self.value), **fields})


def renamed(old: str, new: str, /) -> Renamed:
    """Declare that a field has a new name: `renamed("customer_name", "customer")`.

    Args:
        old: path of the field, as "name", "customer.name" or "lines[].sku".
        new: its new name, in the same object.

    Raises:
        DeclarationError: an argument is no path or no name.
    """
    _split(old)
    if _split(new)[0]:
        raise DeclarationError(f"renamed({old!r}, {new!r}): the second argument is a name, because a field stays where "
                               "it is. Move a field with a function.")  # fmt: skip
    return Renamed(old, new)


def dropped(path: str, /) -> Dropped:
    """Declare that a field was removed: `dropped("legacy_code")`.

    Args:
        path: path of the field, as for `renamed`.

    Raises:
        DeclarationError: the argument is no path.
    """
    _split(path)
    return Dropped(path)


def defaulted(path: str, value: Any, /) -> Defaulted:
    """Declare the value of a new field in older events: `defaulted("currency", "EUR")`.

    Args:
        path: path of the field, as for `renamed`.
        value: a JSON value.

    Raises:
        DeclarationError: the path is no path.
        InvalidValue: the value cannot be stored.
    """
    _split(path)
    encode_json(value, f"default of {path!r}")
    return Defaulted(path, value)


def _split(path: str) -> tuple[list[str], str]:
    """Return the path of the object, with "[]" for each of its values, and the name of the field."""
    names = path.replace(_EACH, f".{_EACH}").split(".") if isinstance(path, str) else []  # pyright: ignore[reportUnnecessaryIsInstance]
    if not names or "" in names or names[-1] == _EACH:
        raise DeclarationError(f"{path!r} is no path of a field, such as 'name', 'customer.name' or 'lines[].sku'")
    return names[:-1], names[-1]


def change_at(value: Any, path: list[str], change: Change) -> Any:
    """Return a value with the objects at a path changed; where the path leads to no object, nothing changes."""
    if not path:
        return change(cast("Data", value)) if isinstance(value, dict) else value
    first, rest = path[0], path[1:]
    if first == _EACH and isinstance(value, list):
        return [change_at(each, rest, change) for each in cast("list[Any]", value)]
    if not isinstance(value, dict):
        return value
    fields = cast("Data", value)
    keys = fields if first == _EACH else [first] if first in fields else []
    return {**fields, **{key: change_at(fields[key], rest, change) for key in keys}}
