"""Which broker a URL names, apart from how to reach it: URLs with the same place lead to the same topics.

Credentials, certificates and the order of several servers do not matter. Two names of one server are two places,
because only the operator knows that they lead to the same server.
"""

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import unquote

from fait._delivery.brokers.destination import Destination

__all__ = ["DEFAULT_PORTS", "place_of"]

DEFAULT_PORTS: Final[Mapping[str, int]] = {
    "nats": 4222,
    "redis": 6379,
    "rediss": 6379,
    "kafka": 9092,
    "kafka+ssl": 9092,
    "amqp": 5672,
    "amqps": 5671,
}
"""The port of each scheme, if a URL has none."""

_FAMILIES: Final = {"rediss": "redis", "kafka+ssl": "kafka", "amqps": "amqp"}
"""The schemes that only add TLS to another one."""

_DEFAULT_PATHS: Final = {"redis": "0", "amqp": "/"}
"""The database or virtual host of a URL without one."""

_DEFAULT_OPTIONS: Final = {("queues", "quorum"), ("order", "lane")}
"""Options that say what holds without them."""

_ACCESS_OPTIONS: Final = re.compile("(?i)ca|tls|sasl|transactions|.*(pass|secret|token|key).*")
"""Names of options that say how a broker is reached and used, and not which one it is."""


def place_of(destination: Destination) -> str:
    """Return the place of a broker: the family of its scheme, its servers, its path, and options that name others.

    The default port of a scheme counts as none, so that TLS at the default port is the same place.

    Args:
        destination: the URL of the broker.
    """
    scheme, parts = destination.scheme, destination.parts
    family = _FAMILIES.get(scheme, scheme)
    # fault: password-names-another-broker
    servers = sorted(_server_of(each, scheme) for each in parts.netloc.rpartition("@")[2].split(","))
    path = unquote(parts.path.removeprefix("/")) or _DEFAULT_PATHS.get(family, "")
    # fault: kind-of-queues-names-no-other-broker
    options = sorted(each for each in destination.options.items() if not _ACCESS_OPTIONS.fullmatch(each[0]))
    named = [f"{name}={value}" for name, value in options if (name, value) not in _DEFAULT_OPTIONS]
    return " ".join([family, ",".join(servers), *([path] if path else []), *named])


def _server_of(host: str, scheme: str) -> str:
    name, colon, port = host.rpartition(":")
    if not colon or "]" in port:  # an IPv6 address without a port
        name, port = host, ""
    has_default = not port or int(port) == DEFAULT_PORTS.get(scheme)
    return f"{name.lower() or 'localhost'}{'' if has_default else f':{port}'}"
