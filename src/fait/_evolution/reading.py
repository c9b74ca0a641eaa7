"""Reads plain data with an event class and encodes it again: what comes back must be what was there."""

from typing import Any

import msgspec

from fait._errors import InvalidValue
from fait._events.conversion import encode_plain
from fait._events.event import EventType
from fait._events.record import kind_of
from fait._events.unknown_keys import decode_known_keys
from fait._evolution.equality import changed_paths
from fait._evolution.failure import as_json

__all__ = ["read_problem"]


def read_problem(declared: EventType, data: Any) -> list[str]:
    """Return why a class does not read data, or which values it changes; empty if it does neither."""
    text = encode_plain(data)
    try:
        event = _read(declared, text)
    except Exception as error:
        return [f"{declared.cls.__name__} refuses it: {error}"]
    plain = msgspec.json.decode(text)
    try:
        back = msgspec.json.decode(_encoded(declared, event))
    except InvalidValue:
        return []  # readable, but not to be stored again, such as a number beyond 64 bits
    if isinstance(plain, dict) and plain.items() <= back.items():
        return []  # the usual case, found without a look into each value
    changed = changed_paths(plain, back)
    return [f"{declared.cls.__name__} changes {', '.join(changed)}: {as_json(back)}"] if changed else []


def _encoded(declared: EventType, event: Any) -> bytes:
    return declared.encode(event) if kind_of(declared.cls) == "pydantic" else encode_plain(event)


def _read(declared: EventType, text: bytes) -> Any:
    try:
        return declared.decode(text)
    except Exception as error:
        return decode_known_keys(declared, text, error)
