"""A connection like that of a user's program: its own driver and its own transactions, with an outbox."""

import asyncio
import sqlite3
import warnings
from collections.abc import Sequence
from typing import Any, Final, Protocol
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit, urlunsplit

from fait._app import App
from fait._events.envelope import Untyped
from fait._store.sql import load_statements
from fait._tools.verify.plan import Plan

__all__ = ["Session", "has_driver", "open_session"]

_SQL: Final = load_statements("fait._tools.verify")
_APP: Final = App("verify")
_BUSY_TIMEOUT_S: Final = 0.005
"""SQLite's busy timeout, and the pause between attempts. SQLite's own back-off grows and would starve this session."""


class Session(Protocol):
    """One connection. It runs the statements of the `sql` folder.

    Attributes:
        warning: the warning that fait issued about this connection, or "".
        concurrent_writes: whether other transactions can write while one of this session writes.
    """

    warning: str
    concurrent_writes: bool

    async def begin(self) -> None:
        """Begin a transaction that can write."""
        ...

    async def run(self, statement: str, *values: Any) -> Sequence[Sequence[Any]]:
        """Run a statement in the transaction."""
        ...

    async def add(self, event: Untyped, stream: str, tags: Sequence[str], id: str | None) -> None:
        """Add an event to the transaction's outbox."""
        ...

    async def end(self, *, commit: bool) -> None:
        """Commit the transaction or roll it back."""
        ...

    async def close(self) -> None:
        """Close the connection. An open transaction is rolled back."""
        ...


def has_driver(url: str) -> bool:
    """Return whether `open_session` can connect to the database of a store."""
    return urlsplit(url).scheme in ("postgresql", "sqlite")


async def open_session(plan: Plan) -> Session:
    """Connect to the database of a plan, for which there must be a driver."""
    parts = urlsplit(plan.url)
    if parts.scheme == "sqlite":
        return _SqliteSession(unquote(parts.path.removeprefix("/")))
    import asyncpg  # pyright: ignore[reportMissingTypeStubs] - optional, so not imported above

    fait_options = ("schema", "pool", "prepare")
    options = [each for each in parse_qsl(parts.query, keep_blank_values=True) if each[0] not in fait_options]
    dsn = urlunsplit(parts._replace(query=urlencode(options)))
    driver: Any = asyncpg
    return _PostgresSession(await driver.connect(dsn, statement_cache_size=0), plan.schema)  # works with poolers


class _Connection(Protocol):
    """The part of an asyncpg connection that is used."""

    async def execute(self, query: str) -> str: ...
    async def fetch(self, query: str, *args: Any) -> Sequence[Sequence[Any]]: ...
    def is_in_transaction(self) -> bool: ...
    def terminate(self) -> None: ...


class _PostgresSession:
    def __init__(self, connection: _Connection, schema: str) -> None:
        self.warning = ""
        self.concurrent_writes = True
        self._connection = connection
        self._schema = schema

    async def begin(self) -> None:
        await self._connection.execute("BEGIN")
        await self.run("set_search_path", self._schema)

    async def run(self, statement: str, *values: Any) -> Sequence[Sequence[Any]]:
        return await self._connection.fetch(_SQL[statement].replace("?", "$1"), *values)

    async def add(self, event: Untyped, stream: str, tags: Sequence[str], id: str | None) -> None:
        await _APP.outbox(self._connection, schema=self._schema).add(event, stream=stream, tags=tags, id=id)

    async def end(self, *, commit: bool) -> None:
        await self._connection.execute("COMMIT" if commit else "ROLLBACK")

    async def close(self) -> None:
        self._connection.terminate()


class _SqliteSession:
    def __init__(self, path: str) -> None:
        self.warning = ""
        self.concurrent_writes = False
        self._connection = sqlite3.connect(path, timeout=_BUSY_TIMEOUT_S, isolation_level=None)
        self._connection.execute(
            "PRAGMA wal_autocheckpoint = 0"
        )  # older versions of SQLite can lose a commit in a checkpoint

    async def begin(self) -> None:
        while True:
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                return
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode != sqlite3.SQLITE_BUSY:
                    raise
            await asyncio.sleep(_BUSY_TIMEOUT_S)

    async def run(self, statement: str, *values: Any) -> Sequence[Sequence[Any]]:
        return self._connection.execute(_SQL[statement], values).fetchall()

    async def add(self, event: Untyped, stream: str, tags: Sequence[str], id: str | None) -> None:
        with warnings.catch_warnings(record=True) as caught:
            _APP.outbox(self._connection).add(event, stream=stream, tags=tags, id=id)
        self.warning = str(caught[0].message) if caught else self.warning

    async def end(self, *, commit: bool) -> None:
        self._connection.execute("COMMIT" if commit else "ROLLBACK")

    async def close(self) -> None:
        self._connection.close()
