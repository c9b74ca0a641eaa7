"""A pool of connections to PostgreSQL for one schema, and the translation of server errors into fait's errors.

Every statement names its schema, and none leaves a setting or a lock in its session. A connection can therefore be
reused without a reset, also by a pooler between fait and the server. The one exception is a bulk append, which leaves
an empty temporary table, `fait_append_bulk_1`.
"""

import asyncio
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Sequence
from contextlib import asynccontextmanager, contextmanager, nullcontext, suppress
from datetime import datetime
from typing import Any, Final, Literal, Protocol, cast

import asyncpg  # pyright: ignore[reportMissingTypeStubs]

from fait._clock import Clock
from fait._errors import FaitError, StoreUnavailable, UsageError
from fait._store.position_signal import STORE_CLOSED
from fait._store.postgres.identifiers import statements
from fait._store.postgres.url_options import ConnectionOptions, invalid_url, rejected_option

__all__ = [
    "CONNECTION_ERRORS",
    "RESPONSE_TIMEOUT_S",
    "RETRYABLE_ERRORS",
    "Database",
    "InsufficientPrivilege",
    "LockNotAvailable",
    "LogMoved",
    "PostgresConnection",
    "PostgresError",
    "UniqueViolation",
    "is_connection_lost",
    "map_error",
]

PostgresError = asyncpg.PostgresError
UniqueViolation = asyncpg.UniqueViolationError
InsufficientPrivilege = asyncpg.InsufficientPrivilegeError
LockNotAvailable = asyncpg.LockNotAvailableError
RETRYABLE_ERRORS = (asyncpg.SerializationError, asyncpg.DeadlockDetectedError)


class LogMoved(StoreUnavailable):
    """The log was restored, copied, failed over or adopted. The process must stop: what it knows may not be stored."""


class _LogNotCurrent(asyncpg.PostgresError):
    """Raised by fait_refuse_1. The driver finds the class by its SQLSTATE."""

    sqlstate = "FA003"


_driver: Any = asyncpg  # it has no type hints; `PostgresConnection` declares the part that is used

CONNECTION_ERRORS: Final = (
    OSError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # raised for a connection that the server closed while it was idle
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
)
"""The connection was lost or could not be made. If a statement was in flight, its outcome is unknown."""

_REJECTED_OPTION_ERRORS: Final = (
    asyncpg.UndefinedObjectError,
    asyncpg.InvalidParameterValueError,
    asyncpg.CantChangeRuntimeParamError,
    asyncpg.PostgresSyntaxError,
)
"""Errors of a new session: the server does not accept one of its settings."""

WriteOutcome = Literal["not_written", "unknown"]
_NOT_WRITTEN: Final[WriteOutcome] = "not_written"
_UNKNOWN: Final[WriteOutcome] = "unknown"

CLOSE_TIMEOUT_S: Final = 1.0
"""Timeout for the connections to close. Then they are terminated."""

RELEASE_TIMEOUT_S: Final = 1.0
"""Timeout for the server to end the unfinished statement of a released connection. Then the connection is closed: a
canceled call must not wait for a server that does not answer."""

CONNECT_TIMEOUT_S: Final = 10.0
"""Timeout for a new connection."""

RESPONSE_TIMEOUT_S: Final = 60.0
"""Timeout for a response of the server; after it, the connection counts as lost."""

KEEPALIVE_IDLE_S: Final = 7
"""Idle time before the first TCP keepalive probe; after twice this time without an answer, the connection is lost."""

MAX_IDLE_CONNECTIONS: Final = 2
"""Maximum number of idle connections that are kept outside of the driver's pool, because acquiring one from the pool
takes as long as a small statement."""


class PostgresConnection(Protocol):
    """The part of `asyncpg.Connection` that is used here, with types."""

    async def execute(self, sql: str, *values: Any) -> str:
        """Run a statement; without values, also several statements."""
        ...

    async def executemany(self, sql: str, values: Sequence[Sequence[Any]]) -> None:
        """Run a statement once for each list of values, in one round trip."""
        ...

    async def fetch(self, sql: str, *values: Any, timeout: float | None = None) -> list[Any]:  # noqa: ASYNC109
        """Return all rows of a statement."""
        ...

    async def fetchval(self, sql: str, *values: Any) -> Any:
        """Return the first column of the first row; None if there is no row."""
        ...

    async def copy_records_to_table(
        self, table_name: str, *, records: Sequence[Sequence[Any]], columns: Sequence[str]
    ) -> str:
        """Insert rows into a table by COPY."""
        ...

    def get_settings(self) -> Any:
        """Return the settings that the server has reported, such as `server_encoding`."""
        ...

    def is_closed(self) -> bool:
        """Whether the connection is closed."""
        ...

    def terminate(self) -> None:
        """Close the connection immediately, even if a statement is in flight."""
        ...

    def transaction(self) -> Any:
        """Return a transaction, which is an async context manager."""
        ...


class _MonitoredConnection(asyncpg.Connection):
    """A connection with TCP keepalive, and without the driver's reset.

    fait's statements leave no setting or lock behind that the driver's reset would have to undo. But a value that the
    driver cannot encode leaves an unfinished statement and with it a transaction: any other statement ends both.
    """

    def __init__(self, protocol: Any, transport: Any, *others: Any) -> None:
        super().__init__(protocol, transport, *others)
        _enable_keepalive(transport.get_extra_info("socket"))

    def get_reset_query(self) -> str:
        return "SELECT"


def _enable_keepalive(sock: Any) -> None:
    """Let the operating system detect a lost peer; without keepalive, a read could block for hours."""
    if sock is None or sock.family not in (socket.AF_INET, socket.AF_INET6):
        return
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (
        ("TCP_KEEPIDLE", KEEPALIVE_IDLE_S),
        ("TCP_KEEPALIVE", KEEPALIVE_IDLE_S),  # its name on macOS
        ("TCP_KEEPINTVL", KEEPALIVE_IDLE_S // 3),
        ("TCP_KEEPCNT", 3),
        ("TCP_USER_TIMEOUT", 2 * KEEPALIVE_IDLE_S * 1000),
    ):
        if hasattr(socket, option):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)


def _wrong_encoding(redacted_url: str, encoding: str) -> UsageError:
    return UsageError(
        f"the database of {redacted_url} has the encoding {encoding}, in which not every text can be stored; fait "
        "requires UTF8. Nothing was written. Create another database, for example with createdb --encoding=UTF8 "
        "--locale=C --template=template0 NAME, and name it in the URL."
    )


class Database:
    """A pool of connections, and the statements for one schema.

    Belongs to the event loop in which it was created.

    Attributes:
        options: how to connect.
        schema: the schema of the store's tables and functions.
        sql: the statements of the `sql` folder, by name.
        on_connect: called with each new connection before it is used; raises if the connection must not be used.
        clock: the clock of actions and workers; None: that of the server.
        epoch_id: the epoch in which the log was opened; appends and readers are refused in any other one.
    """

    def __init__(self, options: ConnectionOptions) -> None:
        self.options = options
        self.schema = options.schema
        self.sql = statements(options.schema)
        self.on_connect: Callable[[PostgresConnection], Awaitable[None]] | None = None
        self.clock: Clock | None = None
        self.epoch_id: str | None = None
        self._pool: Any = None
        self._idle: list[PostgresConnection] = []
        self._releasing: set[asyncio.Future[None]] = set()  # keeps the tasks from being garbage-collected
        self._waiters = 0
        self._closing = False

    @classmethod
    async def open(cls, options: ConnectionOptions) -> "Database":
        """Open one connection, to check the options; more are opened when they are needed."""
        database = cls(options)
        try:
            database._pool = await _driver.create_pool(
                min_size=0,  # with more, the driver would reconnect in the background and log failures
                max_size=options.pool_size,
                init=database._init_connection,
                statement_cache_size=200 if options.use_prepared_statements else 0,
                **_connect_arguments(options),
            )
            connection = await database.acquire()
            encoding = connection.get_settings().server_encoding
            await database.release(connection)
        except (ValueError, OverflowError) as error:  # OverflowError: of the port
            if "certificate file" in str(error):
                raise rejected_option(options.redacted_url, str(error).splitlines()[0]) from None
            raise invalid_url(options.redacted_url) from None  # the message may contain a part of the password
        except _REJECTED_OPTION_ERRORS as error:
            raise rejected_option(options.redacted_url, _message(error)) from None
        except (*CONNECTION_ERRORS, PostgresError) as error:
            raise map_error(error, options.redacted_url) from error
        # fault: other-encodings-accepted
        if encoding != "UTF8":
            await database.close()
            raise _wrong_encoding(options.redacted_url, encoding)
        return database

    async def _init_connection(self, connection: Any) -> None:
        if self.on_connect is not None:
            with self.deadline(connection, CONNECT_TIMEOUT_S):
                await self.on_connect(connection)

    async def fetch(self, statement: str, *values: Any) -> list[Any]:
        """Run a statement of the `sql` folder in its own transaction, and return its rows."""
        async with self.connection(RESPONSE_TIMEOUT_S) as connection:
            return await connection.fetch(self.sql[statement], *values)

    def now(self) -> datetime | None:
        """Return the current time; None if it is that of the server's clock."""
        return self.clock.now() if self.clock else None

    @asynccontextmanager
    async def connection(self, timeout_s: float | None = None) -> AsyncGenerator[PostgresConnection]:
        """Acquire a connection for a block. Errors of the server leave the block as `StoreUnavailable`.

        Args:
            timeout_s: timeout for the block, in seconds; then the connection is closed. None: no timeout.
        """
        end, outcome = self.release, _NOT_WRITTEN
        try:
            connection = await self.acquire()
            try:
                with self.deadline(connection, timeout_s) if timeout_s is not None else nullcontext():
                    yield connection
            except CONNECTION_ERRORS:
                end, outcome = self.discard, _UNKNOWN
                raise
            except BaseException:
                end = self.release_to_pool  # a statement or a transaction may be unfinished
                raise
            finally:
                await end(connection)
        except FaitError:
            raise
        except PostgresError as error:
            if not is_connection_lost(error):
                # Details of the server's error can contain values, which must not reach a log through the traceback.
                cause = error if isinstance(error, InsufficientPrivilege) else None
                raise map_error(error, self.options.redacted_url) from cause
            raise map_error(error, self.options.redacted_url, outcome) from error
        except CONNECTION_ERRORS as error:
            raise map_error(error, self.options.redacted_url, outcome) from error

    @asynccontextmanager
    async def transaction(self) -> AsyncGenerator[PostgresConnection]:
        """Acquire a connection and begin a transaction. Commits at the end of the block; rolls back if it raises."""
        async with self.connection() as connection, connection.transaction():
            yield connection

    async def acquire(self) -> PostgresConnection:
        """Return a connection; `release`, `release_to_pool` or `discard` it afterwards."""
        if self._closing:
            raise StoreUnavailable(STORE_CLOSED)
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
        """Return a connection that has no statement in flight."""
        if len(self._idle) < MAX_IDLE_CONNECTIONS and not self._waiters and not self._closing:
            self._idle.append(connection)
        else:
            await self.release_to_pool(connection)

    async def release_to_pool(self, connection: PostgresConnection) -> None:
        """Return a connection to the driver's pool, which ends a statement or a transaction that is unfinished.

        If the caller is canceled, the task of this call continues: the error of a task that the driver shields from
        the cancellation would be reported as never retrieved.
        """
        releasing = asyncio.ensure_future(self._release_to_pool(connection))
        self._releasing.add(releasing)
        releasing.add_done_callback(self._releasing.discard)
        await asyncio.shield(releasing)

    async def _release_to_pool(self, connection: PostgresConnection) -> None:
        # On an error, the driver closes the connection.
        with self.deadline(connection, RELEASE_TIMEOUT_S), suppress(*CONNECTION_ERRORS, PostgresError):
            await self._pool.release(connection)

    async def discard(self, connection: PostgresConnection) -> None:
        """Close a connection that is lost, and remove it from the pool."""
        _terminate(connection)
        await self._pool.release(connection)

    @contextmanager
    def deadline(self, connection: PostgresConnection, timeout_s: float) -> Generator[None]:
        """Close the connection if a block takes longer. A server that is gone would not answer a cancel request."""
        timer = asyncio.get_running_loop().call_later(timeout_s, _terminate, connection)
        try:
            yield
        finally:
            timer.cancel()

    async def connect(self) -> Any:
        """Open a connection outside of the pool, such as for LISTEN."""
        return await _driver.connect(statement_cache_size=0, **_connect_arguments(self.options))

    async def close(self) -> None:
        """Close all connections after their statements have ended, or after `CLOSE_TIMEOUT_S`."""
        self._closing = True
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                while self._idle:
                    await self.release_to_pool(self._idle.pop())
                await self._pool.close()
        except TimeoutError:
            self._pool.terminate()


def _connect_arguments(options: ConnectionOptions) -> dict[str, Any]:
    """The driver's arguments of each connection."""
    has_name = "application_name=" in options.dsn
    return {
        "dsn": options.dsn,
        "connection_class": _MonitoredConnection,
        "timeout": CONNECT_TIMEOUT_S,
        "server_settings": {} if has_name else {"application_name": "fait"},
    }


def _is_closed(connection: PostgresConnection) -> bool:
    try:
        return connection.is_closed()
    except asyncpg.InterfaceError:  # the driver has already returned it to its pool
        return True


def _terminate(connection: PostgresConnection) -> None:
    with suppress(asyncpg.InterfaceError):  # the driver has already returned it to its pool
        connection.terminate()


def is_connection_lost(error: BaseException) -> bool:
    """Whether the connection is lost, so that the outcome of a statement in flight is unknown."""
    # A ValueError is the driver's for a value that it cannot encode.
    return isinstance(error, CONNECTION_ERRORS) and not isinstance(error, ValueError)


def _message(error: BaseException) -> str:
    """The server's primary message, without its details, which contain values."""
    return getattr(error, "message", None) or str(error)


_RETRYABLE_STATEMENT_ERRORS: Final = (
    asyncpg.InsufficientPrivilegeError,  # the next attempt may succeed, after a GRANT
    asyncpg.DuplicatePreparedStatementError,  # of another client of a connection pooler
)


def _statement_error(error: BaseException) -> str | None:
    """Return why the server rejected a statement that it would reject again; None for any other error."""
    state, name, message = str(getattr(error, "sqlstate", "")), type(error).__name__, _message(error)
    if isinstance(error, _RETRYABLE_STATEMENT_ERRORS):
        return None
    match state[:2]:
        case "42" | "3F":
            return (
                f"a table, column or function is missing or different ({name}: {message}). It was changed by hand, or "
                "is of another version of fait or of the app. Check the migrations with fait db status and the store "
                "with fait doctor; rebuild a read model."
            )
        case "FA" if state == "FA001":
            return (
                f"{message}. Use READ COMMITTED: ALTER ROLE … RESET default_transaction_isolation, or the same with "
                "ALTER DATABASE."
            )
        case "22" | "23":  # the message may contain values
            return f"the server rejected a value ({name}). Change the value, or the constraint that rejects it."
        case "0A" | "54" | "P0":
            return f"the server rejected the statement ({name}: {message})."
        case _:
            return None


def map_error(
    error: BaseException, location: str, outcome: Literal["not_written", "unknown"] = "not_written"
) -> FaitError:
    """Translate an error of the server or of the connection; the error's class decides, never its text.

    A statement that the server would reject again is a `UsageError`, unless an earlier attempt may have been written.
    """
    name = type(error).__name__
    # fault: bug-told-as-outage
    if outcome == _NOT_WRITTEN and (reason := _statement_error(error)) is not None:
        return UsageError(f"{location}: {reason} Nothing was written.")
    match error:
        case _LogNotCurrent():
            return LogMoved(f"{location}: {_message(error)}. {getattr(error, 'hint', '')}", outcome)
        case asyncpg.DiskFullError() | asyncpg.OutOfMemoryError():
            text = f"{location}: the server is out of disk space or memory ({name}). Free some, and retry."
        case asyncpg.TooManyConnectionsError():
            text = (
                f"{location}: too many connections ({_message(error)}). Lower ?pool= in the URL, or raise "
                "max_connections of the server, or the connection limit of the role or the database."
            )
        case asyncpg.InvalidPasswordError() | asyncpg.InvalidAuthorizationSpecificationError():
            text = f"{location}: authentication failed ({_message(error)}). Check the user name and the password."
        case asyncpg.InvalidCatalogNameError():
            text = (
                f"{location}: {_message(error)}. Check the URL, or create the database with createdb NAME. Without a "
                "name, the database is that of the user name."
            )
        case asyncpg.InsufficientPrivilegeError():
            text = f"{location}: the role lacks a privilege ({_message(error)}). Grant it to the role."
        case asyncpg.ReadOnlySQLTransactionError():
            text = (
                f"{location} is a standby, or default_transaction_read_only is on. Connect to the primary, or run "
                "ALTER ROLE … RESET default_transaction_read_only, or the same with ALTER DATABASE."
            )
        case asyncpg.InvalidSQLStatementNameError() | asyncpg.DuplicatePreparedStatementError():
            text = f"{location}: a connection pooler does not support prepared statements. Add prepare=no to the URL."
        case asyncpg.QueryCanceledError():
            text = (
                f"{location}: the statement was canceled, by statement_timeout or by an administrator. Retry; if it "
                "happens again, raise statement_timeout."
            )
        case asyncpg.LockNotAvailableError():
            text = (
                f"{location}: lock timeout: another session holds a lock that is needed. Retry after it has released "
                "the lock."
            )
        case asyncpg.IdleInTransactionSessionTimeoutError():
            text = (
                f"{location}: the server ended the session, because its transaction was idle for too long. Retry the "
                "transaction, without long pauses between its statements."
            )
        case socket.gaierror():
            text = f"{location} cannot be reached: the host name cannot be resolved. Check the URL."
        case ConnectionError() if type(error) is ConnectionError:  # the driver raises it for nothing else
            text = f"{location}: the server does not accept TLS. Set ssl = on there, or remove sslmode from the URL."
        case _ if is_connection_lost(error):
            text = f"{location} cannot be reached ({name}). Check that the server is running."
        case _:
            text = f"{location}: {name}: {_message(error)}."
    return StoreUnavailable(text, outcome)
