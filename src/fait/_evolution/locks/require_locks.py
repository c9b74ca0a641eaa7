"""Refuses event types that are not locked, or differ from their lock, before an app stores events.

Only fingerprints are compared: the check in continuous integration has verified the files.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from fait._errors import DeclarationError, UnlockedEvents
from fait._events.event import EventType
from fait._events.registry import Registry
from fait._evolution.locks.folder import LockFolder
from fait._schema.describe import describe

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable  # slow to import

__all__ = ["require_locks"]


def require_locks(
    registry: Registry, path: "str | Path | Traversable", published: Iterable[tuple[str, int]] = ()
) -> None:
    """Check that the current version of each event type is locked as its class is, and so are published versions.

    Args:
        registry: the event types of an app.
        path: the folder of locks, also one of a package.
        published: event types, and older versions in which relays publish them.

    Raises:
        UnlockedEvents: lists all event types that are not.
    """
    folder = LockFolder(path)
    reasons = {each.name: _reason(each, folder) for each in registry.types.values()}
    for name, version in sorted(published):
        # fault: unlocked-version-published
        reasons[name] = reasons[name] or _published_reason(registry.types[name], version, folder)
    unlocked = {name: reason for name, reason in sorted(reasons.items()) if reason}
    # fault: draft-in-production
    if unlocked:
        raise UnlockedEvents(str(path), unlocked)


def _reason(declared: EventType, folder: LockFolder) -> str:
    """Return why an event type must not be stored; empty if it may."""
    version = declared.schema_version
    locked = _locked_fingerprint(declared, version, folder)
    if locked is None:
        return f"version {version} is not locked"
    actual = _fingerprint(declared)
    return "" if actual == locked else f"version {version} was changed after it was locked ({locked}, now {actual})"


def _published_reason(declared: EventType, version: int, folder: LockFolder) -> str:
    """Return why an event type must not be published in a version; empty if it may."""
    is_locked = _locked_fingerprint(declared, version, folder) is not None
    return "" if is_locked else f"version {version}, which a relay publishes, is not locked"


def _locked_fingerprint(declared: EventType, version: int, folder: LockFolder) -> str | None:
    found = (folder.fingerprint(name, version) for name in (declared.name, *declared.was))
    return next((each for each in found if each is not None), None)


def _fingerprint(declared: EventType) -> str:
    try:
        return describe(declared.cls).fingerprint
    except DeclarationError:
        return "without a description"
