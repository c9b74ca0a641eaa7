"""The SQLite backend. A store is a file."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

from fait._clock import Clock
from fait._errors import UsageError
from fait._events.append import StreamWrite
from fait._store.backend import Backend, StoreAdmin, import_driver
from fait._store.external_transaction import FindProtocol, StatementProtocol
from fait._store.ports.store import Store
from fait._store.sqlite import external_transaction
from fait._store.store_url import refuse_url, split_url

if TYPE_CHECKING:
    from fait._store.sqlite.connection import Synchronous

__all__ = ["SqliteBackend", "backend"]


class SqliteBackend(Backend):
    """Stores in files."""

    async def open(self, url: str, clock: Clock, *, create: bool) -> Store:
        """Open a file, or create it."""
        import_driver("apsw", "SQLite", "sqlite")
        from fait._store.sqlite.store import open_store

        return await open_store(*_parse_url(url), clock, create=create)

    def admin(self, url: str) -> StoreAdmin:
        """Return the administration of a file."""
        import_driver("apsw", "SQLite", "sqlite")
        from fait._store.sqlite.admin import SqliteAdmin

        return SqliteAdmin(*_parse_url(url))

    def sibling_url(self, url: str, name: str) -> str:
        """Return the URL of a file in the same directory, with the same options."""
        path, _ = _parse_url(url)
        _, question_mark, query = url.partition("?")
        return f"sqlite:///{quote(str(Path(path).with_name(f'{name}.db')))}{question_mark}{query}"

    def append_in_transaction(
        self, writes: Sequence[StreamWrite], schema: str, now: datetime, *, look_up: bool
    ) -> StatementProtocol:
        """Return the statements of an append. SQLite has no schemas."""
        if schema != "public":
            raise UsageError(
                f"an outbox on SQLite has no schema, but outbox(..., schema={schema!r}) names one. Nothing was "
                "written. Leave it out."
            )
        return external_transaction.append(writes, now, look_up=look_up)

    def find_in_transaction(self, event_ids: Sequence[str], schema: str) -> FindProtocol:
        """Return the statement that finds events. SQLite has no schemas."""
        return external_transaction.find(event_ids)


def _parse_url(url: str) -> "tuple[str, Synchronous]":
    """Return the path of a URL, and its option `synchronous`."""
    parts, options = split_url(url)
    path = unquote(parts.path.removeprefix("/"))
    if not url.partition(":")[2].startswith("///") or not path or path.endswith("/") or path == ":memory:":
        refuse_url(
            url,
            "it names no file. Write sqlite:///name.db, relative to the working directory, or "
            "sqlite:////absolute/path.db",
        )
    level = options.pop("synchronous", "FULL").upper()
    if options or level not in ("FULL", "NORMAL"):
        refuse_url(url, "a sqlite: URL accepts ?synchronous=FULL (the default) or ?synchronous=NORMAL")
    return path, "NORMAL" if level == "NORMAL" else "FULL"


backend = SqliteBackend()
