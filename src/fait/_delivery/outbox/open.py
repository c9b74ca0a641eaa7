"""Selects the outbox adapter for a connection or session. Only this module names the adapters."""

from importlib import import_module
from typing import Any, Final, Protocol

from fait._delivery.outbox.outbox import AsyncOutbox, OnCommit, Outbox
from fait._errors import UsageError
from fait._events.codec import Codec

__all__ = ["ADAPTERS", "AsyncConnection", "AsyncpgConnection", "SyncConnection", "open_outbox"]

ADAPTERS: Final = {
    "aiosqlite": "aiosqlite",
    "asyncpg": "asyncpg",
    "django.db": "django",
    "django.utils.connection": "django",
    "psycopg": "psycopg",
    "sqlalchemy": "sqlalchemy",
    "sqlite3": "sqlite3",
}
"""Adapter modules by the package that defines the class of a connection, or one of its base classes."""


class SyncConnection(Protocol):
    """A connection or session of a synchronous library."""

    def commit(self) -> None:
        """Commit the transaction."""
        ...


class AsyncConnection(Protocol):
    """A connection or session of an asynchronous library."""

    async def commit(self) -> None:
        """Commit the transaction."""
        ...


class AsyncpgConnection(Protocol):
    """A connection of asyncpg, which has no `commit` method."""

    def is_in_transaction(self) -> bool:
        """Return whether a transaction is open."""
        ...


def open_outbox(connection: Any, codec: Codec, schema: str, on_commit: OnCommit) -> Outbox | AsyncOutbox:
    """Return the outbox for the transaction of a connection or session.

    Raises:
        UsageError: the argument is not a connection or session of a supported library.
    """
    for cls in type(connection).__mro__:
        for package, adapter in ADAPTERS.items():
            if f"{cls.__module__}.".startswith(f"{package}."):
                module = import_module(f"fait._delivery.outbox.adapters.{adapter}")
                return module.outbox(connection, codec, schema, on_commit)
    libraries = ", ".join(sorted({package.partition(".")[0] for package in ADAPTERS}))
    raise UsageError(
        f"outbox(...) takes a connection or session of {libraries}, not {type(connection).__qualname__}. Nothing was "
        "written."
    )
