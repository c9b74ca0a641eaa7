"""Compares the results of upcasters in two processes: those that depend on the hash seed differ.

The order of a set of strings is the same in one process, and another one in the next. Run `result_digests` on the same
inputs in two processes with different values of `PYTHONHASHSEED`.
"""

from collections.abc import Mapping
from hashlib import sha256
from typing import Any, Final

import msgspec

from fait._errors import UsageError
from fait._events.conversion import encode_plain
from fait._events.registry import Registry
from fait._evolution.check.failure import HopFailure
from fait._evolution.check.hops import Hop, is_readable, next_hop
from fait._evolution.check.proof import generated_samples
from fait._evolution.check.running import convert, envelopes, has_code
from fait._evolution.locks.history import histories
from fait._evolution.locks.lock import Lock, Locks
from fait._evolution.locks.rules import make_violation
from fait._evolution.locks.violation import RuleViolation

__all__ = ["compare_processes", "result_digests", "upcaster_inputs"]

_GENERATED: Final = 4
"""Number of generated samples for each upcaster: the order of a set differs in one of them almost certainly."""

_encode_sorted = msgspec.json.Encoder(order="sorted").encode


def upcaster_inputs(registry: Registry, locks: Locks, *, seed: int = 0) -> dict[str, list[Any]]:
    """Return samples for each upcaster that is a function, by type and version: `"order-placed 1"`.

    Args:
        registry: event types and upcasters.
        locks: the locks of all published versions.
        seed: chooses the generated samples.
    """
    return {
        _key(hop): _samples(lock, hop, seed)
        for name, versions in histories(locks, registry).items()
        for version, lock in versions.items()
        if is_readable(registry, name, version)
        and (hop := next_hop(registry, name, version)) is not None
        and has_code(hop.step)
    }


def result_digests(registry: Registry, inputs: Mapping[str, list[Any]]) -> dict[str, str]:
    """Return a hash of the results of each upcaster that has inputs; the keys are those of `upcaster_inputs`."""
    digests: dict[str, str] = {}
    for key, samples in inputs.items():
        hop, digest = _hop(registry, key), sha256()
        assert hop is not None
        for sample in samples:
            digest.update(_result(hop, sample))
        digests[key] = digest.hexdigest()
    return digests


def compare_processes(registry: Registry, one: Mapping[str, str], other: Mapping[str, str]) -> list[RuleViolation]:
    """Return a violation for each upcaster whose results differ in two processes.

    Args:
        registry: event types and upcasters.
        one: the result of `result_digests` in one process.
        other: the result in another process, for the same inputs.
    """
    return [_violation(registry, key) for key in sorted(one) if key in other and one[key] != other[key]]


def _key(hop: Hop) -> str:
    return f"{hop.name} {hop.version}"


def _hop(registry: Registry, key: str) -> Hop | None:
    name, _, version = key.rpartition(" ")
    return next_hop(registry, name, int(version))


def _violation(registry: Registry, key: str) -> RuleViolation:
    hop = _hop(registry, key)
    assert hop is not None
    return make_violation(
        "FAIT111",
        hop.name,
        hop.version,
        step=hop.label,
        place=hop.place,
        details=("its results differ in two processes: do they depend on the order of a set, or on hash()?",),
        advice=("Sort the members of a set: sorted({...}).",),
    )


def _samples(lock: Lock, hop: Hop, seed: int) -> list[Any]:
    try:
        return [*lock.samples, *generated_samples(hop.name, hop.version, lock.description, _GENERATED, seed)]
    except UsageError:
        return [*lock.samples]


def _result(hop: Hop, sample: Any) -> bytes:
    text = encode_plain(sample)
    envelope = envelopes(hop.name, hop.version, text)[0]
    try:
        parts = convert(hop, msgspec.json.decode(text), envelope)
        return _encode_sorted(msgspec.json.decode(encode_plain(parts)))  # sets in the order in which they are stored
    except (HopFailure, TypeError, ValueError, OverflowError, RecursionError):
        return b""  # reported by the proof
