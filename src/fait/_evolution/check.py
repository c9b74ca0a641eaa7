"""The check of event types: whether today's code reads every version that was ever locked.

    violations = check_types(declarations.registry, locks)

The check reads no files and writes none. One run reports the violations of all types, always in the same order.
"""

import re
from collections.abc import Iterable, Iterator
from itertools import pairwise

from msgspec import UNSET

from fait._errors import DeclarationError
from fait._events.registry import Registry
from fait._evolution.automatic import check_automatic
from fait._evolution.consumer import Consumer
from fait._evolution.history import History, histories_of
from fait._evolution.hops import Hop, next_hop
from fait._evolution.lock import Locks
from fait._evolution.path import PathRunner
from fait._evolution.proof import Prover
from fait._evolution.rules import make_violation
from fait._evolution.versions import check_versions, field_path
from fait._evolution.violation import Violation
from fait._schema.compare import compare
from fait._schema.difference import Verdict

__all__ = ["check_types", "violation_of"]


def check_types(
    registry: Registry,
    locks: Locks,
    consumers: Iterable[Consumer] = (),
    *,
    drafts_allowed: bool = True,
    samples: int = 20,
    seed: int = 0,
) -> list[Violation]:
    """Check event types against their locks.

    Args:
        registry: event types and upcasters: `declarations.registry` of an app, or `build_registry(...)`.
        locks: the locks of all published versions.
        consumers: readers of published events outside of the code of the app.
        drafts_allowed: whether the version of a class may have no lock.
        samples: the number of samples that are generated for each version; those of the locks are always used.
        seed: chooses the samples. The same seed gives the same samples.

    Returns:
        The violations, sorted by type, version and rule. Exemptions are not applied.
    """
    histories, found = histories_of(registry, locks)
    found += _alike_names({*registry.names.known, *locks})
    blocked: set[tuple[str, int, bool]] = set()
    for history in histories.values():
        found += check_versions(history, registry, drafts_allowed=drafts_allowed)
        for hop in _automatic_hops(history, registry):
            violations = check_automatic(hop, history)
            found += violations
            blocked |= {hop.key} if violations else set()
    found += Prover(registry, histories, PathRunner(registry, histories, blocked), samples, seed).run()
    for consumer in consumers:
        found += _check_consumer(consumer, registry, histories)
    return sorted(found, key=lambda each: (each.type, each.version, each.rule, each.step, each.details))


def _automatic_hops(history: History, registry: Registry) -> Iterator[Hop]:
    if history.name in registry.names.known:
        for version in history.locks:
            if version < history.current or history.declared is None:
                hop = next_hop(registry, history.name, version)
                if hop is not None and hop.step is None:
                    yield hop


def _alike_names(names: Iterable[str]) -> Iterator[Violation]:
    for one, other in pairwise(sorted(names, key=lambda name: (name.lower(), name))):
        # fault: names-by-case
        if one.lower() == other.lower():
            yield make_violation(
                "FAIT109",
                other,
                details=(f"{one!r} and {other!r} differ only in case; file systems take one for the other.",),
                advice=(f'Give one of them another name: @fait.event("...", was=("{other}",))',),
            )


def _check_consumer(consumer: Consumer, registry: Registry, histories: dict[str, History]) -> list[Violation]:
    name = registry.names.current(consumer.event)
    history = histories.get(name)
    if history is None or history.description(consumer.version) is None:
        details = [f"{consumer.name} reads version {consumer.version}, which has neither a lock nor a class."]
        advice = ["Correct [[tool.fait.consumers]] in pyproject.toml, or restore the lock."]
        return [make_violation("FAIT120", consumer.event, consumer.version, details=details, advice=advice)]
    published = _published_version(consumer.version, history, registry)
    old, new = history.description(consumer.version), history.description(published)
    if old is None or new is None:
        return []
    broken = [each for each in compare(old, new, "forward") if each.verdict is not Verdict.READABLE]
    if not broken:
        return []
    return [
        make_violation(
            "FAIT120",
            history.name,
            consumer.version,
            step=f"{published} -> {consumer.version}",
            details=(
                f"{consumer.name} (declared in pyproject.toml) reads version {consumer.version}",
                *(f"{field_path(each.path)}: {each.explanation}" for each in broken),
            ),
            value=next((each.value for each in broken if each.value is not UNSET), UNSET),
            advice=(
                f'Convert it for older readers: @fait.downcast("{history.name}", {published})',
                f"Or wait until {consumer.name} reads version {published}, and change its entry in pyproject.toml.",
            ),
        )
    ]


def _published_version(wanted: int, history: History, registry: Registry) -> int:
    """Return the version that a consumer gets: that of the class, made older by the downcasters there are."""
    version = history.current
    while version > wanted and (history.name, version) in registry.downcasters:
        version -= 1
    return version


_TWO_UPCASTERS = re.compile(r"two upcasters read version (\d+) of '(.+)': (.+) and (.+)\. Remove one of them\.")
_NOT_INCLUDED = re.compile(r"the upcaster at (.+) reads version (\d+) of '(.+)', but the app does not include it")


def violation_of(error: DeclarationError) -> Violation | None:
    """Return the violation that keeps a registry from being built; None if the error is of another kind.

    The error is one of `build_registry`, and so also one of including objects in an app and of resolving it.
    """
    text = str(error)
    if two := _TWO_UPCASTERS.fullmatch(text):
        version, name, one, other = two.groups()
        return make_violation(
            "FAIT114",
            name,
            int(version),
            place=other,
            details=(f"{one} and {other} read version {version}",),
            advice=("Remove one of them.",),
        )
    if left_out := _NOT_INCLUDED.match(text):
        place, version, name = left_out.groups()
        return make_violation(
            "FAIT115",
            name,
            int(version),
            place=place,
            details=(f"An upcaster reads version {version}, and the app does not include it.",),
            advice=("Include it, or its module: app.include(...)",),
        )
    return None
