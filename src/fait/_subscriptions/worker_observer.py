"""Finds workers whose heartbeat stands still, by the monotonic clock of this process alone.

A crashed worker and one on a busy machine look the same. If a worker was expired and still lives, it gets more time:
otherwise, workers whose heartbeats are late would take ranges from each other before they have recorded anything.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Final

from fait._store.ports.leases import Range, RegisteredWorker

__all__ = ["IDLE_WORKER_TIMEOUT_S", "WorkerObserver"]

IDLE_WORKER_TIMEOUT_S: Final = 60.0
"""Minimum time without a heartbeat after which a worker is removed that runs none of the same subscriptions."""

MEMORY_S: Final = 3600.0
"""Time for which a worker that is gone is remembered, with what is known of its heartbeats, in case that it lives."""

MAX_DOUBLINGS: Final = 2
"""How many times the timeout of a worker is doubled that was expired and still lives."""


class WorkerObserver:
    """Finds workers whose heartbeat stands still.

    Args:
        worker: id of this process.
        subscriptions: names of the subscriptions that it runs.
        lease_s: duration of a lease, in seconds.

    Attributes:
        expiries: monotonic time at which each other worker is expired, unless its heartbeat changes, by its id.
    """

    def __init__(self, worker: str, subscriptions: frozenset[str], lease_s: float) -> None:
        self.expiries: Mapping[str, float] = {}
        self._worker = worker
        self._subscriptions = subscriptions
        self._lease_s = lease_s
        self._since: dict[str, tuple[int, float]] = {}
        self._expired: dict[str, int] = {}  # heartbeats at which workers were expired
        self._late = Counter[str]()  # how many times a worker was expired although it lives
        self._seen: dict[str, float] = {}  # when each worker was there last

    @property
    def expires_at(self) -> float:
        """Monotonic time at which the next worker is expired, unless its heartbeat changes."""
        return min(self.expiries.values(), default=float("inf"))

    def expired(
        self, workers: Sequence[RegisteredWorker], ranges: Sequence[Range], now: float
    ) -> list[RegisteredWorker]:
        """Return the workers whose heartbeat has stood still for too long.

        Args:
            workers: all workers.
            ranges: all ranges.
            now: monotonic time.
        """
        owners = {each.worker for each in ranges if each.key.subscription in self._subscriptions}
        previous, self._since = self._since, {}
        self._seen |= {each.worker.id: now for each in workers}
        self._forget_before(now - MEMORY_S)
        for each in workers:
            id, heartbeat = each.worker.id, each.heartbeat
            last, since = previous.get(id, (None, now))
            # fault: late-worker-expired-again-and-again
            if self._expired.pop(id, heartbeat) != heartbeat:
                self._late[id] += 1
            # fault: worker-of-live-heartbeat-expired
            self._since[id] = (heartbeat, since if last == heartbeat else now)
        self.expiries = {
            each.worker.id: self._expiry(each, owners) for each in workers if each.worker.id != self._worker
        }
        # fault: crashed-worker-never-expires
        expired = [each for each in workers if self.expiries.get(each.worker.id, now + 1) <= now]
        self._expired |= {each.worker.id: each.heartbeat for each in expired}
        return expired

    def _forget_before(self, time: float) -> None:
        """Forget workers that are gone: each process that starts has another id."""
        # fault: gone-workers-remembered
        for id in [id for id, seen in self._seen.items() if seen < time]:
            del self._seen[id], self._late[id]
            self._expired.pop(id, None)

    def _expiry(self, registered: RegisteredWorker, owners: Collection[str]) -> float:
        """Return when a worker is expired. One that runs other subscriptions may have a longer lease."""
        worker = registered.worker
        shares = worker.id in owners or not self._subscriptions.isdisjoint(worker.runs)
        # fault: worker-of-other-subscriptions-expired-early
        timeout_s = self._lease_s if shares else max(self._lease_s, IDLE_WORKER_TIMEOUT_S)
        return self._since[worker.id][1] + timeout_s * 2 ** min(self._late[worker.id], MAX_DOUBLINGS)
