"""Finds brokers by the scheme of a URL, and opens them. The only module that names the built-in adapters.

memory:shop                      in this process, for tests; all that open the same name share it
nats://host:4222                 NATS with JetStream
redis://host:6379/0              Redis Streams; with TLS rediss://
kafka://host:9092                Kafka; with TLS kafka+ssl://
amqp://host:5672/vhost           RabbitMQ; with TLS amqps://

An adapter is a module with a function `open_broker`. Its client library is imported by the first call only. Built-in
adapters are found without reading the metadata of installed packages, so no package can replace one of them.
"""

import os
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

from fait._arguments import check_number
from fait._delivery.brokers.destination import Destination, destination_of
from fait._delivery.brokers.port import Broker
from fait._errors import MissingExtra, UsageError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

__all__ = [
    "BUILT_IN",
    "DEFAULT_TIMEOUT_S",
    "OpenBroker",
    "broker_schemes",
    "find_adapter",
    "find_broker",
    "import_client",
    "open_broker",
]

DEFAULT_TIMEOUT_S: Final = 10.0
"""Default timeout for each call of a broker, in seconds."""


class OpenBroker(Protocol):
    """The function `open_broker` of an adapter's module, which its entry point names."""

    async def __call__(self, destination: Destination, *, timeout_s: float) -> Broker:
        """Connect to a broker and ask it for its limits.

        Args:
            destination: the URL of the broker.
            timeout_s: timeout for each call, this one included, in seconds.

        Raises:
            UsageError: the URL has a part that would be ignored.
            MissingExtra: the client library is not installed.
            BrokerUnavailable: the broker cannot be reached.
        """
        ...


BUILT_IN: Final = {
    "memory": "fait._delivery.brokers.memory.broker",
    "nats": "fait._delivery.brokers.nats.adapter",
    "redis": "fait._delivery.brokers.redis.adapter",
    "rediss": "fait._delivery.brokers.redis.adapter",
    "kafka": "fait._delivery.brokers.kafka.adapter",
    "kafka+ssl": "fait._delivery.brokers.kafka.adapter",
    "amqp": "fait._delivery.brokers.rabbitmq.adapter",
    "amqps": "fait._delivery.brokers.rabbitmq.adapter",
}
"""The module of each built-in adapter, by the scheme of its URLs."""


def broker_schemes() -> list[str]:
    """Return the schemes of the URLs of all installed adapters. Those of fait are the first."""
    return list(BUILT_IN | _entry_points_by_scheme())


@cache
def _entry_points_by_scheme() -> "dict[str, EntryPoint]":
    """Return the entry points of adapters. Reads the metadata of all installed packages at the first call only."""
    from importlib.metadata import entry_points  # slow to import

    return {each.name: each for each in entry_points(group="fait.brokers")}


def find_adapter(scheme: str) -> OpenBroker | None:
    """Return the function that opens brokers of a scheme, or None.

    Raises:
        UsageError: the entry point of that name is no function.
    """
    if module := BUILT_IN.get(scheme):
        return import_module(module).open_broker
    if (entry_point := _entry_points_by_scheme().get(scheme)) is None:
        return None
    adapter = entry_point.load()
    if not callable(adapter):
        raise UsageError(
            f"the entry point {scheme} = {entry_point.value!r} in the group fait.brokers is no function. Nothing was "
            "opened. Upgrade or remove the package that declares it."
        )
    return cast("OpenBroker", adapter)


def find_broker(url: str, variables: Mapping[str, str]) -> tuple[Destination, OpenBroker]:
    """Return the destination of a URL, and the adapter that opens it.

    Args:
        url: as in `open_broker`.
        variables: values of the variables.

    Raises:
        UsageError: the URL is malformed or has a password, a variable is missing, or no adapter has the scheme.
    """
    destination = destination_of(url, variables)
    if (adapter := find_adapter(destination.scheme)) is None:
        raise _unknown_url(destination)
    return destination, adapter


async def open_broker(
    url: str, *, timeout_s: float = DEFAULT_TIMEOUT_S, variables: Mapping[str, str] | None = None
) -> Broker:
    """Open a broker.

    Args:
        url: URL of the broker, or `${NAME}` for one in a variable; its scheme selects the adapter. It must not have a
            password, but can have a variable in its place: `nats://shop:${PASSWORD}@broker`.
        timeout_s: timeout for each call, in seconds.
        variables: values of the variables, such as entries of a configuration; None: those of the environment.

    Returns:
        The broker. It is closed at its first `BrokerUnavailable`.

    Raises:
        UsageError: the URL is malformed or has a password, a variable is missing, or no adapter has the scheme.
        MissingExtra: the client library is not installed.
        BrokerUnavailable: the broker cannot be reached.
    """
    if check_number("timeout_s", timeout_s) <= 0:
        raise UsageError("timeout_s= must be greater than 0. Nothing was opened.")
    destination, adapter = find_broker(url, os.environ if variables is None else variables)
    return await adapter(destination, timeout_s=timeout_s)


def _unknown_url(destination: Destination) -> UsageError:
    schemes = ", ".join(f"{scheme}:" for scheme in broker_schemes())
    return UsageError(
        f"unknown broker URL {destination.name!r}: it must start with one of {schemes}. Nothing was opened."
    )


def import_client(module: str, broker: str, extra: str) -> Any:
    """Import and return the client library of a built-in adapter.

    Args:
        module: the module of the library.
        broker: name of the broker, for the message.
        extra: the extra of fait that installs the library.

    Raises:
        MissingExtra: the library is not installed.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as missing:
        if missing.name != module:
            raise
        raise MissingExtra(broker, extra) from None
