"""Errors of a user's driver, where we know what they mean and what to do; all others stay as they are."""

import warnings
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Final

from fait._errors import StoreUnavailable, UsageError

__all__ = ["transaction_failed", "translate_errors", "unsupported_connection", "warn_if_sqlite_outdated"]

_NO_LOG = {"42883", "42P01", "3F000", "3D000"}  # no such function, table, schema, database
_NOT_READ_COMMITTED = "FA001"
_FAILED_BEFORE = "25P02"
_STANDBY = "25006"
_NO_RIGHT = "42501"
_STALE_SNAPSHOT = 517  # SQLITE_BUSY_SNAPSHOT

_FIRST_WITHOUT_WAL_RESET_BUG = (3, 51, 3)
_warned: Final[list[bool]] = []


@contextmanager
def translate_errors() -> Generator[None]:
    """Raise our own error, from the driver's, where it says more."""
    try:
        yield
    except Exception as problem:
        if (meant := _translate(problem)) is not None:
            raise meant from problem
        raise


def unsupported_connection(given: object) -> UsageError:
    """What to say to whoever passes something else of a library, such as a pool or a cursor."""
    return UsageError(
        f"outbox(...) takes a connection, not {type(given).__qualname__}: of a pool, acquire one; of a cursor, take "
        "its connection. Nothing was written."
    )


def warn_if_sqlite_outdated(version: tuple[int, ...]) -> None:
    """Say, once per process, that the SQLite which the user's library has can lose a commit."""
    if version >= _FIRST_WITHOUT_WAL_RESET_BUG or _warned:
        return
    _warned.append(True)
    shown = ".".join(map(str, version))
    warnings.warn(
        f"SQLite {shown}, which your connections use, can lose a commit when it checkpoints while another process "
        "writes (fixed in 3.51.3). Use a Python with a newer SQLite, or run `PRAGMA wal_autocheckpoint = 0` on each "
        "connection, so that only fait's processes, which bring a current SQLite, checkpoint the file.",
        stacklevel=5,  # who calls App.outbox
    )


def _translate(problem: Exception) -> Exception | None:
    """Decided by the SQLSTATE, which every driver for PostgreSQL has, and by SQLite's codes and texts."""
    causes = list(_causes(problem))
    states = {getattr(each, "sqlstate", None) or getattr(each, "pgcode", None) for each in causes}
    codes = {getattr(each, "sqlite_errorcode", None) for each in causes}
    texts = [str(each) for each in causes if "sqlite" in type(each).__module__]
    if states & _NO_LOG or any("no such table: fait_" in text for text in texts):
        return UsageError(
            "there is no log in this database (in PostgreSQL: in this schema; is outbox(..., schema=...) right?), or "
            "an older fait made it. `fait db init` creates it, `fait db migrate` brings it up to date. Roll back. "
            "Nothing was written."
        )
    if _NOT_READ_COMMITTED in states:
        return UsageError(
            "the transaction is not READ COMMITTED, so that events could be stored on what is no longer true. Begin it "
            "READ COMMITTED, the default of PostgreSQL. Roll back. Nothing was written."
        )
    if _FAILED_BEFORE in states:
        return transaction_failed()
    if states & {_STANDBY, _NO_RIGHT}:
        return StoreUnavailable("the transaction is READ ONLY, or this role may not append, or this is a standby.")
    if _STALE_SNAPSHOT in codes:
        return StoreUnavailable(
            "SQLite does not let this transaction write: it began DEFERRED and has read what is no longer true, as "
            "another process has written since. Begin it with BEGIN IMMEDIATE. Roll back, and try again."
        )
    if any("is locked" in text for text in texts):
        return StoreUnavailable(
            "SQLite does not let this transaction write: another process is writing, and took longer than the timeout "
            "of this connection; or this transaction began DEFERRED and has read what is no longer true. Begin it with "
            "BEGIN IMMEDIATE. Roll back, and try again."
        )
    return None


def transaction_failed() -> UsageError:
    """What to say of a transaction in PostgreSQL that can only be rolled back."""
    return UsageError(
        "an earlier statement of this transaction failed, so that it can only be rolled back. Roll back, and find out "
        "why that statement failed. Nothing was written."
    )


def _causes(problem: BaseException) -> Iterator[BaseException]:
    """The error, and those that it was made from: a library may wrap its driver's."""
    found: BaseException | None = problem
    while found is not None:
        yield found
        found = getattr(found, "orig", None) or found.__cause__
