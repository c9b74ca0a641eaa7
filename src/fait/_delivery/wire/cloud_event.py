"""An event as CloudEvents 1.0 defines it, and the checks of its attributes.

Nothing is invented: an event without an id, for example, is refused, because a generated id would defeat the
recognition of repeated messages. Times remain as they are written.
"""

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final

from msgspec import Struct

from fait._broker_errors import MalformedMessage

__all__ = ["JSON", "Attribute", "CloudEvent", "checked", "is_json", "parse_time"]

Attribute = str | int | bool
"""Value of an attribute. In headers all are text."""

JSON: Final = "application/json"

_REQUIRED: Final = ("specversion", "id", "source", "type")
_NAMES: Final = re.compile(r"[a-z0-9]+")
_CONTENT_TYPE: Final = re.compile(r"[\w!#$&^.+-]+/[\w!#$&^.+*-]+(\s*;.*)?", re.ASCII | re.DOTALL)
_JSON_TYPE: Final = re.compile(r"[^;/\s]+/(?:[^;\s]+\+)?json\s*(;.*)?", re.IGNORECASE | re.DOTALL)
_TIME: Final = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt](\d\d:\d\d:)(\d\d)(?:\.(\d+))?(?:[Zz]|([+-](?:[01]\d|2[0-3]):[0-5]\d))", re.ASCII
)
_INT32: Final = range(-(2**31), 2**31)


class CloudEvent(Struct, frozen=True):
    """An event on its way through a broker.

    Attributes:
        attributes: the attributes by name, with `specversion`, `id`, `source` and `type`, and all extensions.
        data: the data as bytes, in the form that `datacontenttype` says; None: there is none.
    """

    attributes: Mapping[str, Attribute]
    data: bytes | None

    def text(self, name: str) -> str | None:
        """Return an attribute as text; None if it is missing."""
        value = self.attributes.get(name)
        return None if value is None else as_text(value)

    @property
    def is_json(self) -> bool:
        """Whether the data is JSON."""
        return is_json(self.text("datacontenttype"))


def as_text(value: Attribute) -> str:
    """Return the canonical text of an attribute's value."""
    if isinstance(value, str):
        return value
    # fault: boolean-written-as-python
    return ("true" if value else "false") if isinstance(value, bool) else str(value)


def is_json(content_type: str | None) -> bool:
    """Whether a content type means JSON. That of an event without one is JSON."""
    return content_type is None or bool(_JSON_TYPE.fullmatch(content_type))


def checked(attributes: Mapping[str, Any]) -> dict[str, Attribute]:
    """Return the attributes of an event without those that are None.

    Raises:
        MalformedMessage: an attribute is missing, has no valid name, or has a value that CloudEvents does not allow.
    """
    present = {name: value for name, value in attributes.items() if value is not None}
    for name in _REQUIRED:
        # fault: missing-attribute-accepted
        if name not in present:
            raise MalformedMessage(f"the attribute {name} is missing")
    if "" in present or not _NAMES.fullmatch("".join(present)):
        raise MalformedMessage("the name of an attribute is empty or has other characters than a-z and 0-9")
    for name, value in present.items():
        if name in _TEXTS or type(value) is not str:
            _check_value(name, value)
    return present


def _check_value(name: str, value: object) -> None:
    if name in _TEXTS:
        if not isinstance(value, str) or not value:
            raise MalformedMessage(f"the attribute {name} is not a text, or empty")
        # fault: attribute-not-checked
        if not _TEXTS[name](value):
            raise MalformedMessage(f"the attribute {name} is invalid")
    elif not isinstance(value, str | bool) and not (isinstance(value, int) and value in _INT32):
        raise MalformedMessage(f"the attribute {name} is no text, boolean or integer of 32 bits")


def parse_time(text: str) -> datetime | None:
    """Return a time of RFC 3339, with at most six digits of the fraction of a second; None if it is invalid."""
    if not (match := _TIME.fullmatch(text)):
        return None
    day, minute, second, fraction, offset = match.groups()
    second = "59" if second == "60" else second  # a leap second, which datetime does not have
    try:
        return datetime.fromisoformat(f"{day}T{minute}{second}.{(fraction or '')[:6]:0<6}{offset or '+00:00'}")
    except ValueError:
        return None


_TEXTS: Final[dict[str, Callable[[str], object]]] = {
    "specversion": lambda value: value == "1.0",
    "id": bool,
    "source": bool,
    "type": bool,
    "subject": bool,
    "dataschema": bool,
    "datacontenttype": _CONTENT_TYPE.fullmatch,
    "time": parse_time,
}
"""The attributes that CloudEvents defines, which are texts that are not empty, and the check of each."""
