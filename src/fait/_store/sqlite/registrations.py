"""Registrations in SQLite."""

from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace

from fait._clock import Clock
from fait._store.ports.registrations import SLOTS, Registration, accepted_types, not_registered, widened
from fait._store.ports.tables import Table
from fait._store.registration_rows import from_row, to_row, types_to_json
from fait._store.sqlite.connection import SqliteConnection
from fait._store.sqlite.inbox import forget_inbox, rename_inbox
from fait._store.sqlite.statements import SQL
from fait._store.sqlite.tables import create_table
from fait._store.sqlite.timestamps import to_timestamp
from fait._store.sqlite.worker_threads import ReaderThreads, WriterThread

__all__ = ["SqliteRegistrations"]


class SqliteRegistrations:
    """`Registrations` in an SQLite file."""

    def __init__(self, writer: WriterThread, readers: ReaderThreads, clock: Clock) -> None:
        self._writer = writer
        self._readers = readers
        self._clock = clock

    async def registrations(self) -> list[Registration]:
        return await self._readers.run(lambda connection: _read(connection, None))

    async def registration(self, subscription: str) -> Registration | None:
        rows = await self._readers.run(lambda connection: _read(connection, subscription))
        return rows[0] if rows else None

    async def retired(self) -> list[str]:
        rows = await self._readers.run(lambda connection: connection.execute(SQL["retired_subscriptions"]).fetchall())
        return [name for (name,) in rows]

    async def definition(self, subscription: str) -> str:
        return await self._readers.run(lambda connection: _read_definition(connection, subscription))

    async def register(self, registration: Registration, position: int, definition: str = "") -> Registration:
        def job(connection: SqliteConnection) -> Registration:
            _set(connection, registration, [_range_at(position)], definition)
            return _read(connection, registration.subscription)[0]

        return await self._writer.run(job)

    async def widen(self, subscription: str, handled_types: Sequence[str]) -> Registration:
        return await self._writer.run(lambda connection: _widen(connection, subscription, handled_types))

    async def pause(self, subscription: str, *, by: str, reason: str) -> bool:
        return await self._set_paused(subscription, ("pause", subscription, "{}", by, reason), paused=True)

    async def resume(self, subscription: str, *, by: str, reason: str) -> bool:
        return await self._set_paused(subscription, ("resume", subscription, "{}", by, reason), paused=False)

    async def _set_paused(self, subscription: str, action: tuple[str, ...], *, paused: bool) -> bool:
        now = to_timestamp(self._clock.now())

        def job(connection: SqliteConnection) -> bool:
            changed = bool(connection.execute(SQL["set_paused"], (subscription, paused)).fetchall())
            if changed:
                connection.execute(SQL["insert_action"], (*action, now))
            if changed and paused:
                connection.execute(SQL["free_ranges"], (subscription,))
            return changed

        return await self._writer.run(job)

    async def accept(self, registration: Registration, definition: str = "", *, keeps_types: bool = False) -> None:
        def job(connection: SqliteConnection) -> None:
            name = registration.subscription
            for current in _read(connection, name):
                types = types_to_json(accepted_types(current, registration, keeps_types=keeps_types))
                values = (name, registration.definition_hash, types, definition)
                connection.execute(SQL["update_definition"], values).fetchall()
                connection.execute(SQL["free_ranges"], (name,))

        await self._writer.run(job)

    async def rename(self, old: str, new: str) -> None:
        await self._writer.run(lambda connection: _rename(connection, old, new))

    async def forget(self, subscription: str) -> None:
        await self._writer.run(lambda connection: _forget(connection, subscription))

    async def reset(self, registration: Registration, table: Table, position: int, definition: str = "") -> None:
        def job(connection: SqliteConnection) -> None:
            create_table(connection, table, replaces=True)
            connection.execute(SQL["forget_failures"], (registration.subscription,))
            _set(connection, registration, [_range_at(position)], definition, replaces=True)

        await self._writer.run(job)


def _read(connection: SqliteConnection, subscription: str | None) -> list[Registration]:
    return [from_row(row) for row in connection.execute(SQL["read_registrations"], (subscription,)).fetchall()]


def _read_definition(connection: SqliteConnection, subscription: str) -> str:
    return connection.execute(SQL["read_definition"], (subscription,)).get or ""


def _range_at(position: int) -> tuple[Any, ...]:
    """Return the values of a range of all hashes, after those of its registration."""
    return 0, SLOTS, position, position, "[]", "", 0


def _set(
    connection: SqliteConnection,
    registration: Registration,
    ranges: Sequence[tuple[Any, ...]],
    definition: str,
    *,
    replaces: bool = False,
) -> None:
    """Store a registration with free ranges, unless there is one that must not be replaced."""
    if connection.execute(SQL["set_registration"], (*to_row(registration), replaces, definition)).fetchall():
        key = (registration.subscription, registration.generation)
        token = connection.execute(SQL["next_token"], key).get
        connection.execute(SQL["delete_ranges"], key)
        connection.executemany(SQL["insert_range"], [(*key, *each, token) for each in ranges])


def _widen(connection: SqliteConnection, subscription: str, handled_types: Sequence[str]) -> Registration:
    rows = _read(connection, subscription)
    if not rows:
        raise not_registered(subscription)
    after = widened(rows[0], handled_types)
    if after != rows[0]:
        values = (subscription, None, types_to_json(after.handled_types), None)
        connection.execute(SQL["update_definition"], values).fetchall()
    return after


def _rename(connection: SqliteConnection, old: str, new: str) -> None:
    rows = _read(connection, old)
    if not rows or _read(connection, new):
        return
    connection.execute(SQL["rename_failures"], (old, new))
    rename_inbox(connection, old, new)
    # fault: renamed-without-parts
    definition = _read_definition(connection, old)
    _forget(connection, old)
    ranges = connection.execute(SQL["freed_ranges"], (old, rows[0].generation)).fetchall()
    _set(connection, replace(rows[0], subscription=new), ranges, definition)


def _forget(connection: SqliteConnection, subscription: str) -> None:
    connection.execute(SQL["retire_registration"], (subscription,))
    connection.execute(SQL["free_ranges"], (subscription,))
    connection.execute(SQL["forget_failures"], (subscription,))
    forget_inbox(connection, subscription)
