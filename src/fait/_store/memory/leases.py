"""Ranges and workers in memory."""

from operator import attrgetter

from msgspec.structs import replace

from fait._store.memory.state import MemoryState
from fait._store.ports.leases import Lease, Range, RegisteredWorker, Worker
from fait._store.ports.registrations import RangeKey

__all__ = ["MemoryLeases"]


class MemoryLeases:
    """The port `Leases`."""

    def __init__(self, state: MemoryState) -> None:
        self._state = state
        self._workers = state.workers

    async def ranges(self, subscription: str | None = None) -> list[Range]:
        registrations = [each for _, each in sorted(self._state.registrations.items()) if each.kind != "system"]
        if subscription is not None:
            registrations = [each for each in registrations if each.subscription == subscription]
        return [self._as_seen(each) for registration in registrations for each in self._state.ranges_of(registration)]

    async def range(self, key: RangeKey) -> Range | None:
        current = self._state.ranges.get(key)
        return self._as_seen(current) if current and key.subscription in self._state.registrations else None

    def _as_seen(self, current: Range) -> Range:
        """Return a range with the heartbeat of its worker and its lowest failure."""
        worker = self._workers.get(current.worker)
        first = min(self._state.failures_of(current), key=attrgetter("next_position", "key"), default=None)
        return replace(
            current,
            heartbeat=worker.heartbeat if worker else None,
            failed_position=first.next_position if first else None,
            failed_key=first.key if first else "",
        )

    async def acquire(self, seen: Range, worker: str, definition_hash: str, epoch_id: str) -> Lease | None:
        current = await self.range(seen.key)
        if current is None or current.fencing_token != seen.fencing_token or worker not in self._workers:
            return None
        registration = self._state.registrations[seen.key.subscription]
        is_free = current.heartbeat is None or current.worker == worker
        if not is_free or registration.paused:
            return None
        if (registration.definition_hash, registration.epoch_id) != (definition_hash, epoch_id):
            return None
        acquired = self._state.change(self._state.ranges[seen.key], worker=worker)
        return Lease(
            acquired.key,
            worker,
            acquired.fencing_token,
            acquired.position,
            registration.revision,
            registration.handled_types,
            high=acquired.high,
            frontier=acquired.frontier,
            pending=self._state.pending[acquired.key],
            failures=self._state.failures_of(acquired),
        )

    def _owned(self, lease: Lease) -> Range | None:
        """Return the range of a lease; None if the lease was lost."""
        current = self._state.ranges.get(lease.key)
        if current is None or (current.worker, current.fencing_token) != (lease.worker, lease.fencing_token):
            return None
        return current

    async def release(self, lease: Lease) -> None:
        if current := self._owned(lease):
            self._state.change(current)

    async def report(self, lease: Lease, health: str) -> None:
        if current := self._owned(lease):
            self._state.ranges[lease.key] = replace(current, health=health)

    async def split(self, lease: Lease, middle: int) -> bool:
        current = self._owned(lease)
        if current is None or not lease.key.low < middle < current.high:
            return False
        upper = replace(current, key=replace(current.key, low=middle))
        self._state.put(upper, self._state.pending[current.key])
        for each in (replace(current, high=middle), upper):
            self._state.change(each, worker=lease.worker)
        return True

    async def merge(self, lower: Lease, upper: Lease) -> bool:
        first, second = self._owned(lower), self._owned(upper)
        if first is None or second is None or first.worker != second.worker:
            return False
        are_neighbors = replace(first.key, low=first.high) == second.key
        are_at_one_position = len({first.position, first.frontier, second.position, second.frontier}) == 1
        if not (are_neighbors and are_at_one_position):
            return False
        self._state.remove(second.key)
        token = max(first.fencing_token, second.fencing_token)
        whole = replace(first, high=second.high, fencing_token=token)
        self._state.change(whole, worker=first.worker)
        return True

    async def heartbeat(self, worker: Worker) -> list[RangeKey]:
        previous = self._workers.get(worker.id) or RegisteredWorker(worker, 0, self._state.clock.now())
        self._workers[worker.id] = replace(previous, worker=worker, heartbeat=previous.heartbeat + 1)
        return [key for key, each in self._state.ranges.items() if each.worker == worker.id]

    async def workers(self) -> list[RegisteredWorker]:
        return [each for _, each in sorted(self._workers.items())]

    async def expire(self, worker: str, heartbeat: int) -> None:
        if (current := self._workers.get(worker)) and current.heartbeat == heartbeat:
            del self._workers[worker]

    async def deregister(self, worker: str) -> None:
        for each in [each for each in self._state.ranges.values() if each.worker == worker]:
            self._state.change(each)
        self._workers.pop(worker, None)
