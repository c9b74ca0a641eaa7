"""What is asked of a log, and what it answers. A conflict is an answer; it becomes an exception only at the edge.

These values stand on the lowest floor, so that decisions can ask for an append without knowing any store.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from msgspec import Struct

from fait.errors import DuplicateEventId, UsageError, WrongExpectedVersion
from fait.events.envelope import NewEvent
from fait.events.version import expected_name

__all__ = [
    "MAX_APPEND_EVENTS",
    "Appended",
    "Conflict",
    "Duplicate",
    "Until",
    "Verdict",
    "Write",
    "check_writes",
    "raised",
]

MAX_APPEND_EVENTS: Final = 10_000
"""Most events of one append. Larger imports are several appends."""


class Write(Struct, frozen=True):
    """Events for one stream.

    Attributes:
        stream: its name.
        events: at least one.
        expected: the version it must be at, as `events.version.expected_number` gives it.
    """

    stream: str
    events: tuple[NewEvent, ...]
    expected: int


class Appended(Struct, frozen=True):
    """The events are stored, durably.

    Attributes:
        position: of the last event.
        versions: of each write's stream after its last event, in the order of the writes.
        repeated: True when the same ids had been appended before; then nothing new was written.
    """

    position: int
    versions: tuple[int, ...]
    repeated: bool = False


class Conflict(Struct, frozen=True):
    """A stream is not at the expected version; nothing was written."""

    stream: str
    expected: int
    actual: int


class Duplicate(Struct, frozen=True):
    """An event id is taken, and this is not a repetition of the append that took it; nothing was written."""

    event_id: str


Verdict = Appended | Conflict | Duplicate


class Until(Struct, frozen=True):
    """How much of a stream is meant: all limits hold together; None = no limit.

    Attributes:
        version: up to and including it.
        position: up to and including it.
        recorded_at: the longest prefix recorded by this moment.
    """

    version: int | None = None
    position: int | None = None
    recorded_at: datetime | None = None


def check_writes(writes: Sequence[Write]) -> None:
    """Refuse an append that no backend takes: without events, too many, or one stream twice."""
    if not writes or not all(write.events for write in writes):
        raise UsageError("an append needs at least one event for each stream. Nothing was written.")
    if len({write.stream for write in writes}) != len(writes):
        raise UsageError("an append names each stream once: put its events into one write. Nothing was written.")
    count = sum(len(write.events) for write in writes)
    if count > MAX_APPEND_EVENTS:
        raise UsageError(f"an append takes at most {MAX_APPEND_EVENTS} events, not {count}. Nothing was written.")


def raised(verdict: Verdict) -> Appended:
    """The verdict at the edge, where a conflict becomes an exception."""
    match verdict:
        case Appended():
            return verdict
        case Conflict(stream, expected, actual):
            raise WrongExpectedVersion(stream, expected_name(expected), actual)
        case Duplicate(event_id):
            raise DuplicateEventId(event_id)
