"""A connection as a user's own program has it: with a driver of its own, beside fait, and a transaction of its own."""

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

__all__ = ["Session", "open_session"]

_SQL: Final = load_statements("fait._tools.verify")
_APP: Final = App("verify")
_BUSY_S: Final = 0.005
"""How long SQLite waits for others by itself: its pauses grow, so that who waits long would hardly ever get a turn."""


class Session(Protocol):
    """One connection; its statements are those of the `sql` folder.

    Attributes:
        unsafe: what fait has to say against this connection; "" for nothing.
        shared: whether a transaction that writes leaves others to write as well.
    """

    unsafe: str
    shared: bool

    async def begin(self) -> None:
        """Begin a transaction that may write."""
        ...

    async def run(self, statement: str, *values: Any) -> Sequence[Sequence[Any]]:
        """Run a statement in it."""
        ...

    async def add(self, event: Untyped, stream: str, tags: Sequence[str], id: str | None) -> None:
        """Add an event to it."""
        ...

    async def end(self, *, commit: bool) -> None:
        """End it."""
        ...

    async def close(self) -> None:
        """Close the connection, whatever is open."""
        ...


async def open_session(plan: Plan) -> Session:
    """Connect to the database that a plan is about."""
    parts = urlsplit(plan.url)
    if parts.scheme == "sqlite":
        return _Sqlite(unquote(parts.path.removeprefix("/")))
    import asyncpg  # pyright: ignore[reportMissingTypeStubs] - only here: it may not be installed

    own = ("schema", "pool", "prepare")
    options = [each for each in parse_qsl(parts.query, keep_blank_values=True) if each[0] not in own]
    dsn = urlunsplit(parts._replace(query=urlencode(options)))
    driver: Any = asyncpg
    return _Asyncpg(await driver.connect(dsn, statement_cache_size=0), plan.schema)  # a pooler may be in between


class _Connection(Protocol):
    """What is used of a connection of asyncpg."""

    async def execute(self, query: str) -> str: ...
    async def fetch(self, query: str, *args: Any) -> Sequence[Sequence[Any]]: ...
    def is_in_transaction(self) -> bool: ...
    def terminate(self) -> None: ...


class _Asyncpg:
    def __init__(self, connection: _Connection, schema: str) -> None:
        self.unsafe = ""
        self.shared = True
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


class _Sqlite:
    def __init__(self, path: str) -> None:
        self.unsafe = ""
        self.shared = False
        self._connection = sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None)
        self._connection.execute("PRAGMA wal_autocheckpoint = 0")  # older versions can lose a commit when they do it

    async def begin(self) -> None:
        while True:
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                return
            except sqlite3.OperationalError as problem:
                if problem.sqlite_errorcode != sqlite3.SQLITE_BUSY:
                    raise
            await asyncio.sleep(_BUSY_S)

    async def run(self, statement: str, *values: Any) -> Sequence[Sequence[Any]]:
        return self._connection.execute(_SQL[statement], values).fetchall()

    async def add(self, event: Untyped, stream: str, tags: Sequence[str], id: str | None) -> None:
        with warnings.catch_warnings(record=True) as warned:
            _APP.outbox(self._connection).add(event, stream=stream, tags=tags, id=id)
        self.unsafe = str(warned[0].message) if warned else self.unsafe

    async def end(self, *, commit: bool) -> None:
        self._connection.execute("COMMIT" if commit else "ROLLBACK")

    async def close(self) -> None:
        self._connection.close()
