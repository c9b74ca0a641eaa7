"""Who works on which ranges: the decisions of one worker about a subscription, from what all workers can read.

Every worker decides for itself, from the same rows. A decision from an older look costs a moment, never safety: a range
changes only under its fencing token.

    one worker ──► one range      w workers ──► the next power of two from 4 w on: no share is over 1.25 of the mean
"""

from collections import Counter, deque
from collections.abc import Collection, Iterator, Sequence
from typing import Final

from msgspec import Struct

from fait._store.ports.leases import Range
from fait._store.ports.registrations import SLOTS, RangeKey

__all__ = ["RangePlan", "WorkerCounts", "plan_ranges"]

MAX_RANGES: Final = 256
"""Maximum number of ranges into which a subscription is split."""

RANGES_PER_WORKER: Final = 4
"""Minimum number of ranges for each worker, so that all have about the same share."""

SPLIT_DELAY: Final = 2
"""Number of lease durations for which there must be more workers before ranges are split: so long a worker that has
crashed may be counted together with its successor."""

MERGE_DELAY: Final = 12
"""Number of lease durations for which there must be fewer workers before ranges are merged: a minute by default."""


class RangePlan(Struct, frozen=True):
    """What a worker does about a subscription.

    Attributes:
        acquire: free ranges to acquire.
        release: its ranges to release, to workers that have fewer.
        split: its ranges to split in the middle.
        merge: its ranges to merge, as pairs of neighbors.
        lacks: number of ranges that it should have at least, and does not have yet.
    """

    acquire: Sequence[Range] = ()
    release: Sequence[RangeKey] = ()
    split: Sequence[Range] = ()
    merge: Sequence[tuple[Range, Range]] = ()
    lacks: int = 0


class WorkerCounts:
    """The numbers of workers in the last minute, by the monotonic clock of this process.

    Args:
        lease_s: duration of a lease, in seconds.
    """

    def __init__(self, lease_s: float) -> None:
        self._lease_s = lease_s
        self._counts: deque[tuple[float, int]] = deque()  # from when on there were as many; the last one is current

    def add(self, now: float, count: int) -> None:
        """Take note of the number of workers at a monotonic time."""
        if not self._counts or self._counts[-1][1] != count:
            self._counts.append((now, count))
        while len(self._counts) > 1 and self._counts[1][0] <= now - MERGE_DELAY * self._lease_s:
            self._counts.popleft()

    def ranges_to_split(self, now: float) -> int:
        """Return into how many ranges the work must at least be split: for the fewest workers of the last moments."""
        since = now - SPLIT_DELAY * self._lease_s
        counts = [count for _, count in self._since(since)]
        # fault: ranges-split-at-once
        return _wanted_ranges(min(counts)) if self._counts[0][0] <= since else 1

    def ranges_to_merge(self, now: float) -> int:
        """Return into how many ranges the work must at most be split: for the most workers of the last minute."""
        since = now - MERGE_DELAY * self._lease_s
        counts = [count for _, count in self._since(since)]
        return _wanted_ranges(max(counts)) if self._counts[0][0] <= since else MAX_RANGES

    def _since(self, time: float) -> Iterator[tuple[float, int]]:
        starts = [*self._counts]
        for number, each in enumerate(starts):
            if number + 1 == len(starts) or starts[number + 1][0] > time:
                yield each


def _wanted_ranges(workers: int) -> int:
    """Return the number of ranges for a number of workers."""
    if workers <= 1:
        return 1
    return min(MAX_RANGES, 1 << (RANGES_PER_WORKER * workers - 1).bit_length())


def plan_ranges(
    worker: str, workers: Collection[str], ranges: Sequence[Range], at_least: int, at_most: int
) -> RangePlan:
    """Decide what a worker does about a subscription.

    Args:
        worker: its id.
        workers: ids of all workers that can run the subscription now; without its own, it releases what it has.
        ranges: all ranges of the subscription, in order.
        at_least: number of ranges into which the work must at least be split.
        at_most: number of ranges into which the work must at most be split.
    """
    own = [each for each in ranges if each.worker == worker]
    quota = _quota(worker, workers, ranges)
    # fault: worker-keeps-its-surplus
    if len(own) > quota:
        return RangePlan(release=[each.key for each in _with_fewest_buddies(own)[: len(own) - quota]])
    return RangePlan(
        acquire=_preferred(worker, workers, ranges, own)[: quota - len(own)],
        split=[each for each in own if at_least * _size(each) > SLOTS],
        merge=[(lower, upper) for lower, upper in _pairs(own) if at_most * _size(lower) < SLOTS],
        lacks=max(0, min(quota, max(1, len(ranges) // max(1, len(workers)))) - len(own)),
    )


def _quota(worker: str, workers: Collection[str], ranges: Sequence[Range]) -> int:
    """Return how many ranges a worker may have.

    Ranges that cannot be shared evenly stay where they are, unless a worker has too few.
    """
    if worker not in workers:
        return 0
    share, rest = divmod(len(ranges), len(workers))
    counts = Counter(each.worker for each in ranges)
    if any(counts[each] < share for each in workers):
        return share + (_rank(worker, workers, ranges) < rest)
    return share + (rest > 0)


def _rank(worker: str, workers: Collection[str], ranges: Sequence[Range]) -> int:
    """Return the place of a worker in an order that differs from subscription to subscription."""
    from hashlib import sha256  # here, as it is slow to import

    subscription = ranges[0].key.subscription
    return sorted(workers, key=lambda each: sha256((each + subscription).encode()).digest()).index(worker)


def _preferred(worker: str, workers: Collection[str], ranges: Sequence[Range], own: Sequence[Range]) -> list[Range]:
    """Return the free ranges: first those whose buddy the worker has, then from another one on for each worker."""
    if worker not in workers:
        return []
    keys, start = {each.key for each in own}, _rank(worker, workers, ranges) * len(ranges) // len(workers)
    free = [(number, each) for number, each in enumerate(ranges) if each.heartbeat is None and each not in own]
    free.sort(key=lambda each: (_buddy(each[1]) not in keys, (each[0] - start) % len(ranges)))
    return [each for _, each in free]


def _with_fewest_buddies(own: Sequence[Range]) -> list[Range]:
    keys = {each.key for each in own}
    return sorted(own, key=lambda each: (_buddy(each) in keys, -each.key.low))


def _pairs(own: Sequence[Range]) -> Iterator[tuple[Range, Range]]:
    """Yield the ranges of a worker that were one."""
    by_key = {each.key: each for each in own}
    for lower in own:
        upper = by_key.get(_buddy(lower))
        if upper is not None and lower.key.low < upper.key.low and _size(lower) == _size(upper):
            yield lower, upper


def _size(range: Range) -> int:
    return range.high - range.key.low


def _buddy(range: Range) -> RangeKey:
    """Return the key of the other half of the range from which a range was split."""
    return RangeKey(range.key.subscription, range.key.generation, range.key.low ^ _size(range))
