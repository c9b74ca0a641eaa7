"""From a connection of yours to the outbox in its transaction: the only place that names the libraries' adapters."""

from importlib import import_module
from typing import Any, Final, Protocol

from fait._delivery.outbox import AsyncOutbox, OnCommit, Outbox
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
"""The module under `delivery.adapters` for each package that a connection's class, or one it is made from, lies in."""


class SyncConnection(Protocol):
    """A connection or session of a library that does not wait."""

    def commit(self) -> None:
        """End the transaction."""
        ...


class AsyncConnection(Protocol):
    """A connection or session of a library that waits."""

    async def commit(self) -> None:
        """End the transaction."""
        ...


class AsyncpgConnection(Protocol):
    """A connection of asyncpg, which has no `commit` of its own."""

    def is_in_transaction(self) -> bool:
        """Whether one is open."""
        ...


def open_outbox(connection: Any, codec: Codec, schema: str, on_commit: OnCommit) -> Outbox | AsyncOutbox:
    """The outbox in the transaction that is open on a connection or session."""
    for cls in type(connection).__mro__:
        for package, adapter in ADAPTERS.items():
            if f"{cls.__module__}.".startswith(f"{package}."):
                return import_module(f"fait._delivery.adapters.{adapter}").outbox(connection, codec, schema, on_commit)
    known = ", ".join(sorted({package.partition(".")[0] for package in ADAPTERS}))
    raise UsageError(f"outbox(...) takes a connection or session of {known}, not {type(connection).__qualname__}")
