"""Locks the drafts of an app: computes the content of new lock files, and says why a version cannot be locked."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import islice
from typing import Any, Final, NamedTuple
from zlib import crc32

import msgspec
from msgspec import Struct

from fait._errors import UsageError
from fait._events.event import EventType
from fait._events.registry import Registry, declaration_of
from fait._evolution.locks.history import drafts, history, reserved_paths
from fait._evolution.locks.lock import Lock, Locks
from fait._evolution.locks.reading import read_problem
from fait._schema.acceptance import accepts
from fait._schema.describe import describe
from fait._schema.description import Description
from fait._schema.json_schema import json_schema
from fait._schema.samples import samples

__all__ = [
    "Target",
    "VersionToLock",
    "earlier_version",
    "locks_with",
    "make_lock",
    "make_locks",
    "parse_target",
    "version_to_replace",
    "versions_to_lock",
]

SAMPLES: Final = 3
"""Number of samples in a lock, if fewer are written by hand."""

_GENERATED: Final = 50
"""Number of samples that show whether a class has code that refuses or changes events."""


class Target(NamedTuple):
    """An event type that a command names, and its version; None: the current one."""

    type: str
    version: int | None


class VersionToLock(Struct, frozen=True):
    """A version of an event class to lock.

    Attributes:
        declared: the event class.
        replaced: the lock that is replaced; None for a new one.
        reason: the reason for replacing it.
    """

    declared: EventType
    replaced: Lock | None = None
    reason: str = ""


def parse_target(text: str, known: Iterable[str]) -> Target:
    """Return the event type and the version that `TYPE` or `TYPE@N` names.

    Raises:
        UsageError: no known event type has this name.
    """
    names = sorted(known)
    type, at, number = text.rpartition("@")
    if text in names:
        return Target(text, None)
    if at and type in names and number.isascii() and number.isdigit():
        return Target(type, int(number))
    from difflib import get_close_matches

    closest = get_close_matches(type or text, names, 1)
    advice = f"The closest name is {closest[0]!r}." if closest else f"Event types: {', '.join(names) or 'none'}."
    raise UsageError(f"no event type {type or text!r}. {advice}")


def versions_to_lock(registry: Registry, locks: Locks, targets: Sequence[Target]) -> list[VersionToLock]:
    """Return the drafts among the targets; without targets, all drafts.

    Raises:
        UsageError: a target is not the current version of an event class, or is locked with another content.
    """
    chosen = [_current(registry, each) for each in targets] or list(registry.types.values())
    for declared in chosen if targets else ():
        lock = history(locks, declared).get(declared.schema_version)
        if lock is not None and lock.differs_from(describe(declared.cls)):
            raise UsageError(
                f"version {lock.version} of {declared.name!r} was locked on {lock.locked_on}, and the class is another "
                f"now. Nothing was written. Make it the next version: fait schema new-version {declared.name}\n"
                "If no event of the locked version was ever stored: "
                f'fait schema lock --replace {declared.name}@{lock.version} --reason "..."'
            )
    return [VersionToLock(each) for each in drafts(locks, chosen)]


def version_to_replace(registry: Registry, locks: Locks, target: Target, reason: str) -> VersionToLock:
    """Return the newest locked version of a type, to be replaced.

    Raises:
        UsageError: the target has no lock, is not the newest version or was not changed, or the reason is empty.
    """
    declared = _current(registry, target)
    replaced = locks.get(declared.name, {}).get(declared.schema_version)
    if replaced is None:
        raise UsageError(
            f"version {declared.schema_version} of {declared.name!r} has no lock to replace. Nothing was written. "
            f"Lock it: fait schema lock {declared.name}"
        )
    if not replaced.differs_from(describe(declared.cls)):
        raise UsageError(f"the class {declared.name!r} is as it was locked. Nothing was written, nothing to replace.")
    if not reason.strip():
        raise UsageError('--replace needs the reason, as in --reason "never deployed". Nothing was written.')
    return VersionToLock(declared, replaced, reason.strip())


def _current(registry: Registry, target: Target) -> EventType:
    declared = registry.types.get(registry.names.current(target.type))
    if declared is None:
        raise UsageError(f"{target.type!r} has no event class, so it cannot be locked. Nothing was written.")
    if target.version not in (None, declared.schema_version):
        raise UsageError(
            f"the class of {declared.name!r} has version {declared.schema_version}, not {target.version}. Nothing was "
            "written. Write a class with that version in any module, and lock it: fait schema lock --class MODULE:CLASS"
        )
    return declared


def earlier_version(registry: Registry, locks: Locks, cls: type) -> VersionToLock:
    """Return the version of a class that the app had before, to be locked.

    Raises:
        UsageError: the class is not an event, or the app knows no such name, has this version itself, or locked it.
    """
    declared = declaration_of(cls)
    current = registry.types.get(registry.names.current(declared.name))
    if declared.name not in registry.names.known:
        raise UsageError(
            f"{declared.name!r} is the name of no event type of the app, not even a former one. Nothing was written."
        )
    if current is not None and declared.schema_version >= current.schema_version:
        raise UsageError(
            f"{declared.name!r} has version {current.schema_version}, so version {declared.schema_version} is no "
            "earlier one. Nothing was written."
        )
    if lock := locks.get(declared.name, {}).get(declared.schema_version):
        raise UsageError(
            f"version {lock.version} of {declared.name!r} was locked on {lock.locked_on}. Nothing was written."
        )
    declared.check()
    return VersionToLock(declared)


def make_locks(
    versions: Iterable[VersionToLock], locks: Locks, *, today: str, written: Sequence[Any] = ()
) -> list[Lock]:
    """Return the locks of several versions, earlier ones first; see `make_lock`."""
    made: list[Lock] = []
    for each in sorted(versions, key=lambda each: (each.declared.name, each.declared.schema_version)):
        made.append(make_lock(each, locks_with(locks, made), today=today, written=written))
    return made


def locks_with(locks: Locks, made: Iterable[Lock]) -> Locks:
    """Return locks together with new ones, which replace others of the same version."""
    together = {name: dict(versions) for name, versions in locks.items()}
    for each in made:
        together.setdefault(each.type, {})[each.version] = each
    return together


def make_lock(version: VersionToLock, locks: Locks, *, today: str, written: Sequence[Any] = ()) -> Lock:
    """Return the lock of a version.

    Args:
        version: the version to lock.
        locks: all locks.
        today: the day, as `YYYY-MM-DD`.
        written: samples that were written by hand. Those of a replaced lock are kept if they are still valid.

    Raises:
        DeclarationError: the class cannot be described.
        UsageError: a written sample is invalid, or no sample can be generated.
    """
    declared, replaced = version.declared, version.replaced
    description = describe(declared.cls)
    earlier = [lock for number, lock in history(locks, declared).items() if number < declared.schema_version]
    return Lock(
        type=declared.name,
        version=declared.schema_version,
        locked_on=today,
        fingerprint=description.fingerprint,
        reserved=reserved_paths(earlier, description),
        replacements=() if replaced is None else (*replaced.replacements, _replacement(replaced, version, today)),
        description=description,
        json_schema=json_schema(description),
        samples=_samples(version, description, written),
        reads_all=_reads_all(declared, description),
    )


def _reads_all(declared: EventType, description: Description) -> bool:
    try:
        return not any(read_problem(declared, each) for each in samples(description, 0, count=_GENERATED))
    except UsageError:
        return False


def _replacement(replaced: Lock, version: VersionToLock, today: str) -> str:
    return f"{today} {replaced.fingerprint}: {version.reason}"


def _samples(version: VersionToLock, description: Description, written: Sequence[Any]) -> tuple[Any, ...]:
    declared = version.declared
    for each in written:
        if reason := _invalidity(declared, description, each):
            raise UsageError(f"the sample is no event {declared.name!r}: {reason}. Nothing was written.")
    old = () if written or version.replaced is None else version.replaced.samples
    kept = [*written, *(each for each in old if not _invalidity(declared, description, each))]
    found = (*kept, *islice(_generated(declared, description), max(0, SAMPLES - len(kept))))
    if not found:
        raise UsageError(
            f"no sample of the event {declared.name!r} was found that its class accepts. Nothing was written. Write "
            f"one as a JSON file, and lock it: fait schema lock {declared.name} --sample FILE"
        )
    return found


def _generated(declared: EventType, description: Description) -> Iterator[Any]:
    """Yield generated samples that the class accepts: its own code, such as a validator, is not described."""
    with suppress(UsageError):
        for each in samples(description, crc32(f"{declared.name}@{declared.schema_version}".encode())):
            # fault: sample-not-decoded
            if not _invalidity(declared, description, each):
                yield each


def _invalidity(declared: EventType, description: Description, sample: Any) -> str:
    """Return why a sample is no event of a class; empty if it is one."""
    if not accepts(description.records, description.root, sample):
        return "its description does not allow it"
    try:
        declared.decode(msgspec.json.encode(sample))
    except Exception as error:  # code of the application may run, such as a validator
        return f"{type(error).__name__}: {error}"
    return ""
