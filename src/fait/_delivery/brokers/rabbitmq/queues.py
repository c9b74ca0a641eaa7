"""The names and kinds of queues, and the properties of a message.

A topic with 16 lanes has the queues `fait:orders:0` to `fait:orders:15`, and the exchange `fait:orders:16`, which says
that there are no more: AMQP cannot list queues. Nothing is published to the exchange.
"""

from collections.abc import Mapping
from hashlib import blake2b
from typing import Any, Final, Literal

from aiormq import spec
from aiormq.abc import DeliveredMessage

from fait._delivery.brokers.destination import Destination
from fait._delivery.brokers.port import ConsumedMessage, Message

__all__ = ["LaneKind", "fingerprint_of", "kind_of", "lane_name", "message_of", "properties_of", "queue_arguments"]

LaneKind = Literal["quorum", "unordered", "stream"]
"""A quorum queue with one consumer at a time; one with any number of consumers, which get messages in any order; or a
stream.
"""

KEY: Final = "Fait-Key"

PERSISTENT: Final = 2

MAX_SHORT_BYTES: Final = 255
"""Maximum number of bytes of a property that is a short string."""

_PROPERTIES: Final = {"content_type": "content-type", "message_id": "message-id", "correlation_id": "correlation-id"}
"""Properties that other programs set, and the headers in which a consumer finds them."""

_OF_SERVER: Final = ("x-stream-offset", "x-delivery-count")
"""Headers that the server adds when it delivers a message."""


def kind_of(destination: Destination) -> LaneKind:
    """Return the kind of queues that a URL names.

    Raises:
        UsageError: there is no such kind.
    """
    kind, order = destination.options.get("queues", "quorum"), destination.options.get("order", "lane")
    if kind not in ("quorum", "stream"):
        destination.refuse("queues= must be quorum or stream")
    if order not in ("lane", "none"):
        destination.refuse("order= must be lane or none")
    if kind == "stream":
        return "stream" if order == "lane" else destination.refuse("streams keep the order; remove order=none")
    return "quorum" if order == "lane" else "unordered"


def lane_name(topic: str, number: int) -> str:
    """Return the name of a lane's queue; for the number of lanes, that of the exchange that ends them."""
    return f"fait:{topic}:{number}"


def queue_arguments(kind: LaneKind, server_version: int) -> dict[str, Any]:
    """Return the arguments of a new queue.

    Args:
        kind: its kind.
        server_version: first part of the server's version.
    """
    if kind == "stream":
        return {"x-queue-type": "stream"}
    arguments: dict[str, Any] = {"x-queue-type": "quorum"}
    if kind == "quorum":
        arguments["x-single-active-consumer"] = True
    # By default, version 4 deletes a message that it has delivered 20 times. Earlier ones do not know -1.
    return arguments | {"x-delivery-limit": -1} if server_version >= 4 else arguments


def properties_of(message: Message) -> spec.Basic.Properties:
    """Return the properties of a message."""
    headers: dict[str, Any] = {**message.headers, KEY: message.key}
    content_type = headers.get("content-type", "")
    if is_short := 0 < len(content_type.encode()) <= MAX_SHORT_BYTES:
        del headers["content-type"]
    return spec.Basic.Properties(
        headers=headers,
        content_type=content_type if is_short else None,
        message_id=message.id if 0 < len(message.id.encode()) <= MAX_SHORT_BYTES else None,
        delivery_mode=PERSISTENT,
    )


def message_of(delivered: DeliveredMessage, offset: str) -> ConsumedMessage:
    """Return a message of a queue. Any program may have published it."""
    properties = delivered.header.properties
    table: Mapping[str, Any] = properties.headers or {}
    key = table.get(KEY)
    named = {header: getattr(properties, name) for name, header in _PROPERTIES.items()}
    headers = {name: value for name, value in named.items() if value}
    headers |= {name.lower(): text_of(value) for name, value in table.items() if name not in (KEY, *_OF_SERVER)}
    return ConsumedMessage(
        offset=offset, key=None if key is None else text_of(key), headers=headers, body=delivered.body
    )


def fingerprint_of(message: ConsumedMessage) -> str:
    """Return a text that differs between messages, except for repetitions, and that each delivery of one repeats."""
    # Headers such as x-death are the server's, which may change them with its version.
    headers = sorted(each for each in message.headers.items() if not each[0].startswith("x-"))
    digest = blake2b(repr((message.key, headers)).encode(), digest_size=8)
    digest.update(message.body)
    return digest.hexdigest()


def text_of(value: object) -> str:
    """Return the value of a header, which may have any type of AMQP, as text."""
    return value.decode(errors="replace") if isinstance(value, bytes | bytearray) else str(value)
