"""The SQLite backend. A store is a file."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

from fait._clock import Clock
from fait._errors import UsageError
from fait._events.append import StreamWrite
from fait._store.backend import Backend, StoreAdmin, import_driver
from fait._store.external_transaction import StatementProtocol
from fait._store.ports.store import Store
from fait._store.sqlite import external_transaction
from fait._store.store_url import redacted_url

__all__ = ["SqliteBackend", "backend"]


class SqliteBackend(Backend):
    """Stores in files."""

    async def open(self, url: str, clock: Clock, *, create: bool) -> Store:
        """Open a file, or create it."""
        import_driver("apsw", "SQLite", "sqlite")
        from fait._store.sqlite.store import open_store

        return await open_store(*_split_url(url), clock, create=create)

    def admin(self, url: str) -> StoreAdmin:
        """Return the administration of a file."""
        import_driver("apsw", "SQLite", "sqlite")
        from fait._store.sqlite.admin import SqliteAdmin

        return SqliteAdmin(*_split_url(url))

    def sibling_url(self, url: str, name: str) -> str:
        """Return the URL of a file in the same directory, with the same options."""
        path, options = _split_url(url)
        query = f"?{urlencode(options)}" if options else ""
        return f"sqlite:///{quote(str(Path(path).with_name(f'{name}.db')))}{query}"

    def append_in_transaction(
        self, writes: Sequence[StreamWrite], schema: str, now: datetime, *, look_up: bool
    ) -> StatementProtocol:
        """Return the statements of an append. SQLite has no schemas."""
        return external_transaction.append(writes, now, look_up=look_up)


def _split_url(url: str) -> tuple[str, dict[str, str]]:
    """Return the path and the options of a URL."""
    parts = urlsplit(url)
    path = unquote(parts.path.removeprefix("/"))
    if parts.netloc or not path:
        raise UsageError(
            f"{redacted_url(url)} names no file. Use sqlite:///name.db, relative to the working directory, or "
            f"sqlite:////absolute/path.db"
        )
    return path, dict(parse_qsl(parts.query))


backend = SqliteBackend()
