"""Rows of the log as recorded events."""

from collections.abc import Iterable
from typing import Any

from fait._events.envelope import RecordedEvent

__all__ = ["recorded_events"]


def recorded_events(rows: Iterable[Any]) -> list[RecordedEvent]:
    """Return rows as recorded events. A row has all columns of an event."""
    return [
        RecordedEvent(
            position, stream, version, type, schema_version, event_id, data, metadata, tuple(tags) if tags else (),
            recorded_at, occurred_at,
        )
        for position, stream, version, type, schema_version, event_id, data, metadata, tags, recorded_at, occurred_at
        in rows
    ]  # fmt: skip
