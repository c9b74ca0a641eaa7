"""Structured mode of CloudEvents: the whole event as JSON; and batches of events."""

import binascii
from base64 import b64encode
from binascii import a2b_base64
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
from msgspec import Raw

from fait._broker_errors import MalformedMessage
from fait._delivery.wire.cloud_event import CloudEvent, checked, is_json
from fait._delivery.wire.json_bounds import decode_json

__all__ = [
    "BATCH_TYPE",
    "STRUCTURED_TYPE",
    "decode_batch",
    "decode_members",
    "decode_structured",
    "encode_batch",
    "encode_structured",
    "event_of",
]

STRUCTURED_TYPE: Final = "application/cloudevents+json"
"""Content type of an event in structured mode."""

BATCH_TYPE: Final = "application/cloudevents-batch+json"
"""Content type of a batch."""

Members = Mapping[str, Raw]

_MEMBERS: Final = msgspec.json.Decoder(dict[str, Raw])
_BATCH: Final = msgspec.json.Decoder(list[dict[str, Raw]])
_VALUE: Final = msgspec.json.Decoder[Any]()
_encode = msgspec.json.Encoder().encode


def encode_structured(event: CloudEvent) -> bytes:
    """Return an event as JSON. JSON data is contained as it is written, text as a string, other data in Base64."""
    return _encode({**event.attributes, **_data_member(event)})


def encode_batch(events: Sequence[CloudEvent]) -> bytes:
    """Return events as a JSON array."""
    return _encode([{**each.attributes, **_data_member(each)} for each in events])


def _data_member(event: CloudEvent) -> dict[str, Any]:
    if event.data is None:
        return {}
    if event.is_json:
        return {"data": Raw(event.data)}
    try:
        return {"data": event.data.decode()}
    except UnicodeDecodeError:
        return {"data_base64": b64encode(event.data).decode()}


def decode_structured(text: bytes) -> CloudEvent:
    """Return the event in a JSON object.

    Raises:
        MalformedMessage: the text is no JSON object, or the event is not valid.
    """
    return event_of(decode_members(text))


def decode_members(text: bytes) -> Members:
    """Return the members of a JSON object, not yet decoded.

    Raises:
        MalformedMessage: the text is no JSON object.
    """
    return decode_json(text, _MEMBERS)


def decode_batch(text: bytes) -> list[CloudEvent]:
    """Return the events in a JSON array.

    Raises:
        MalformedMessage: the text is no array of JSON objects, or one of the events is not valid.
    """
    return [event_of(each) for each in decode_json(text, _BATCH)]


def event_of(members: Members) -> CloudEvent:
    """Return the event that the members of a JSON object are.

    Raises:
        MalformedMessage: it is not valid.
    """
    others = {name: _VALUE.decode(value) for name, value in members.items() if name not in ("data", "data_base64")}
    attributes = checked(others)
    return CloudEvent(attributes, _data(members, attributes.get("datacontenttype")))


def _data(members: Members, content_type: object) -> bytes | None:
    data, binary = members.get("data"), members.get("data_base64")
    if binary is not None and bytes(binary) != b"null":
        # fault: two-kinds-of-data-accepted
        if data is not None:
            raise MalformedMessage("it has both data and data_base64")
        return _from_base64(_VALUE.decode(binary))
    if data is None:
        return None
    if is_json(content_type if isinstance(content_type, str) else None):
        return bytes(data)
    if not isinstance(text := _VALUE.decode(data), str):
        raise MalformedMessage("data is no text, although the content type is not JSON")
    return text.encode()


def _from_base64(text: object) -> bytes:
    try:
        if isinstance(text, str):
            return a2b_base64(text.encode("ascii"), strict_mode=True)
    except (binascii.Error, UnicodeEncodeError):
        pass
    raise MalformedMessage("data_base64 is not Base64")
