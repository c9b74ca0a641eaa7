"""The ledger in PostgreSQL, in the same schema as the log.

What is recorded without a handler's statements is one statement: it moves the checkpoint and writes the rows, and a
process that stops in the middle of it holds up nobody.
"""

import re
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from itertools import groupby
from typing import Any, Final

import asyncpg  # pyright: ignore[reportMissingTypeStubs]
import msgspec

from fait._decisions.snapshot import Snapshot
from fait._errors import LeaseLost, UsageError
from fait._store.ledger import (
    Checkpoint,
    ColumnCondition,
    Lease,
    Row,
    SortOrder,
    Table,
    UnitOfWork,
    constraint_violation,
)
from fait._store.postgres import tables
from fait._store.postgres.connection import CONNECTION_ERRORS, Database, PostgresConnection, map_error
from fait._store.postgres.identifiers import quote

__all__ = ["PostgresLedger"]

IDLE_TIMEOUT_MS: Final = 10_000
"""How long a transaction with a handler's statements may stand idle: the next owner waits for it."""

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
_CONSTRAINT_ERRORS: Final = (asyncpg.IntegrityConstraintViolationError, asyncpg.PLPGSQLError)  # the latter of a trigger
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
"""The statement is at fault, not the server: it would fail again."""


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
            except CONNECTION_ERRORS as problem:
                # The checkpoint tells later: a repetition is refused if this was recorded.
                raise map_error(problem, self._database.options.redacted_url, "unknown") from problem

    async def _move(self, connection: PostgresConnection, work: UnitOfWork) -> None:
        """Move the checkpoint and write the rows, in one statement."""
        sql, values = self._database.sql["move_checkpoint"], list[Any]()
        if work.rows:
            sql, values = tables.record_rows(self._database.schema, sql.rstrip(";"), work.rows)
        names = ", ".join(sorted({repr(change.table.name) for change in work.rows}))
        with _reject_unstorable(f"a row of {names} holds what PostgreSQL cannot keep", "Nothing was recorded."):
            try:
                moved = await connection.fetch(
                    sql, work.subscription, work.after, work.position, work.fencing_token, *values
                )
            except _CONSTRAINT_ERRORS as problem:
                raise constraint_violation((change.table for change in work.rows), _constraint_name(problem)) from None
        if not moved:
            raise LeaseLost(f"{work.subscription!r} is run by another process now; nothing was recorded")

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
        # To create an index, even one that is there, waits for all who write to the table, and all others wait for it.
        there = {
            name
            for (name,) in await self._database.fetch("existing_relations", self._database.schema, list(statements))
        }
        if statements.keys() <= there:
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
            # The table first, as who records work locks it first.
            await connection.execute(tables.drop_table(schema, table))
            for statement in tables.create_table(schema, table).values():
                await connection.execute(statement)
            # A new row, so that work that waits for the old one finds it gone, even if the position is the same.
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
            with _reject_unstorable(f"{table.name!r} cannot be searched for a value that PostgreSQL cannot keep"):
                return tables.from_rows(table, await connection.fetch(sql, *values))

    async def load_snapshots(self, streams: Sequence[str]) -> list[Snapshot]:
        return [Snapshot(*row) for row in await self._database.fetch("load_snapshots", list(streams))]

    async def save_snapshot(self, snapshot: Snapshot) -> None:
        await self._database.fetch("save_snapshot", *msgspec.structs.astuple(snapshot))


def _values(checkpoint: Checkpoint) -> tuple[Any, ...]:
    return msgspec.structs.astuple(checkpoint)


@contextmanager
def _reject_unstorable(what: str, outcome: str = "") -> Generator[None]:
    """Says that a value cannot be kept, without the value, which the server's and the driver's messages may hold."""
    try:
        yield
    except _UNSTORABLE_VALUE_ERRORS as problem:
        raise UsageError(f"{what} ({type(problem).__name__}). {outcome}".rstrip()) from None


def _check_statement(sql: str) -> None:
    """Refuse what would end the transaction, leave something behind in the session, or touch fait's own tables.

    The driver runs one command at a time, so the first word says what it is.
    """
    found = _FIRST_WORD.match(sql)
    if found is None or found[1].upper() not in _ALLOWED or _FORBIDDEN.search(sql):
        raise UsageError(
            "a handler's statement may not begin or end transactions, change settings or name fait's own tables: it "
            f"begins with one of {', '.join(sorted(_ALLOWED))}, and has no name that begins with fait_. Nothing was "
            "recorded."
        )


async def _run(connection: PostgresConnection, sql: str, values: Sequence[Sequence[Any]]) -> None:
    """Run one statement for each of several lists of values, in one round trip if there is more than one."""
    try:
        if len(values) > 1:
            await connection.executemany(sql, values)
        else:
            await connection.fetch(sql, *values[0])
    except asyncpg.InterfaceError as problem:
        if connection.is_closed():
            raise
        raise UsageError(f"a handler's statement cannot be sent ({problem}). Nothing was recorded.") from None
    except _STATEMENT_ERRORS as problem:
        raise UsageError(f"a handler's statement failed ({_describe(problem)}). Nothing was recorded.") from None


def _constraint_name(problem: Any) -> str:
    """What kind of constraint it is, and its name, if it has one."""
    kind = type(problem).__name__.removesuffix("Error").removesuffix("Violation").lower()
    return f"{kind} {problem.constraint_name}" if problem.constraint_name else kind


def _describe(problem: Any) -> str:
    """What the server or the driver said about a statement, without the values that it was about."""
    name, cause = type(problem).__name__, problem.__cause__
    if isinstance(problem, asyncpg.DataError):
        return f"{name}: {cause}" if isinstance(cause, TypeError | OverflowError) else name
    return f"{name}: {problem.message}"
