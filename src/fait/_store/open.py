"""Opens stores by URL. The only module that names the backends.

memory:                         in this process, for tests
sqlite:///shop.db               a file, relative to the working directory
sqlite:////var/lib/shop.db      a file by its absolute path
postgresql://host/shop          a database; with ?schema=name, a schema in it
"""

import re
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Final, Protocol

from fait._clock import Clock, SystemClock
from fait._errors import MissingExtra, UsageError
from fait._events.append import StreamWrite
from fait._store.adoption import Adoption
from fait._store.external_transaction import StatementProtocol
from fait._store.migrations import Migration, MigrationStatus
from fait._store.ports.store import Store

__all__ = ["BACKENDS", "StoreAdmin", "open_admin", "open_store", "redacted_url", "sibling_url"]


class StoreAdmin(Protocol):
    """Administration of a store's tables and functions. The store need not be open, or exist."""

    @property
    def location(self) -> str:
        """The store's path or URL, without its password, for messages."""
        ...

    async def migrations(self) -> list[MigrationStatus]:
        """Return all migrations, applied or pending, in order. Changes and creates nothing."""
        ...

    async def migrate(self) -> list[Migration]:
        """Apply all pending migrations atomically; create the store if it does not exist.

        Returns:
            The migrations that were applied.
        """
        ...

    async def script(self, *, from_scratch: bool) -> str:
        """Return the SQL that `migrate` would run; "" if nothing is pending.

        Args:
            from_scratch: return the SQL for a new store, without connecting to this one.
        """
        ...

    async def adopt(self, *, in_place: bool, dry_run: bool) -> Adoption:
        """Start a new epoch of the log.

        Args:
            in_place: also if there is no sign that the log was restored, copied or failed over.
            dry_run: return the result without changing anything.
        """
        ...

    async def drop(self) -> None:
        """Delete the store with everything in it, including objects that fait did not create.

        Raises:
            StoreUnavailable: the store still exists; the message says how to delete it by hand.
        """
        ...


async def _open_memory(url: str, clock: Clock, create: bool) -> Store:
    from fait._store.memory.store import MemoryStore

    return MemoryStore(clock)


async def _open_sqlite(url: str, clock: Clock, create: bool) -> Store:
    try:
        from fait._store.sqlite.store import open_store
    except ModuleNotFoundError as missing:
        raise _missing_extra(missing) from None
    path, options = _sqlite_path(url)
    return await open_store(path, options, clock, create=create)


async def _open_postgres(url: str, clock: Clock, create: bool) -> Store:
    try:
        from fait._store.postgres.store import open_store
    except ModuleNotFoundError as missing:
        raise _missing_extra(missing) from None
    return await open_store(url, redacted_url(url), clock, create=create)


def _missing_extra(missing: ModuleNotFoundError) -> Exception:
    match missing.name:
        case "apsw":
            return MissingExtra("SQLite", "sqlite")
        case "asyncpg":
            return MissingExtra("PostgreSQL", "postgres")
        case _:
            return missing


def _sqlite_path(url: str) -> tuple[str, dict[str, str]]:
    """Return the path and the options of an SQLite URL."""
    from urllib.parse import parse_qsl, unquote, urlsplit  # here, as it is slow to import

    parts = urlsplit(url)
    path = unquote(parts.path.removeprefix("/"))
    if parts.netloc or not path:
        raise UsageError(
            f"{redacted_url(url)} names no file. Use sqlite:///name.db, relative to the working directory, or "
            f"sqlite:////absolute/path.db"
        )
    return path, dict(parse_qsl(parts.query))


BACKENDS: Final[dict[str, Callable[[str, Clock, bool], Awaitable[Store]]]] = {
    "memory": _open_memory,
    "sqlite": _open_sqlite,
    "postgresql": _open_postgres,
}
"""The function that opens a store, for each URL scheme. The contract tests run on all of them."""


def append_in_transaction(
    dialect: str, writes: Sequence[StreamWrite], schema: str, now: datetime, *, look_up: bool
) -> StatementProtocol:
    """Return the statement protocol of an append in a transaction of the application.

    Args:
        dialect: the database of the transaction: "postgresql" or "sqlite".
        writes: the events of each stream; each stream occurs once.
        schema: the PostgreSQL schema of the log.
        now: the current time, for SQLite; PostgreSQL uses the server's clock.
        look_up: whether event ids may be stored already, so that the append may be a repetition.
    """
    if dialect == "postgresql":
        from fait._store.postgres import external_transaction as postgres

        return postgres.append(writes, schema, check_ids=look_up)
    from fait._store.sqlite import external_transaction as sqlite

    return sqlite.append(writes, now, look_up=look_up)


async def open_store(url: str, *, clock: Clock | None = None, create: bool = True) -> Store:
    """Open a store.

    Args:
        url: URL of the store; its scheme selects the backend.
        clock: the clock for `recorded_at`; None: the operating system's, or that of the server.
        create: whether to create the store if it does not exist.

    Raises:
        UsageError: the URL is malformed, or no backend has its scheme.
        MissingExtra: the backend's driver is not installed.
        StoreUnavailable: the store cannot be opened. Nothing was written.
    """
    scheme = url.partition(":")[0].lower()
    backend = BACKENDS.get(scheme)
    if backend is None:
        raise _unknown_url(url)
    return await backend(url, clock or SystemClock(), create)


def _unknown_url(url: str) -> UsageError:
    given = redacted_url(url)
    scheme, colon, remainder = given.partition(":")
    if scheme.lower().partition("+")[0] in ("postgres", "postgresql") and colon:
        advice = f"write postgresql:{remainder}"
    elif given and not colon:
        advice = f"for a file, write sqlite:///{given}"
    else:
        advice = f"it must start with one of {', '.join(f'{name}:' for name in BACKENDS)}"
    return UsageError(f"unknown store URL {given!r}: {advice}")


def open_admin(url: str) -> StoreAdmin:
    """Return the administration of a store. Does not connect to it.

    Raises:
        UsageError: the URL is malformed, or names no SQLite or PostgreSQL store.
        MissingExtra: the backend's driver is not installed.
    """
    try:
        match url.partition(":")[0].lower():
            case "sqlite":
                from fait._store.sqlite.admin import SqliteAdmin

                return SqliteAdmin(*_sqlite_path(url))
            case "postgresql":
                from fait._store.postgres.admin import PostgresAdmin

                return PostgresAdmin(url, redacted_url(url))
            case "memory":
                raise UsageError(
                    f"{redacted_url(url)!r} has no database schema: use the URL of an SQLite or PostgreSQL store"
                )
            case _:
                raise _unknown_url(url)
    except ModuleNotFoundError as missing:
        raise _missing_extra(missing) from None


def sibling_url(url: str, name: str) -> str:
    """Return the URL of another store next to one: a schema of that name, or a file in the same directory.

    Raises:
        UsageError: the URL names no SQLite or PostgreSQL store.
    """
    from pathlib import Path
    from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

    open_admin(url)  # validates the URL
    if url.lower().startswith("sqlite:"):
        path, options = _sqlite_path(url)
        query = f"?{urlencode(options)}" if options else ""
        return f"sqlite:///{quote(str(Path(path).with_name(f'{name}.db')))}{query}"
    parts = urlsplit(url)
    options = dict(parse_qsl(parts.query, keep_blank_values=True)) | {"schema": name}
    return urlunsplit(parts._replace(query=urlencode(options)))


def redacted_url(url: str) -> str:
    """Return the URL without passwords and other secrets, for messages."""
    url = re.sub(r"(?i)([?&][^=&]*(?:pass|secret|token|key)[^=&]*=)[^&]*", r"\1***", url)
    scheme, separator, remainder = url.partition("://")
    credentials, at, location = remainder.rpartition("@")
    if not at:
        return url
    user, colon, _ = credentials.partition(":")
    return f"{scheme}{separator}{user}{':***' if colon else ''}@{location}"
