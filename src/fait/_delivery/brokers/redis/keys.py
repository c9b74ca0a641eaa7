"""The names of the keys, and the fields of an entry.

An entry has the fields `headers`, a JSON object, and `data`. The key of the message is the header `Key`, which no other
header can be, because their names are in lower case.
"""

from collections.abc import Mapping
from typing import Final

import msgspec

from fait._delivery.brokers.port import ConsumedMessage, Lane, Message, Source
from fait._delivery.text_codes import encode_token

__all__ = ["LANES", "encode_headers", "id_of", "message_of", "publishers_key", "stream_key"]

LANES: Final = "fait:lanes"
"""A hash: number of lanes by topic."""

KEY: Final = "Key"


def stream_key(lane: Lane) -> str:
    """Return the key of a lane's stream."""
    return f"fait:{lane.topic}:{lane.number}"


def publishers_key(topic: str, source: Source) -> str:
    """Return the key of a hash: who publishes each bucket of a source, and up to which position."""
    return f"fait:publishers:{topic}:{encode_token(source.log_id)}:{encode_token(source.relay)}"


def id_of(text: str) -> tuple[int, int]:
    """Return the id of an entry as numbers, which can be compared."""
    time, _, number = text.partition("-")
    return int(time), int(number)


def encode_headers(message: Message) -> bytes:
    """Return the field `headers`."""
    return msgspec.json.encode({**message.headers, KEY: message.key})


def message_of(entry_id: bytes, fields: list[bytes]) -> ConsumedMessage:
    """Return the message of an entry. Any program may have appended it, with other fields: these become headers."""
    values = dict(zip(fields[::2], fields[1::2], strict=True))
    body = values.pop(b"data", b"")
    headers = _headers(values.pop(b"headers", b"{}"))
    key = headers.pop(KEY, None)
    others = {name.decode(errors="replace"): value.decode(errors="replace") for name, value in values.items()}
    named = {name.lower(): value for name, value in (others | headers).items()}
    return ConsumedMessage(offset=entry_id.decode(), key=key, headers=named, body=body)


def _headers(text: bytes) -> dict[str, str]:
    try:
        return dict(msgspec.json.decode(text, type=Mapping[str, str]))
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return {"headers": text.decode(errors="replace")}
