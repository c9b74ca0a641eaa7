"""Reports keys of stored events that the class of the same schema version does not have.

Such a key means that a field was removed or renamed without a new schema version: its value would be lost silently. A
rebuilt event class refuses unknown keys, which costs nothing; if an event has one, it is decoded again without it.
"""

import logging
import re
from functools import lru_cache
from typing import Any, Final

import msgspec

from fait._events.changes import change_at
from fait._events.event import EventType, event_type

__all__ = ["decode_known_keys", "decoded_type"]

_UNKNOWN_KEY: Final = re.compile(r"Object contains unknown field `(?P<key>.*?)`(?: - at `\$(?P<path>.*)`)?", re.DOTALL)

_MAX_REPORTS: Final = 1_000
"""Maximum number of keys that are remembered as reported."""

_logger = logging.getLogger("fait")


def decoded_type(decode: object) -> EventType | None:
    """Return the declaration of the class that a decoder of msgspec decodes; None for another decoder."""
    cls = getattr(getattr(decode, "__self__", None), "type", None)
    return event_type(cls) if isinstance(cls, type) else None


def decode_known_keys(declared: EventType, text: str | bytes, error: Exception) -> Any:
    """Decode an event that could not be decoded because of an unknown key, without that key.

    Raises:
        Exception: `error`, if it has another reason or the class of the user refuses unknown keys, or the next error.
    """
    if not declared.refuses_unknown_keys or not (unknown := _UNKNOWN_KEY.fullmatch(str(error))):
        raise error
    key, path = unknown["key"], [each for each in re.split(r"\.|(?=\[)", unknown["path"] or "") if each]
    data = change_at(
        msgspec.json.decode(text),
        ["[]" if each.startswith("[") else each for each in path],
        lambda fields: {name: value for name, value in fields.items() if name != key},
    )
    _report(declared, ".".join([*path, key]))
    known = msgspec.json.encode(data)
    if known == msgspec.json.encode(msgspec.json.decode(text)):
        raise error
    try:
        return declared.decode(known)
    except Exception as next_error:
        return decode_known_keys(declared, known, next_error)


@lru_cache(_MAX_REPORTS)
def _report(declared: EventType, key: str) -> None:
    _logger.warning(
        "stored events have a key that their class ignores: type=%s schema_version=%d key=%s class=%s (%s). "
        "If the field was renamed or removed, increase the event's version and declare it: "
        "fait.upcast(%r, %d, fait.renamed(%r, ...)) or fait.dropped(%r)",
        declared.name,
        declared.schema_version,
        key,
        declared.cls.__qualname__,
        declared.source_location,
        declared.name,
        declared.schema_version,
        key,
        key,
    )
