"""From a recorded event to a message for a broker."""

from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final

import msgspec
from msgspec import Struct

from fait._delivery.brokers.port import Message, Source
from fait._delivery.wire.binary import encode_binary
from fait._delivery.wire.cloud_event import JSON, Attribute, CloudEvent
from fait._delivery.wire.provenance import sequence_of, source_text
from fait._delivery.wire.structured import encode_structured
from fait._events.envelope import RecordedEvent

__all__ = ["bucket_of", "cloud_event_of", "encoded_message", "message_of"]


class _TraceMetadata(Struct, frozen=True):
    """The metadata of an event that its message has."""

    correlation_id: str | None = None
    causation_id: str | None = None
    traceparent: str | None = None


_decode_trace: Final[Any] = msgspec.json.Decoder(_TraceMetadata).decode


@lru_cache(maxsize=10_000)
def bucket_of(key: str) -> int:
    """Return the bucket of a key, from 0 to 255: the first byte of the SHA-256 of its UTF-8 form."""
    from hashlib import sha256  # here, as it is slow to import

    return sha256(key.encode()).digest()[0]


def cloud_event_of(event: RecordedEvent, source: Source, key: str, floor: int) -> CloudEvent:
    """Return a recorded event as CloudEvents defines it.

    Args:
        event: the event.
        source: log, epoch in which the event was recorded, and relay.
        key: key of the event.
        floor: position up to which all events of the range were confirmed; before the oldest parked one, if any is.
    """
    trace: _TraceMetadata = _decode_trace(event.metadata)
    attributes: dict[str, Attribute | None] = {
        "specversion": "1.0",
        "id": event.id,
        "source": source_text(source),
        "type": event.type,
        "subject": event.stream,
        "time": _time(event.occurred_at),
        "datacontenttype": JSON,
        "sequence": sequence_of(event.position),
        "partitionkey": key,
        "faitfloor": sequence_of(floor),
        "faitversion": str(event.schema_version),
        "traceparent": trace.traceparent,
        "correlationid": trace.correlation_id,
        "causationid": trace.causation_id,
    }
    present = {name: value for name, value in attributes.items() if value is not None}
    return CloudEvent(present, event.data.encode())


def _time(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def message_of(event: RecordedEvent, source: Source, key: str, floor: int, header_prefix: str) -> Message:
    """Return a recorded event as a message without a signature; arguments as below and for `cloud_event_of`."""
    return encoded_message(event, cloud_event_of(event, source, key, floor), key, header_prefix)


def encoded_message(event: RecordedEvent, encoded: CloudEvent, key: str, header_prefix: str) -> Message:
    """Return an event as a message: in binary mode, or structured if the broker has no headers.

    Args:
        event: the recorded event.
        encoded: the same as CloudEvents defines it.
        key: key of the event.
        header_prefix: that of the broker's features.
    """
    # fault: headers-without-support
    headers, body = encode_binary(encoded, header_prefix) if header_prefix else ({}, encode_structured(encoded))
    return Message(key=key, bucket=bucket_of(key), position=event.position, id=event.id, headers=headers, body=body)
