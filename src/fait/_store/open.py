"""From a URL to a store: the only place that names backends.

memory:                         in this process, for tests
sqlite:///shop.db               a file beside the working directory
sqlite:////var/lib/shop.db      a file by its absolute path
postgresql://host/shop          a database; ?schema=name for one beside others in it
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
from fait._store.ledger import Ledger
from fait._store.log import Log
from fait._store.migrations import Migration, MigrationStatus

__all__ = ["BACKENDS", "Store", "StoreAdmin", "open_admin", "open_store", "redacted_url", "sibling_url"]


class Store(Protocol):
    """Both ports of one database."""

    @property
    def log(self) -> Log:
        """What happened."""
        ...

    @property
    def ledger(self) -> Ledger:
        """What was made of it."""
        ...

    async def close(self) -> None:
        """Finish what was asked for and give everything back."""
        ...


class StoreAdmin(Protocol):
    """The tables and functions of a store, without opening it: what is there, and how it is brought up to date."""

    @property
    def location(self) -> str:
        """Where it is, for messages."""
        ...

    async def migrations(self) -> list[MigrationStatus]:
        """All steps, applied or pending, in order. Nothing is changed or created."""
        ...

    async def migrate(self) -> list[Migration]:
        """Apply what is pending, all of it or nothing, and return it; create what does not exist."""
        ...

    async def script(self, *, from_scratch: bool) -> str:
        """SQL that does what `migrate` does; "" if nothing is pending. `whole`: for a new store, without looking."""
        ...

    async def adopt(self, *, in_place: bool, dry_run: bool) -> Adoption:
        """Begin a new epoch of the log.

        Args:
            in_place: also if nothing shows that the log was moved.
            rehearse: say what would be done, and change nothing.
        """
        ...

    async def drop(self) -> None:
        """Remove it with everything in it, whoever made it: for what was made to be thrown away.

        Raises:
            StoreUnavailable: it is still there; the message says how it is removed by hand.
        """
        ...


async def _open_memory(url: str, clock: Clock, create: bool) -> Store:
    from fait._store.memory import MemoryStore

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
    """The path and the options of an SQLite URL."""
    from urllib.parse import parse_qsl, unquote, urlsplit  # here, and not above: it is slow to import

    parts = urlsplit(url)
    path = unquote(parts.path.removeprefix("/"))
    if parts.netloc or not path:
        raise UsageError(f"{redacted_url(url)} names no file: write sqlite:///name.db, or sqlite:////absolute/path.db")
    return path, dict(parse_qsl(parts.query))


BACKENDS: Final[dict[str, Callable[[str, Clock, bool], Awaitable[Store]]]] = {
    "memory": _open_memory,
    "sqlite": _open_sqlite,
    "postgresql": _open_postgres,
}
"""How each URL scheme is opened. The contract tests run on all of them."""


def append_in_transaction(
    dialect: str, writes: Sequence[StreamWrite], schema: str, now: datetime, *, look_up: bool
) -> StatementProtocol:
    """How events are appended in a transaction that somebody else began.

    Args:
        dialect: the database that the transaction is in: "postgresql" or "sqlite".
        writes: what is appended; each stream stands in it once.
        schema: where the log lies, in PostgreSQL.
        now: the moment, for a database that has no clock of its own.
        look_up: whether the ids may be stored already.
    """
    if dialect == "postgresql":
        from fait._store.postgres import external_transaction as postgres

        return postgres.append(writes, schema, check_ids=look_up)
    from fait._store.sqlite import external_transaction as sqlite

    return sqlite.append(writes, now, look_up=look_up)


async def open_store(url: str, *, clock: Clock | None = None, create: bool = True) -> Store:
    """Open the store that a URL names; create it if it does not exist, unless told not to.

    Raises:
        UsageError: no backend has that scheme.
        MissingExtra: the backend's driver is not installed.
        StoreUnavailable: it cannot be opened; nothing was written.
    """
    scheme = url.partition(":")[0].lower()
    backend = BACKENDS.get(scheme)
    if backend is None:
        known = ", ".join(f"{name}:" for name in BACKENDS)
        raise UsageError(f"no store is called {redacted_url(url)!r}: a store's URL begins with one of {known}")
    return await backend(url, clock or SystemClock(), create)


def open_admin(url: str) -> StoreAdmin:
    """The schema of the store that a URL names; the store is not looked at before something is asked.

    Raises:
        UsageError: no backend has that scheme, or it has no schema.
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
            case _:
                raise UsageError(f"{redacted_url(url)!r} has no schema: sqlite: and postgresql: stores have one")
    except ModuleNotFoundError as missing:
        raise _missing_extra(missing) from None


def sibling_url(url: str, name: str) -> str:
    """The URL of another store in the same place: a schema of that name, or a file in the same directory.

    Raises:
        UsageError: there is no such place.
    """
    from pathlib import Path
    from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

    open_admin(url)  # refuses what names no place
    if url.lower().startswith("sqlite:"):
        path, options = _sqlite_path(url)
        query = f"?{urlencode(options)}" if options else ""
        return f"sqlite:///{quote(str(Path(path).with_name(f'{name}.db')))}{query}"
    parts = urlsplit(url)
    options = dict(parse_qsl(parts.query, keep_blank_values=True)) | {"schema": name}
    return urlunsplit(parts._replace(query=urlencode(options)))


def redacted_url(url: str) -> str:
    """The URL as it may be printed: without its password."""
    url = re.sub(r"(?i)([?&][^=&]*(?:pass|secret|token|key)[^=&]*=)[^&]*", r"\1***", url)
    head, separator, rest = url.partition("://")
    credentials, at, place = rest.rpartition("@")
    if not at:
        return url
    user, colon, _ = credentials.partition(":")
    return f"{head}{separator}{user}{':***' if colon else ''}@{place}"
