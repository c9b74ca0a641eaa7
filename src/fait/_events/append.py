"""What is asked of a log, and what it answers. A conflict is an answer; it becomes an exception only at the edge.

These values stand on the lowest floor, so that decisions can ask for an append without knowing any store.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from msgspec import Struct

from fait._errors import AppendConditionFailed, DuplicateEventId, UsageError, WrongExpectedVersion
from fait._events.envelope import EncodedEvent, RecordedEvent
from fait._events.query import Query
from fait._events.version import expected_name

__all__ = [
    "MAX_APPEND_EVENTS",
    "PAGE_SIZE",
    "AppendCondition",
    "AppendResult",
    "Appended",
    "ConditionFailed",
    "IdConflict",
    "Page",
    "StreamWrite",
    "Until",
    "VersionConflict",
    "check_limit",
    "check_writes",
    "raise_on_conflict",
]

MAX_APPEND_EVENTS: Final = 10_000
"""Most events of one append. Larger imports are several appends."""


PAGE_SIZE: Final = 1_000
"""Events a reader takes at a time, unless it says otherwise."""


class StreamWrite(Struct, frozen=True):
    """Events for one stream.

    Attributes:
        stream: its name.
        events: at least one.
        expected: the version it must be at, as `events.version.expected_number` gives it.
    """

    stream: str
    events: tuple[EncodedEvent, ...]
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


class AppendCondition(Struct, frozen=True):
    """The append holds only if nothing that it depends on has happened since it was decided.

    Attributes:
        queries: what it depends on: an event that any of them means makes it fail.
        after: the position up to which the decision knew the log; what is at or below it is ignored.
    """

    queries: tuple[Query, ...]
    after: int


class ConditionFailed(Struct, frozen=True):
    """Something that the append depends on has happened; nothing was written.

    Attributes:
        events: what happened, in order of position: all of it up to `position`, so that nothing need be read again.
        position: how far a new decision knows the log, once it has folded these events.
    """

    events: tuple[RecordedEvent, ...]
    position: int


class VersionConflict(Struct, frozen=True):
    """A stream is not at the expected version; nothing was written."""

    stream: str
    expected: int
    actual: int


class IdConflict(Struct, frozen=True):
    """An event id is taken, and this is not a repetition of the append that took it; nothing was written."""

    event_id: str


AppendResult = Appended | VersionConflict | ConditionFailed | IdConflict


class Page(Struct, frozen=True):
    """A piece of the log.

    Attributes:
        events: in order of position.
        position: everything up to here has been considered: go on from it.
        more: there may be more at once: the page was full, or so far only a part was looked through.
    """

    events: list[RecordedEvent]
    position: int
    more: bool


class Until(Struct, frozen=True):
    """How much of a stream is meant: all limits hold together; None = no limit.

    Attributes:
        version: up to and including it.
        position: up to and including it.
        recorded_at: the longest prefix recorded by this moment.
        occurred_at: only what had occurred by this moment; not a prefix. For `history` alone.
    """

    version: int | None = None
    position: int | None = None
    recorded_at: datetime | None = None
    occurred_at: datetime | None = None


def check_limit(limit: int) -> int:
    """Refuse a page that nobody can read."""
    if limit < 1:
        raise UsageError(f"a page holds at least one event, not {limit}")
    return limit


def check_writes(writes: Sequence[StreamWrite]) -> None:
    """Refuse an append that no backend takes: without events, too many, or one stream twice."""
    if len(writes) == 1 and 0 < len(writes[0].events) <= MAX_APPEND_EVENTS:
        return  # the usual case, without ceremony
    if not writes or not all(write.events for write in writes):
        raise UsageError("an append needs at least one event for each stream. Nothing was written.")
    if len({write.stream for write in writes}) != len(writes):
        raise UsageError("an append names each stream once: put its events into one write. Nothing was written.")
    count = sum(len(write.events) for write in writes)
    if count > MAX_APPEND_EVENTS:
        raise UsageError(f"an append takes at most {MAX_APPEND_EVENTS} events, not {count}. Nothing was written.")


def raise_on_conflict(verdict: AppendResult) -> Appended:
    """The verdict at the edge, where a conflict becomes an exception."""
    match verdict:
        case Appended():
            return verdict
        case VersionConflict(stream, expected, actual):
            raise WrongExpectedVersion(stream, expected_name(expected), actual)
        case ConditionFailed(events, position):
            raise AppendConditionFailed(tuple(event.type for event in events), position)
        case IdConflict(event_id):
            raise DuplicateEventId(event_id)
