"""The shares of the workers in the ranges of a subscription: one worker's decisions, from rows that all can read.

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
    """The changes that a worker makes to the ranges of a subscription.

    Attributes:
        acquire: free ranges to acquire.
        release: its ranges to release, to workers that have fewer, or that have the other half.
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
    if worker not in workers:
        return RangePlan(release=[each.key for each in ranges if each.worker == worker])
    # fault: halves-stay-with-two-workers
    units = _units(workers, ranges, at_most)
    own = [each for each in units if each.owner == worker]
    quota = _quota(worker, workers, units)
    # fault: worker-keeps-its-surplus
    if len(own) > quota:
        surplus = _with_fewest_buddies(own)[: len(own) - quota]
        return RangePlan(release=[each.key for unit in surplus for each in unit.ranges if each.worker == worker])
    wanted = own + _preferred(worker, workers, units, own)[: quota - len(own)]
    return RangePlan(
        acquire=[each for unit in wanted for each in unit.ranges if each.heartbeat is None and each.worker != worker],
        release=[each.key for unit in units if unit.owner != worker for each in unit.ranges if each.worker == worker],
        split=[each for unit in own for each in unit.ranges if at_least * _size(each) > SLOTS],
        merge=[(unit.ranges[0], unit.ranges[1]) for unit in own if unit.is_ready_to_merge],
        lacks=max(0, min(quota, max(1, len(units) // len(workers))) - len(own)),
    )


class _Unit(Struct, frozen=True):
    """A range, or the two halves of one that are to be merged: it counts as one, and belongs to one worker.

    Attributes:
        ranges: the range, or its lower and upper half.
        owner: id of the worker that has it; of halves that two have, the one of the lower half; "" for a free range.
    """

    ranges: Sequence[Range]
    owner: str

    @property
    def low(self) -> int:
        return self.ranges[0].key.low

    @property
    def buddy_low(self) -> int:
        """Where the other half of the range begins from which this one was split."""
        return self.low ^ (self.ranges[-1].high - self.low)

    @property
    def is_ready_to_merge(self) -> bool:
        """Whether its owner has two halves."""
        return [each.worker for each in self.ranges] == [self.owner] * 2

    @property
    def is_free(self) -> bool:
        """Whether a worker may take it, or the half of it that is free."""
        return not self.owner and any(each.heartbeat is None for each in self.ranges)


def _units(workers: Collection[str], ranges: Sequence[Range], at_most: int) -> list[_Unit]:
    """Return the ranges in order, halves that are to be merged as one."""
    units = list[list[Range]]()
    for each in ranges:
        if units and _are_to_be_merged(units[-1], each, at_most):
            units[-1].append(each)
        else:
            units.append([each])
    return [_Unit(unit, next((each.worker for each in unit if each.worker in workers), "")) for unit in units]


def _are_to_be_merged(lower: Sequence[Range], upper: Range, at_most: int) -> bool:
    size = _size(upper)
    return len(lower) == 1 and lower[0].key.low == upper.key.low ^ size and at_most * size < SLOTS


def _quota(worker: str, workers: Collection[str], units: Sequence[_Unit]) -> int:
    """Return how many units a worker may have.

    Units that cannot be shared evenly stay where they are, unless a worker has too few.
    """
    share, rest = divmod(len(units), len(workers))
    counts = Counter(each.owner for each in units)
    if any(counts[each] < share for each in workers):
        return share + (_rank(worker, workers, units) < rest)
    return share + (rest > 0)


def _rank(worker: str, workers: Collection[str], units: Sequence[_Unit]) -> int:
    """Return the place of a worker in an order that differs from subscription to subscription."""
    from hashlib import sha256  # here, as it is slow to import

    subscription = units[0].ranges[0].key.subscription
    return sorted(workers, key=lambda each: sha256((each + subscription).encode()).digest()).index(worker)


def _preferred(worker: str, workers: Collection[str], units: Sequence[_Unit], own: Sequence[_Unit]) -> list[_Unit]:
    """Return the free units: first those whose buddy the worker has, then from another one on for each worker."""
    lows, start = {each.low for each in own}, _rank(worker, workers, units) * len(units) // len(workers)
    free = [(number, each) for number, each in enumerate(units) if each.is_free]
    free.sort(key=lambda each: (each[1].buddy_low not in lows, (each[0] - start) % len(units)))
    return [each for _, each in free]


def _with_fewest_buddies(own: Sequence[_Unit]) -> list[_Unit]:
    lows = {each.low for each in own}
    return sorted(own, key=lambda each: (each.buddy_low in lows, -each.low))


def _size(range: Range) -> int:
    return range.high - range.key.low
