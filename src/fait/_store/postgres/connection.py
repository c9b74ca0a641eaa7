"""Connections to PostgreSQL: a pool of them for one schema, and what the server's errors mean for a caller.

Every statement of ours names its schema, and none leaves a setting or a lock behind in its session, so that a
connection can be given on as it is, also by a pooler between us and the server. Only an append of very many events
leaves something there: a temporary table, `fait_append_bulk_1`, empty.
"""

import asyncio
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any, Final, Literal, Protocol, cast
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import asyncpg  # pyright: ignore[reportMissingTypeStubs]
from msgspec import Struct

from fait._errors import FaitError, StoreUnavailable, UsageError
from fait._store.postgres.identifiers import statements

__all__ = [
    "CONNECTION_ERRORS",
    "RETRYABLE_ERRORS",
    "ConnectionOptions",
    "Database",
    "InsufficientPrivilege",
    "LockNotAvailable",
    "PostgresConnection",
    "PostgresError",
    "UniqueViolation",
    "is_connection_lost",
    "map_error",
    "parse_url",
]

PostgresError = asyncpg.PostgresError
UniqueViolation = asyncpg.UniqueViolationError
InsufficientPrivilege = asyncpg.InsufficientPrivilegeError
LockNotAvailable = asyncpg.LockNotAvailableError
RETRYABLE_ERRORS = (asyncpg.SerializationError, asyncpg.DeadlockDetectedError)

_driver: Any = asyncpg  # it brings no types; `Connection` below has those of the part that is used

CONNECTION_ERRORS: Final = (
    OSError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # what the driver says of a connection that the server ended while it was idle
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
)
"""The connection is gone, or was never made: what was under way on it may or may not have been done."""

WriteOutcome = Literal["not_written", "unknown"]
_NOT_WRITTEN: Final[WriteOutcome] = "not_written"
_UNKNOWN: Final[WriteOutcome] = "unknown"

CLOSE_TIMEOUT_S: Final = 10.0
"""How long connections may take to end what is under way on them when the store closes."""

CONNECT_TIMEOUT_S: Final = 10.0
"""How long a new connection may take."""

RESPONSE_TIMEOUT_S: Final = 60.0
"""How long the server may take for an answer before the connection counts as lost."""

KEEPALIVE_IDLE_S: Final = 30
"""How long a line may be silent before the other end is asked whether it is there; twice that, and it is lost."""

DEFAULT_POOL_SIZE: Final = 10

MAX_IDLE_CONNECTIONS: Final = 2
"""Connections that are not given back to the pool while nobody waits for one: to take one from it takes as long as a
small statement does."""


class PostgresConnection(Protocol):
    """The part of `asyncpg.Connection` that is used here, with types that say what comes out."""

    async def execute(self, sql: str, *values: Any) -> str:
        """Run a statement; without values, also several."""
        ...

    async def executemany(self, sql: str, values: Sequence[Sequence[Any]]) -> None:
        """Run a statement for each of several lists of values, in one round trip."""
        ...

    async def fetch(self, sql: str, *values: Any, timeout: float | None = None) -> list[Any]:  # noqa: ASYNC109
        """All rows of a statement."""
        ...

    async def fetchval(self, sql: str, *values: Any) -> Any:
        """The first column of the first row; None without one."""
        ...

    async def copy_records_to_table(
        self, table_name: str, *, records: Sequence[Sequence[Any]], columns: Sequence[str]
    ) -> str:
        """Add rows to a table, quickly."""
        ...

    def is_closed(self) -> bool:
        """Whether it can be used no more."""
        ...

    def terminate(self) -> None:
        """Close it at once, whatever is under way."""
        ...

    def transaction(self) -> Any:
        """A transaction, as an async context manager."""
        ...


class _MonitoredConnection(asyncpg.Connection):
    """A connection whose line is watched.

    Our statements leave no setting or lock behind that the driver's reset would have to undo. But a value that the
    driver cannot send leaves a statement half begun, and with it a transaction: any other statement ends both.
    """

    def __init__(self, protocol: Any, transport: Any, *others: Any) -> None:
        super().__init__(protocol, transport, *others)
        _enable_keepalive(transport.get_extra_info("socket"))

    def get_reset_query(self) -> str:
        return "SELECT"


def _enable_keepalive(line: Any) -> None:
    """Have the operating system find out when the other end is gone: without this, who waits for it waits for hours."""
    if line is None or line.family not in (socket.AF_INET, socket.AF_INET6):
        return
    line.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (
        ("TCP_KEEPIDLE", KEEPALIVE_IDLE_S),
        ("TCP_KEEPALIVE", KEEPALIVE_IDLE_S),  # what macOS calls the same
        ("TCP_KEEPINTVL", KEEPALIVE_IDLE_S // 3),
        ("TCP_KEEPCNT", 3),
        ("TCP_USER_TIMEOUT", 2 * KEEPALIVE_IDLE_S * 1000),
    ):
        if hasattr(socket, option):
            line.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)


class ConnectionOptions(Struct, frozen=True):
    """Where a store is.

    Attributes:
        dsn: as the driver takes it.
        schema: of all its tables and functions.
        pool: most connections at a time, beside one that listens.
        prepare: whether statements may be prepared: not through an older pooler in transaction mode.
        shown: for messages, without a password.
    """

    dsn: str
    schema: str
    pool_size: int
    use_prepared_statements: bool
    redacted_url: str


def parse_url(url: str, shown: str) -> ConnectionOptions:
    """Take our own options out of a URL: `schema`, `pool` and `prepare`; the driver is given the rest."""
    try:
        parts = urlsplit(url)
    except ValueError:
        raise _invalid_url(shown) from None
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    schema, pool, prepare = options.pop("schema", "public"), options.pop("pool", ""), options.pop("prepare", "yes")
    if not schema or "\0" in schema or "$$" in schema or len(schema.encode()) > 63:
        raise UsageError("schema= is a name of 1 to 63 bytes without $$, as in postgresql://host/database?schema=shop")
    if pool and not (pool.isdecimal() and 3 <= int(pool) <= 1000):
        raise UsageError(f"pool= is the most connections to open, 3 to 1000, not {pool!r}")
    if prepare not in ("yes", "no"):
        raise UsageError(f"prepare= is yes, or no for a pooler that knows no prepared statements, not {prepare!r}")
    dsn = urlunsplit(parts._replace(query=urlencode(options)))
    return ConnectionOptions(dsn, schema, int(pool or DEFAULT_POOL_SIZE), prepare == "yes", shown)


def _invalid_url(shown: str) -> UsageError:
    return UsageError(
        f"{shown} is no URL of a database, as in postgresql://user@host:5432/database. Nothing was opened. In a name "
        "or a password, / ? # @ : % are written %2F %3F %23 %40 %3A %25."
    )


class Database:
    """A pool of connections, and our statements for one schema.

    Belongs to the event loop it was made in.

    Attributes:
        greet: looks at each new connection before it is used, and raises if it leads to the wrong place.
    """

    def __init__(self, address: ConnectionOptions) -> None:
        self.options = address
        self.schema = address.schema
        self.sql = statements(address.schema)
        self.on_connect: Callable[[PostgresConnection], Awaitable[None]] | None = None
        self._pool: Any = None
        self._idle: list[PostgresConnection] = []
        self._waiters = 0
        self._closing = False

    @classmethod
    async def open(cls, address: ConnectionOptions) -> "Database":
        """Connect once, to see that it can be done; more connections follow when they are needed."""
        database = cls(address)
        try:
            database._pool = await _driver.create_pool(
                min_size=0,  # the driver would try to keep it up, and log whatever it meets
                max_size=address.pool_size,
                init=database._init_connection,
                statement_cache_size=200 if address.use_prepared_statements else 0,
                **_connect_arguments(address),
            )
            async with database.connection():
                pass
        except (*CONNECTION_ERRORS, PostgresError) as problem:
            raise map_error(problem, address.redacted_url) from problem
        except ValueError:  # its text may hold a part of the password
            raise _invalid_url(address.redacted_url) from None
        return database

    async def _init_connection(self, connection: Any) -> None:
        if self.on_connect is not None:
            await self.on_connect(connection)

    async def fetch(self, statement: str, *values: Any) -> list[Any]:
        """Rows of one of our statements, in a transaction of its own."""
        async with self.connection() as connection:
            with self.deadline(connection, RESPONSE_TIMEOUT_S):
                return await connection.fetch(self.sql[statement], *values)

    @asynccontextmanager
    async def connection(self) -> AsyncGenerator[PostgresConnection]:
        """A connection for the length of a block; the server's errors come out of it as ours."""
        give_back, outcome = self.release, _NOT_WRITTEN
        try:
            connection = await self.acquire()
            try:
                yield connection
            except CONNECTION_ERRORS:
                give_back, outcome = self.discard, _UNKNOWN
                raise
            except BaseException:
                give_back = self.release_to_pool  # whatever was under way
                raise
            finally:
                await give_back(connection)
        except FaitError:
            raise
        except PostgresError as problem:
            if not is_connection_lost(
                problem
            ):  # its details hold values, which must not get into a log by way of its traceback
                shown = problem if isinstance(problem, InsufficientPrivilege) else None
                raise map_error(problem, self.options.redacted_url) from shown
            raise map_error(problem, self.options.redacted_url, outcome) from problem
        except CONNECTION_ERRORS as problem:
            raise map_error(problem, self.options.redacted_url, outcome) from problem

    @asynccontextmanager
    async def transaction(self) -> AsyncGenerator[PostgresConnection]:
        """A connection with a transaction: committed at the block's end, taken back when it raises."""
        async with self.connection() as connection, connection.transaction():
            yield connection

    async def acquire(self) -> PostgresConnection:
        """A connection to keep until it is given back."""
        while self._idle:
            connection = self._idle.pop()
            if not _is_closed(connection):
                return connection
            await self.release_to_pool(connection)
        self._waiters += 1
        try:
            return cast("PostgresConnection", await self._pool.acquire())
        finally:
            self._waiters -= 1

    async def release(self, connection: PostgresConnection) -> None:
        """The other half of `take`."""
        if len(self._idle) < MAX_IDLE_CONNECTIONS and not self._waiters and not self._closing:
            self._idle.append(connection)
        else:
            await self.release_to_pool(connection)

    async def release_to_pool(self, connection: PostgresConnection) -> None:
        """Give back what was perhaps left in the middle of something: the driver waits for its end and cleans up."""
        with (
            self.deadline(connection, RESPONSE_TIMEOUT_S),
            suppress(*CONNECTION_ERRORS, PostgresError),
        ):  # then the driver closes it
            await self._pool.release(connection)

    async def discard(self, connection: PostgresConnection) -> None:
        """The other half of `take` for a connection that is lost: it is closed, whatever is under way on it."""
        _terminate(connection)
        await self._pool.release(connection)

    @contextmanager
    def deadline(self, connection: PostgresConnection, timeout_s: float) -> Generator[None]:
        """Close the connection if a block takes longer: a server that is gone answers no cancellation."""
        timer = asyncio.get_running_loop().call_later(timeout_s, _terminate, connection)
        try:
            yield
        finally:
            timer.cancel()

    async def connect(self) -> Any:
        """A connection beside the pool, for what needs one of its own."""
        return await _driver.connect(statement_cache_size=0, **_connect_arguments(self.options))

    async def close(self) -> None:
        """Close all connections, once what is under way on them is done."""
        self._closing = True
        while self._idle:
            await self.release_to_pool(self._idle.pop())
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await self._pool.close()
        except TimeoutError:
            self._pool.terminate()


def _connect_arguments(address: ConnectionOptions) -> dict[str, Any]:
    """How every connection is made."""
    named = "application_name=" in address.dsn
    return {
        "dsn": address.dsn,
        "connection_class": _MonitoredConnection,
        "timeout": CONNECT_TIMEOUT_S,
        "server_settings": {} if named else {"application_name": "fait"},
    }


def _is_closed(connection: PostgresConnection) -> bool:
    try:
        return connection.is_closed()
    except asyncpg.InterfaceError:  # the driver has taken it back by itself
        return True


def _terminate(connection: PostgresConnection) -> None:
    with suppress(asyncpg.InterfaceError):  # the driver has taken it back by itself
        connection.terminate()


def is_connection_lost(problem: BaseException) -> bool:
    """Whether the connection is gone, so that what was under way on it may or may not have been done."""
    return isinstance(problem, CONNECTION_ERRORS) and not isinstance(problem, ValueError)  # a value it could not encode


def _message(problem: BaseException) -> str:
    """What the server says, without details: they hold values."""
    return getattr(problem, "message", None) or str(problem)


def map_error(
    problem: BaseException, where: str, outcome: Literal["not_written", "unknown"] = "not_written"
) -> FaitError:
    """What an error of the server or of the connection means for a caller; decided by its class, never by its text."""
    match problem:
        case asyncpg.DiskFullError() | asyncpg.OutOfMemoryError():
            text = f"{where}: the server has no room left ({type(problem).__name__}). Make room and try again."
        case asyncpg.TooManyConnectionsError():
            text = f"{where} takes no more connections: lower ?pool= or raise max_connections."
        case asyncpg.InvalidPasswordError() | asyncpg.InvalidAuthorizationSpecificationError():
            text = f"{where} does not let this user in: check the user's name and password."
        case asyncpg.InvalidCatalogNameError():
            text = f"{where}: there is no such database. Create it first: createdb NAME"
        case asyncpg.InsufficientPrivilegeError():
            text = f"{where} does not allow this to this role ({_message(problem)})."
        case asyncpg.ReadOnlySQLTransactionError():
            text = f"{where} is a standby or read-only: connect to the primary."
        case asyncpg.InvalidSQLStatementNameError() | asyncpg.DuplicatePreparedStatementError():
            text = f"{where}: a pooler in between does not keep prepared statements: add prepare=no to the URL."
        case asyncpg.QueryCanceledError():
            text = f"{where}: a statement was cancelled, by statement_timeout or by hand."
        case asyncpg.LockNotAvailableError():
            text = f"{where}: another transaction holds what this one needs. Try again when it has ended."
        case asyncpg.IdleInTransactionSessionTimeoutError():
            text = f"{where}: the transaction stood idle for too long, and the server ended it."
        case _ if is_connection_lost(problem):
            text = f"{where} cannot be reached ({type(problem).__name__}). Is the server running?"
        case _:
            text = f"{where}: {type(problem).__name__}: {_message(problem)}."
    return StoreUnavailable(text, outcome)
