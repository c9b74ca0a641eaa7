"""Records units of work in PostgreSQL, in the same schema as the log.

A unit of work without statements of a handler and without failures is one SQL statement, which moves the range, and
writes the rows or appends the events. A process that stops during it leaves no transaction open, and blocks no other
process.
"""

import re
from collections.abc import Collection, Sequence
from contextlib import suppress
from functools import partial
from itertools import chain, groupby
from typing import Any, Final, Literal

import asyncpg  # pyright: ignore[reportMissingTypeStubs]
import msgspec
from msgspec.structs import asdict

from fait._errors import StoreUnavailable, UsageError
from fait._events.append import Appended, Conflict, IdConflict
from fait._store.group_commit import LOCK_TIMEOUT, LockTimeout
from fait._store.handler_sql import NO_STATEMENT, code_of, has_reserved_name
from fait._store.ports.inbox import InboxChanges
from fait._store.ports.registrations import RangeKey
from fait._store.ports.tables import constraint_violation
from fait._store.ports.unit_of_work import HandlerAppend, RangeMove, RecordResult, UnitOfWork
from fait._store.postgres import table_sql
from fait._store.postgres.connection import (
    CONNECTION_ERRORS,
    RETRYABLE_ERRORS,
    Database,
    LockNotAvailable,
    PostgresConnection,
    UniqueViolation,
    map_error,
)
from fait._store.postgres.failures import change_failures
from fait._store.postgres.identifiers import quote
from fait._store.postgres.inbox import change_inbox, offset_columns
from fait._store.postgres.leases import pending_to_sql
from fait._store.postgres.log import PostgresLog
from fait._store.postgres.move_group import MoveGroup
from fait._store.postgres.tables import reject_unstorable

__all__ = ["PostgresRecorder"]

IDLE_TIMEOUT_MS: Final = 4_000
"""Maximum time for which a transaction with a handler's statements may be idle.

If its process hangs, the next owner of the range waits for the end of this transaction. So it is shorter than the
default lease.
"""

MAX_RETRIES: Final = 20
"""Maximum number of attempts to record a unit of work whose append meets locks of concurrent transactions."""

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
_FIRST_WORD: Final = re.compile(r"\s*([a-z]*)", re.IGNORECASE)
_SET_CONFIG: Final = re.compile(r"\bset_config\b", re.IGNORECASE)

_CONSTRAINT_ERRORS: Final = (asyncpg.IntegrityConstraintViolationError, asyncpg.PLPGSQLError)  # the latter by triggers
_STATEMENT_ERRORS: Final = (
    asyncpg.CardinalityViolationError,
    asyncpg.DataError,
    asyncpg.DependentObjectsStillExistError,
    asyncpg.FeatureNotSupportedError,
    asyncpg.IntegrityConstraintViolationError,
    asyncpg.InvalidTransactionStateError,
    asyncpg.InvalidTransactionTerminationError,
    asyncpg.LockNotAvailableError,  # lock_timeout
    asyncpg.PLPGSQLError,
    asyncpg.ProgramLimitExceededError,
    asyncpg.QueryCanceledError,  # statement_timeout
    asyncpg.SyntaxOrAccessError,
)
"""Errors of the statement, not of the server: the statement would probably fail again."""

_ROW_CONSEQUENCE: Final = "Nothing was recorded. Let `evolve` return values that fit the columns."


class _RolledBack(Exception):
    """Ends a transaction because of the outcome of its append, or of a failure in an unexpected state."""

    def __init__(self, outcome: Literal["refused"] | Conflict | LockTimeout) -> None:
        self.outcome: Literal["refused"] | Conflict | LockTimeout = outcome


class PostgresRecorder:
    """`Recorder` in one schema of a PostgreSQL database."""

    def __init__(self, database: Database, log: PostgresLog) -> None:
        self._database = database
        self._log = log
        self._moves = MoveGroup(self._move_all)

    async def record(self, work: UnitOfWork) -> RecordResult:
        if _only_moves(work):
            return await self._moves.record(work.move, partial(self._record, work))
        return await self._record(work)

    async def _record(self, work: UnitOfWork) -> RecordResult:
        for sql in {statement.sql for statement in work.statements}:
            _check_statement(sql)
        for _ in range(MAX_RETRIES):
            outcome = await self._record_once(work)
            if isinstance(outcome, Appended):
                self._log.report(outcome.position)
                return "recorded"
            if isinstance(outcome, IdConflict) and work.append is not None:
                return await self._id_conflict(work.append)
            if not isinstance(outcome, LockTimeout):
                return outcome
        raise StoreUnavailable(
            f"{self._database.options.redacted_url}: the events of a handler could not be appended in {MAX_RETRIES} "
            "attempts, because of locks of concurrent transactions.",
            "not_written",
        )

    async def _id_conflict(self, append: HandlerAppend) -> IdConflict:
        """Return the conflict with the id that is in use: the error of the server does not name it."""
        ids = [event.id for _, event in append.events]
        stored = [each.id for each in await self._log.find(ids)]
        return IdConflict(next(chain(stored, (each for each in ids if ids.count(each) > 1)), ids[0]))

    async def _record_once(self, work: UnitOfWork) -> RecordResult | Appended | LockTimeout:
        """Record work in one transaction. Returns the result of its append, if it has one."""
        async with self._database.connection() as connection:
            try:
                if not work.statements and work.append is None and not work.failures and work.inbox is None:
                    return "recorded" if await self._move(connection, work) else "refused"
                if work.inbox and _only_offsets(work, work.inbox):
                    return "recorded" if await self._move_with_offsets(connection, work, work.inbox) else "refused"
                others = work.statements or work.rows or work.failures or work.inbox
                if work.append and not others:
                    with suppress(UniqueViolation, LockNotAvailable, *RETRYABLE_ERRORS):
                        return await self._move_and_append(connection, work, work.append)
                async with connection.transaction():  # it returns why the append is rejected
                    return await self._record_in_transaction(connection, work)
            except _RolledBack as error:
                return error.outcome
            except CONNECTION_ERRORS as error:
                # The caller acquires the range again. If this statement is executed later, its fencing token is old.
                raise map_error(error, self._database.options.redacted_url, "unknown") from error

    async def _move_all(self, moves: Sequence[RangeMove]) -> Collection[RangeKey]:
        """Move ranges in one statement. Returns the keys of those whose work is not fenced."""
        values = msgspec.json.encode([_move_to_json(each) for each in moves]).decode()
        async with self._database.connection() as connection:
            try:
                rows = await connection.fetch(self._database.sql["move_together"], values)
            except CONNECTION_ERRORS as error:
                raise map_error(error, self._database.options.redacted_url, "unknown") from error
        return {RangeKey(*row) for row in rows}

    async def _move_with_offsets(self, connection: PostgresConnection, work: UnitOfWork, inbox: InboxChanges) -> bool:
        """Move the position and set offsets, in one statement. Returns False if the work is fenced."""
        sql = self._database.sql
        moved = f"WITH moved AS ({sql['move_range'].rstrip(';')}) {sql['offsets_after_move']}"
        return bool(await connection.fetch(moved, *_move_values(work), *offset_columns(inbox.offsets)))

    async def _move_and_append(
        self, connection: PostgresConnection, work: UnitOfWork, append: HandlerAppend
    ) -> Literal["refused"] | Appended:
        position = await self._log.store_after_move(connection, append, _move_values(work))
        return "refused" if position is None else Appended(position, ())

    async def _record_in_transaction(
        self, connection: PostgresConnection, work: UnitOfWork
    ) -> Literal["recorded", "refused"] | Appended:
        enter = self._database.sql["enter_handler_transaction"]
        await connection.fetch(enter, quote(self._database.schema), str(IDLE_TIMEOUT_MS))
        # fault: events-stored-before-fencing-in-postgres
        if not await self._move(connection, work):
            return "refused"
        if work.failures and not await change_failures(self._database, connection, work.move.key, work.failures):
            raise _RolledBack("refused")
        inbox, consumer = work.inbox, work.move.key.subscription
        # fault: inbox-not-compared-in-postgres
        if inbox and not await change_inbox(self._database, connection, consumer, inbox):
            raise _RolledBack("refused")
        for sql, several in groupby(work.statements, key=lambda statement: statement.sql):
            await _run(connection, sql, [statement.values for statement in several])
        return "recorded" if work.append is None else await self._append(connection, work.append)

    async def _append(self, connection: PostgresConnection, append: HandlerAppend) -> Appended:
        """Append last, because readers wait from here to the end of the transaction.

        Raises:
            _RolledBack: the transaction must be rolled back.
        """
        try:
            outcome = await self._log.store(connection, append)
        except UniqueViolation:
            outcome = IdConflict(append.events[0][1].id)
        except (*RETRYABLE_ERRORS, LockNotAvailable):
            outcome = LOCK_TIMEOUT
        # fault: conflict-of-handler-ignored-in-postgres
        if not isinstance(outcome, Appended):
            raise _RolledBack(outcome)
        return outcome

    async def _move(self, connection: PostgresConnection, work: UnitOfWork) -> bool:
        """Move the position and write the rows, in one statement. Returns False if the work is fenced."""
        sql, values = self._database.sql["move_range"], list[Any]()
        if work.rows:
            sql, values = table_sql.record_rows(self._database.schema, sql.rstrip(";"), work.rows)
        names = ", ".join(sorted({repr(change.table.name) for change in work.rows}))
        with reject_unstorable(f"a row of {names} has a value that PostgreSQL cannot store", _ROW_CONSEQUENCE):
            try:
                return bool(await connection.fetch(sql, *_move_values(work), *values))
            except _CONSTRAINT_ERRORS as error:
                raise constraint_violation((change.table for change in work.rows), _constraint_name(error)) from None


def _move_values(work: UnitOfWork) -> tuple[Any, ...]:
    """Return the parameters of `move_range`."""
    move, key = work.move, work.move.key
    return (
        key.subscription, key.generation, key.low, move.fencing_token, move.revision, move.position, move.frontier,
        pending_to_sql(move.pending),
    )  # fmt: skip


def _only_moves(work: UnitOfWork) -> bool:
    # fault: inbox-forgotten-in-a-group
    return not (work.rows or work.statements or work.append or work.failures or work.inbox)


def _only_offsets(work: UnitOfWork, inbox: InboxChanges) -> bool:
    """Whether nothing but a move and offsets is recorded, as of a relay."""
    others = (work.rows, work.statements, work.append, work.failures, inbox.marks, inbox.ids, inbox.stored)
    return bool(inbox.offsets) and not any(others) and not inbox.removed


def _move_to_json(move: RangeMove) -> dict[str, Any]:
    """Return a parameter of `move_together`."""
    return {
        **asdict(move.key), "fencing_token": move.fencing_token, "revision": move.revision, "position": move.position,
        "frontier": move.frontier, "pending": pending_to_sql(move.pending),
    }  # fmt: skip


def _check_statement(sql: str) -> None:
    """Reject a statement that would end the transaction, change the session, or use fait's own tables.

    The driver runs a single command per call, so its first word identifies it.
    """
    code = code_of(sql)
    if not code:
        raise UsageError(NO_STATEMENT)
    word = _FIRST_WORD.match(code)
    if word is None or word[1].upper() not in _ALLOWED or has_reserved_name(sql) or _SET_CONFIG.search(code):
        raise UsageError(
            "a SQL statement of a handler must not control transactions, change settings or use fait's own tables. "
            f"It must begin with one of {', '.join(sorted(_ALLOWED))}, and must not contain set_config or a name that "
            "begins with fait_. Nothing was recorded. Pass a text that is such a name as a value: ctx.execute(sql, "
            "text)."
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
