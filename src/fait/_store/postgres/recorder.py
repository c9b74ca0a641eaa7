"""The ledger in PostgreSQL, in the same schema as the log.

A unit of work without statements of a handler is one SQL statement, which moves the checkpoint and writes the rows. A
process that stops during it leaves no transaction open, and blocks no other process.
"""

import re
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from itertools import groupby
from typing import Any, Final

import asyncpg  # pyright: ignore[reportMissingTypeStubs]
import msgspec

from fait._decisions.snapshot import Snapshot
from fait._errors import UsageError
from fait._store.ports.leases import Lease
from fait._store.ports.tables import ColumnCondition, Row, SortOrder, Table, constraint_violation
from fait._store.ports.unit_of_work import UnitOfWork
from fait._store.postgres import tables
from fait._store.postgres.connection import CONNECTION_ERRORS, Database, PostgresConnection, map_error
from fait._store.postgres.identifiers import quote

__all__ = ["PostgresLedger"]

IDLE_TIMEOUT_MS: Final = 10_000
"""Maximum time for which a transaction with a handler's statements may be idle: the next owner waits for its end."""

_ALLOWED: Final = {
    "ALTER",
    "CALL",
    "COMMENT",
    "CREATE",
    "DELETE",
    "DO",
    "DROP",
    "INSERT",
    "LOCK",
    "MERGE",
    "NOTIFY",
    "REFRESH",
    "SELECT",
    "TRUNCATE",
    "UPDATE",
    "VALUES",
    "WITH",
}
_FIRST_WORD: Final = re.compile(r"(?:\s|--[^\r\n]*|/\*(?:(?!/\*).)*?\*/)*([a-z]*)", re.IGNORECASE | re.DOTALL)
_FORBIDDEN: Final = re.compile(r"\b(?:fait_|set_config\b)", re.IGNORECASE)

_UNSTORABLE_VALUE_ERRORS: Final = (asyncpg.DataError, asyncpg.ProgramLimitExceededError)
_CONSTRAINT_ERRORS: Final = (asyncpg.IntegrityConstraintViolationError, asyncpg.PLPGSQLError)  # the latter by triggers
_STATEMENT_ERRORS: Final = (
    asyncpg.CardinalityViolationError,
    asyncpg.DataError,
    asyncpg.DependentObjectsStillExistError,
    asyncpg.FeatureNotSupportedError,
    asyncpg.IntegrityConstraintViolationError,
    asyncpg.InvalidTransactionStateError,
    asyncpg.InvalidTransactionTerminationError,
    asyncpg.PLPGSQLError,
    asyncpg.ProgramLimitExceededError,
    asyncpg.SyntaxOrAccessError,
)
"""Errors of the statement, not of the server: the statement would fail again."""

_ROW_CONSEQUENCE: Final = (
    "Nothing was recorded; the subscription will retry. Let `evolve` return values that fit the columns."
)
_QUERY_CONSEQUENCE: Final = "Nothing was read. Compare the column with a value that fits it."


class PostgresLedger:
    """`Ledger` in one schema of a PostgreSQL database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def checkpoints(self) -> list[Checkpoint]:
        return [Checkpoint(*row) for row in await self._database.fetch("read_checkpoints", None)]

    async def checkpoint(self, subscription: str) -> Checkpoint | None:
        rows = await self._database.fetch("read_checkpoints", subscription)
        return Checkpoint(*rows[0]) if rows else None

    async def start_checkpoint(self, checkpoint: Checkpoint) -> Checkpoint:
        await self._database.fetch("start_checkpoint", *_values(checkpoint))
        return await self.checkpoint(checkpoint.subscription) or checkpoint

    async def rename_subscription(self, old: str, new: str) -> None:
        await self._database.fetch("rename_checkpoint", old, new)

    async def forget_subscription(self, subscription: str) -> None:
        async with self._database.transaction() as connection:
            await connection.fetch(self._database.sql["delete_checkpoint"], subscription)
            await connection.fetch(self._database.sql["free_lease"], subscription)

    async def record(self, work: UnitOfWork) -> None:
        for sql in {statement.sql for statement in work.statements}:
            _check_statement(sql)
        async with self._database.connection() as connection:
            try:
                if not work.statements:
                    await self._move(connection, work)
                    return
                async with connection.transaction():
                    enter = self._database.sql["enter_handler_transaction"]
                    await connection.fetch(enter, quote(self._database.schema), str(IDLE_TIMEOUT_MS))
                    await self._move(connection, work)
                    for sql, several in groupby(work.statements, key=lambda statement: statement.sql):
                        await _run(connection, sql, [statement.values for statement in several])
            except CONNECTION_ERRORS as error:
                # A retry is safe: if this unit of work was committed, the checkpoint no longer matches.
                raise map_error(error, self._database.options.redacted_url, "unknown") from error

    async def _move(self, connection: PostgresConnection, work: UnitOfWork) -> None:
        """Move the checkpoint and write the rows, in one statement."""
        sql, values = self._database.sql["move_checkpoint"], list[Any]()
        if work.rows:
            sql, values = tables.record_rows(self._database.schema, sql.rstrip(";"), work.rows)
        names = ", ".join(sorted({repr(change.table.name) for change in work.rows}))
        with _reject_unstorable(f"a row of {names} has a value that PostgreSQL cannot store", _ROW_CONSEQUENCE):
            try:
                moved_rows = await connection.fetch(
                    sql, work.subscription, work.after, work.position, work.fencing_token, *values
                )
            except _CONSTRAINT_ERRORS as error:
                raise constraint_violation((change.table for change in work.rows), _constraint_name(error)) from None
        if not moved_rows:
            raise lease_lost(work.subscription)

    async def lease(self, name: str) -> Lease:
        rows = await self._database.fetch("read_lease", name)
        return Lease(name, *rows[0]) if rows else Lease(name, "", 0, 0)

    async def acquire(self, seen: Lease, owner: str) -> Lease | None:
        rows = await self._database.fetch(
            "acquire_lease", seen.name, owner, seen.owner, seen.fencing_token, seen.heartbeat
        )
        return Lease(seen.name, owner, *rows[0]) if rows else None

    async def heartbeat(self, owner: str) -> list[str]:
        return [name for (name,) in await self._database.fetch("heartbeat_leases", owner)]

    async def release(self, lease: Lease) -> None:
        await self._database.fetch("release_lease", lease.name, lease.owner, lease.fencing_token)

    async def release_all(self, owner: str) -> None:
        await self._database.fetch("release_all_leases", owner)

    async def create_table(self, table: Table) -> None:
        tables.check_names(table)
        statements = tables.create_table(self._database.schema, table)
        # CREATE INDEX IF NOT EXISTS locks the table even if the index exists: it waits for writers, and blocks others.
        rows = await self._database.fetch("existing_relations", self._database.schema, list(statements))
        if statements.keys() <= {name for (name,) in rows}:
            return
        async with self._database.transaction() as connection:
            await connection.fetch(self._database.sql["lock_tables"], self._database.schema)
            for statement in statements.values():
                await connection.execute(statement)

    async def reset_table(self, table: Table, checkpoint: Checkpoint) -> None:
        tables.check_names(table)
        schema, sql, subscription = self._database.schema, self._database.sql, checkpoint.subscription
        async with self._database.transaction() as connection:
            await connection.fetch(sql["lock_tables"], schema)
            # The table first: `record` locks the table and the checkpoint in this order.
            await connection.execute(tables.drop_table(schema, table))
            for statement in tables.create_table(schema, table).values():
                await connection.execute(statement)
            # Delete and insert: a unit of work that waits for the old row then fails, even if the position is the same.
            await connection.fetch(sql["delete_checkpoint"], subscription)
            await connection.fetch(sql["set_checkpoint"], *_values(checkpoint))
            await connection.fetch(sql["free_lease"], subscription)

    async def rows(self, table: Table, keys: Sequence[Any]) -> list[Row]:
        return await self._select(table, *tables.select_keys(self._database.schema, table, keys))

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
            table, *tables.select_rows(self._database.schema, table, where, order, after_row, limit)
        )

    async def _select(self, table: Table, sql: str, values: Sequence[Any]) -> list[Row]:
        async with self._database.connection() as connection:
            with _reject_unstorable(
                f"the query of {table.name!r} has a value that PostgreSQL cannot store", _QUERY_CONSEQUENCE
            ):
                return tables.from_rows(table, await connection.fetch(sql, *values))

    async def load_snapshots(self, streams: Sequence[str]) -> list[Snapshot]:
        return [Snapshot(*row) for row in await self._database.fetch("load_snapshots", list(streams))]

    async def save_snapshot(self, snapshot: Snapshot) -> None:
        await self._database.fetch("save_snapshot", *msgspec.structs.astuple(snapshot))


def _values(checkpoint: Checkpoint) -> tuple[Any, ...]:
    return msgspec.structs.astuple(checkpoint)


@contextmanager
def _reject_unstorable(message: str, consequence: str) -> Generator[None]:
    """Raise UsageError for a value that cannot be stored, without the value that the original message may contain."""
    try:
        yield
    except _UNSTORABLE_VALUE_ERRORS as error:
        raise UsageError(f"{message} ({type(error).__name__}). {consequence}") from None


def _check_statement(sql: str) -> None:
    """Reject a statement that would end the transaction, change the session, or use fait's own tables.

    The driver runs a single command per call, so its first word identifies it.
    """
    match = _FIRST_WORD.match(sql)
    if match is None or match[1].upper() not in _ALLOWED or _FORBIDDEN.search(sql):
        raise UsageError(
            "a SQL statement of a handler must not control transactions, change settings or use fait's own tables. "
            f"It must begin with one of {', '.join(sorted(_ALLOWED))}, and must not contain set_config or a name that "
            "begins with fait_. Nothing was recorded."
        )


async def _run(connection: PostgresConnection, sql: str, values: Sequence[Sequence[Any]]) -> None:
    """Run a statement once for each list of values, in one round trip."""
    try:
        if len(values) > 1:
            await connection.executemany(sql, values)
        else:
            await connection.fetch(sql, *values[0])
    except asyncpg.InterfaceError as error:
        if connection.is_closed():
            raise
        raise UsageError(
            f"a SQL statement of a handler cannot be sent ({error}). Nothing was recorded; the subscription will "
            "retry. Correct the statement in ctx.execute(...)."
        ) from None
    except _STATEMENT_ERRORS as error:
        raise UsageError(
            f"a SQL statement of a handler failed ({_describe(error)}). Nothing was recorded; the subscription will "
            "retry. Correct the statement in ctx.execute(...)."
        ) from None


def _constraint_name(error: Any) -> str:
    """The kind of the violated constraint, and its name if it has one."""
    kind = type(error).__name__.removesuffix("Error").removesuffix("Violation").lower()
    return f"{kind} {error.constraint_name}" if error.constraint_name else kind


def _describe(error: Any) -> str:
    """An error message of the server or the driver, without values."""
    name, cause = type(error).__name__, error.__cause__
    if isinstance(error, asyncpg.DataError):
        return f"{name}: {cause}" if isinstance(cause, TypeError | OverflowError) else name
    return f"{name}: {error.message}"
