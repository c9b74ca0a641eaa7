"""Reads plain data with an event class and encodes it again: what comes back must be what was there."""

import json
from functools import lru_cache
from typing import Any, cast

import msgspec

from fait._errors import InvalidValue
from fait._events.conversion import encode_plain
from fait._events.event import EventType
from fait._events.record import fields_of, kind_of
from fait._events.unknown_keys import decode_known_keys
from fait._evolution.locks.equality import changed_paths

__all__ = ["as_json", "read_problem", "unrepeatable_paths"]


def read_problem(declared: EventType, data: Any) -> list[str]:
    """Return why a class does not read data, or which values it changes; empty if it does neither."""
    text = encode_plain(data)
    try:
        event = _read(declared, text)
    except Exception as error:
        return [f"{declared.cls.__name__} refuses it: {error}"]
    try:
        back = msgspec.json.decode(_encoded(declared, event))
    except InvalidValue:
        return []  # readable, but not to be stored again, such as a number beyond 64 bits
    if isinstance(data, dict) and cast("dict[str, Any]", data).items() <= back.items():
        return []  # the usual case, found without a look into each value
    changed = changed_paths(msgspec.json.decode(text), back)
    return [f"{declared.cls.__name__} changes {', '.join(changed)}: {as_json(back)}"] if changed else []


def unrepeatable_paths(declared: EventType, data: Any) -> list[str]:
    """Return the members whose default a class computes again in each reading, such as a time or a random id."""
    if not _computes_defaults(declared.cls):
        return []
    text = encode_plain(data)
    first, second = (msgspec.json.decode(_encoded(declared, _read(declared, text))) for _ in range(2))
    # fault: unrepeatable-default
    return changed_paths(first, second)


@lru_cache(maxsize=1)  # the samples of a type come one after another
def _computes_defaults(cls: type) -> bool:
    factories = [field.factory for field in fields_of(cls) if field.factory is not None]
    return any(getattr(each, "__module__", "") != "builtins" for each in factories)


def _encoded(declared: EventType, event: Any) -> bytes:
    return declared.encode(event) if kind_of(declared.cls) == "pydantic" else encode_plain(event)


def _read(declared: EventType, text: bytes) -> Any:
    try:
        return declared.decode(text)
    except Exception as error:
        return decode_known_keys(declared, text, error)


def as_json(value: Any) -> str:
    """Return the JSON of a value for a message."""
    try:
        return json.dumps(msgspec.json.decode(encode_plain(value)), ensure_ascii=False)
    except Exception:
        return repr(value)
