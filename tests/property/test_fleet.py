"""Workers that share the ranges of a subscription from the same rows soon agree, whatever happened before."""

from collections import Counter
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from fait._store.ports.leases import Range
from fait._store.ports.registrations import SLOTS, RangeKey
from fait._subscriptions.fleet import MAX_RANGES, MERGE_DELAY, SPLIT_DELAY, RangePlan, WorkerCounts, plan_ranges

LEASE_S = 5.0


class Fleet:
    """Workers, and the ranges of a subscription as the store has them."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.ranges = [Range(RangeKey("s"), 0, "", 1, None)]
        self.workers: list[str] = []
        self.wanted = 1

    def set_size(self, size: int) -> None:
        """Let workers join, or crash."""
        self.random.shuffle(self.workers)
        self.workers = self.workers[:size]
        while len(self.workers) < size:
            self.workers.append(f"worker-{self.random.randrange(10**9)}")
        self.wanted = 1 if size == 1 else 1 << (4 * size - 1).bit_length()

    def look(self, newcomers: float = 0.0) -> None:
        """Let each worker look once, and do what it decides; some look at what was there a moment ago.

        Args:
            newcomers: ratio of the workers that have not counted the others for long enough to merge ranges.
        """
        before = self.seen()
        for worker in self.random.sample(self.workers, len(self.workers)):
            seen = before if self.random.random() < 0.3 else self.seen()
            at_most = MAX_RANGES if self.random.random() < newcomers else self.wanted
            self.apply(worker, plan_ranges(worker, self.workers, seen, self.wanted, at_most))

    def seen(self) -> list[Range]:
        """Return the ranges with the heartbeats of their workers."""
        return [replace(each, heartbeat=1 if each.worker in self.workers else None) for each in self.ranges]

    def apply(self, worker: str, plan: RangePlan) -> None:
        """Do what a worker has decided, as far as the fencing tokens are those that it saw."""
        for each in plan.acquire:
            current = self.find(each)
            if current is not None and (current.worker not in self.workers or current.worker == worker):
                self.put(current, worker=worker)
        for key in plan.release:
            self.put(next(each for each in self.ranges if each.key == key), worker="")
        for each in plan.split:
            if (current := self.find(each)) is not None:
                middle = (current.key.low + current.high) // 2
                self.ranges.append(
                    replace(current, key=RangeKey("s", 1, middle), fencing_token=current.fencing_token + 1)
                )
                self.put(current, high=middle)
        for lower, upper in plan.merge:
            first, second = self.find(lower), self.find(upper)
            if first is not None and second is not None:
                self.ranges.remove(second)
                self.put(first, high=second.high, fencing_token=max(first.fencing_token, second.fencing_token))
        self.ranges.sort(key=lambda each: each.key.low)

    def find(self, seen: Range) -> Range | None:
        """Return a range as it is, if its fencing token is the one that was seen."""
        matches = (each for each in self.ranges if (each.key, each.fencing_token) == (seen.key, seen.fencing_token))
        return next(matches, None)

    def put(self, current: Range, **changes: object) -> None:
        """Change a range under a new fencing token."""
        token = max(current.fencing_token, int(str(changes.get("fencing_token", 0)))) + 1
        self.ranges[self.ranges.index(current)] = replace(current, **{**changes, "fencing_token": token})

    @property
    def tiles(self) -> bool:
        """Whether the ranges cover all hashes exactly once."""
        lows = [each.key.low for each in self.ranges]
        return lows[0] == 0 and lows[1:] == [each.high for each in self.ranges[:-1]] and self.ranges[-1].high == SLOTS


@given(st.integers(0, 2**32), st.lists(st.integers(1, 12), min_size=1, max_size=4))
@settings(max_examples=150, deadline=None)
def test_workers_that_join_and_crash_agree_within_a_few_looks(seed: int, sizes: list[int]) -> None:
    fleet = Fleet(seed)
    for size in sizes:
        fleet.set_size(size)
        for _ in range(fleet.random.randrange(20)):
            fleet.look(newcomers=0.3)
            assert fleet.tiles
    for _ in range(40):
        fleet.look()
        assert fleet.tiles

    owned, share = Counter(each.worker for each in fleet.ranges), len(fleet.ranges) / len(fleet.workers)
    assert len(fleet.ranges) == fleet.wanted
    assert set(owned) == set(fleet.workers)
    assert max(owned.values()) - min(owned.values()) <= 1
    assert max(owned.values()) <= max(1.25 * share, 1)
    for each in fleet.workers:
        plan = plan_ranges(each, fleet.workers, fleet.seen(), fleet.wanted, len(fleet.ranges))
        assert not any((plan.acquire, plan.release, plan.split, plan.merge, plan.lacks))


def test_one_worker_that_is_left_has_one_range() -> None:
    fleet = Fleet(1)
    for size in (4, 1):
        fleet.set_size(size)
        for _ in range(20):
            fleet.look()

    assert len(fleet.ranges) == 1


def test_worker_that_makes_no_progress_releases_its_ranges() -> None:
    fleet = Fleet(1)
    fleet.set_size(2)
    for _ in range(20):
        fleet.look()
    tired = fleet.workers[0]

    plan = plan_ranges(tired, fleet.workers[1:], fleet.seen(), fleet.wanted, fleet.wanted)

    assert len(plan.release) == len(fleet.ranges) // 2
    assert not plan.acquire


def test_range_stays_with_its_worker_if_there_are_too_few_for_all() -> None:
    fleet = Fleet(1)
    fleet.set_size(1)
    fleet.look()
    fleet.set_size(3)

    assert all(not plan_ranges(each, fleet.workers, fleet.seen(), 1, 1).release for each in fleet.workers)


@pytest.mark.parametrize(
    ("counts", "now", "split", "merge"),
    [
        ([(0, 1)], 0, 1, 256),
        ([(0, 4)], SPLIT_DELAY * LEASE_S, 16, 256),
        ([(0, 4)], MERGE_DELAY * LEASE_S, 16, 16),
        ([(0, 1), (99, 2)], 99 + SPLIT_DELAY * LEASE_S - 1, 1, 8),
        ([(0, 1), (99, 2)], 99 + SPLIT_DELAY * LEASE_S + 1, 8, 8),
        ([(0, 4), (99, 1)], 100, 1, 16),
        ([(0, 4), (99, 1)], 99 + MERGE_DELAY * LEASE_S + 1, 1, 1),
        ([(0, 1), (99, 2), (100, 1)], 101, 1, 8),
        ([(0, 500)], 99, 256, 256),
    ],
)  # fmt: skip
def test_ranges_are_split_soon_and_merged_late(
    counts: list[tuple[float, int]], now: float, split: int, merge: int
) -> None:
    history = WorkerCounts(LEASE_S)
    for time, count in counts:
        history.add(time, count)
    history.add(now, counts[-1][1])

    assert (history.ranges_to_split(now), history.ranges_to_merge(now)) == (split, merge)
