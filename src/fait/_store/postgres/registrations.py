"""Registrations in PostgreSQL."""

from collections.abc import Sequence

from fait._store.ports.registrations import Registration, not_registered, widened
from fait._store.ports.tables import Table
from fait._store.postgres import table_sql
from fait._store.postgres.connection import Database
from fait._store.postgres.tables import create_table
from fait._store.registration_rows import from_row, to_row, types_to_json

__all__ = ["PostgresRegistrations"]


class PostgresRegistrations:
    """`Registrations` in one schema of a PostgreSQL database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def registrations(self) -> list[Registration]:
        return [from_row(row) for row in await self._database.fetch("read_registrations", None)]

    async def registration(self, subscription: str) -> Registration | None:
        rows = await self._database.fetch("read_registrations", subscription)
        return from_row(rows[0]) if rows else None

    async def retired(self) -> list[str]:
        return [name for (name,) in await self._database.fetch("retired_subscriptions")]

    async def register(self, registration: Registration, position: int) -> Registration:
        await self._database.fetch("set_registration", *to_row(registration), position, False)
        return await self.registration(registration.subscription) or registration

    async def widen(self, subscription: str, handled_types: Sequence[str]) -> Registration:
        sql = self._database.sql
        async with self._database.transaction() as connection:
            rows = await connection.fetch(sql["lock_registration"], subscription)
            if not rows:
                raise not_registered(subscription)
            before = from_row(rows[0])
            after = widened(before, handled_types)
            if after != before:
                await connection.fetch(sql["widen_registration"], subscription, types_to_json(after.handled_types))
            return after

    async def accept(self, registration: Registration) -> None:
        name, types = registration.subscription, types_to_json(registration.handled_types)
        await self._database.fetch("accept_registration", name, registration.definition_hash, types)

    async def rename(self, old: str, new: str) -> None:
        await self._database.fetch("rename_registration", old, new)

    async def forget(self, subscription: str) -> None:
        await self._database.fetch("forget_registration", subscription)

    async def reset(self, registration: Registration, table: Table, position: int) -> None:
        table_sql.check_names(table)
        async with self._database.transaction() as connection:
            # The table first: `record` locks the table and the range in this order.
            await create_table(self._database, connection, table, replaces=True)
            set_registration = self._database.sql["set_registration"]
            await connection.fetch(set_registration, *to_row(registration), position, True)
