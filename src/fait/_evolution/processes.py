"""Compares the results of upcasters in two processes: those that depend on the hash seed differ.

The order of a set of strings is the same in one process, and another one in the next. Run `result_digests` in two
processes with different values of `PYTHONHASHSEED`.
"""

from collections.abc import Iterator, Mapping
from hashlib import sha256
from typing import Any

import msgspec

from fait._errors import UsageError
from fait._events.conversion import encode_plain
from fait._events.registry import Registry
from fait._evolution.failure import HopFailure
from fait._evolution.history import TypeHistory, histories_of
from fait._evolution.hops import Hop, is_readable, next_hop
from fait._evolution.lock import Locks
from fait._evolution.proof import generated_samples
from fait._evolution.rules import make_violation
from fait._evolution.running import convert, envelopes, has_code
from fait._evolution.violation import RuleViolation

__all__ = ["compare_processes", "result_digests"]

_encode_sorted = msgspec.json.Encoder(order="sorted").encode


def result_digests(registry: Registry, locks: Locks, *, samples: int = 16, seed: int = 0) -> dict[str, str]:
    """Return a hash of the results of each upcaster that is a function, by type and version: `"order-placed 1"`.

    The arguments are those of `check_types`.
    """
    histories, _ = histories_of(registry, locks)
    digests: dict[str, str] = {}
    for history in histories.values():
        for hop in _hops(history, registry):
            digest = sha256()
            for sample in _samples(history, hop, samples, seed):
                digest.update(_result(hop, sample))
            digests[f"{hop.name} {hop.version}"] = digest.hexdigest()
    return digests


def compare_processes(registry: Registry, one: Mapping[str, str], other: Mapping[str, str]) -> list[RuleViolation]:
    """Return a violation for each upcaster whose results differ in two processes.

    Args:
        registry: event types and upcasters.
        one: the result of `result_digests` in one process.
        other: the result in another process, for the same locks, samples and seed.
    """
    return [_violation(registry, key) for key in sorted(one) if key in other and one[key] != other[key]]


def _violation(registry: Registry, key: str) -> RuleViolation:
    name, _, version = key.rpartition(" ")
    hop = next_hop(registry, name, int(version))
    return make_violation(
        "FAIT111",
        name,
        int(version),
        step=hop.label if hop else "",
        place=hop.place if hop else "",
        details=("its results differ in two processes: do they depend on the order of a set, or on hash()?",),
        advice=("Sort the members of a set: sorted({...}).",),
    )


def _hops(history: TypeHistory, registry: Registry) -> Iterator[Hop]:
    for version in history.locks:
        if is_readable(registry, history.name, version):
            hop = next_hop(registry, history.name, version)
            if hop is not None and has_code(hop.step):
                yield hop


def _samples(history: TypeHistory, hop: Hop, count: int, seed: int) -> list[Any]:
    lock = history.locks[hop.version]
    try:
        return [*lock.samples, *generated_samples(hop.name, hop.version, lock.description, count, seed)]
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
