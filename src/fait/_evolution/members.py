"""The named members of a description and of data, by path: `customer.name`, `lines[].sku`."""

from collections.abc import Iterator
from typing import Any, Final, cast

from fait._schema.description import (
    Array,
    Description,
    FixedArray,
    JsonMap,
    JsonObject,
    JsonType,
    Member,
    OneOf,
    resolve,
)

__all__ = ["data_paths", "members_of"]

_MAX_DEPTH: Final = 6
"""Maximum depth of records in records; members below it are not listed."""


def members_of(description: Description) -> dict[str, Member]:
    """Return the named members of a description by path; of a path with several members, the first."""
    found: dict[str, Member] = {}
    for path, member in _members(description, description.root, "", 0):
        found.setdefault(path, member)
    return found


def _members(description: Description, node: JsonType, path: str, depth: int) -> Iterator[tuple[str, Member]]:
    if depth > _MAX_DEPTH:
        return
    match resolve(description, node):
        case JsonObject(members=members):
            for name, member in members.items():
                inside = f"{path}.{name}" if path else name
                yield inside, member
                yield from _members(description, member.type, inside, depth + 1)
        case Array(items=items) | JsonMap(values=items):
            yield from _members(description, items, f"{path}[]", depth + 1)
        case OneOf(types=types) | FixedArray(items=types):
            for each in types:
                yield from _members(description, each, path, depth + 1)
        case _:
            pass


def data_paths(value: Any) -> set[str]:
    """Return the paths of all members of plain data. Items of arrays are `[]`."""
    found = set[str]()
    _add_paths(value, "", found)
    return found


def _add_paths(value: Any, path: str, found: set[str]) -> None:
    if isinstance(value, dict):
        for name, part in cast("dict[str, Any]", value).items():
            inside = f"{path}.{name}" if path else name
            found.add(inside)
            if isinstance(part, dict | list):
                _add_paths(part, inside, found)
    elif isinstance(value, list):
        for part in cast("list[Any]", value):
            _add_paths(part, f"{path}[]", found)
