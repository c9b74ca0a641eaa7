"""A store in memory."""

import inspect
from collections.abc import Sequence
from typing import NoReturn

from fait._clock import Clock
from fait._decisions.snapshot import Snapshot
from fait._errors import StoreUnavailable
from fait._store.memory.failures import MemoryFailures
from fait._store.memory.inbox import MemoryInbox
from fait._store.memory.leases import MemoryLeases
from fait._store.memory.log import MemoryLog
from fait._store.memory.recorder import MemoryRecorder
from fait._store.memory.registrations import MemoryRegistrations
from fait._store.memory.state import MemoryState
from fait._store.memory.tables import MemoryTables
from fait._store.ports.store import PORTS, Finding, OpeningState, read_opening_state
from fait._store.ports.tables import Table
from fait._store.position_signal import STORE_CLOSED

__all__ = ["MemoryStore"]


class MemorySnapshots:
    """The port `SnapshotStore`."""

    def __init__(self) -> None:
        self._snapshots: dict[str, Snapshot] = {}

    async def load_snapshots(self, streams: Sequence[str]) -> list[Snapshot]:
        return [self._snapshots[stream] for stream in streams if stream in self._snapshots]

    async def save_snapshot(self, snapshot: Snapshot) -> None:
        self._snapshots[snapshot.stream] = snapshot


class MemoryStore:
    """A store in memory: all ports without a database."""

    def __init__(self, clock: Clock) -> None:
        state = MemoryState(clock)
        self.log = MemoryLog(clock)
        self.registrations = MemoryRegistrations(state)
        self.leases = MemoryLeases(state)
        self.failures = MemoryFailures(state)
        self.inbox = MemoryInbox(state)
        self.recorder = MemoryRecorder(state, self.log)
        self.tables = MemoryTables(state)
        self.snapshots = MemorySnapshots()

    async def opening_state(self, tables: Sequence[Table]) -> OpeningState:
        """Return what opening an app compares with its declarations."""
        return await read_opening_state(self)

    async def examine(self) -> list[Finding]:
        """Return nothing: there is no database to check."""
        return []

    async def close(self) -> None:
        """Wake waiting readers with `StoreUnavailable`, and let all ports raise it from now on."""
        self.log.close()
        for name in PORTS:
            _refuse_calls(getattr(self, name))


def _refuse_calls(port: object) -> None:
    """Replace the asynchronous methods of a port."""
    for name, _ in inspect.getmembers(port, inspect.iscoroutinefunction):
        # fault: closed-memory-store-answers
        setattr(port, name, _refuse)


async def _refuse(*_: object, **__: object) -> NoReturn:
    raise StoreUnavailable(STORE_CLOSED)
