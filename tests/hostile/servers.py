"""The databases of hostile load, and what happens to them while processes use them."""

import asyncio
import sqlite3
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import asyncpg

from fait._store.open import open_admin
from fait._tools.verify.engine import VerifyRun
from tests.faults.wire import CUT_POINTS, Proxy
from tests.servers.pgbouncer import PgBouncer
from tests.servers.postgres import PostgresServer
from tests.servers.standby import Standby

SCHEMA = "hostile"
CREATE_EFFECTS = "CREATE TABLE hostile_effects (event_id TEXT NOT NULL)"

Disturbance = Callable[[VerifyRun, Random], Awaitable[None]]


class Database(ABC):
    """An empty store for hostile load.

    Attributes:
        url: URL that the processes use.
        schema: its schema; "" on SQLite.
        disturbances: what happens to it, by name; each leaves it available.
    """

    url: str
    schema = ""
    disturbances: Mapping[str, Disturbance] = {}

    @abstractmethod
    async def fetch(self, sql: str) -> Sequence[Sequence[Any]]:
        """Run a statement on a connection of its own."""
        ...


class SqliteDatabase(Database):
    """A file."""

    def __init__(self, file: Path) -> None:
        self.url = f"sqlite:///{file}"
        self._file = file

    async def fetch(self, sql: str) -> Sequence[Sequence[Any]]:
        connection = sqlite3.connect(self._file, timeout=60)
        try:
            with connection:
                connection.execute("PRAGMA wal_autocheckpoint = 0")
                return connection.execute(sql).fetchall()
        finally:
            connection.close()


class PostgresDatabase(Database):
    """A server, behind a proxy that cuts lines."""

    schema = SCHEMA

    def __init__(self, server: PostgresServer, proxy: Proxy, **options: str) -> None:
        self.url = proxy.url(schema=SCHEMA, **options)
        self.disturbances = {
            "cut lines": self.cut_lines,
            "cut appends": self.cut_appends,
            "silence": self.silence,
            "terminate backends": self.terminate_backends,
            "crash": self.crash,
        }
        self._server = server
        self._proxy = proxy

    async def fetch(self, sql: str) -> Sequence[Sequence[Any]]:
        driver: Any = asyncpg
        connection = await driver.connect(self._server.url, server_settings={"search_path": SCHEMA})
        try:
            return [tuple(row) for row in await connection.fetch(sql)]
        finally:
            await connection.close()

    async def cut_lines(self, run: VerifyRun, chance: Random) -> None:
        """Close all connections, and refuse new ones for a while."""
        self._proxy.disconnect()
        try:
            await asyncio.sleep(chance.random())
        finally:
            self._proxy.unreachable = False

    async def cut_appends(self, run: VerifyRun, chance: Random) -> None:
        """Close the connections of the next appends, at different points of their requests."""
        self._proxy.cuts.extend(chance.choices(CUT_POINTS, k=8))

    async def silence(self, run: VerifyRun, chance: Random) -> None:
        """Forward nothing for a while; what is sent in the meantime is lost, so the connections are closed then."""
        self._proxy.silent = True
        try:
            await asyncio.sleep(0.5 + 2 * chance.random())
        finally:
            self._proxy.silent = False
            self._proxy.disconnect()
            self._proxy.unreachable = False

    async def terminate_backends(self, run: VerifyRun, chance: Random) -> None:
        """Terminate a third of all connections, as an administrator does."""
        await self.fetch(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'client backend' AND "
            "pid <> pg_backend_pid() AND random() < 0.34"
        )

    async def crash(self, run: VerifyRun, chance: Random) -> None:
        """Stop the server without a checkpoint, and start it again."""
        await _uninterrupted(lambda: (self._server.stop("immediate"), self._server.start()))


class PooledDatabase(PostgresDatabase):
    """A server behind PgBouncer."""

    def __init__(self, server: PostgresServer, proxy: Proxy, stack: AsyncExitStack) -> None:
        super().__init__(server, proxy, prepare="no")
        self._stack = stack
        self._pooler: PgBouncer | None = None
        self.disturbances = {**self.disturbances, "restart pooler": self.restart_pooler}

    async def restart_pooler(self, run: VerifyRun, chance: Random) -> None:
        """Kill the pooler and start another one."""
        if self._pooler:
            self._pooler.kill()
        # At once, not 15 s after the server refused a connection because it was starting.
        self._pooler = await asyncio.to_thread(
            PgBouncer, self._server, pool_size=40, settings={"server_login_retry": "0.1"}
        )
        self._stack.callback(self._pooler.close)
        self._proxy.server_port = self._pooler.port


class ReplicatedDatabase(PostgresDatabase):
    """A server whose synchronous standby takes over once. Then the log is adopted, and all writers are replaced."""

    def __init__(self, server: PostgresServer, proxy: Proxy, stack: AsyncExitStack) -> None:
        super().__init__(server, proxy)
        self._standby: Standby | None = None
        self._stack = stack
        self.disturbances = {**self.disturbances, "fail over": self.fail_over}

    async def follow(self) -> None:
        """Start the standby; from now on commits wait for it."""
        self._standby = await asyncio.to_thread(Standby, self._server)
        self._stack.callback(self._standby.close)
        await self.fetch("ALTER SYSTEM SET synchronous_standby_names = '*'")
        await self.fetch("SELECT pg_reload_conf()")

    async def fail_over(self, run: VerifyRun, chance: Random) -> None:
        """Stop the primary forever, promote the standby, adopt the log and replace all writers."""
        standby = self._standby
        assert standby is not None
        self.disturbances = {name: each for name, each in self.disturbances.items() if name != "fail over"}
        await _uninterrupted(lambda: (self._server.stop("immediate"), standby.promote()))
        await asyncio.shield(asyncio.ensure_future(self._adopt(standby)))
        for number in range(len(run.writers)):
            await run.replace(number)

    async def _adopt(self, standby: Standby) -> None:
        self._server = standby
        await self.fetch("ALTER SYSTEM SET synchronous_standby_names = ''")
        await self.fetch("SELECT pg_reload_conf()")
        await open_admin(f"{standby.url}?schema={SCHEMA}").adopt(in_place=False, dry_run=False)
        self._proxy.disconnect()
        self._proxy.server_port, self._proxy.unreachable = standby.port, False


async def _uninterrupted(work: Callable[[], Any]) -> None:
    """Run work in a thread until its end, even if the caller is canceled."""
    task = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await task
        raise


@asynccontextmanager
async def _sqlite() -> AsyncGenerator[Database]:
    with TemporaryDirectory(prefix="fait-hostile-") as directory:
        yield await _created(SqliteDatabase(Path(directory) / "store.db"))


@asynccontextmanager
async def _postgres() -> AsyncGenerator[Database]:
    with PostgresServer() as server:
        async with Proxy(server.port) as proxy:
            yield await _created(PostgresDatabase(server, proxy))


@asynccontextmanager
async def _pooled() -> AsyncGenerator[Database]:
    async with AsyncExitStack() as stack:
        server = stack.enter_context(PostgresServer())
        proxy = await stack.enter_async_context(Proxy(server.port))
        database = PooledDatabase(server, proxy, stack)
        await _created(database)
        await database.restart_pooler(None, Random())  # pyright: ignore[reportArgumentType]
        yield database


@asynccontextmanager
async def _replicated() -> AsyncGenerator[Database]:
    async with AsyncExitStack() as stack:
        server = stack.enter_context(PostgresServer())
        proxy = await stack.enter_async_context(Proxy(server.port))
        database = ReplicatedDatabase(server, proxy, stack)
        await _created(database)
        await database.follow()
        yield database


async def _created(database: Database) -> Database:
    await open_admin(database.url).migrate()
    await database.fetch(CREATE_EFFECTS)
    return database


DATABASES: Mapping[str, Callable[[], Any]] = {
    "sqlite": _sqlite,
    "postgresql": _postgres,
    "pgbouncer": _pooled,
    "standby": _replicated,
}
"""The databases by name; each is an asynchronous context manager."""
