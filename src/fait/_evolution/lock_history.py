"""The history of an event type: its locks by version, also those under former names, and the members they have.

Members are named by paths, as in `fait.renamed` and `fait.dropped`: "customer.name", or "lines[].sku" for the records
of a list, or of the values of a dict.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from fait._events.event import EventType
from fait._evolution.lock import Lock, Locks
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
)

__all__ = ["drafts", "history", "is_draft", "member_paths", "reserved_paths"]

MAX_DEPTH: Final = 8
"""Maximum depth of records in records to which members have a path."""


def history(locks: Locks, declared: EventType) -> dict[int, Lock]:
    """Return the locks of an event type by version; a lock under the current name precedes one under a former name."""
    found: dict[int, Lock] = {}
    for name in (*declared.was, declared.name):
        found.update(locks.get(name, {}))
    return dict(sorted(found.items()))


def is_draft(locks: Locks, declared: EventType) -> bool:
    """Return whether the version of an event class is not locked. Call it only if there is a folder of locks."""
    return declared.schema_version not in history(locks, declared)


def drafts(locks: Locks, types: Iterable[EventType]) -> list[EventType]:
    """Return the event types whose current version is not locked, by name."""
    return sorted((each for each in types if is_draft(locks, each)), key=lambda each: each.name)


def member_paths(description: Description) -> dict[str, Member]:
    """Return the members of an event by path, also those of records in it.

    A record that contains itself is followed once. Of two alternatives with one member, the first one counts.
    """
    found: dict[str, Member] = {}
    for path, member in _members(description, description.root, "", ()):
        found.setdefault(path, member)
    return found


def reserved_paths(earlier: Iterable[Lock], description: Description) -> tuple[str, ...]:
    """Return the paths of members that earlier versions had, or had reserved, and that a description has not, sorted.

    A member inside another one of them is left out.
    """
    present = member_paths(description).keys()
    # fault: reserved-only-once
    known = {path for lock in earlier for path in (*member_paths(lock.description), *lock.reserved)}
    gone = known - present
    return tuple(sorted(path for path in gone if gone.isdisjoint(_parents(path))))


def _parents(path: str) -> Iterator[str]:
    names = path.split(".")
    return (".".join(names[:count]).rstrip("[]") for count in range(1, len(names)))


def _members(
    description: Description, node: JsonType, path: str, inside: tuple[str, ...]
) -> Iterator[tuple[str, Member]]:
    match node:
        case Reference():
            if node.name not in inside and len(inside) < MAX_DEPTH:
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
