"""From a URL to a store: the only place that names backends.

memory:                         in this process, for tests
sqlite:///shop.db               a file beside the working directory
sqlite:////var/lib/shop.db      a file by its absolute path
postgresql://host/shop          a database; ?schema=name for one beside others in it
"""

import re
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

from fait.clock import Clock, SystemClock
from fait.errors import MissingExtra, UsageError
from fait.store.ledger import Ledger
from fait.store.log import Log

__all__ = ["BACKENDS", "Store", "open_store", "shown_url"]


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


async def _open_memory(url: str, clock: Clock, create: bool) -> Store:
    from fait.store.memory import MemoryStore

    return MemoryStore(clock)


async def _open_sqlite(url: str, clock: Clock, create: bool) -> Store:
    from urllib.parse import parse_qsl, unquote, urlsplit  # here, and not above: it is slow to import

    try:
        from fait.store.sqlite.store import open_store
    except ModuleNotFoundError as missing:
        if missing.name != "apsw":
            raise
        raise MissingExtra("SQLite", "sqlite") from None
    parts = urlsplit(url)
    path = unquote(parts.path.removeprefix("/"))
    if parts.netloc or not path:
        raise UsageError(f"{shown_url(url)} names no file: write sqlite:///name.db, or sqlite:////absolute/path.db")
    return await open_store(path, dict(parse_qsl(parts.query)), clock, create=create)


async def _open_postgres(url: str, clock: Clock, create: bool) -> Store:
    try:
        from fait.store.postgres.store import open_store
    except ModuleNotFoundError as missing:
        if missing.name != "asyncpg":
            raise
        raise MissingExtra("PostgreSQL", "postgres") from None
    return await open_store(url, shown_url(url), clock, create=create)


BACKENDS: Final[dict[str, Callable[[str, Clock, bool], Awaitable[Store]]]] = {
    "memory": _open_memory,
    "sqlite": _open_sqlite,
    "postgresql": _open_postgres,
}
"""How each URL scheme is opened. The contract tests run on all of them."""


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
        raise UsageError(f"no store is called {shown_url(url)!r}: a store's URL begins with one of {known}")
    return await backend(url, clock or SystemClock(), create)


def shown_url(url: str) -> str:
    """The URL as it may be printed: without its password."""
    url = re.sub(r"(?i)([?&][^=&]*(?:pass|secret|token|key)[^=&]*=)[^&]*", r"\1***", url)
    head, separator, rest = url.partition("://")
    credentials, at, place = rest.rpartition("@")
    if not at:
        return url
    user, colon, _ = credentials.partition(":")
    return f"{head}{separator}{user}{':***' if colon else ''}@{place}"
