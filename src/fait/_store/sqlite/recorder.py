"""Records units of work in SQLite: in the same file as the log, and written by the same thread."""

from collections.abc import Callable, Sequence
from itertools import count
from typing import Any, Final, cast

import apsw
from msgspec import json

from fait._errors import UsageError
from fait._store.handler_sql import NO_STATEMENT, code_of, has_reserved_name
from fait._store.ports.tables import RowChange, constraint_violation
from fait._store.ports.unit_of_work import HandlerStatement, RecordResult, UnitOfWork
from fait._store.sqlite import table_sql
from fait._store.sqlite.append_batch import HandlerConflict
from fait._store.sqlite.connection import SqliteConnection
from fait._store.sqlite.failures import change_failures, changes_are_expected
from fait._store.sqlite.inbox import change_inbox, is_inbox_expected
from fait._store.sqlite.log import SqliteLog
from fait._store.sqlite.statements import SQL
from fait._store.sqlite.worker_threads import WriterThread

__all__ = ["SqliteRecorder"]

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
_WRITES: Final = {apsw.SQLITE_INSERT, apsw.SQLITE_UPDATE, apsw.SQLITE_DELETE}


class SqliteRecorder:
    """`Recorder` in an SQLite file."""

    def __init__(self, writer: WriterThread, log: SqliteLog) -> None:
        self._writer = writer
        self._log = log

    async def record(self, work: UnitOfWork) -> RecordResult:
        try:
            position = await self._writer.run(lambda connection: self._record(connection, work))
        except HandlerConflict as error:  # the transaction is rolled back, and other jobs in it were repeated
            return error.conflict
        if position is None:
            return "refused"
        self._log.report(position)
        return "recorded"

    def _record(self, connection: SqliteConnection, work: UnitOfWork) -> int | None:
        """Record work. Returns the position of the last event appended, or 0; None if the work is fenced."""
        move, key = work.move, work.move.key
        if work.failures and not changes_are_expected(connection, key, work.failures):
            return None
        # fault: inbox-not-compared
        if work.inbox and not is_inbox_expected(connection, key.subscription, work.inbox):
            return None
        pending = json.encode(move.pending).decode() if move.pending else "[]"
        values = (
            key.subscription, key.generation, key.low, move.fencing_token, move.revision, move.position, move.frontier,
            pending,
        )  # fmt: skip
        # fault: events-stored-before-fencing
        if connection.execute(SQL["move_range"], values).get is None:
            return None
        if work.failures:
            change_failures(connection, key, work.failures)
        if work.inbox:
            change_inbox(connection, key.subscription, work.inbox)
        # fault: checkpoint-committed-before-rows
        for change in work.rows:
            _change(connection, change)
        if work.statements:
            _run(connection, work.statements)
        return self._log.store(connection, work.append) if work.append else 0


def _change(connection: SqliteConnection, change: RowChange) -> None:
    table = change.table
    try:
        connection.executemany(table_sql.upsert_row(table), table_sql.to_rows(table, change.upserts))
        keys = table_sql.keys_to_sql(table, change.deletes)
        connection.executemany(table_sql.delete_row(table), [(key,) for key in keys])
    except apsw.ConstraintError as error:  # its text may contain values, for example from a trigger
        code: Any = cast("Any", error).extendedresult
        kind = str(apsw.mapping_extended_result_codes.get(code, "constraint"))
        raise constraint_violation([table], kind.removeprefix("SQLITE_CONSTRAINT_").lower()) from None


def _run(connection: SqliteConnection, statements: Sequence[HandlerStatement]) -> None:
    """Run the SQL statements of a handler. They may not end the transaction or use the tables of fait."""
    connection.authorizer = _authorize
    try:
        for statement in statements:
            if not code_of(statement.sql):
                raise UsageError(NO_STATEMENT)
            # fault: shadowed-log
            if has_reserved_name(statement.sql):
                raise _rejected()
            _run_one(connection, statement)
    except apsw.AuthError:
        raise _rejected() from None
    finally:
        connection.authorizer = connection.exec_trace = None


def _run_one(connection: SqliteConnection, statement: HandlerStatement) -> None:
    connection.exec_trace = _one_statement()
    try:
        # SQLite numbers `$2` by its first appearance; bound by name, it is the second value, as on PostgreSQL.
        # fault: values-bound-by-place
        values = {str(number): value for number, value in enumerate(statement.values, 1)}
        # fault: second-statement-skipped
        connection.execute(statement.sql, values).fetchall()  # without fetching, apsw stops at the first row
    except KeyError as missing:
        raise UsageError(
            f"a SQL statement of a handler has the placeholder ${missing.args[0]}, but no value for it. Nothing was "
            "recorded. Pass one value per placeholder to ctx.execute(sql, ...)."
        ) from None
    except apsw.ExecTraceAbort:
        raise UsageError(
            "a SQL statement of a handler failed (the text has several statements). Nothing was recorded. "
            "Call ctx.execute(...) once for each statement."
        ) from None
    except (apsw.SQLError, apsw.ConstraintError, apsw.MismatchError, apsw.BindingsError, TypeError) as error:
        raise UsageError(
            f"a SQL statement of a handler failed ({error}). Nothing was recorded. "
            "Correct the statement in ctx.execute(...)."
        ) from error


def _one_statement() -> Callable[[object, str, object], bool]:
    """Return a function that apsw calls before each statement of a text. It allows one, apart from comments."""
    number = count()

    def allow(_cursor: object, sql: str, _bindings: object) -> bool:
        return not code_of(sql) or next(number) == 0

    return allow


def _rejected() -> UsageError:
    return UsageError(
        "a SQL statement of a handler was rejected: it may not begin or end transactions, attach databases, set "
        "pragmas, create triggers, or contain a name that begins with fait_. Nothing was recorded. Remove it from "
        "ctx.execute(...); pass a text that is such a name as a value: ctx.execute(sql, text)."
    )


def _authorize(operation: int, name: str | None, *_: object) -> int:
    """Allow an operation, unless it is forbidden or writes to a table of fait, which a trigger or a view could do."""
    reserved = operation in _WRITES and name is not None and name.startswith("fait_")
    return apsw.SQLITE_DENY if reserved or operation in _FORBIDDEN else apsw.SQLITE_OK
