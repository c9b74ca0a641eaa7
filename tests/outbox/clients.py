"""Test clients: one asynchronous interface for synchronous and asynchronous database libraries."""

import asyncio
import json
import sqlite3
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, closing
from typing import Any, NamedTuple

import asyncpg

import fait

shop = fait.App("outbox")


@fait.event("outbox.placed")
class Placed:
    count: float


@fait.event("outbox.changed")
class Changed:
    count: int


@fait.event("outbox.reminded", expires=True)
class Reminded:
    count: int


shop.include(Placed, Changed, Reminded)

Event = tuple[str, int, Any]
"""The type, the version in the stream, and the only value of an event."""


class Place(NamedTuple):
    """A database with a log and a table `orders (name, count)` of the application.

    Attributes:
        dialect: "postgresql" or "sqlite".
        url: URL of the store, for fait.
        address: the address for a driver: a URL without options, or a path.
        schema: schema of the log.
        orders: name of the table, with its schema.
    """

    dialect: str
    url: str
    address: str
    schema: str
    orders: str

    async def fetch(self, sql: str) -> list[tuple[Any, ...]]:
        """Select rows on a new connection."""
        if self.dialect == "sqlite":
            with closing(sqlite3.connect(self.address)) as connection:
                return connection.execute(sql).fetchall()
        connection = await asyncpg.connect(self.address)
        try:
            return [tuple(row) for row in await connection.fetch(sql)]
        finally:
            await connection.close()

    async def run(self, sql: str) -> None:
        """Run a statement and commit."""
        if self.dialect == "sqlite":
            with closing(sqlite3.connect(self.address)) as connection, connection:
                connection.execute(sql)
        else:
            await self.fetch(sql)

    async def wait_for_lock(self) -> None:
        """Wait until a session of the database waits for a lock."""
        waiting = "SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        while not await self.fetch(waiting):  # noqa: ASYNC110 - another session sets no event
            await asyncio.sleep(0.01)

    async def events(self, order: str) -> list[Event]:
        """The committed events of the stream of an order."""
        table = "fait_events" if self.dialect == "sqlite" else f"{self.schema}.fait_all_events"
        data = "data" if self.dialect == "sqlite" else "data::text"
        rows = await self.fetch(f"SELECT type, version, {data} FROM {table} WHERE stream = '{order}' ORDER BY position")
        return [(type.removeprefix("outbox."), version, json.loads(data)["count"]) for type, version, data in rows]

    async def expiring(self, order: str) -> list[int]:
        """The versions of its committed messages."""
        table = (
            "fait_events WHERE expires = 1" if self.dialect == "sqlite" else f"{self.schema}.fait_messages WHERE true"
        )
        rows = await self.fetch(f"SELECT version FROM {table} AND stream = '{order}' ORDER BY version")
        return [version for (version,) in rows]

    async def count(self, order: str) -> int | None:
        """The committed count of an order; None if it does not exist."""
        rows = await self.fetch(f"SELECT count FROM {self.orders} WHERE name = '{order}'")
        return rows[0][0] if rows else None


class Client(ABC):
    """A connection or session of the application.

    Attributes:
        connection: the argument of `outbox(...)`.
        place: the database it is connected to.
    """

    connection: Any
    place: Place

    @abstractmethod
    async def begin(self, isolation: str | None = None) -> None:
        """Begin a transaction; in SQLite, a write transaction."""

    @abstractmethod
    async def commit(self) -> None: ...

    @abstractmethod
    async def rollback(self) -> None: ...

    @abstractmethod
    async def savepoint(self) -> None:
        """Begin a savepoint, as is usual with the library."""

    @abstractmethod
    async def rollback_savepoint(self) -> None: ...

    @abstractmethod
    async def execute(self, sql: str) -> None: ...

    @abstractmethod
    async def close(self) -> None: ...

    @abstractmethod
    async def add(self, event: object, *, schema: str | None = None, **options: Any) -> None:
        """Call `outbox(...).add(...)`, on the outbox of the open block if there is one."""

    @abstractmethod
    def transaction(self) -> Any:
        """`outbox(...).transaction()`, as an asynchronous context manager."""

    async def insert(self, order: str, count: int) -> None:
        await self.execute(f"INSERT INTO {self.place.orders} (name, count) VALUES ('{order}', {count})")

    async def update(self, order: str, count: int) -> None:
        await self.execute(f"UPDATE {self.place.orders} SET count = {count} WHERE name = '{order}'")


class AsyncClient(Client):
    """A client of an asynchronous library."""

    _open: Any = None

    async def add(self, event: object, *, schema: str | None = None, **options: Any) -> None:
        outbox = self._open or shop.outbox(self.connection, schema=schema or self.place.schema)
        await outbox.add(event, **options)

    @asynccontextmanager
    async def transaction(self) -> AsyncGenerator[None]:
        async with shop.outbox(self.connection, schema=self.place.schema).transaction() as self._open:
            try:
                yield
            finally:
                self._open = None


class ThreadClient(Client):
    """A client of a synchronous library: it runs in a separate thread without an event loop."""

    _open: Any = None

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1)
        self._closed = False

    async def do(self, function: Callable[..., Any], *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._thread, function, *arguments)

    async def add(self, event: object, *, schema: str | None = None, **options: Any) -> None:
        def add() -> None:
            outbox = self._open or shop.outbox(self.connection, schema=schema or self.place.schema)
            outbox.add(event, **options)

        await self.do(add)

    @asynccontextmanager
    async def transaction(self) -> AsyncGenerator[None]:
        block: Any = shop.outbox(self.connection, schema=self.place.schema).transaction()
        self._open = await self.do(block.__enter__)
        try:
            yield
        except BaseException as error:
            self._open = None
            await self.do(block.__exit__, type(error), error, error.__traceback__)
            raise
        self._open = None
        await self.do(block.__exit__, None, None, None)

    async def close(self) -> None:
        """Close the connection. Repeated calls have no effect."""
        if not self._closed:
            self._closed = True
            await self.do(self.connection.close)
            self._thread.shutdown()
