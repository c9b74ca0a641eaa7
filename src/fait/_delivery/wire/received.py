"""From a message of a broker to an event, of fait or of any other program, within bounds."""

from collections.abc import Mapping
from typing import Final

from msgspec import Struct

from fait._broker_errors import MalformedMessage
from fait._delivery.brokers.port import MAX_MESSAGE_BYTES, ConsumedMessage
from fait._delivery.wire.binary import decode_binary
from fait._delivery.wire.cloud_event import CloudEvent, as_text
from fait._delivery.wire.json_bounds import check_json
from fait._delivery.wire.provenance import Provenance, provenance_of
from fait._delivery.wire.structured import decode_members, decode_structured, event_of

__all__ = ["Bounds", "ReceivedMessage", "received_message"]

_PREFIXES: Final = ("ce-", "ce_")


class Bounds(Struct, frozen=True):
    """What a consumer accepts.

    Attributes:
        maximum_body_bytes: maximum length of the body.
        maximum_headers: maximum number of headers, and of attributes.
        maximum_header_bytes: maximum length of the names and values of all headers, and of all attributes, in UTF-8.
    """

    maximum_body_bytes: int = MAX_MESSAGE_BYTES
    maximum_headers: int = 100
    maximum_header_bytes: int = 64 * 1024


class ReceivedMessage(Struct, frozen=True):
    """A message that a consumer has received and decoded.

    Attributes:
        event: the event; None if the message is not in the form of CloudEvents.
        provenance: where it comes from, if it says that it is an event of fait.
        key: key of the event of fait; otherwise that of the message; None: it has none.
        headers: all headers.
        data: the data of the event, or the body of another message; None: there is none.
    """

    event: CloudEvent | None
    provenance: Provenance | None
    key: str | None
    headers: Mapping[str, str]
    data: bytes | None


_DEFAULT_BOUNDS: Final = Bounds()


def received_message(message: ConsumedMessage, bounds: Bounds = _DEFAULT_BOUNDS) -> ReceivedMessage:
    """Decode a message.

    Args:
        message: the message.
        bounds: what is accepted.

    Raises:
        MalformedMessage: the message exceeds a bound, or says that it is an event or JSON and is none.
    """
    _check_bounds(message, bounds)
    event = _event(message)
    if event is None:
        return ReceivedMessage(None, None, message.key, message.headers, message.body)
    # Attributes are in the headers, which are checked, or in the body: in a short one they are short, too.
    # fault: attributes-not-bounded
    if len(event.attributes) > bounds.maximum_headers or len(message.body) > bounds.maximum_header_bytes:
        _check_texts("attributes", {name: as_text(value) for name, value in event.attributes.items()}, bounds)
    provenance = provenance_of(event)
    key = provenance.key if provenance else event.text("partitionkey") or message.key
    return ReceivedMessage(event, provenance, key, message.headers, event.data)


def _check_bounds(message: ConsumedMessage, bounds: Bounds) -> None:
    # fault: body-not-bounded
    if len(message.body) > bounds.maximum_body_bytes:
        raise MalformedMessage(f"the body has {len(message.body):,} bytes, more than {bounds.maximum_body_bytes:,}")
    _check_texts("headers", message.headers, bounds)


def _check_texts(kind: str, texts: Mapping[str, str], bounds: Bounds) -> None:
    """Raise `MalformedMessage` if there are too many headers or attributes, or if they are too long."""
    if len(texts) > bounds.maximum_headers:
        raise MalformedMessage(f"there are {len(texts)} {kind}, more than {bounds.maximum_headers}")
    size = len("".join((*texts, *texts.values())).encode(errors="surrogatepass"))
    if size > bounds.maximum_header_bytes:
        raise MalformedMessage(f"the {kind} have {size:,} bytes, more than {bounds.maximum_header_bytes:,}")


def _event(message: ConsumedMessage) -> CloudEvent | None:
    headers, body = message.headers, message.body
    content_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    # fault: binary-before-structured
    if content_type.startswith("application/cloudevents"):
        if content_type != "application/cloudevents+json":
            raise MalformedMessage("a message with this content type of CloudEvents is not supported; use JSON")
        return decode_structured(body)
    for prefix in _PREFIXES:
        if any(name.startswith(prefix) for name in headers):
            return decode_binary(headers, body, prefix)
    return _without_headers(content_type, body)


def _without_headers(content_type: str, body: bytes) -> CloudEvent | None:
    """Return the event of a body that is one in structured mode, although no header says so."""
    if content_type.endswith("json"):
        check_json(body)
    if body[:1] != b"{" or b'"specversion"' not in body:
        return None
    members = decode_members(body)
    return event_of(members) if "specversion" in members else None
