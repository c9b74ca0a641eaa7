"""One connection to a RabbitMQ server, which is of no more use after its first failure.

aiormq is used, and not aio-pika, whose robust connections connect again. What aiormq does runs in tasks of its own: it
cancels what waits for a lost connection, which must not look like a cancellation of the caller, and may not end in
time. So the socket is kept here, and closed at the first failure: what is still in its buffer is not sent.
"""

import asyncio
import logging
import ssl
from collections.abc import Awaitable, Callable
from contextvars import ContextVar, copy_context
from typing import Any, Final, Literal, TypeVar
from urllib.parse import quote, unquote

from aiormq import Channel, Connection
from aiormq.connection import TransportFactory
from aiormq.exceptions import AMQPError, ChannelClosed

from fait._broker_errors import BrokerUnavailable
from fait._delivery.brokers.destination import Destination
from fait._delivery.brokers.place import DEFAULT_PORTS
from fait._errors import FaitError

__all__ = ["Outcome", "RabbitmqConnection", "ServerRefusal"]

Answer = TypeVar("Answer")
Outcome = Literal["not_sent", "unknown"]

MIN_HEARTBEAT_S: Final = 2
"""Minimum interval of the heartbeats. If there is none for two intervals, the server closes the connection."""

CLOSE_WAIT_S: Final = 1.0
"""Maximum time for which the server is asked to close something in order."""

CLOSED: Final = "Connection.Close object"
"""Part of the text of aiormq's error if the server closes the connection instead of opening the virtual host."""

OPTIONS: Final = ("ca", "tls", "queues", "order")
"""Names of the options of URLs."""


_is_quiet: Final = ContextVar("fait_rabbitmq_is_quiet", default=False)
"""Whether the current task is one of a connection of this module."""


def _is_needed(record: logging.LogRecord) -> bool:
    """Return whether a line of aiormq is logged: not if it says what is an error of a call here, too."""
    # fault: client-of-rabbitmq-logs-outages
    return not _is_quiet.get()


for _name in ("aiormq.connection", "aiormq.channel"):
    logging.getLogger(_name).addFilter(_is_needed)


class ServerRefusal(Exception):
    """The server closed a channel because it refuses a request.

    Attributes:
        text: its reason, such as "NOT_FOUND - no queue 'orders' in vhost '/'".
    """

    def __init__(self, text: str) -> None:
        self.text = text
        super().__init__(text)

    @property
    def is_missing(self) -> bool:
        """Whether a queue or an exchange does not exist."""
        # fault: queue-whose-node-is-down-is-missing
        return self.text.startswith("NOT_FOUND - no ")

    @property
    def is_outage(self) -> bool:
        """Whether a queue exists, and its node does not answer, as when the server has just been started."""
        return self.text.startswith("NOT_FOUND") and not self.is_missing


class JoiningWriter:
    """Joins what is written in one iteration of the event loop, because aiormq writes each message alone."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self._parts: list[bytes] = []

    def write(self, data: bytes) -> None:
        """Write at the end of this iteration."""
        if not self._parts:
            asyncio.get_running_loop().call_soon(self._flush)
        self._parts.append(data)

    def _flush(self) -> None:
        if self._parts:
            self._writer.write(b"".join(self._parts))
            self._parts.clear()

    async def drain(self) -> None:
        """Write, and wait until there is space for more."""
        self._flush()
        await self._writer.drain()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._writer, name)


class Transport(TransportFactory):
    """Connects a socket, and keeps it.

    Attributes:
        reader: reads from the socket; None before it is connected.
        writer: the socket; None before it is connected.
    """

    def __init__(self, host: str, port: int, tls: ssl.SSLContext | None) -> None:
        self._host = host
        self._port = port
        self._tls = tls
        self.reader: asyncio.StreamReader | None = None
        self.writer: asyncio.StreamWriter | None = None

    async def connect(self) -> None:
        """Connect. aiormq would log an error if that failed in `create`."""
        self.reader, self.writer = await asyncio.open_connection(self._host, self._port, ssl=self._tls)

    async def create(self, url: Any, **_: Any) -> tuple[asyncio.StreamReader, Any]:
        """Return the connected socket to aiormq."""
        assert self.reader is not None
        assert self.writer is not None
        return self.reader, JoiningWriter(self.writer)

    def abort(self) -> None:
        """Close the socket, without sending what is in its buffer."""
        if self.writer is not None:
            self.writer.transport.abort()


class RabbitmqConnection:
    """A connection.

    Args:
        destination: the URL of the server.
        timeout_s: timeout for each request.

    Attributes:
        name: URL of the broker, without passwords.
        timeout_s: timeout for each request, in seconds.
        on_failure: functions that are called when the connection fails.
    """

    def __init__(self, destination: Destination, timeout_s: float) -> None:
        self.name = destination.name
        self.timeout_s = timeout_s
        self._transport = transport_to(destination)
        self._client = client_of(destination, timeout_s, self._transport)
        self._control: Channel | None = None
        self._one_at_a_time = asyncio.Lock()
        self._failure = ""
        self.on_failure: list[Callable[[], None]] = []

    async def open(self) -> None:
        """Connect.

        Raises:
            BrokerUnavailable: the server cannot be reached, or refuses the user.
        """
        client: Any = self._client  # its decorated methods have no types
        try:
            await self.run(self._transport.connect)
            await self.run(client.connect)
        except BrokerUnavailable as error:
            if CLOSED in error.reason:  # aiormq does not pass on the reason
                raise self.unavailable(f"the server refuses the virtual host {self._client.vhost!r}") from None
            raise
        except asyncio.CancelledError:
            self.fail("it was not opened")
            raise
        client.closing.add_done_callback(self._on_closed)

    def _on_closed(self, closing: "asyncio.Future[Any]") -> None:
        error = None if closing.cancelled() else closing.exception()
        self.fail(f"the server closed the connection{f': {error}' if str(error or '') else ''}")

    @property
    def server_version(self) -> int:
        """First part of the server's version."""
        version = self._client.server_properties.get("version", "")
        return int(str(version).partition(".")[0] or 0)

    @property
    def maximum_frame_bytes(self) -> int:
        """Maximum number of bytes of a frame. All headers of a message are in one."""
        return self._client.connection_tune.frame_max or 0

    async def channel(self, *, confirms: bool = False) -> Channel:
        """Open a channel.

        Args:
            confirms: whether messages that are published on it are confirmed.
        """
        opened: Any = await self.run(lambda: self._client.channel(publisher_confirms=confirms, frame_buffer_size=0))
        return opened

    async def ask(self, request: Callable[[Channel], Awaitable[Answer]]) -> Answer:
        """Return the server's answer to a request on a channel for such requests.

        Raises:
            ServerRefusal: the server refuses it.
            BrokerUnavailable: there was no answer in time.
        """
        async with self._one_at_a_time:
            channel = self._control = self._control or await self.channel()
            try:
                return await self.run(lambda: request(channel))
            except ServerRefusal:
                self._control = None
                raise

    async def run(self, doing: Callable[[], Awaitable[Answer]], outcome: Outcome = "not_sent") -> Answer:
        """Return what aiormq returns.

        Args:
            doing: calls aiormq.
            outcome: what is known of messages if it fails.

        Raises:
            BrokerUnavailable: it failed, did not end in time, or there was a failure before.
            ServerRefusal: the server closed the channel of the request.
        """
        self.require()
        context = copy_context()
        context.run(_is_quiet.set, True)  # also for the tasks that aiormq starts
        task = context.run(lambda: asyncio.ensure_future(doing()))
        # fault: canceled-request-reported
        task.add_done_callback(ignore_result)  # if this call is canceled, nothing else does
        try:
            await asyncio.wait({task}, timeout=self.timeout_s)
        finally:
            task.cancel()
        return self._result(task, outcome)

    def _result(self, task: "asyncio.Future[Answer]", outcome: Outcome) -> Answer:
        if not task.done():
            raise self.failed(f"no answer within {self.timeout_s:g} s", outcome)
        # fault: rabbitmq-cancellation-is-ours
        error = asyncio.CancelledError() if task.cancelled() else task.exception()
        if error is None:
            return task.result()
        if isinstance(error, FaitError):
            raise error
        if isinstance(error, ChannelClosed) and not self._failure:
            raise ServerRefusal(str(error)) from None
        if isinstance(error, AMQPError | OSError | RuntimeError | asyncio.CancelledError):
            raise self.failed(str(error) or "the connection is lost", outcome) from None
        raise error

    def require(self) -> None:
        """Raise `BrokerUnavailable` if there was a failure."""
        if self._failure:
            raise self.unavailable(self._failure)

    def failed(self, reason: str, outcome: Outcome = "not_sent") -> BrokerUnavailable:
        """Close the socket after a failure, and return the error."""
        self.fail(reason)
        return self.unavailable(reason, outcome)

    def fail(self, reason: str) -> None:
        """Refuse all further requests, and close the socket."""
        if not self._failure:
            self._failure = reason
            self._transport.abort()
            for each in self.on_failure:
                each()

    def unavailable(self, reason: str, outcome: Outcome = "not_sent") -> BrokerUnavailable:
        """Return the error of an outage."""
        return BrokerUnavailable(self.name, reason.rstrip("."), outcome)

    async def finish(self, close: Callable[[], Awaitable[Any]]) -> None:
        """Wait until aiormq has closed something, or the server does not answer. Never raises.

        Args:
            close: calls aiormq. It is not called after a failure.
        """
        if self._failure:
            return
        task = asyncio.ensure_future(close())
        task.add_done_callback(ignore_result)
        await asyncio.wait({task}, timeout=CLOSE_WAIT_S)
        if not task.done():
            self.fail("the server does not answer")
            task.cancel()

    async def close(self) -> None:
        """Close it. Never raises."""
        await self.finish(self._client.close)
        self.fail("the broker is closed")


def ignore_result(task: "asyncio.Future[Any]") -> None:
    """Let asyncio report nothing of a task that failed."""
    if not task.cancelled():
        task.exception()


def transport_to(destination: Destination) -> Transport:
    """Return a socket that is not connected yet."""
    destination.refuse_options(OPTIONS)
    parts, tls = destination.parts, destination.tls(default=destination.scheme == "amqps")
    return Transport(parts.hostname or "localhost", parts.port or DEFAULT_PORTS[destination.scheme], tls)


def client_of(destination: Destination, timeout_s: float, transport: Transport) -> Connection:
    """Return a client that is not connected yet."""
    user, password = (quote(each or "", safe="") for each in destination.credentials)
    heartbeat_s = max(MIN_HEARTBEAT_S, round(timeout_s / 2))
    url = f"amqp://{user}:{password}@broker/?heartbeat={heartbeat_s}&name=fait"
    client = Connection(url, transport_factory=transport)
    client.write_queue = asyncio.Queue()  # with the default limit of 10 messages, no more could be joined
    client.vhost = unquote(destination.parts.path.removeprefix("/")) or "/"
    return client
