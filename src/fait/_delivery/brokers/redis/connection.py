"""One connection to a Redis server, which is of no more use after its first failure.

redis-py retries commands and connects again by default, and so stores entries twice. Its pools and clients are not
used: `redis.asyncio.Connection` sends one command and reads one reply, without retries here.
"""

import asyncio
import contextlib
from collections.abc import Awaitable
from typing import Any, Literal, TypeVar, cast

from redis.asyncio import Connection, SSLConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from fait._broker_errors import BrokerUnavailable
from fait._delivery.brokers.destination import Destination
from fait._delivery.brokers.place import DEFAULT_PORTS

__all__ = ["Outcome", "RedisConnection", "ServerError", "Value"]

Value = str | bytes | int
Reply = TypeVar("Reply")
Outcome = Literal["not_sent", "unknown"]


class ServerError(Exception):
    """The server answered a command with an error.

    Attributes:
        text: the error, without values of the command.
    """

    def __init__(self, text: str) -> None:
        # The only error that quotes what a command contained.
        self.text = "unknown command" if text.startswith("unknown command") else text.partition(" script: ")[0]
        super().__init__(self.text)


class RedisConnection:
    """A connection.

    Args:
        destination: the URL of the server.
        timeout_s: timeout for each command.
    """

    def __init__(self, destination: Destination, timeout_s: float) -> None:
        self._destination = destination
        self._timeout_s = timeout_s
        self._one_at_a_time = asyncio.Lock()
        self._connection = connection_to(destination)
        self._writer: asyncio.StreamWriter | None = None

    async def open(self) -> None:
        """Connect.

        Raises:
            BrokerUnavailable: the server cannot be reached, or refuses the user.
        """
        await self._finished(self._connection.connect(), self._timeout_s, "not_sent")
        self._writer = getattr(self._connection, "_writer", None)

    async def call(self, *command: Value, outcome: Outcome = "not_sent", wait_s: float = 0.0) -> Any:
        """Send a command and return the reply.

        Args:
            command: the command with its arguments.
            outcome: what is known of messages if there is no reply.
            wait_s: how long the server may wait before it replies.

        Raises:
            BrokerUnavailable: there was no reply in time, or there was a failure before.
            ServerError: the server replied with an error.
        """
        return await self._finished(self._converse(command), self._timeout_s + wait_s, outcome)

    async def _converse(self, command: tuple[Value, ...]) -> Any:
        async with self._one_at_a_time:
            # fault: redis-connects-again
            if not self._connection.is_connected:  # else the library would connect again
                raise self.unavailable("the connection was closed after a failure")
            connection: Any = self._connection  # its methods are typed in part
            await connection.send_command(*command)
            return await connection.read_response()

    async def _finished(self, doing: Awaitable[Reply], timeout_s: float, outcome: Outcome) -> Reply:
        try:
            async with asyncio.timeout(timeout_s):
                return await doing
        except TimeoutError:
            await self.close()
            raise self.unavailable(f"no answer within {timeout_s:g} s", outcome) from None
        except (RedisError, OSError) as error:
            if self._connection.is_connected:
                raise ServerError(str(error)) from None
            # The text of the library names the host, and for a wrong password only that it is wrong.
            raise self.unavailable(str(error) or type(error).__name__, outcome) from None

    def unavailable(self, reason: str, outcome: Outcome = "not_sent") -> BrokerUnavailable:
        """Return the error of an outage."""
        return BrokerUnavailable(self._destination.name, reason.rstrip("."), outcome)

    async def close(self) -> None:
        """Close it. What is still in its buffer after a failure is not sent. Never raises."""
        with contextlib.suppress(RedisError, OSError):
            if self._writer is not None:
                self._writer.transport.abort()  # closing would wait for a server that does not read
                await self._writer.wait_closed()
            await self._connection.disconnect(nowait=True)


def connection_to(destination: Destination) -> Connection:
    """Return a connection that is not open yet."""
    parts = destination.parts
    destination.refuse_options(("ca", "tls"))
    database = parts.path.strip("/") or "0"
    if not database.isdecimal():
        destination.refuse(f"the path must be the number of a database, got {parts.path!r}")
    user, password = destination.credentials
    settings: dict[str, Any] = {
        "host": parts.hostname or "localhost",
        "port": parts.port or DEFAULT_PORTS[destination.scheme],
        "db": int(database),
        "username": user or None,
        "password": password,
        "protocol": 2,
        "retry": Retry(NoBackoff(), 0),
        "socket_timeout": None,  # each command has its own timeout
        "socket_connect_timeout": None,
    }
    tls = destination.tls(default=destination.scheme == "rediss")
    if tls is None:
        return Connection(**settings)
    settings |= {"ssl_cert_reqs": tls.verify_mode, "ssl_check_hostname": tls.check_hostname}
    return cast("Connection", SSLConnection(**settings, ssl_ca_certs=destination.options.get("ca")))
