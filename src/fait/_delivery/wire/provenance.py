"""Where an event of fait comes from, as its CloudEvents attributes say it.

The source is `fait:<log id>/<epoch id>/<relay>`. Its epoch is the one in which the event was recorded, not the current
epoch of the log: after a restore, earlier events keep their source and are recognized, and reused positions are new.
"""

import re
from functools import lru_cache
from typing import Final

from msgspec import Struct

from fait._broker_errors import MalformedMessage
from fait._delivery.brokers.port import Source
from fait._delivery.wire.cloud_event import Attribute, CloudEvent

__all__ = ["Provenance", "parse_source", "provenance_of", "sequence_of", "source_text"]

SEQUENCE_DIGITS: Final = 20
"""Number of digits of a position in an attribute, so that positions sort as texts."""

_SOURCE: Final = re.compile(r"fait:([^/]+)/([^/]+)/([^/]+)")
_SEQUENCE: Final = re.compile(rf"[0-9]{{{SEQUENCE_DIGITS}}}")
_SCHEMA_VERSION: Final = re.compile(r"[1-9][0-9]{0,8}")


class Provenance(Struct, frozen=True):
    """Where an event of fait comes from. It is what the message says; it proves nothing.

    Attributes:
        source: log, epoch of recording, and relay.
        position: position of the event in that log.
        floor: all events of the same bucket up to this position were confirmed before this message was sent.
        key: key of the event.
        schema_version: schema version of the data.
    """

    source: Source
    position: int
    floor: int
    key: str
    schema_version: int


@lru_cache(maxsize=256)  # all messages of an epoch have the same
def source_text(source: Source) -> str:
    """Return the attribute `source` of an event.

    Args:
        source: log, epoch in which the event was recorded, and relay.
    """
    from urllib.parse import quote  # here, as it is slow to import

    # fault: epoch-missing-in-source
    return "fait:" + "/".join(quote(part, safe="") for part in (source.log_id, source.epoch_id, source.relay))


@lru_cache(maxsize=256)
def parse_source(text: str) -> Source | None:
    """Return log, epoch and relay of the attribute `source`; None if it is not one of fait."""
    from urllib.parse import unquote  # here, as it is slow to import

    match = _SOURCE.fullmatch(text)
    return Source(*map(unquote, match.groups())) if match else None


def sequence_of(position: int) -> str:
    """Return a position as text that sorts like it."""
    # fault: sequence-does-not-sort
    return f"{position:0{SEQUENCE_DIGITS}}"


def provenance_of(event: CloudEvent) -> Provenance | None:
    """Return where an event comes from; None if its source is not one of fait.

    Raises:
        MalformedMessage: it has a source of fait, but not all of the other attributes.
    """
    source = parse_source(str(event.attributes["source"]))
    if source is None:
        return None
    return Provenance(
        source,
        _number(event, "sequence", _SEQUENCE),
        _number(event, "faitfloor", _SEQUENCE),
        _required(event, "partitionkey"),
        _number(event, "faitversion", _SCHEMA_VERSION),
    )


def _number(event: CloudEvent, name: str, form: re.Pattern[str]) -> int:
    text = _required(event, name)
    if not form.fullmatch(text):
        raise MalformedMessage(f"the attribute {name} of an event of fait is no number in the agreed form")
    return int(text)


def _required(event: CloudEvent, name: str) -> str:
    value: Attribute | None = event.text(name)
    if value is None:
        raise MalformedMessage(f"the attribute {name} is missing, although the source is one of fait")
    return value
