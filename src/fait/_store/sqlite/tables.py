"""The tables of read models in SQLite."""

from collections.abc import Sequence
from typing import Any

import msgspec

from fait._store.ports.tables import ColumnCondition, Row, SortOrder, Table
from fait._store.sqlite import table_sql
from fait._store.sqlite.connection import SqliteConnection
from fait._store.sqlite.worker_threads import ReaderThreads, WriterThread

__all__ = ["SqliteTables"]


class SqliteTables:
    """`Tables` in an SQLite file."""

    def __init__(self, writer: WriterThread, readers: ReaderThreads) -> None:
        self._writer = writer
        self._readers = readers

    async def create_table(self, table: Table) -> None:
        def job(connection: SqliteConnection) -> None:
            for statement in table_sql.create_table(table):
                connection.execute(statement)

        await self._writer.run(job)

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
