"""Registrations in PostgreSQL.

A change of a registration that also changes its ranges is a transaction of several statements. The first one locks the
registration, and waits for a split or a merge of its ranges; the snapshots of the following ones contain the result.
"""

from collections.abc import Sequence

from msgspec.structs import replace

from fait._store.ports.registrations import Registration, accepted_types, not_registered, widened
from fait._store.ports.tables import Table
from fait._store.postgres import table_sql
from fait._store.postgres.connection import Database, PostgresConnection
from fait._store.postgres.tables import create_table
from fait._store.registration_rows import from_row, to_row, types_to_json

__all__ = ["PostgresRegistrations"]


class PostgresRegistrations:
    """`Registrations` in one schema of a PostgreSQL database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._sql = database.sql

    async def registrations(self) -> list[Registration]:
        return [from_row(row) for row in await self._database.fetch("read_registrations", None)]

    async def registration(self, subscription: str) -> Registration | None:
        rows = await self._database.fetch("read_registrations", subscription)
        return from_row(rows[0]) if rows else None

    async def retired(self) -> list[str]:
        return [name for (name,) in await self._database.fetch("retired_subscriptions")]

    async def definition(self, subscription: str) -> str:
        rows = await self._database.fetch("read_definition", subscription)
        return rows[0][0] if rows else ""

    async def register(self, registration: Registration, position: int, definition: str = "") -> Registration:
        if await self._database.fetch("insert_registration", *to_row(registration), position, definition):
            return registration
        async with self._database.transaction() as connection:
            await self._replace(connection, registration, position, definition, replaces=False)
        return await self.registration(registration.subscription) or registration

    async def widen(self, subscription: str, handled_types: Sequence[str]) -> Registration:
        async with self._database.transaction() as connection:
            rows = await connection.fetch(self._sql["lock_registration"], subscription)
            if not rows:
                raise not_registered(subscription)
            before = from_row(rows[0])
            after = widened(before, handled_types)
            if after != before:
                types = types_to_json(after.handled_types)
                await connection.fetch(self._sql["update_definition"], subscription, None, types, None)
            return after

    async def pause(self, subscription: str, *, by: str, reason: str) -> bool:
        return await self._set_paused(subscription, ("pause", subscription, "{}", by, reason), paused=True)

    async def resume(self, subscription: str, *, by: str, reason: str) -> bool:
        return await self._set_paused(subscription, ("resume", subscription, "{}", by, reason), paused=False)

    async def _set_paused(self, subscription: str, action: tuple[str, ...], *, paused: bool) -> bool:
        async with self._database.transaction() as connection:
            if not await connection.fetch(self._sql["set_paused"], subscription, paused):
                return False
            if paused:
                await connection.fetch(self._sql["free_ranges"], subscription)
            await connection.fetch(self._sql["insert_action"], *action, self._database.now())
            return True

    async def accept(self, registration: Registration, definition: str = "", *, keeps_types: bool = False) -> None:
        name = registration.subscription
        async with self._database.transaction() as connection:
            for row in await connection.fetch(self._sql["lock_registration"], name):
                types = types_to_json(accepted_types(from_row(row), registration, keeps_types=keeps_types))
                values = (name, registration.definition_hash, types, definition)
                await connection.fetch(self._sql["update_definition"], *values)
                await connection.fetch(self._sql["free_ranges"], name)

    async def rename(self, old: str, new: str) -> None:
        async with self._database.transaction() as connection:
            rows = await connection.fetch(self._sql["lock_registration"], old)
            if not rows:
                return
            registration = replace(from_row(rows[0]), subscription=new)
            [[definition]] = await connection.fetch(self._sql["read_definition"], old)
            if await connection.fetch(self._sql["replace_registration"], *to_row(registration), False, definition):
                await connection.fetch(self._sql["rename_failures"], old, new)
                await connection.fetch(self._sql["rename_inbox"], old, new)
                await self._retire(connection, old)
                await connection.fetch(self._sql["move_ranges"], old, new, registration.generation)

    async def forget(self, subscription: str) -> None:
        async with self._database.transaction() as connection:
            await self._retire(connection, subscription)

    async def _retire(self, connection: PostgresConnection, subscription: str) -> None:
        if await connection.fetch(self._sql["retire_registration"], subscription):
            await connection.fetch(self._sql["free_ranges"], subscription)
            await connection.fetch(self._sql["forget_failures"], subscription)
            await connection.fetch(self._sql["forget_inbox"], subscription)

    async def reset(self, registration: Registration, table: Table, position: int, definition: str = "") -> None:
        table_sql.check_names(table)
        async with self._database.transaction() as connection:
            # The table first: `record` locks the table and the range in this order.
            await create_table(self._database, connection, table, replaces=True)
            await self._replace(connection, registration, position, definition, replaces=True)
            await connection.fetch(self._sql["forget_failures"], registration.subscription)

    async def _replace(
        self,
        connection: PostgresConnection,
        registration: Registration,
        position: int,
        definition: str,
        *,
        replaces: bool,
    ) -> None:
        """Store a registration with one free range, unless there is one that must not be replaced."""
        values = (*to_row(registration), replaces, definition)
        if await connection.fetch(self._sql["replace_registration"], *values):
            key = (registration.subscription, registration.generation)
            await connection.fetch(self._sql["reset_ranges"], *key, position)
