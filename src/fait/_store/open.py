"""Finds backends by name, and opens stores by URL. The only module that names the built-in backends.

memory:                         in this process, for tests
sqlite:///shop.db               a file, relative to the working directory
sqlite:////var/lib/shop.db      a file by its absolute path
postgresql://host/shop          a database; with ?schema=name, a schema in it

Built-in backends are found without reading the metadata of installed packages, which takes milliseconds. So no package
can replace one of them.
"""

from collections.abc import Sequence
from datetime import datetime
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Final

from fait._clock import Clock, SystemClock
from fait._errors import UsageError
from fait._events.append import StreamWrite
from fait._store.backend import Backend, StoreAdmin
from fait._store.external_transaction import FindProtocol, StatementProtocol
from fait._store.ports.store import Store
from fait._store.store_url import redacted_url, split_url

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

__all__ = [
    "BUILT_IN",
    "append_in_transaction",
    "backend_names",
    "backend_of",
    "entry_points_by_name",
    "find_backend",
    "find_in_transaction",
    "open_admin",
    "open_store",
]

BUILT_IN: Final = {
    "memory": "fait._store.memory.backend",
    "sqlite": "fait._store.sqlite.backend",
    "postgresql": "fait._store.postgres.backend",
}
"""The module of each built-in backend; its attribute `backend` is the object. The entry points of fait are the same."""


def backend_names() -> list[str]:
    """Return the names of all installed backends, which are the schemes of their URLs. Those of fait are the first."""
    return list(BUILT_IN | entry_points_by_name())


@cache
def entry_points_by_name() -> "dict[str, EntryPoint]":
    """Return the entry points of backends. Reads the metadata of all installed packages at the first call only."""
    from importlib.metadata import entry_points  # slow to import

    return {each.name: each for each in entry_points(group="fait.backends")}


def find_backend(name: str) -> Backend | None:
    """Return a backend by its name, or None.

    Raises:
        UsageError: the entry point of that name is no backend.
    """
    if module := BUILT_IN.get(name):
        return import_module(module).backend
    if (entry_point := entry_points_by_name().get(name)) is None:
        return None
    backend = entry_point.load()
    if not isinstance(backend, Backend):
        raise UsageError(
            f"the entry point {name} = {entry_point.value!r} in the group fait.backends is no instance of "
            "fait.store.Backend. Nothing was opened. Upgrade or remove the package that declares it."
        )
    return backend


def backend_of(url: str) -> Backend:
    """Return the backend of a store's URL.

    Raises:
        UsageError: no backend has the URL's scheme, or the URL has a part that would be ignored.
    """
    backend = find_backend(url.partition(":")[0].lower())
    if backend is None:
        raise _unknown_url(url)
    split_url(url)  # refuses parts that a backend might ignore
    return backend


def _unknown_url(url: str) -> UsageError:
    given = redacted_url(url)
    scheme, colon, remainder = given.partition(":")
    if scheme.lower().partition("+")[0] in ("postgres", "postgresql") and colon:
        advice = f"write postgresql:{remainder}"
    elif given and not colon:
        advice = f"for a file, write sqlite:///{given}"
    else:
        advice = f"it must start with one of {', '.join(f'{name}:' for name in backend_names())}"
    return UsageError(f"unknown store URL {given!r}: {advice}")


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
    return await backend_of(url).open(url, clock or SystemClock(), create=create)


def open_admin(url: str) -> StoreAdmin:
    """Return the administration of a store. Does not connect to it.

    Raises:
        UsageError: the URL is malformed, no backend has its scheme, or the backend has no database schema.
        MissingExtra: the backend's driver is not installed.
    """
    return backend_of(url).admin(url)


def append_in_transaction(
    dialect: str, writes: Sequence[StreamWrite], schema: str, now: datetime, *, look_up: bool
) -> StatementProtocol:
    """Return the statement protocol of an append in a transaction of the application.

    Args:
        dialect: the database of the transaction, as the name of its backend.
        writes: the events of each stream; each stream occurs once.
        schema: the PostgreSQL schema of the log.
        now: the current time, for SQLite; PostgreSQL uses the server's clock.
        look_up: whether event ids may be stored already, so that the append may be a repetition.

    Raises:
        UsageError: there is no backend for that database, or it does not support outboxes.
    """
    backend = find_backend(dialect)
    if backend is None:
        raise UsageError(
            f"an outbox cannot append to a {dialect!r} database: there is no backend of that name. Nothing was "
            "written. Pass a connection to the PostgreSQL or SQLite database with the log."
        )
    return backend.append_in_transaction(writes, schema, now, look_up=look_up)


def find_in_transaction(dialect: str, event_ids: Sequence[str], schema: str) -> FindProtocol:
    """Return the statement protocol that finds events by id, after an `append_in_transaction`.

    Args:
        dialect: as for `append_in_transaction`.
        event_ids: ids of events.
        schema: the PostgreSQL schema of the log.
    """
    backend = find_backend(dialect)
    assert backend is not None
    return backend.find_in_transaction(event_ids, schema)
