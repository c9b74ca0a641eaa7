"""Locks of event classes, for tests of the check."""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from fait._events.event import event_type
from fait._events.registry import build_registry
from fait._events.upcast import Upcaster
from fait._evolution.check.check_types import check_types
from fait._evolution.locks.lock import Lock, Locks
from fait._evolution.locks.rules import TITLES
from fait._evolution.locks.violation import RuleViolation
from fait.schema import describe, json_schema, samples

__all__ = ["check", "lock", "locks_of", "rules"]


def lock(cls: type, *, reserved: Sequence[str] = (), frozen: Sequence[Any] | None = None) -> Lock:
    """Return the lock of an event class, with the given samples or a generated one."""
    declared = event_type(cls)
    assert declared is not None
    described = describe(cls)
    return Lock(
        type=declared.name,
        version=declared.schema_version,
        locked_on="2026-10-02",
        fingerprint=described.fingerprint,
        reserved=tuple(reserved),
        description=described,
        json_schema=json_schema(described),
        samples=tuple(samples(described, 1, count=1) if frozen is None else frozen),
    )


def locks_of(*locked: type | Lock) -> Locks:
    """Return locks by type and version."""
    found: dict[str, dict[int, Lock]] = {}
    for each in locked:
        one = each if isinstance(each, Lock) else lock(each)
        found.setdefault(one.type, {})[one.version] = one
    return found


def check(
    classes: Iterable[type], locked: Iterable[type | Lock], *upcasters: Upcaster, **options: Any
) -> list[RuleViolation]:
    """Return the violations of event classes and upcasters, and check that each is complete and the same twice."""
    registry = build_registry(classes, upcasters)
    found = check_types(registry, locks_of(*locked), **options)
    for each in found:
        assert each.title == TITLES[each.rule]
        assert each.details
        msgspec.json.encode(each)
    return found


def rules(found: Iterable[RuleViolation]) -> list[str]:
    """Return the codes of violations with their steps: `FAIT110 1 -> 2`."""
    return [f"{each.rule} {each.step}" for each in found]
