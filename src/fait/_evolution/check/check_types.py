"""The check of event types: whether today's code reads every version that was ever locked.

    violations = check_types(declarations.registry, locks)

The check reads no files and writes none. One run reports the violations of all types, always in the same order.
"""

from collections.abc import Iterable, Iterator
from itertools import pairwise

from fait._events.registry import Registry
from fait._evolution.check.automatic import check_automatic
from fait._evolution.check.consumer import check_consumer
from fait._evolution.check.hops import Hop, is_readable, next_hop
from fait._evolution.check.path import PathRunner
from fait._evolution.check.proof import SAMPLES, Prover
from fait._evolution.check.type_history import TypeHistory, histories_of
from fait._evolution.check.versions import check_versions
from fait._evolution.locks.lock import Locks
from fait._evolution.locks.rules import make_violation
from fait._evolution.locks.settings import DeclaredConsumer
from fait._evolution.locks.violation import RuleViolation

__all__ = ["check_types"]


def check_types(
    registry: Registry,
    locks: Locks,
    consumers: Iterable[DeclaredConsumer] = (),
    *,
    drafts_allowed: bool = True,
    samples: int = SAMPLES,
    seed: int = 0,
) -> list[RuleViolation]:
    """Check event types against their locks.

    Args:
        registry: event types and upcasters: `declarations.registry` of an app, or `build_registry(...)`.
        locks: the locks of all published versions.
        consumers: readers of published events outside of the code of the app.
        drafts_allowed: whether the version of a class may have no lock.
        samples: the number of events of each version that are converted: those of its lock, and generated ones, which
            are at least half of the number.
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
        found += check_consumer(consumer, registry, histories)
    return sorted(found, key=lambda each: (each.type, each.version, each.rule, each.step, each.details))


def _automatic_hops(history: TypeHistory, registry: Registry) -> Iterator[Hop]:
    for version in history.locks:
        if is_readable(registry, history.name, version):
            hop = next_hop(registry, history.name, version)
            if hop is not None and hop.step is None:
                yield hop


def _alike_names(names: Iterable[str]) -> Iterator[RuleViolation]:
    for one, other in pairwise(sorted(names, key=lambda name: (name.lower(), name))):
        # fault: names-by-case
        if one.lower() == other.lower():
            yield make_violation(
                "FAIT109",
                other,
                details=(f"{one!r} and {other!r} differ only in case; file systems take one for the other.",),
                advice=("Give one of them another name before it is published.",),
            )
