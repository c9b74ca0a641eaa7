"""Registrations in memory."""

from collections.abc import Sequence

from msgspec.structs import replace

from fait._store.memory.state import MemoryState
from fait._store.ports.leases import Range
from fait._store.ports.registrations import RangeKey, Registration, not_registered, widened
from fait._store.ports.tables import Table

__all__ = ["MemoryRegistrations"]


class MemoryRegistrations:
    """The port `Registrations`."""

    def __init__(self, state: MemoryState) -> None:
        self._state = state
        self._live = state.registrations

    async def registrations(self) -> list[Registration]:
        return [each for _, each in sorted(self._live.items()) if each.kind != "system"]

    async def registration(self, subscription: str) -> Registration | None:
        return self._live.get(subscription)

    async def retired(self) -> list[str]:
        return sorted(self._state.retired)

    async def register(self, registration: Registration, position: int) -> Registration:
        if registration.subscription not in self._live:
            self._set(registration, position)
        return self._live[registration.subscription]

    async def widen(self, subscription: str, handled_types: Sequence[str]) -> Registration:
        if subscription not in self._live:
            raise not_registered(subscription)
        self._live[subscription] = widened(self._live[subscription], handled_types)
        return self._live[subscription]

    async def accept(self, registration: Registration) -> None:
        if current := self._live.get(registration.subscription):
            self._live[current.subscription] = replace(
                current,
                definition_hash=registration.definition_hash,
                handled_types=registration.handled_types,
                revision=current.revision + 1,
            )
            self._state.change(self._state.range_of(current))

    async def rename(self, old: str, new: str) -> None:
        if old in self._live and new not in self._live:
            renamed = self._live[old]
            await self.forget(old)
            freed = self._state.range_of(renamed)
            self._set(replace(renamed, subscription=new), freed.position, freed.fencing_token)

    async def forget(self, subscription: str) -> None:
        if retired := self._live.pop(subscription, None):
            self._state.retired[subscription] = retired
            self._state.change(self._state.range_of(retired))

    async def reset(self, registration: Registration, table: Table, position: int) -> None:
        self._state.tables[table.name] = {}
        self._set(registration, position)

    def _set(self, registration: Registration, position: int, min_token: int = 0) -> None:
        """Store a registration and its range. The revision and the fencing token are greater than any earlier one."""
        name = registration.subscription
        if previous := self._live.get(name) or self._state.retired.pop(name, None):
            registration = replace(registration, revision=max(previous.revision, registration.revision) + 1)
        self._live[name] = registration
        key = RangeKey(name, registration.generation)
        token = max(self._state.ranges[key].fencing_token + 1 if key in self._state.ranges else 0, min_token)
        self._state.ranges[key] = Range(key, position, "", token, None)
