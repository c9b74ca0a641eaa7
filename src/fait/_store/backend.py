"""What a backend implements: `Backend`, which opens stores of one URL scheme, the open `Store`, and its administration.

The module of a backend's object is imported without its driver, because an outbox uses the driver of the application.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from datetime import datetime
from importlib import import_module
from typing import Protocol

from fait._clock import Clock
from fait._errors import MissingExtra, UsageError
from fait._events.append import StreamWrite
from fait._store.adoption import Adoption
from fait._store.external_transaction import FindProtocol, StatementProtocol
from fait._store.migrations import Migration, MigrationStatus
from fait._store.ports.store import Store
from fait._store.store_url import redacted_url

__all__ = ["Backend", "StoreAdmin", "import_driver"]


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

    async def backup(self, file: str, on_progress: Callable[[int, int], None]) -> int:
        """Copy the store, which may be in use, as of one moment. If this is canceled, no file is created.

        Args:
            file: path of the file to create.
            on_progress: called from any thread, with the completed part and the total of the work.

        Returns:
            The position of the last event in the copy.

        Raises:
            UsageError: the file exists, there is no store, or another program must be used; the message names it.
            StoreUnavailable: the store cannot be read, or the copy cannot be written or is damaged.
        """
        ...

    async def drop(self) -> None:
        """Delete the store with everything in it, including objects that fait did not create.

        Raises:
            StoreUnavailable: the store still exists; the message says how to delete it by hand.
        """
        ...


class Backend(ABC):
    """A kind of database that can hold a store. Its name is the scheme of its URLs.

    A backend is found by its entry point in the group `fait.backends`. The name of the entry point is the name of the
    backend; its value is an instance of a subclass. Only `open` is required. The other methods raise `UsageError`
    unless they are overridden.
    """

    @abstractmethod
    async def open(self, url: str, clock: Clock, *, create: bool) -> Store:
        """Open a store.

        Args:
            url: URL of the store; its scheme is the name of this backend, in any case.
            clock: the clock for `recorded_at`; a `SystemClock` may be replaced by the clock of the server.
            create: whether to create the store if it does not exist, and to apply pending migrations.

        Raises:
            UsageError: the URL is malformed, or there is no store and `create` is false.
            MissingExtra: the driver is not installed.
            StoreUnavailable: the store cannot be opened. Nothing was written.
        """
        ...

    def admin(self, url: str) -> StoreAdmin:
        """Return the administration of a store, for `fait db` and `fait log`. Does not connect to it.

        Raises:
            UsageError: the URL is malformed, or stores of this backend have no database schema.
            MissingExtra: the driver is not installed.
        """
        raise UsageError(f"{redacted_url(url)!r} has no database schema: use the URL of an SQLite or PostgreSQL store")

    def sibling_url(self, url: str, name: str) -> str:
        """Return the URL of another store in the same database or directory, for `fait verify-store`.

        Args:
            url: URL of a store.
            name: name of the other store, such as that of a schema or a file.

        Raises:
            UsageError: the URL is malformed, or this backend has no such URLs.
        """
        raise UsageError(
            f"{redacted_url(url)!r} cannot be verified, because its backend cannot create a temporary store next to "
            "it. Give the URL of a PostgreSQL or SQLite store."
        )

    def append_in_transaction(
        self, writes: Sequence[StreamWrite], schema: str, now: datetime, *, look_up: bool
    ) -> StatementProtocol:
        """Return the statement protocol of an append in a transaction of the application, for outboxes.

        Args:
            writes: the events of each stream; each stream occurs once.
            schema: the database schema of the log, if the database has schemas.
            now: the current time, if the database has no clock.
            look_up: whether event ids may be stored already, so that the append may be a repetition.

        Raises:
            UsageError: this backend does not support outboxes.
        """
        raise UsageError(
            "an outbox cannot append to this kind of store. Nothing was written. Use a PostgreSQL or SQLite store."
        )

    def find_in_transaction(self, event_ids: Sequence[str], schema: str) -> FindProtocol:
        """Return the statement protocol that finds events by id, for keys of outboxes: after `append_in_transaction`.

        Args:
            event_ids: ids of events.
            schema: the database schema of the log, if the database has schemas.

        Raises:
            UsageError: this backend does not support keys in outboxes.
        """
        raise UsageError("an outbox with key= needs a PostgreSQL or SQLite store. Roll back the transaction.")


def import_driver(module: str, database: str, extra: str) -> None:
    """Import the driver of a built-in backend.

    Args:
        module: the driver's module.
        database: name of the database, for the message.
        extra: the extra of fait that installs the driver.

    Raises:
        MissingExtra: the driver is not installed.
    """
    try:
        import_module(module)
    except ModuleNotFoundError as missing:
        if missing.name != module:
            raise
        raise MissingExtra(database, extra) from None
