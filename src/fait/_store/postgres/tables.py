"""The tables of read models in PostgreSQL."""

from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Final

import asyncpg  # pyright: ignore[reportMissingTypeStubs]

from fait._errors import UsageError
from fait._store.ports.tables import ColumnCondition, Row, SortOrder, Table, name_taken
from fait._store.postgres import table_sql
from fait._store.postgres.connection import Database, PostgresConnection

__all__ = ["PostgresTables", "create_table", "reject_unstorable"]

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
        if statements.keys() <= _existing_names(table, rows):
            return
        async with self._database.transaction() as connection:
            await create_table(self._database, connection, table)

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


async def create_table(
    database: Database, connection: PostgresConnection, table: Table, *, replaces: bool = False
) -> None:
    """Create a table and its indexes, in the transaction of a connection.

    Args:
        database: the database.
        connection: the connection, in a transaction.
        table: the table.
        replaces: whether to drop the table first if it exists. Otherwise, what exists is kept.

    Raises:
        UsageError: something that fait has not created has one of the names.
    """
    schema, sql, statements = database.schema, database.sql, table_sql.create_table(database.schema, table)
    await connection.fetch(sql["lock_tables"], schema)
    existing = _existing_names(table, await connection.fetch(sql["existing_relations"], schema, list(statements)))
    if replaces and table.name in existing:
        await connection.execute(table_sql.drop_table(schema, table))  # with its indexes
        existing = set[str]()
    for name, statement in statements.items():
        if name not in existing:
            await connection.execute(statement)


def complete_tables(schema: str, tables: Iterable[Table], rows: Sequence[Any]) -> frozenset[str]:
    """Return the names of the tables that exist with all their indexes.

    Args:
        schema: the schema.
        tables: the tables to look for.
        rows: what has the name of one of them, or of an index: rows of `existing_relations`.
    """
    complete = set[str]()
    for table in tables:
        names = table_sql.create_table(schema, table).keys()
        with suppress(UsageError):  # the table is then found again when it is to be created
            if names <= _existing_names(table, [row for row in rows if row[0] in names]):
                complete.add(table.name)
    return frozenset(complete)


def _existing_names(table: Table, rows: Iterable[Any]) -> set[str]:
    """Return which names of the table and its indexes exist; raise if one of them is not fait's."""
    existing = set[str]()
    for name, kind, owner, comment in rows:
        is_index = kind == "index" and owner == table.name and name != table.name
        is_table = kind == "table" and name == table.name and (comment or "").startswith(table_sql.MARKER)
        # fault: postgres-adopts-user-table
        if not is_index and not is_table:
            raise name_taken(table, name, kind)
        existing.add(name)
    return existing


@contextmanager
def reject_unstorable(message: str, consequence: str) -> Generator[None]:
    """Raise UsageError for a value that cannot be stored, without the value that the original message may contain."""
    try:
        yield
    except _UNSTORABLE_VALUE_ERRORS as error:
        raise UsageError(f"{message} ({type(error).__name__}). {consequence}") from None
