"""Event classes of two versions, and locks of them, for the tests of locks."""

from decimal import Decimal
from typing import Any

import msgspec

import fait
from fait._events.registry import Registry, build_registry
from fait._evolution.locks.lock import Lock
from fait._evolution.locks.locking import VersionToLock, make_lock

__all__ = ["DAY", "declared_as", "lock_of", "registry_of"]

DAY = "2026-11-29"


def declared_as(name: str, version: int = 1, /, was: tuple[str, ...] = (), **fields: Any) -> type:
    """Return a new event class with these fields, by default one text field."""
    types = list((fields or {"customer": str, "amount": Decimal}).items())
    return fait.event(name, version=version, was=was)(msgspec.defstruct("Placed", types, frozen=True))


def registry_of(*classes: type) -> Registry:
    return build_registry(classes)


def lock_of(cls: type, *earlier: Lock) -> Lock:
    locks: dict[str, dict[int, Lock]] = {}
    for each in earlier:
        locks.setdefault(each.type, {})[each.version] = each
    (declared,) = registry_of(cls).types.values()
    return make_lock(VersionToLock(declared), locks, today=DAY)
