"""The locks of an event type by version, its drafts, and the members that are reserved."""

from collections.abc import Iterable, Iterator

from fait._events.event import EventType
from fait._events.registry import Registry
from fait._evolution.locks.lock import Lock, Locks
from fait._evolution.locks.members import member_paths
from fait._schema.description import Description

__all__ = ["drafts", "histories", "history", "is_draft", "lock_state", "reserved_paths"]


def histories(locks: Locks, registry: Registry) -> dict[str, dict[int, Lock]]:
    """Return the locks of each event type by version, by its current name, in order; those of a class may be none."""
    names = {*registry.types, *map(registry.names.current, locks)}
    return {
        name: history(locks, registry.types[name]) if name in registry.types else dict(sorted(locks[name].items()))
        for name in sorted(names)
    }


def history(locks: Locks, declared: EventType) -> dict[int, Lock]:
    """Return the locks of an event type by version; a lock under the current name precedes one under a former name."""
    found: dict[int, Lock] = {}
    for name in (*declared.was, declared.name):
        found.update(locks.get(name, {}))
    return dict(sorted(found.items()))


def is_draft(locks: Locks, declared: EventType) -> bool:
    """Return whether the version of an event class is not locked. Call it only if there is a folder of locks."""
    return declared.schema_version not in history(locks, declared)


def lock_state(has_folder: bool, lock: Lock | None, current: Description | None) -> str:
    """Return the state of a version in one or two words.

    Args:
        has_folder: whether there is a folder of locks.
        lock: the lock of the version; None if there is none.
        current: the description of the class, if it has this version.

    Returns:
        `locked`; `changed` if the class differs from its lock; `draft`; or `not locked`, if there is no folder.
    """
    if lock is None:
        return "draft" if has_folder else "not locked"
    return "changed" if current is not None and lock.differs_from(current) else "locked"


def drafts(locks: Locks, types: Iterable[EventType]) -> list[EventType]:
    """Return the event types whose current version is not locked, by name."""
    return sorted((each for each in types if is_draft(locks, each)), key=lambda each: each.name)


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
