"""The history of an event type: its locked versions under all of its names, and its class.

A type that was renamed has one history. A retired name, which has no class, has one of its own.
"""

import sys
from collections.abc import Mapping

from msgspec import Struct

from fait._errors import FaitError
from fait._events.event import EventType
from fait._events.registry import Registry
from fait._evolution.locks.history import histories
from fait._evolution.locks.lock import Lock, Locks
from fait._evolution.locks.rules import make_violation
from fait._evolution.locks.violation import RuleViolation
from fait._schema.describe import describe
from fait._schema.description import Description

__all__ = ["TypeHistory", "histories_of", "place_of"]


class TypeHistory(Struct, frozen=True, kw_only=True, eq=False):
    """The versions of an event type.

    Attributes:
        name: its current name.
        declared: the declaration of its class; None if it has none.
        described: the description of its class; None if it has none.
        is_changed: whether the class differs from the lock of its version.
        locks: its locks by version, in order.
    """

    name: str
    declared: EventType | None
    described: Description | None
    is_changed: bool
    locks: Mapping[int, Lock]

    @property
    def current(self) -> int:
        """The schema version of the class; 0 if there is none."""
        return self.declared.schema_version if self.declared else 0

    @property
    def versions(self) -> list[int]:
        """All versions that have a lock or a class, in order."""
        return sorted({*self.locks, self.current} - {0})

    def description(self, version: int) -> Description | None:
        """Return the description of a version, as it was published or is drafted; None if there is none."""
        if version in self.locks:
            return self.locks[version].description
        return self.described if version == self.current else None


def histories_of(registry: Registry, locks: Locks) -> tuple[dict[str, TypeHistory], list[RuleViolation]]:
    """Return the history of each type by its current name, and the violations found on the way.

    These are classes without a description (FAIT113), and versions that are locked under two names of a type with
    different contents (FAIT101).
    """
    found: list[RuleViolation] = []
    by_name: dict[str, TypeHistory] = {}
    for name, versions in histories(locks, registry).items():
        by_name[name], violations = _history(name, registry.types.get(name), versions)
        found += violations
    for stored_name in sorted(locks):
        history = by_name[registry.names.current(stored_name)]
        for version, lock in locks[stored_name].items():
            if history.locks[version].fingerprint != lock.fingerprint:
                found.append(_contradiction(history.name, lock, history.locks[version]))
    return by_name, found


def _history(name: str, declared: EventType | None, locks: dict[int, Lock]) -> tuple[TypeHistory, list[RuleViolation]]:
    described, violations = _described(declared)
    lock = locks.get(declared.schema_version) if declared else None
    history = TypeHistory(
        name=name,
        declared=declared,
        described=described,
        is_changed=lock is not None and described is not None and lock.differs_from(described),
        locks=locks,
    )
    return history, violations


def _contradiction(name: str, one: Lock, other: Lock) -> RuleViolation:
    return make_violation(
        "FAIT101",
        name,
        one.version,
        details=(f"version {one.version} is locked as {one.type!r} and as {other.type!r}, with different contents",),
        advice=(
            "Both are names of one event type, so a version of it has one content. Give one of them another version.",
        ),
    )


def _described(declared: EventType | None) -> tuple[Description | None, list[RuleViolation]]:
    if declared is None:
        return None, []
    try:
        return describe(declared.cls), []
    except FaitError as error:
        version = declared.schema_version
        details = (str(error),)
        return None, [make_violation("FAIT113", declared.name, version, place=place_of(declared), details=details)]


def place_of(declared: EventType) -> str:
    """Return file and line of an event class, with the folder if its module is loaded."""
    file = getattr(sys.modules.get(declared.cls.__module__), "__file__", None) or ""
    base, _, line = declared.source_location.rpartition(":")
    return f"{file}:{line}" if file.replace("\\", "/").rpartition("/")[2] == base else declared.source_location
