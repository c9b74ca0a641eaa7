"""Compares what the subscriptions of the fleet's app have done with the log."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct

from fait._store.ports.leases import Range
from fait._store.ports.registrations import SLOTS
from tests.fleet.app import next_digest

Row = tuple[int, int]
"""Number of events of a row, and their digest."""


class Stored(Struct):
    """An event of the log that the subscriptions handle."""

    id: str
    stream: str
    version: int
    position: int
    group: str
    is_marked: bool


class Results(Struct):
    """What the subscriptions have done.

    Attributes:
        counters: rows of the read model that is keyed by stream.
        groups: rows of the read model with its own key.
        notes: stream and version of each transactional effect, in order.
        echoes: for each appended event, the id of the event that caused it.
        calls: stream and version of each effect outside of the database, in order.
        ranges: all ranges.
        failures: descriptions of the keys that have a failure.
        logs: lines that the workers have logged and that no disturbance explains.
    """

    counters: Mapping[str, Row]
    groups: Mapping[str, Row]
    notes: Sequence[tuple[str, int]]
    echoes: Sequence[str]
    calls: Sequence[tuple[str, int]]
    ranges: Sequence[Range] = ()
    failures: Sequence[str] = ()
    logs: Sequence[str] = ()


def violations(events: Sequence[Stored], results: Results) -> list[str]:
    """Return what is wrong, in words; nothing if all guarantees hold."""
    versions = _by_stream((each.stream, each.version) for each in events)
    return [
        *_differences("row of counters", _fold((each.stream.split("-")[1], each.version) for each in events),
                      results.counters),
        *_differences("row of groups", _fold((each.group, each.position) for each in events), results.groups),
        *_differences("transactional effects of", versions, _by_stream(results.notes)),
        *_differences("calls, without repeated ones, of", versions, _by_stream(dict.fromkeys(results.calls))),
        *_differences("number of events for", _counted(each.id for each in events if each.is_marked),
                      _counted(results.echoes)),
        *_tiling(results.ranges),
        *(f"failed key: {each}" for each in results.failures),
        *(f"log: {each}" for each in results.logs),
    ]  # fmt: skip


def _fold(numbers: Iterable[tuple[str, int]]) -> dict[str, Row]:
    rows = defaultdict[str, Row](lambda: (0, 0))
    for key, number in numbers:
        count, digest = rows[key]
        rows[key] = count + 1, next_digest(digest, number)
    return dict(rows)


def _by_stream(effects: Iterable[tuple[str, int]]) -> dict[str, list[int]]:
    versions = defaultdict[str, list[int]](list)
    for stream, version in effects:
        versions[stream].append(version)
    return dict(versions)


def _counted(ids: Iterable[str]) -> dict[str, int]:
    counts = defaultdict[str, int](int)
    for each in ids:
        counts[each] += 1
    return dict(counts)


def _differences(what: str, expected: Mapping[str, object], actual: Mapping[str, object]) -> list[str]:
    return [
        f"{what} {key}: {actual.get(key)} instead of {expected.get(key)}"
        for key in {**expected, **actual}
        if expected.get(key) != actual.get(key)
    ]


def _tiling(ranges: Sequence[Range]) -> list[str]:
    """Return the subscriptions whose ranges do not cover all hashes exactly once."""
    ends = defaultdict[str, list[tuple[int, int]]](list)
    for each in sorted(ranges, key=lambda each: each.key.low):
        ends[each.key.subscription].append((each.key.low, each.high))
    return [
        f"ranges of {name}: {pairs}"
        for name, pairs in ends.items()
        if [0, *(high for _, high in pairs)] != [*(low for low, _ in pairs), SLOTS]
    ]
