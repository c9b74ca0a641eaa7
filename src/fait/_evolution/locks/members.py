"""The named members of a description and of data, by path, as in `fait.renamed` and `fait.dropped`.

A path is "customer.name", or "lines[].sku" for the records of a list, or of the values of a dict.
"""

from collections.abc import Iterator, Mapping
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

__all__ = ["data_paths", "member_paths", "same_members"]

_MAX_DEPTH: Final = 8
"""Maximum depth of records in records to which members have a path."""


def member_paths(description: Description) -> dict[str, Member]:
    """Return the members of an event by path, also those of records in it.

    A record that contains itself is followed once. Of two alternatives with one member, the first one counts.
    """
    found: dict[str, Member] = {}
    for path, member in _members(description, description.root, "", ()):
        found.setdefault(path, member)
    return found


def _members(
    description: Description, node: JsonType, path: str, inside: tuple[str, ...]
) -> Iterator[tuple[str, Member]]:
    match node:
        case Reference():
            if node.name not in inside and len(inside) < _MAX_DEPTH:
                yield from _members(description, description.records[node.name], path, (*inside, node.name))
        case JsonObject():
            yield from _members_of_record(description, node.members, path, inside)
        case Array():
            yield from _members(description, node.items, f"{path}[]", inside)
        case JsonMap():
            yield from _members(description, node.values, f"{path}[]", inside)
        case FixedArray():
            for each in node.items:
                yield from _members(description, each, f"{path}[]", inside)
        case OneOf():
            for each in node.types:
                yield from _members(description, each, path, inside)
        case _:
            pass


def _members_of_record(
    description: Description, members: Mapping[str, Member], path: str, inside: tuple[str, ...]
) -> Iterator[tuple[str, Member]]:
    for name, member in members.items():
        member_path = f"{path}.{name}" if path else name
        yield member_path, member
        yield from _members(description, member.type, member_path, inside)


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
