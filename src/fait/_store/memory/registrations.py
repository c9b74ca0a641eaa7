"""Registrations in memory."""

from collections.abc import Sequence

from msgspec.structs import replace

from fait._store.memory.state import MemoryState
from fait._store.ports.leases import Range
from fait._store.ports.registrations import RangeKey, Registration, accepted_types, not_registered, widened
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

    async def definition(self, subscription: str) -> str:
        return self._state.definitions.get(subscription, "") if subscription in self._live else ""

    async def register(self, registration: Registration, position: int, definition: str = "") -> Registration:
        if registration.subscription not in self._live:
            self._set(registration, [(_range_at(registration, position), ())], definition)
        return self._live[registration.subscription]

    async def widen(self, subscription: str, handled_types: Sequence[str]) -> Registration:
        if subscription not in self._live:
            raise not_registered(subscription)
        self._live[subscription] = widened(self._live[subscription], handled_types)
        return self._live[subscription]

    async def pause(self, subscription: str, *, by: str, reason: str) -> bool:
        if changed := self._set_paused(subscription, paused=True):
            self._state.free_ranges(self._live[subscription])
            self._state.record_action("pause", subscription, "{}", by, reason)
        return changed

    async def resume(self, subscription: str, *, by: str, reason: str) -> bool:
        if changed := self._set_paused(subscription, paused=False):
            self._state.record_action("resume", subscription, "{}", by, reason)
        return changed

    def _set_paused(self, subscription: str, *, paused: bool) -> bool:
        current = self._live.get(subscription)
        if current is None or current.paused == paused:
            return False
        self._live[subscription] = replace(current, paused=paused)
        return True

    async def accept(self, registration: Registration, definition: str = "", *, keeps_types: bool = False) -> None:
        if current := self._live.get(registration.subscription):
            self._live[current.subscription] = replace(
                current,
                definition_hash=registration.definition_hash,
                handled_types=accepted_types(current, registration, keeps_types=keeps_types),
                revision=current.revision + 1,
            )
            self._state.definitions[current.subscription] = definition
            self._state.free_ranges(current)

    async def rename(self, old: str, new: str) -> None:
        if old in self._live and new not in self._live:
            renamed = self._live[old]
            consumer = self._state.consumers.get(old)
            failures = [each for each in self._state.failures.values() if each.subscription == old]
            await self.forget(old)
            ranges = [(each, self._state.pending[each.key]) for each in self._state.ranges_of(renamed)]
            self._set(replace(renamed, subscription=new), ranges, self._state.definitions[old])
            for each in failures:
                self._state.failures[new, each.generation, each.key] = replace(each, subscription=new)
            if consumer:
                self._state.consumers[new] = consumer

    async def forget(self, subscription: str) -> None:
        if retired := self._live.pop(subscription, None):
            self._state.retired[subscription] = retired
            self._state.free_ranges(retired)
            self._remove_failures(retired)
            self._state.consumers.pop(subscription, None)

    def _remove_failures(self, registration: Registration) -> None:
        for each in [each for each in self._state.failures if each[0] == registration.subscription]:
            del self._state.failures[each]

    async def reset(self, registration: Registration, table: Table, position: int, definition: str = "") -> None:
        self._state.tables[table.name] = {}
        self._remove_failures(registration)
        self._set(registration, [(_range_at(registration, position), ())], definition)

    def _set(
        self, registration: Registration, ranges: Sequence[tuple[Range, tuple[int, ...]]], definition: str
    ) -> None:
        """Store a registration with free ranges and what is pending. No revision and no fencing token is used twice."""
        name = registration.subscription
        if previous := self._live.get(name) or self._state.retired.pop(name, None):
            registration = replace(registration, revision=max(previous.revision, registration.revision) + 1)
        self._live[name], self._state.definitions[name] = registration, definition
        previous_ranges, token = self._state.ranges_of(registration), 0
        for each in previous_ranges:
            token = max(token, each.fencing_token + 1)
            self._state.remove(each.key)
        for each, pending in ranges:
            key = replace(each.key, subscription=name)
            self._state.put(replace(each, key=key, fencing_token=max(token, each.fencing_token)), pending)


def _range_at(registration: Registration, position: int) -> Range:
    """Return a free range of all hashes."""
    key = RangeKey(registration.subscription, registration.generation)
    return Range(key, position, "", 0, None, frontier=position)
