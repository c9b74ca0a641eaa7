"""The ledger in SQLite: in the same file as the log, and written by the same thread."""

from collections.abc import Sequence
from typing import Any, Final, cast

import apsw
import msgspec

from fait._decisions.snapshot import Snapshot
from fait._errors import UsageError
from fait._store.ledger import (
    Checkpoint,
    ColumnCondition,
    HandlerStatement,
    Lease,
    Row,
    RowChange,
    SortOrder,
    Table,
    UnitOfWork,
    constraint_violation,
    lease_lost,
)
from fait._store.sqlite import tables
from fait._store.sqlite.connection import SqliteConnection
from fait._store.sqlite.statements import SQL
from fait._store.sqlite.worker_threads import ReaderThreads, WriterThread

__all__ = ["SqliteLedger"]

_RESERVED_PREFIX: Final = "fait_"
_FORBIDDEN: Final = {
    apsw.SQLITE_CREATE_TRIGGER,
    apsw.SQLITE_CREATE_TEMP_TRIGGER,
    apsw.SQLITE_DROP_TRIGGER,
    apsw.SQLITE_DROP_TEMP_TRIGGER,
    apsw.SQLITE_TRANSACTION,
    apsw.SQLITE_SAVEPOINT,
    apsw.SQLITE_ATTACH,
    apsw.SQLITE_DETACH,
    apsw.SQLITE_PRAGMA,
}
_WRITES: Final = {
    apsw.SQLITE_INSERT,
    apsw.SQLITE_UPDATE,
    apsw.SQLITE_DELETE,
    apsw.SQLITE_DROP_TABLE,
    apsw.SQLITE_ALTER_TABLE,
}


class SqliteLedger:
    """`Ledger` in an SQLite file."""

    def __init__(self, writer: WriterThread, readers: ReaderThreads) -> None:
        self._writer = writer
        self._readers = readers

    async def checkpoints(self) -> list[Checkpoint]:
        rows = await self._read("read_checkpoints", None)
        return [Checkpoint(*row) for row in rows]

    async def checkpoint(self, subscription: str) -> Checkpoint | None:
        rows = await self._read("read_checkpoints", subscription)
        return Checkpoint(*rows[0]) if rows else None

    async def start_checkpoint(self, checkpoint: Checkpoint) -> Checkpoint:
        def job(connection: SqliteConnection) -> Checkpoint:
            connection.execute(SQL["start_checkpoint"], _values(checkpoint))
            return Checkpoint(*connection.execute(SQL["read_checkpoints"], (checkpoint.subscription,)).fetchall()[0])

        return await self._writer.run(job)

    async def rename_subscription(self, old: str, new: str) -> None:
        await self._write("rename_checkpoint", old, new)

    async def forget_subscription(self, subscription: str) -> None:
        await self._write("delete_checkpoint", subscription)
        await self._write("free_lease", subscription)

    async def record(self, work: UnitOfWork) -> None:
        await self._writer.run(lambda connection: _record(connection, work))

    async def lease(self, name: str) -> Lease:
        rows = await self._read("read_lease", name)
        return Lease(name, *rows[0]) if rows else Lease(name, "", 0, 0)

    async def acquire(self, seen: Lease, owner: str) -> Lease | None:
        rows = await self._write("acquire_lease", seen.name, owner, seen.owner, seen.fencing_token, seen.heartbeat)
        return Lease(seen.name, owner, *rows[0]) if rows else None

    async def heartbeat(self, owner: str) -> list[str]:
        return [name for (name,) in await self._write("heartbeat_leases", owner)]

    async def release(self, lease: Lease) -> None:
        await self._write("release_lease", lease.name, lease.owner, lease.fencing_token)

    async def release_all(self, owner: str) -> None:
        await self._write("release_all_leases", owner)

    async def create_table(self, table: Table) -> None:
        def job(connection: SqliteConnection) -> None:
            for statement in tables.create_table(table):
                connection.execute(statement)

        await self._writer.run(job)

    async def reset_table(self, table: Table, checkpoint: Checkpoint) -> None:
        def job(connection: SqliteConnection) -> None:
            for statement in (tables.drop_table(table), *tables.create_table(table)):
                connection.execute(statement)
            connection.execute(SQL["set_checkpoint"], _values(checkpoint))
            connection.execute(SQL["free_lease"], (checkpoint.subscription,))

        await self._writer.run(job)

    async def rows(self, table: Table, keys: Sequence[Any]) -> list[Row]:
        keys_json = msgspec.json.encode(tables.keys_to_sql(table, keys)).decode()
        statement = tables.select_keys(table)
        rows = await self._readers.run(lambda connection: connection.execute(statement, (keys_json,)).fetchall())
        return list(tables.from_rows(table, rows))

    async def select(
        self,
        table: Table,
        where: Sequence[ColumnCondition] = (),
        *,
        order: Sequence[SortOrder] = (),
        after_row: Sequence[Any] | None = None,
        limit: int | None = None,
    ) -> list[Row]:
        statement, values = tables.select_rows(table, where, order, after_row, limit)
        rows = await self._readers.run(lambda connection: connection.execute(statement, values).fetchall())
        return list(tables.from_rows(table, rows))

    async def load_snapshots(self, streams: Sequence[str]) -> list[Snapshot]:
        rows = await self._read("load_snapshots", msgspec.json.encode(streams).decode())
        return [Snapshot(*row) for row in rows]

    async def save_snapshot(self, snapshot: Snapshot) -> None:
        await self._write("save_snapshot", *msgspec.structs.astuple(snapshot))

    async def _read(self, statement: str, *values: Any) -> list[Any]:
        return await self._readers.run(lambda connection: connection.execute(SQL[statement], values).fetchall())

    async def _write(self, statement: str, *values: Any) -> list[Any]:
        return await self._writer.run(lambda connection: connection.execute(SQL[statement], values).fetchall())


def _values(checkpoint: Checkpoint) -> tuple[Any, ...]:
    return msgspec.structs.astuple(checkpoint)


def _record(connection: SqliteConnection, work: UnitOfWork) -> None:
    moved = connection.execute(
        SQL["move_checkpoint"], (work.subscription, work.after, work.position, work.fencing_token)
    ).get
    if moved is None:
        raise lease_lost(work.subscription)
    # fault: checkpoint-committed-before-rows
    for change in work.rows:
        _change(connection, change)
    if work.statements:
        _run(connection, work.statements)


def _change(connection: SqliteConnection, change: RowChange) -> None:
    table = change.table
    try:
        connection.executemany(tables.upsert_row(table), tables.to_rows(table, change.upserts))
        keys = tables.keys_to_sql(table, change.deletes)
        connection.executemany(tables.delete_row(table), [(key,) for key in keys])
    except apsw.ConstraintError as error:  # its text may contain values, for example from a trigger
        code: Any = cast("Any", error).extendedresult
        kind = str(apsw.mapping_extended_result_codes.get(code, "constraint"))
        raise constraint_violation([table], kind.removeprefix("SQLITE_CONSTRAINT_").lower()) from None


def _run(connection: SqliteConnection, statements: Sequence[HandlerStatement]) -> None:
    """Run the SQL statements of a handler. They may not end the transaction or write to the tables of fait."""
    connection.authorizer = _authorize
    try:
        for statement in statements:
            # SQLite numbers `$2` by its first appearance; bound by name, it is the second value, as on PostgreSQL.
            # fault: values-bound-by-place
            values = {str(number): value for number, value in enumerate(statement.values, 1)}
            # fault: second-statement-skipped
            connection.execute(statement.sql, values).fetchall()  # without fetching, apsw stops at the first row
    except KeyError as missing:
        raise UsageError(
            f"a SQL statement of a handler has the placeholder ${missing.args[0]}, but no value for it. Nothing was "
            "recorded; the subscription will retry. Pass one value per placeholder to ctx.execute(sql, ...)."
        ) from None
    except (apsw.SQLError, apsw.ConstraintError, apsw.MismatchError, apsw.BindingsError, TypeError) as error:
        raise UsageError(
            f"a SQL statement of a handler failed ({error}). Nothing was recorded; the subscription will retry. "
            "Correct the statement in ctx.execute(...)."
        ) from error
    except apsw.AuthError:
        raise UsageError(
            "a SQL statement of a handler was rejected: it may not begin or end transactions, attach databases, set "
            "pragmas, or write to the fait_* tables. Nothing was recorded. Remove it from ctx.execute(...)."
        ) from None
    finally:
        connection.authorizer = None


def _authorize(operation: int, name: str | None, other_name: str | None, *_: object) -> int:
    if operation == apsw.SQLITE_ALTER_TABLE:
        name = other_name  # the first argument is the name of the database
    reserved = operation in _WRITES and name is not None and name.startswith(_RESERVED_PREFIX)
    return apsw.SQLITE_DENY if reserved or operation in _FORBIDDEN else apsw.SQLITE_OK
