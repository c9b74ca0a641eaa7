"""Arguments and results of a log's methods: stream writes, append conditions, append results and pages.

A conflict is a result, not an exception; `raise_on_conflict` converts it where a result reaches the application.
"""

import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final

from msgspec import Struct

from fait._arguments import MAX_INTEGER, check_integer, check_time
from fait._errors import AppendConditionFailed, DuplicateEventId, FaitError, UsageError, WrongExpectedVersion
from fait._events.envelope import EncodedEvent, RecordedEvent
from fait._events.query import Query
from fait._events.version import EXISTS, expected_name

__all__ = [
    "MAX_APPEND_BYTES",
    "MAX_APPEND_EVENTS",
    "MAX_PAGE_BYTES",
    "PAGE_SIZE",
    "AppendCondition",
    "AppendResult",
    "Appended",
    "ConditionFailed",
    "Conflict",
    "IdConflict",
    "Page",
    "StreamWrite",
    "Until",
    "VersionConflict",
    "check_event_ids",
    "check_limit",
    "check_page",
    "check_size",
    "check_writes",
    "conflict_error",
    "count_characters",
    "raise_on_conflict",
]

MAX_APPEND_EVENTS: Final = 10_000
"""Maximum number of events in one append. Larger imports take several appends."""

MAX_APPEND_BYTES: Final = 64 << 20
"""Maximum size of one append: data, metadata and tags of its events as UTF-8. Other appends wait until it is stored."""

PAGE_SIZE: Final = 1_000
"""Default number of events that a reader requests at a time."""

MAX_PAGE_BYTES: Final = 4 << 20
"""Size of data, metadata and tags at which a page ends: the event that reaches it is the last one of the page."""

_MAX_CHARACTER_BYTES: Final = 4


_is_uuid = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}").fullmatch


class StreamWrite(Struct, frozen=True):
    """The events of an append for one stream.

    Attributes:
        stream: name of the stream.
        events: the encoded events, at least one.
        expected: the version that the stream must have: exactly this one if >= 0 (0: the stream does not exist), or
            `ANY` or `EXISTS`; see `is_expected`.
    """

    stream: str
    events: tuple[EncodedEvent, ...]
    expected: int


class Appended(Struct, frozen=True):
    """The events are stored, durably where `Features.durable`.

    Attributes:
        position: position of the last event.
        versions: version of each stream after the append, in the order of the writes.
        repeated: the same append was stored before, with the same event ids; nothing was written now.
    """

    position: int
    versions: tuple[int, ...]
    repeated: bool = False


class AppendCondition(Struct, frozen=True):
    """Makes an append fail if an event that matches one of the queries was recorded after a position.

    Attributes:
        queries: the events that the decision depends on.
        after: position up to which the decision had read the log; events at or below it are ignored.
    """

    queries: tuple[Query, ...]
    after: int

    def __post_init__(self) -> None:
        check_integer("after", self.after)


class ConditionFailed(Struct, frozen=True):
    """The append condition failed; nothing was written.

    Attributes:
        events: all events up to `position` that made it fail, in order of position. A new decision can fold them
            without reading the log again.
        position: the position for the condition of that new decision.
    """

    events: tuple[RecordedEvent, ...]
    position: int


class VersionConflict(Struct, frozen=True):
    """A stream is not at the expected version; nothing was written.

    Attributes:
        stream: name of the stream.
        expected: the expected version, as in `StreamWrite.expected`.
        actual: the current version; 0: the stream does not exist.
    """

    stream: str
    expected: int
    actual: int


class IdConflict(Struct, frozen=True):
    """An event id is already used, and the append is not a repetition of the one that used it; nothing was written.

    Attributes:
        event_id: one of the ids in use.
    """

    event_id: str


Conflict = VersionConflict | ConditionFailed | IdConflict
AppendResult = Appended | Conflict


class Page(Struct, frozen=True):
    """A part of the log, as returned by `Log.read`.

    Attributes:
        events: the matching events, in order of position.
        position: position up to which the log has been searched; the next page starts after it.
        more: whether another page may follow immediately: the number or the size of the events reached a limit, or only
            part of the log was searched.
        revisions: sum of the revisions of all registrations, after these events were stored; None: not known.
    """

    events: list[RecordedEvent]
    position: int
    more: bool
    revisions: int | None = None


class Until(Struct, frozen=True):
    """Upper bounds for reading a stream. All of them apply; None: no bound.

    Attributes:
        version: highest version, inclusive.
        position: highest position, inclusive.
        recorded_at: only events before the first one that was recorded after this time.
        occurred_at: only events that occurred at or before this time. The result may have gaps.

    Raises:
        UsageError: a version or position is not an integer from 0 to 2**63 - 1, or a time has no time zone.
    """

    version: int | None = None
    position: int | None = None
    recorded_at: datetime | None = None
    occurred_at: datetime | None = None

    def __post_init__(self) -> None:
        if self.version is not None:
            check_integer("version", self.version)
        if self.position is not None:
            check_integer("position", self.position)
        # fault: naive-bound
        if self.recorded_at is not None:
            check_time("recorded_at", self.recorded_at)
        if self.occurred_at is not None:
            check_time("occurred_at", self.occurred_at)


def check_event_ids(event_ids: Sequence[str]) -> Sequence[str]:
    """Return the ids if each is a UUID as canonical text; raise `UsageError` otherwise."""
    for each in event_ids:
        if not isinstance(each, str) or _is_uuid(each) is None:  # pyright: ignore[reportUnnecessaryIsInstance]
            raise UsageError("an event id must be a UUID as text in lower case, as in Envelope.id")
    return event_ids


def check_limit(limit: int) -> int:
    """Return the page size if it is at least 1 and every backend can use it; raise `UsageError` otherwise."""
    return check_integer("limit", limit, 1)


def check_page(after: int, limit: int) -> None:
    """Raise `UsageError` unless every backend can read a page after this version or position."""
    # fault: page-unchecked
    check_integer("after", after)
    check_integer("limit", limit, 1)


def check_writes(writes: Sequence[StreamWrite]) -> None:
    """Raise `UsageError` for an append that is invalid on every backend: no events, too many, or one stream twice."""
    for write in writes:
        if not EXISTS <= write.expected <= MAX_INTEGER:
            check_integer("expected", write.expected, EXISTS)
    if len(writes) == 1 and 0 < len(writes[0].events) <= MAX_APPEND_EVENTS:
        return  # fast path for the usual case
    if not writes or not all(write.events for write in writes):
        raise UsageError("an append needs at least one event for each stream. Nothing was written.")
    if len({write.stream for write in writes}) != len(writes):
        raise UsageError(
            "an append may contain each stream only once: put its events into one NewEvents. Nothing was written."
        )
    count = sum(len(write.events) for write in writes)
    if count > MAX_APPEND_EVENTS:
        raise UsageError(
            f"an append may have at most {MAX_APPEND_EVENTS} events, not {count}. Nothing was written: "
            "split it into several appends."
        )


def count_characters(writes: Iterable[StreamWrite]) -> int:
    """Return the number of characters in the data, the metadata and the tags of all events."""
    count = 0
    for write in writes:
        for event in write.events:
            count += len(event.data) + len(event.metadata)
            if event.tags:
                count += sum(map(len, event.tags))
    return count


def check_size(writes: Iterable[StreamWrite], characters: int) -> None:
    """Raise `UsageError` for an append that exceeds `MAX_APPEND_BYTES`.

    Args:
        writes: the append.
        characters: their number, see `count_characters`.
    """
    # fault: append-size-unchecked
    if characters * _MAX_CHARACTER_BYTES <= MAX_APPEND_BYTES:
        return
    texts = (text for write in writes for event in write.events for text in (event.data, event.metadata, *event.tags))
    size = sum(len(text) if text.isascii() else len(text.encode(errors="surrogatepass")) for text in texts)
    if size > MAX_APPEND_BYTES:
        raise UsageError(
            f"an append may have at most {MAX_APPEND_BYTES:,} bytes of data, metadata and tags, not {size:,}. Nothing "
            "was written: split it into several appends."
        )


def raise_on_conflict(result: AppendResult) -> Appended:
    """Return the result if the append succeeded; raise the exception of its conflict otherwise."""
    if isinstance(result, Appended):
        return result
    raise conflict_error(result)


def conflict_error(conflict: Conflict) -> FaitError:
    """Return a conflict as an exception."""
    match conflict:
        case VersionConflict(stream, expected, actual):
            return WrongExpectedVersion(stream, expected_name(expected), actual)
        case ConditionFailed(events, position):
            return AppendConditionFailed(tuple(event.type for event in events), position)
        case IdConflict(event_id):
            return DuplicateEventId(event_id)
