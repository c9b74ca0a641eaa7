"""Makes the clients of the library for one URL, and runs their calls in threads.

Each client has a thread of its own, in which its calls run one after another; each call ends within the timeout, so the
thread does, too. The library connects again and repeats requests by itself. Repeated requests of an idempotent producer
are stored once; a client that has lost all of its connections is of no more use here, although the library continues.
"""

import asyncio
import contextlib
import logging
import ssl
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, Literal, TypeVar

from confluent_kafka import KafkaError, KafkaException

from fait._broker_errors import BrokerUnavailable
from fait._delivery.brokers.destination import Destination
from fait._delivery.brokers.place import DEFAULT_PORTS
from fait._delivery.brokers.port import CLOSE_TIMEOUT_S
from fait._telemetry import logger

__all__ = ["ClientEvents", "KafkaClient", "KafkaConnection", "KafkaFailure", "Outcome"]

Outcome = Literal["not_sent", "unknown"]
Result = TypeVar("Result")

MECHANISMS: Final = {"plain": "PLAIN", "scram-sha-256": "SCRAM-SHA-256", "scram-sha-512": "SCRAM-SHA-512"}
"""Values of the option `sasl`, and the names of these mechanisms in the protocol."""


class KafkaFailure(Exception):
    """The library or the cluster answered with an error.

    Attributes:
        code: its code, as in `KafkaError`.
        reason: its description.
    """

    def __init__(self, error: KafkaError) -> None:
        self.code = error.code()
        self.reason = error.str()
        super().__init__(self.reason)


class ClientEvents:
    """What the library reports of a client apart from the results of calls, and the log of the library.

    Attributes:
        is_down: whether the client has lost all of its connections.
        reason: the last problem of a connection.
    """

    def __init__(self) -> None:
        self.is_down = False
        self.reason = "all connections were lost"

    @property
    def settings(self) -> dict[str, Any]:
        """The settings of a client that reports to this object."""
        return {"error_cb": self._on_error, "logger": self}

    def _on_error(self, error: KafkaError) -> None:
        # fault: kafka-connects-again
        if error.code() == KafkaError._ALL_BROKERS_DOWN:  # pyright: ignore[reportPrivateUsage]
            self.is_down = True
        else:
            self.reason = error.str()

    def log(self, level: int, text: str, *arguments: object) -> None:
        """Log a line of the library. What matters is also an error of a call, so it is for debugging only."""
        logger.log(min(level, logging.DEBUG), text, *arguments)


class KafkaConnection:
    """The URL of a cluster, and the clients that were made for it.

    Args:
        destination: the URL.
        timeout_s: timeout for each call.

    Attributes:
        name: the URL without passwords.
        timeout_s: timeout for each call.
        settings: settings of all clients.
    """

    def __init__(self, destination: Destination, timeout_s: float) -> None:
        self.name = destination.name
        self.timeout_s = timeout_s
        self.settings = client_settings(destination, timeout_s)
        self.is_closed = False
        self._clients: list[KafkaClient] = []

    def client(self, make: Callable[[dict[str, Any]], Any], **settings: Any) -> "KafkaClient":
        """Return a client, which is made at its first call.

        Args:
            make: the class of the library.
            settings: further settings, with `_` instead of `.` in their names.
        """
        if self.is_closed:
            raise self.unavailable("the broker is closed")
        named = {name.replace("_", "."): value for name, value in settings.items()}
        client = KafkaClient(self, make, named)
        self._clients.append(client)
        return client

    def unavailable(self, reason: str, outcome: Outcome = "not_sent") -> BrokerUnavailable:
        """Return the error of an outage."""
        return BrokerUnavailable(self.name, reason.rstrip("."), outcome)

    async def close(self) -> None:
        """Close all clients. Never raises."""
        self.is_closed = True
        await asyncio.gather(*(each.close() for each in self._clients))
        self._clients.clear()


class KafkaClient:
    """A client of the library with a thread of its own.

    Args:
        connection: the URL.
        make: the class of the library.
        settings: settings of this client.

    Attributes:
        events: what the library reports of it.
    """

    def __init__(self, connection: KafkaConnection, make: Callable[[dict[str, Any]], Any], settings: dict[str, Any]):
        self.events = ClientEvents()
        self._connection = connection
        self._make = lambda: make({**connection.settings, **settings, **self.events.settings})
        self._thread = ThreadPoolExecutor(1, "fait-kafka")
        self._client: Any = None
        self._is_closed = False

    async def call(self, function: Callable[[Any], Result], outcome: Outcome = "not_sent") -> Result:
        """Call a function with the client of the library, in its thread.

        Args:
            function: ends within the timeout.
            outcome: what is known of messages after a failure.

        Raises:
            BrokerUnavailable: it is closed, or has lost all connections.
            KafkaFailure: the call failed.
        """
        if self._is_closed:
            raise self._connection.unavailable("the connection is closed")
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._run, function, outcome)

    def _run(self, function: Callable[[Any], Result], outcome: Outcome) -> Result:
        if self._client is None:
            self._client = self._make()
        self.require()
        try:
            return function(self._client)
        except KafkaException as error:
            self.require(outcome)
            raise KafkaFailure(error.args[0]) from None

    def require(self, outcome: Outcome = "not_sent") -> None:
        """Raise `BrokerUnavailable` if the client has lost all of its connections."""
        if self.events.is_down:
            raise self._connection.unavailable(self.events.reason, outcome)

    async def close(self) -> None:
        """Send nothing more, and close it. Never raises."""
        if self._is_closed:
            return
        self._is_closed = True
        closing = asyncio.get_running_loop().run_in_executor(self._thread, self._end)
        self._thread.shutdown(wait=False)
        await asyncio.wait({closing}, timeout=CLOSE_TIMEOUT_S / 2)

    def _end(self) -> None:
        client, self._client = self._client, None
        with contextlib.suppress(Exception):
            if hasattr(client, "purge"):
                client.purge(blocking=False)  # its method `close` would send what is still in its queue
                client.poll(0)
            elif hasattr(client, "unassign"):
                client.close()


def client_settings(destination: Destination, timeout_s: float) -> dict[str, Any]:
    """Return the settings that all clients of a URL have."""
    destination.refuse_options(("ca", "sasl", "tls", "transactions"))
    if destination.parts.path.strip("/"):
        destination.refuse("it has a path, which would be ignored")
    tls, password = tls_settings(destination), password_settings(destination)
    protocol = ("SASL_" if password else "") + ("SSL" if tls else "PLAINTEXT")
    return {
        "bootstrap.servers": ",".join(hosts_of(destination)),
        "client.id": "fait",
        "security.protocol": protocol,
        "socket.timeout.ms": max(1_000, round(timeout_s * 1_000)),
        "socket.connection.setup.timeout.ms": max(1_000, round(timeout_s * 1_000)),
        "socket.nagle.disable": True,
        **tls,
        **password,
    }


def hosts_of(destination: Destination) -> list[str]:
    """Return the servers that a URL names, with their ports."""
    hosts = destination.parts.netloc.rpartition("@")[2].split(",")
    port = DEFAULT_PORTS[destination.scheme]
    return [each if each.rpartition(":")[2].isdecimal() else f"{each or 'localhost'}:{port}" for each in hosts]


def tls_settings(destination: Destination) -> dict[str, Any]:
    """Return the settings for TLS; none for connections without."""
    tls = destination.tls(default=destination.scheme == "kafka+ssl")
    if tls is None:
        return {}
    settings: dict[str, Any] = {"ssl.ca.location": destination.options["ca"]} if "ca" in destination.options else {}
    # fault: kafka-tls-unverified
    settings["enable.ssl.certificate.verification"] = tls.verify_mode == ssl.CERT_REQUIRED
    return settings | {"ssl.endpoint.identification.algorithm": "https" if tls.check_hostname else "none"}


def password_settings(destination: Destination) -> dict[str, Any]:
    """Return the settings for a user; none without one."""
    user, password = destination.credentials
    mechanism = destination.options.get("sasl", "plain").lower()
    if mechanism not in MECHANISMS:
        destination.refuse(f"sasl= must be one of {', '.join(MECHANISMS)}")
    if user is None and password is None:
        return {}
    if not (user and password):
        destination.refuse("it needs both a user and a password")
    return {"sasl.mechanism": MECHANISMS[mechanism], "sasl.username": user, "sasl.password": password}
