"""Translates errors of database drivers whose cause and remedy are known. All others propagate unchanged."""

import warnings
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Final

from fait._errors import StoreUnavailable, UsageError

__all__ = [
    "transaction_failed",
    "translate_errors",
    "unsupported_connection",
    "warn_if_sqlite_outdated",
]

_MISSING_LOG = {"42883", "42P01", "3F000", "3D000"}  # undefined function, undefined table, invalid schema, no database
_NOT_READ_COMMITTED = "FA001"
_IN_FAILED_TRANSACTION = "25P02"
_READ_ONLY_TRANSACTION = "25006"
_INSUFFICIENT_PRIVILEGE = "42501"
_SQLITE_BUSY_SNAPSHOT = 517

_FIRST_WITHOUT_WAL_RESET_BUG = (3, 51, 3)
_warned: Final[list[bool]] = []


@contextmanager
def translate_errors() -> Generator[None]:
    """Replace a driver error with a fait error if its cause is known."""
    try:
        yield
    except Exception as error:
        if (translated := _translate(error)) is not None:
            raise translated from error
        raise


def unsupported_connection(given: object, advice: str) -> UsageError:
    """Return the error for an object of a supported library that is not a connection, such as a pool or a cursor."""
    return UsageError(f"outbox(...) takes a connection, not {type(given).__qualname__}. Nothing was written. {advice}")


def warn_if_sqlite_outdated(version: tuple[int, ...]) -> None:
    """Warn once per process if the SQLite of the application's driver can lose a commit."""
    if version >= _FIRST_WITHOUT_WAL_RESET_BUG or _warned:
        return
    _warned.append(True)
    warnings.warn(
        f"SQLite {'.'.join(map(str, version))}, which this connection uses, can lose a commit if it runs a WAL "
        "checkpoint while another process writes (fixed in 3.51.3). Use a Python with a newer SQLite, or execute "
        "`PRAGMA wal_autocheckpoint = 0` on each connection: then only the processes of fait run WAL checkpoints, with "
        "a current SQLite.",
        stacklevel=5,  # the caller of App.outbox
    )


def _translate(error: Exception) -> Exception | None:
    """Return the fait error, determined by SQLSTATE for PostgreSQL, and by error code or text for SQLite."""
    causes = list(_causes(error))
    states = {getattr(each, "sqlstate", None) or getattr(each, "pgcode", None) for each in causes}
    codes = {getattr(each, "sqlite_errorcode", None) for each in causes}
    texts = [str(each) for each in causes if "sqlite" in type(each).__module__]
    if states & _MISSING_LOG or any("no such table: fait_" in text for text in texts):
        return UsageError(
            "this database has no fait store (in PostgreSQL: this schema has none), or an older version of fait "
            "created it. Nothing was written. Roll back. Create the store with `fait db init --store URL`, or "
            "update it with `fait db migrate --store URL`. If the store is in another PostgreSQL schema: "
            "outbox(connection, schema=...)."
        )
    if _NOT_READ_COMMITTED in states:
        return UsageError(
            "the transaction is not READ COMMITTED, so the event would be checked against an old snapshot. Nothing was "
            "written. Roll back. Use READ COMMITTED, the default isolation level of PostgreSQL."
        )
    if _IN_FAILED_TRANSACTION in states:
        return transaction_failed()
    if states & {_READ_ONLY_TRANSACTION, _INSUFFICIENT_PRIVILEGE}:
        return StoreUnavailable(
            "the event cannot be stored: the transaction is READ ONLY, or the server is a standby, or this role has no "
            "permission to append. Roll back, and use a connection that may write to the log."
        )
    if _SQLITE_BUSY_SNAPSHOT in codes:
        return StoreUnavailable(
            "SQLite cannot upgrade this transaction to a write transaction: it began DEFERRED, and another "
            "connection has committed a write since its first read. Roll back, and retry in a transaction that begins "
            "with BEGIN IMMEDIATE."
        )
    if any("is locked" in text for text in texts):
        return StoreUnavailable(
            "the SQLite file is locked: another connection is writing, and did not finish within the timeout of this "
            "connection; or this transaction began DEFERRED, and another connection has committed a write since its "
            "first read. "
            "Roll back, and retry in a transaction that begins with BEGIN IMMEDIATE."
        )
    return None


def transaction_failed() -> UsageError:
    """Return the error for a PostgreSQL transaction that can only be rolled back."""
    return UsageError(
        "an earlier statement of this transaction failed, so PostgreSQL accepts no further statements. Nothing was "
        "written. Roll back, and correct the statement that failed first."
    )


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield the error and the errors it wraps: a library may wrap the error of its driver."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = getattr(cause, "orig", None) or cause.__cause__
