"""Ranges and workers in memory."""

from msgspec.structs import replace

from fait._store.memory.state import MemoryState
from fait._store.ports.leases import Lease, Range
from fait._store.ports.registrations import RangeKey

__all__ = ["MemoryLeases"]


class MemoryLeases:
    """The port `Leases`."""

    def __init__(self, state: MemoryState) -> None:
        self._state = state
        self._workers = state.workers

    async def ranges(self) -> list[Range]:
        registrations = sorted(self._state.registrations.items())
        return [self._with_heartbeat(self._state.range_of(each)) for _, each in registrations if each.kind != "system"]

    async def range(self, key: RangeKey) -> Range | None:
        current = self._state.ranges.get(key)
        return self._with_heartbeat(current) if current and key.subscription in self._state.registrations else None

    def _with_heartbeat(self, current: Range) -> Range:
        return replace(current, heartbeat=self._workers.get(current.worker))

    async def acquire(self, seen: Range, worker: str, definition_hash: str, epoch_id: str) -> Lease | None:
        current = await self.range(seen.key)
        if current is None or current.fencing_token != seen.fencing_token or worker not in self._workers:
            return None
        registration = self._state.registrations[seen.key.subscription]
        is_free = current.heartbeat is None or current.worker == worker
        if not is_free or (registration.definition_hash, registration.epoch_id) != (definition_hash, epoch_id):
            return None
        acquired = self._state.change(current, worker=worker)
        return Lease(
            seen.key, worker, acquired.fencing_token, acquired.position, registration.revision,
            registration.handled_types,
        )  # fmt: skip

    async def release(self, lease: Lease) -> None:
        current = self._state.ranges.get(lease.key)
        if current and (current.worker, current.fencing_token) == (lease.worker, lease.fencing_token):
            self._state.change(current)

    async def heartbeat(self, worker: str) -> list[RangeKey]:
        self._workers[worker] = self._workers.get(worker, 0) + 1
        return [key for key, each in self._state.ranges.items() if each.worker == worker]

    async def idle_workers(self) -> dict[str, int]:
        owners = {each.worker for each in self._state.ranges.values()}
        return {worker: heartbeat for worker, heartbeat in self._workers.items() if worker not in owners}

    async def expire(self, worker: str, heartbeat: int) -> None:
        if self._workers.get(worker) == heartbeat:
            del self._workers[worker]

    async def deregister(self, worker: str) -> None:
        for each in [each for each in self._state.ranges.values() if each.worker == worker]:
            self._state.change(each)
        self._workers.pop(worker, None)
