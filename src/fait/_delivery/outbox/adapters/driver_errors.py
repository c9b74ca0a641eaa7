"""Translates errors of database drivers whose cause and remedy are known. All others propagate unchanged."""

import re
import warnings
from collections.abc import AsyncGenerator, Callable, Generator, Iterator, Sequence
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    AsyncExitStack,
    ExitStack,
    asynccontextmanager,
    contextmanager,
)
from typing import Final

from fait._errors import StoreUnavailable, UsageError

__all__ = [
    "begin",
    "begin_async",
    "transaction_failed",
    "translate_errors",
    "unsupported_connection",
    "warn_if_sqlite_outdated",
]

_MISSING_LOG: Final = (
    "this database has no fait store (in PostgreSQL: this schema has none), or an older version of fait created it. "
    "Nothing was written. Roll back. Create the store with `fait db init --store URL`, or update it with "
    "`fait db migrate --store URL`. If the store is in another PostgreSQL schema: outbox(connection, schema=...)."
)
_FAILED: Final = (
    "an earlier statement of this transaction failed, so PostgreSQL accepts no further statements. Nothing was "
    "written. Roll back, and correct the statement that failed first."
)
_NOT_UTF8: Final = (
    "the event contains a character that the encoding of the database or of this connection lacks. Nothing was "
    "written. Roll back. Set client_encoding to UTF8; fait requires a database with the encoding UTF8."
)
_USAGE_ERRORS: Final = {
    "22021": _NOT_UTF8,  # character_not_in_repertoire
    "22P05": _NOT_UTF8,  # untranslatable_character
    "25P02": _FAILED,  # in_failed_sql_transaction
    "3D000": _MISSING_LOG,  # invalid_catalog_name
    "3F000": _MISSING_LOG,  # invalid_schema_name
    "42883": _MISSING_LOG,  # undefined_function
    "42P01": _MISSING_LOG,  # undefined_table
    "FA001": "the transaction is not READ COMMITTED, so the event would be checked against an old snapshot. Nothing "
    "was written. Roll back. Use READ COMMITTED, the default isolation level of PostgreSQL.",
}
"""Messages by the SQLSTATE of an error that is the caller's."""

_NOT_WRITABLE: Final = (
    "the event cannot be stored: the transaction is READ ONLY, or the server is a standby, or this role has no "
    "permission to append. Roll back, and use a connection that may write to the log."
)
_CONCURRENT: Final = (
    "the event cannot be stored, because a concurrent transaction has changed the same stream, or waits for a lock of "
    "this one. Roll back, and retry the transaction."
)
_TIMED_OUT: Final = (
    "the event was not stored within the lock_timeout or the statement_timeout of this transaction: another one has "
    "probably locked the same stream. Roll back, and retry the transaction. `fait doctor` names a session that holds "
    "locks of the log for a long time."
)
_LOST: Final = (
    "the connection to the server is lost. Roll back or close it, and retry the transaction on another connection."
)
_UNAVAILABLE: Final = {
    "23505": "another transaction has stored an event with the same id or key, and committed after this one had looked "
    "for it. Roll back, and retry the transaction: if it is the same event, it is not stored again.",
    "25006": _NOT_WRITABLE,  # read_only_sql_transaction
    "40001": _CONCURRENT,  # serialization_failure
    "40P01": _CONCURRENT,  # deadlock_detected
    "42501": _NOT_WRITABLE,  # insufficient_privilege
    "55P03": _TIMED_OUT,  # lock_not_available
    "57014": _TIMED_OUT,  # query_canceled
    "25P03": _LOST,  # idle_in_transaction_session_timeout
    "57P01": _LOST,  # admin_shutdown
    "57P02": _LOST,  # crash_shutdown
    "57P03": _LOST,  # cannot_connect_now
    "57P05": _LOST,  # idle_session_timeout
    "FA003": "the log was restored, copied or failed over, and not adopted since: positions could be assigned again. "
    "Roll back, stop all processes, and then run `fait log adopt --store URL`; if there is nothing to adopt, run it "
    "with --in-place.",
}
"""Messages by the SQLSTATE of an error after which the transaction can be retried, perhaps elsewhere."""

_LOST_CONNECTION: Final = re.compile("(?i)connection .*(closed|lost)|terminat|server closed|ssl syscall|broken pipe")
"""Texts of the drivers' errors without a SQLSTATE for a connection that is lost."""

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


@contextmanager
def begin(transaction: Callable[[], AbstractContextManager[object]]) -> Generator[None]:
    """Run a block in a transaction of a driver, and translate errors of its begin, but not of the block."""
    with ExitStack() as block:
        with translate_errors():
            block.enter_context(transaction())
        yield


@asynccontextmanager
async def begin_async(transaction: Callable[[], AbstractAsyncContextManager[object]]) -> AsyncGenerator[None]:
    """Run a block in a transaction of a driver, and translate errors of its begin, but not of the block."""
    async with AsyncExitStack() as block:
        with translate_errors():
            await block.enter_async_context(transaction())
        yield


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
    for state in filter(None, map(_sqlstate, causes)):
        # fault: driver-error-of-outbox
        if state in _UNAVAILABLE or state.startswith("08"):
            return StoreUnavailable(_UNAVAILABLE.get(state, _LOST))
        if state in _USAGE_ERRORS:
            return UsageError(_USAGE_ERRORS[state])
    if any(isinstance(each, UnicodeEncodeError) for each in causes):
        return UsageError(_NOT_UTF8)
    if any(isinstance(each, OSError) or _is_connection_lost(each) for each in causes):
        return StoreUnavailable(_LOST)
    return _translate_sqlite(causes)


def _sqlstate(error: BaseException) -> str | None:
    return getattr(error, "sqlstate", None) or getattr(error, "pgcode", None)


def _is_connection_lost(error: BaseException) -> bool:
    name = type(error).__name__
    if name == "InternalClientError":  # of asyncpg, which has not read the end of the session yet
        return True
    is_of_driver = name in ("OperationalError", "InterfaceError") and _sqlstate(error) is None
    return is_of_driver and _LOST_CONNECTION.search(str(error)) is not None


def _translate_sqlite(causes: Sequence[BaseException]) -> Exception | None:
    codes = {getattr(each, "sqlite_errorcode", None) for each in causes}
    texts = [str(each) for each in causes if "sqlite" in type(each).__module__]
    if any("no such table: fait_" in text for text in texts):
        return UsageError(_MISSING_LOG)
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
    return UsageError(_FAILED)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield the error and the errors it wraps: a library may wrap the error of its driver."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = getattr(cause, "orig", None) or cause.__cause__
