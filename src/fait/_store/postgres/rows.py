"""Rows of the log as recorded events, and whether they are a full page."""

from collections.abc import Iterable, Sequence
from typing import Any

from fait._events.append import MAX_PAGE_BYTES
from fait._events.envelope import RecordedEvent

__all__ = ["is_full", "recorded_events"]


def recorded_events(rows: Iterable[Any]) -> list[RecordedEvent]:
    """Return rows as recorded events. A row has all columns of an event, and a size."""
    return [
        RecordedEvent(
            position, stream, version, type, schema_version, event_id, data, metadata, tuple(tags) if tags else (),
            recorded_at, occurred_at,
        )
        for position, stream, version, type, schema_version, event_id, data, metadata, tags, recorded_at, occurred_at, _
        in rows
    ]  # fmt: skip


def is_full(rows: Sequence[Any], limit: int) -> bool:
    """Return whether the number of a page's rows, or their total size in the last column, reached its limit."""
    # fault: page-of-large-events-as-last
    return len(rows) == limit or bool(rows and rows[-1][-1] >= MAX_PAGE_BYTES)
