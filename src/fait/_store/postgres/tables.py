"""The tables of read models in PostgreSQL."""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import asyncpg  # pyright: ignore[reportMissingTypeStubs]

from fait._errors import UsageError
from fait._store.ports.tables import ColumnCondition, Row, SortOrder, Table
from fait._store.postgres import table_sql
from fait._store.postgres.connection import Database

__all__ = ["PostgresTables", "reject_unstorable"]

_UNSTORABLE_VALUE_ERRORS: Final = (asyncpg.DataError, asyncpg.ProgramLimitExceededError)
_QUERY_CONSEQUENCE: Final = "Nothing was read. Compare the column with a value that fits it."


class PostgresTables:
    """`Tables` in one schema of a PostgreSQL database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def create_table(self, table: Table) -> None:
        table_sql.check_names(table)
        statements = table_sql.create_table(self._database.schema, table)
        # CREATE INDEX IF NOT EXISTS locks the table even if the index exists: it waits for writers, and blocks others.
        rows = await self._database.fetch("existing_relations", self._database.schema, list(statements))
        if statements.keys() <= {name for (name,) in rows}:
            return
        async with self._database.transaction() as connection:
            await connection.fetch(self._database.sql["lock_tables"], self._database.schema)
            for statement in statements.values():
                await connection.execute(statement)

    async def rows(self, table: Table, keys: Sequence[Any]) -> list[Row]:
        return await self._select(table, *table_sql.select_keys(self._database.schema, table, keys))

    async def select(
        self,
        table: Table,
        where: Sequence[ColumnCondition] = (),
        *,
        order: Sequence[SortOrder] = (),
        after_row: Sequence[Any] | None = None,
        limit: int | None = None,
    ) -> list[Row]:
        return await self._select(
            table, *table_sql.select_rows(self._database.schema, table, where, order, after_row, limit)
        )

    async def _select(self, table: Table, sql: str, values: Sequence[Any]) -> list[Row]:
        async with self._database.connection() as connection:
            with reject_unstorable(
                f"the query of {table.name!r} has a value that PostgreSQL cannot store", _QUERY_CONSEQUENCE
            ):
                return table_sql.from_rows(table, await connection.fetch(sql, *values))


@contextmanager
def reject_unstorable(message: str, consequence: str) -> Generator[None]:
    """Raise UsageError for a value that cannot be stored, without the value that the original message may contain."""
    try:
        yield
    except _UNSTORABLE_VALUE_ERRORS as error:
        raise UsageError(f"{message} ({type(error).__name__}). {consequence}") from None
