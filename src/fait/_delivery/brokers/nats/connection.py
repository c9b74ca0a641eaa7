"""One connection to a NATS server, which is of no more use after its first failure.

nats-py buffers messages while it reconnects and sends them later, without those that were lost; some of its futures are
never done after a failure or a refusal. So it does not reconnect here, and requests wait for futures of this module.
"""

import asyncio
import contextlib
import ssl
from collections.abc import Callable, Coroutine, Mapping
from itertools import count
from typing import Any, Final, Literal

import msgspec
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import Error as NatsError

from fait._broker_errors import BrokerUnavailable
from fait._delivery.brokers.destination import Destination
from fait._delivery.brokers.place import DEFAULT_PORTS
from fait._delivery.brokers.port import CLOSE_TIMEOUT_S

__all__ = ["ApiError", "NatsConnection", "Outcome", "status_of"]

Outcome = Literal["not_sent", "unknown"]

NO_RESPONDERS: Final = "503"
"""Status of the reply if no server handles a subject: JetStream is off, has no leader, or no stream has the subject."""


class ApiError(Exception):
    """JetStream replied to a request with an error.

    Attributes:
        code: its `err_code`.
        text: its description.
    """

    def __init__(self, code: int, text: str) -> None:
        self.code = code
        self.text = text
        super().__init__(text)


class NatsConnection:
    """A connection.

    Args:
        destination: the URL of the server.
        timeout_s: timeout for each request.

    Attributes:
        on_failure: functions that are called when the connection fails.
    """

    def __init__(self, destination: Destination, timeout_s: float) -> None:
        self._destination = destination
        self._timeout_s = timeout_s
        self._client = Client()
        self._inbox = self._client.new_inbox()
        self._numbers = count(1)
        self._answers: dict[str, asyncio.Future[Msg]] = {}
        self._failure = ""
        self._last_error = ""
        self._subscriptions: dict[str, Subscription] = {}
        self.on_failure: list[Callable[[], None]] = []

    async def open(self) -> None:
        """Connect.

        Raises:
            BrokerUnavailable: the server cannot be reached, or refuses the user.
        """
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._client.connect(**self._settings())
                # fault: connection-without-tls
                self._check_tls()  # the server may have asked for no secret
                await self._subscribe(f"{self._inbox}.*", self._dispatch)
        except (TimeoutError, NatsError, OSError) as error:
            self._fail(self._last_error or str(error) or f"no answer within {self._timeout_s:g} s")
            await self.close()
            raise self.unavailable() from None
        except asyncio.CancelledError:  # nats-py leaves its socket open
            self._fail("it was not opened")
            # fault: nats-socket-left-open
            await self.close()
            raise

    def _settings(self) -> dict[str, Any]:
        parts = self._destination.parts
        self._destination.refuse_options(("ca", "tls"))
        if parts.path.strip("/"):
            self._destination.refuse("it has a path, which would be ignored")
        host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname or "localhost"
        return {
            "servers": f"nats://{host}:{parts.port or DEFAULT_PORTS['nats']}",
            "name": "fait",
            "allow_reconnect": False,
            # With 0 attempts nats-py would never stop trying, even without reconnecting.
            "max_reconnect_attempts": 1,
            "reconnect_time_wait": 0,
            "connect_timeout": self._timeout_s,
            "ping_interval": max(1.0, self._timeout_s / 3),
            "max_outstanding_pings": 2,
            "pending_size": 0,  # never wait in publish(), where nats-py suppresses the cancellation by a timeout
            "tls": self._destination.tls(default=True),
            "error_cb": self._on_error,
            "closed_cb": self._on_closed,
            **self._credentials(),
        }

    def _credentials(self) -> dict[str, Any]:
        user, password = self._destination.credentials
        if password is None:
            return {"token": lambda: self._secret(user)} if user else {}
        return {"user": user, "password": lambda: self._secret(password)}

    def _secret(self, value: str | None) -> str | None:
        """Return a secret, when nats-py sends it: after the TLS handshake, if there is one."""
        # fault: secret-without-tls
        self._check_tls()
        return value

    def _check_tls(self) -> None:
        """Raise `ssl.SSLError` if the URL demands TLS and the connection has none."""
        if self._demands_tls and not self._server_has_tls:
            raise ssl.SSLError("the server offers no TLS, and the URL demands it")

    @property
    def _demands_tls(self) -> bool:
        return self._destination.options.get("tls", "off") != "off" or "ca" in self._destination.options

    @property
    def _server_has_tls(self) -> bool:
        return bool(getattr(self._client, "_server_info", {}).get("tls_required"))

    async def _on_error(self, error: Exception) -> None:
        self._last_error = str(error) or type(error).__name__

    async def _on_closed(self) -> None:
        self._fail(self._last_error or "the connection was closed")

    def _fail(self, reason: str) -> None:
        self._failure = self._failure or reason
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(ConnectionError())
                # A request that could not be sent does not await it: asyncio would report it.
                # fault: answer-of-an-unsent-request-reported
                answer.exception()
        for each in self.on_failure:
            each()

    @property
    def maximum_payload(self) -> int:
        """Maximum number of bytes of a message with its headers, as the server says it."""
        return self._client.max_payload

    async def subscribe(self, handle: Callable[[Msg], None]) -> str:
        """Return a new subject; messages of the subjects below it go to a function."""
        self.require()
        subject = self._client.new_inbox()

        async def dispatch(message: Msg) -> None:
            handle(message)

        await self._subscribe(f"{subject}.*", dispatch)
        return subject

    async def _subscribe(self, subject: str, dispatch: Callable[[Msg], Coroutine[Any, Any, None]]) -> None:
        # With limits, nats-py would drop messages.
        unlimited: dict[str, Any] = {"pending_msgs_limit": 0, "pending_bytes_limit": 0}
        client: Any = self._client
        self._subscriptions[subject] = await client.subscribe(subject, cb=dispatch, **unlimited)

    async def unsubscribe(self, subject: str) -> None:
        """Receive no more messages of the subjects below one. Never raises: a lost connection receives none, either."""
        if (subscription := self._subscriptions.pop(f"{subject}.*", None)) and not self._failure:
            with contextlib.suppress(NatsError, OSError):  # nats-py may know of a failure that was not reported yet
                await subscription.unsubscribe()

    async def _dispatch(self, reply: Msg) -> None:
        answer = self._answers.get(reply.subject.rpartition(".")[2])
        if answer and not answer.done():
            answer.set_result(reply)

    async def send(self, subject: str, body: bytes, headers: Mapping[str, str] | None = None, reply: str = "") -> None:
        """Write a message to the buffer of the connection.

        Raises:
            BrokerUnavailable: there was a failure before.
        """
        self.require()
        try:
            await self._client.publish(subject, body, reply=reply, headers=dict(headers) if headers else None)
        except (NatsError, OSError) as error:
            self._fail(str(error) or type(error).__name__)
            raise self.unavailable() from None

    async def request(
        self, subject: str, body: bytes, headers: Mapping[str, str] | None = None, outcome: Outcome = "not_sent"
    ) -> Msg:
        """Send a message and wait for one reply.

        Args:
            subject: the subject.
            body: the content.
            headers: the headers.
            outcome: what is known of messages if there is no reply.

        Raises:
            BrokerUnavailable: there was no reply in time, or no server handles the subject.
        """
        number = str(next(self._numbers))
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(self._timeout_s):
                await self.send(subject, body, headers, f"{self._inbox}.{number}")
                message = await answer
        except TimeoutError:
            self._fail(f"no answer within {self._timeout_s:g} s")
            raise self.unavailable(outcome) from None
        except ConnectionError:
            raise self.unavailable(outcome) from None
        finally:
            del self._answers[number]
        if status_of(message) == NO_RESPONDERS:
            raise BrokerUnavailable(self._destination.name, "JetStream is off or has no leader, or the stream is gone")
        return message

    async def api(self, name: str, parameters: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Call JetStream's API.

        Args:
            name: subject of the call, after `$JS.API.`.
            parameters: parameters of the call.

        Raises:
            BrokerUnavailable: there was no reply in time.
            ApiError: the reply is an error.
        """
        return answer_of(await self.request(f"$JS.API.{name}", msgspec.json.encode(parameters or {})))

    def require(self) -> None:
        """Raise `BrokerUnavailable` if there was a failure."""
        if self._failure:
            raise self.unavailable()

    def unavailable(self, outcome: Outcome = "not_sent", reason: str = "") -> BrokerUnavailable:
        """Return the error of an outage."""
        return BrokerUnavailable(self._destination.name, (reason or self._failure).rstrip("."), outcome)

    async def close(self) -> None:
        """Close it. After a failure, what is still in its buffer is not sent. Never raises."""
        if self._failure:
            self._abort()
        self._fail("the broker is closed")
        with contextlib.suppress(Exception):
            async with asyncio.timeout(CLOSE_TIMEOUT_S / 2):
                await self._client.close()
        await self._end_subscriptions()

    async def _end_subscriptions(self) -> None:
        """End the tasks of subscriptions that `close` of nats-py leaves if it is interrupted, or was called before."""
        found = (getattr(each, "_wait_for_msgs_task", None) for each in self._subscriptions.values())
        tasks = [each for each in found if each is not None]
        for each in tasks:
            # fault: nats-subscription-left-running
            each.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _abort(self) -> None:
        """Close the socket of a server that may not read any more; `close` alone would wait until it has."""
        transport = getattr(self._client, "_transport", None)
        writer = getattr(transport, "_io_writer", None)
        if writer is not None:
            writer.transport.abort()


def status_of(message: Msg) -> str:
    """Return the status of a reply without content; "" if it has none."""
    return (message.headers or {}).get("Status", "")


def answer_of(message: Msg) -> dict[str, Any]:
    """Return the content of a reply of JetStream.

    Raises:
        ApiError: it is an error.
    """
    answer: dict[str, Any] = msgspec.json.decode(message.data)
    if error := answer.get("error"):
        raise ApiError(error.get("err_code", 0), error.get("description", "unknown error"))
    return answer
