"""Errors of a user's driver, where we know what they mean and what to do; all others stay as they are."""

from collections.abc import Generator, Iterator
from contextlib import contextmanager

from fait.errors import StoreUnavailable, UsageError

__all__ = ["explained"]

_NO_LOG = {"42883", "42P01", "3F000", "3D000"}  # no such function, table, schema, database
_NOT_READ_COMMITTED = "FA001"
_STANDBY = "25006"
_NO_RIGHT = "42501"


@contextmanager
def explained() -> Generator[None]:
    """Raise our own error, from the driver's, where it says more."""
    try:
        yield
    except Exception as problem:
        if (meant := _meant(problem)) is not None:
            raise meant from problem
        raise


def _meant(problem: Exception) -> Exception | None:
    """Decided by the SQLSTATE, which every driver for PostgreSQL has, and by SQLite's texts, which have no code."""
    states = {getattr(each, "sqlstate", None) or getattr(each, "pgcode", None) for each in _causes(problem)}
    texts = [str(each) for each in _causes(problem) if "sqlite" in type(each).__module__]
    if states & _NO_LOG or any("no such table: fait_" in text for text in texts):
        return UsageError(
            "there is no log in this database (or not in this schema): create it with `fait db init`, then try again. "
            "Roll back: nothing was written."
        )
    if _NOT_READ_COMMITTED in states:
        return UsageError(
            "the transaction is not READ COMMITTED, so that events could be stored on what is no longer true. Begin it "
            "READ COMMITTED, the default of PostgreSQL. Roll back: nothing was written."
        )
    if states & {_STANDBY, _NO_RIGHT}:
        return StoreUnavailable("this role may not append here, or it is a standby.")
    if any("database is locked" in text for text in texts):
        return StoreUnavailable(
            "SQLite does not let this transaction write: another process is writing, or this one began DEFERRED and "
            "has read what is no longer true. Begin it with BEGIN IMMEDIATE. Roll back, and try again."
        )
    return None


def _causes(problem: BaseException) -> Iterator[BaseException]:
    """The error, and those that it was made from: a library may wrap its driver's."""
    found: BaseException | None = problem
    while found is not None:
        yield found
        found = getattr(found, "orig", None) or found.__cause__
