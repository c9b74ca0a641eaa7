"""The tables of read models in SQLite."""

from collections.abc import Sequence
from typing import Any

import msgspec

from fait._store.ports.tables import ColumnCondition, Row, SortOrder, Table, name_taken
from fait._store.sqlite import table_sql
from fait._store.sqlite.connection import SqliteConnection
from fait._store.sqlite.statements import SQL
from fait._store.sqlite.worker_threads import ReaderThreads, WriterThread

__all__ = ["SqliteTables", "create_table"]


class SqliteTables:
    """`Tables` in an SQLite file."""

    def __init__(self, writer: WriterThread, readers: ReaderThreads) -> None:
        self._writer = writer
        self._readers = readers

    async def create_table(self, table: Table) -> None:
        await self._writer.run(lambda connection: create_table(connection, table))

    async def rows(self, table: Table, keys: Sequence[Any]) -> list[Row]:
        keys_json = msgspec.json.encode(table_sql.keys_to_sql(table, keys)).decode()
        statement = table_sql.select_keys(table)
        rows = await self._readers.run(lambda connection: connection.execute(statement, (keys_json,)).fetchall())
        return list(table_sql.from_rows(table, rows))

    async def select(
        self,
        table: Table,
        where: Sequence[ColumnCondition] = (),
        *,
        order: Sequence[SortOrder] = (),
        after_row: Sequence[Any] | None = None,
        limit: int | None = None,
    ) -> list[Row]:
        statement, values = table_sql.select_rows(table, where, order, after_row, limit)
        rows = await self._readers.run(lambda connection: connection.execute(statement, values).fetchall())
        return list(table_sql.from_rows(table, rows))


def create_table(connection: SqliteConnection, table: Table, *, replaces: bool = False) -> None:
    """Create a table and its indexes, in the transaction of the connection.

    Args:
        connection: the connection, in a transaction.
        table: the table.
        replaces: whether to drop the table first if it exists. Otherwise, what exists is kept.

    Raises:
        UsageError: something that fait has not created has one of the names.
    """
    statements = table_sql.create_table(table)
    existing = _existing_names(connection, table, list(statements))
    if replaces:
        connection.execute(table_sql.drop_table(table))  # with its indexes
    for name, statement in statements.items():
        if replaces or name.lower() not in existing:
            connection.execute(statement)


def _existing_names(connection: SqliteConnection, table: Table, names: Sequence[str]) -> set[str]:
    """Return which names of the table and its indexes exist; raise if one of them is not fait's."""
    rows = connection.execute(SQL["existing_relations"], (msgspec.json.encode(names).decode(),)).fetchall()
    for name, kind, owner, definition in rows:
        is_index = kind == "index" and owner.lower() == table.name.lower() and name != table.name.lower()
        # fault: sqlite-adopts-user-table
        if not is_index and table_sql.MARKER not in (definition or ""):
            raise name_taken(table, name, kind)
    return {name for name, *_ in rows}
