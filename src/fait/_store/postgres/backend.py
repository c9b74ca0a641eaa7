"""The PostgreSQL backend. A store is a schema of a database."""

from collections.abc import Sequence
from datetime import datetime
from urllib.parse import urlencode, urlunsplit

from fait._clock import Clock
from fait._events.append import StreamWrite
from fait._store.backend import Backend, StoreAdmin, import_driver
from fait._store.external_transaction import FindProtocol, StatementProtocol
from fait._store.ports.store import Store
from fait._store.postgres import external_transaction
from fait._store.store_url import redacted_url, split_url

__all__ = ["PostgresBackend", "backend"]


class PostgresBackend(Backend):
    """Stores in schemas of databases."""

    async def open(self, url: str, clock: Clock, *, create: bool) -> Store:
        """Open a schema, or create it."""
        import_driver("asyncpg", "PostgreSQL", "postgres")
        from fait._store.postgres.store import open_store

        return await open_store(url, redacted_url(url), clock, create=create)

    def admin(self, url: str) -> StoreAdmin:
        """Return the administration of a schema."""
        import_driver("asyncpg", "PostgreSQL", "postgres")
        from fait._store.postgres.admin import PostgresAdmin

        return PostgresAdmin(url, redacted_url(url))

    def sibling_url(self, url: str, name: str) -> str:
        """Return the URL of another schema of the database, with the same options."""
        self.admin(url)  # checks the URL
        parts, options = split_url(url)
        return urlunsplit(parts._replace(query=urlencode(options | {"schema": name})))

    def append_in_transaction(
        self, writes: Sequence[StreamWrite], schema: str, now: datetime, *, look_up: bool
    ) -> StatementProtocol:
        """Return the statements of an append. Its time is that of the server's clock."""
        return external_transaction.append(writes, schema, check_ids=look_up)

    def find_in_transaction(self, event_ids: Sequence[str], schema: str) -> FindProtocol:
        """Return the statement that finds events."""
        return external_transaction.find(event_ids, schema)


backend = PostgresBackend()
