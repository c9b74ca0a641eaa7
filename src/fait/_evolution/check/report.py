"""The check of event types as a whole: settings, lock files, rules and exemptions, in one report.

`fait schema check`, the pytest plugin and `fait.testing.check_events` print the same report, each in its own form.
"""

from collections.abc import Callable, Iterable

from msgspec import Struct
from msgspec.structs import replace

from fait._errors import UsageError
from fait._events.registry import Registry
from fait._evolution.check.check_types import check_types
from fait._evolution.check.proof import SAMPLES
from fait._evolution.locks.folder import LockFolder
from fait._evolution.locks.lock import Lock, Locks
from fait._evolution.locks.rules import make_violation
from fait._evolution.locks.settings import Exemption, Settings
from fait._evolution.locks.violation import RuleViolation

__all__ = ["Report", "run_check"]


class Report(Struct, frozen=True, kw_only=True):
    """The result of a check.

    Attributes:
        violations: the violations, also those that an exemption accepts.
        versions: the versions of each event type that were checked, locked ones and drafts.
        steps: the number of upcasters and downcasters.
        samples: the number of events that were converted.
    """

    violations: tuple[RuleViolation, ...]
    versions: dict[str, tuple[int, ...]] = {}
    steps: int = 0
    samples: int = 0

    @property
    def failures(self) -> list[RuleViolation]:
        """The violations that no exemption accepts: the check fails if there are any."""
        return [each for each in self.violations if not each.exempted]


def run_check(
    settings: Settings,
    registry: Registry,
    folder: LockFolder,
    *,
    drafts_allowed: bool = True,
    samples: int = SAMPLES,
    seed: int = 0,
    further_check: Callable[[Registry, Locks], list[RuleViolation]] | None = None,
) -> Report:
    """Check event types against a folder of locks.

    Args:
        settings: the settings, with exemptions and declared consumers.
        registry: event types and upcasters of the app.
        folder: the folder of locks.
        drafts_allowed: whether the version of a class may have no lock.
        samples: the number of events of each version that are converted; see `check_types`.
        seed: chooses the samples.
        further_check: returns further violations.

    Raises:
        UsageError: there is no such folder.
    """
    if not folder.exists:
        raise UsageError(f"there is no folder of locks at {folder.path}. Lock the event types: fait schema lock")
    locks, found = folder.read()
    found += check_types(registry, locks, settings.consumers, drafts_allowed=drafts_allowed, samples=samples, seed=seed)
    found += further_check(registry, locks) if further_check else []
    versions = _versions(registry, locks)
    return Report(
        violations=(*settings.violations, *_with_exemptions(found, settings.exemptions)),
        versions=versions,
        steps=len(registry.upcasters) + len(registry.downcasters),
        samples=sum(_sample_count(lock, registry, samples) for each in locks.values() for lock in each.values()),
    )


def _versions(registry: Registry, locks: Locks) -> dict[str, tuple[int, ...]]:
    versions = {name: {*each} for name, each in locks.items()}
    for name, declared in registry.types.items():
        versions.setdefault(name, set()).add(declared.schema_version)
    return {name: tuple(sorted(versions[name])) for name in sorted(versions)}


def _sample_count(lock: Lock, registry: Registry, samples: int) -> int:
    declared = registry.types.get(registry.names.current(lock.type))
    is_current = declared is not None and declared.schema_version == lock.version
    return len(lock.samples) if is_current else max(samples, len(lock.samples) + samples // 2)


def _with_exemptions(found: list[RuleViolation], exemptions: Iterable[Exemption]) -> list[RuleViolation]:
    """Mark the violations that an exemption accepts, and report exemptions that accept none."""
    for exemption in exemptions:
        accepted = [exemption.covers(each) for each in found]
        found = [
            replace(each, exempted=exemption.reason) if covers else each
            for each, covers in zip(found, accepted, strict=True)
        ]
        # fault: unused-exemption
        if not any(accepted):
            found.append(_unused(exemption))
    return found


def _unused(exemption: Exemption) -> RuleViolation:
    return make_violation(
        "FAIT140",
        exemption.event,
        exemption.version,
        place="pyproject.toml",
        details=(f"the exemption of {exemption.rule} accepts nothing: there is no such violation",),
        advice=("Remove it from [[tool.fait.allow]] in pyproject.toml.",),
    )
