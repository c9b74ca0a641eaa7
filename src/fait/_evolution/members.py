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
    Reference,
    resolve,
)

__all__ = ["data_paths", "members_of", "same_members"]

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


def same_members(one: Description, other: Description) -> frozenset[str]:
    """Return the members that two versions of an event have with the same type."""
    before, after = resolve(one, one.root), resolve(other, other.root)
    if not isinstance(before, JsonObject) or not isinstance(after, JsonObject):
        return frozenset()
    shared = before.members.keys() & after.members.keys()
    return frozenset(
        name
        for name in shared
        if before.members[name].type == after.members[name].type
        and all(
            one.records[each] == other.records.get(each) for each in _records_in(one, before.members[name].type, set())
        )
    )


def _records_in(description: Description, node: JsonType, found: set[str]) -> set[str]:
    """Add the names of all records in a type."""
    match node:
        case Reference(name=name) if name not in found:
            found.add(name)
            _records_in(description, description.records[name], found)
        case JsonObject(members=members):
            for member in members.values():
                _records_in(description, member.type, found)
        case Array(items=items) | JsonMap(values=items):
            _records_in(description, items, found)
        case OneOf(types=types) | FixedArray(items=types):
            for each in types:
                _records_in(description, each, found)
        case _:
            pass
    return found
