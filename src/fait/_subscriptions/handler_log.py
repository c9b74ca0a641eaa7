"""The log as a handler sees it: the stored events, and after them those that the handler has appended.

What a handler appends through its context is buffered: it is held in memory until the handled event is recorded, and
stored in that transaction. So it is stored exactly once, however often the event is handled, and an attempt that fails
leaves nothing behind. Later calls of the same attempt read buffered events as if they were stored.

Expected versions and append conditions are checked when a call is made, and again by the record.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from itertools import chain
from typing import Final

from msgspec.structs import replace

from fait._clock import Clock
from fait._decisions.boundary import read_matching_events
from fait._decisions.load import Loader
from fait._decisions.snapshot import Snapshot
from fait._errors import UsageError
from fait._events.append import (
    MAX_APPEND_EVENTS,
    PAGE_SIZE,
    AppendCondition,
    Appended,
    AppendResult,
    ConditionFailed,
    StreamWrite,
    Until,
    VersionConflict,
    check_size,
    check_writes,
    count_characters,
)
from fait._events.envelope import EncodedEvent, EventSlice, RecordedEvent
from fait._events.query import Query
from fait._events.version import ANY, is_expected
from fait._store.duplicate_append import resolve_duplicate
from fait._store.ports.log import Log
from fait._store.ports.unit_of_work import HandlerAppend

__all__ = ["FIRST_BUFFERED_POSITION", "HandlerBuffer", "HandlerLoader", "HandlerLog", "merge_appends"]

FIRST_BUFFERED_POSITION: Final = 1 << 62
"""Minimum position of a buffered event. The positions of stored events are lower."""

_Append = tuple[Sequence[StreamWrite], AppendCondition | None]


class HandlerBuffer:
    """The events that the handlers of one attempt at a batch have appended, in the order of their calls.

    Positions of buffered events and of reads that include them are numbers of one sequence. So a buffered event is part
    of a read exactly if its position is lower.

    Args:
        check_ids: whether to look up event ids in the log. It is not necessary at the first attempt: if an id is
            stored, the record is in conflict and the event is handled again.

    Attributes:
        check_ids: whether to look up event ids in the log.
        events: the events by id, with provisional versions and positions.
        streams: the events by stream.
        overflowed: whether a call was refused because of the limits of an append.
    """

    def __init__(self, *, check_ids: bool = False) -> None:
        self.check_ids = check_ids
        self.events: dict[str, RecordedEvent] = {}
        self.streams: defaultdict[str, list[RecordedEvent]] = defaultdict(list)
        self.overflowed: bool = False
        self._writes: list[StreamWrite] = []
        self._characters = 0
        self._stored_versions: dict[str, int] = {}  # fixed from the first buffered event of a stream on
        self._horizons: dict[int, int] = {}  # for each read with buffered events: where it ended in the log
        self._last_position = FIRST_BUFFERED_POSITION - 1

    def stored_version(self, stream: str) -> int | None:
        """Return the version of a stream in the log before its buffered events; None if it has none."""
        return self._stored_versions[stream] if stream in self.streams else None

    def version(self, stream: str) -> int | None:
        """Return the version of a stream with its buffered events; None if it is unknown."""
        stored = self._stored_versions.get(stream)
        return None if stored is None else stored + len(self.streams.get(stream, ()))

    def note_version(self, stream: str, version: int) -> None:
        """Remember the version of a stream in the log, unless it has buffered events."""
        if stream not in self.streams:
            self._stored_versions[stream] = version

    def stored_position(self, position: int) -> int:
        """Return where a read ended in the log."""
        return self._horizons.get(position, position)

    def extend_read(
        self, queries: Sequence[Query], after: int, stored: list[RecordedEvent], end: int
    ) -> tuple[list[RecordedEvent], int]:
        """Return the events of a read of the log with the matching buffered ones, and the position of the read."""
        if not self.events:
            return stored, end
        later = (each for each in self.events.values() if each.position > after)
        matching = [each for each in later if any(query.matches(each) for query in queries)]
        position = self._draw_position()
        self._horizons[position] = end
        return stored + matching, position

    def add(self, writes: Sequence[StreamWrite], clock: Clock) -> Appended:
        """Add the events of an append whose streams' versions are known.

        Raises:
            UsageError: the unit of work would exceed the limits of an append.
        """
        characters = self._characters + count_characters(writes)
        try:
            self._check_limits(writes, characters)
        except UsageError:
            self.overflowed = True
            raise
        self._characters = characters
        self._writes += writes
        now = clock.now()
        for write in writes:
            for event in write.events:
                self._add_event(write.stream, event, now)
        return Appended(self._last_position, tuple(self.streams[each.stream][-1].version for each in writes))

    def _add_event(self, stream: str, event: EncodedEvent, now: datetime) -> None:
        version = self._stored_versions[stream] + len(self.streams[stream]) + 1
        buffered = RecordedEvent(
            self._draw_position(), stream, version, event.type, event.schema_version, event.id, event.data,
            event.metadata, event.tags, now, event.occurred_at.astimezone(UTC) if event.occurred_at else now,
        )  # fmt: skip
        self.events[event.id] = buffered
        self.streams[stream].append(buffered)

    def _check_limits(self, writes: Sequence[StreamWrite], characters: int) -> None:
        count = len(self.events) + sum(len(write.events) for write in writes)
        if count > MAX_APPEND_EVENTS:
            raise UsageError(
                f"a handler may append at most {MAX_APPEND_EVENTS:,} events, because they are stored in one "
                f"transaction; with this call there would be {count:,}. Nothing was written."
            )
        check_size(chain(self._writes, writes), characters)

    def _draw_position(self) -> int:
        self._last_position += 1
        return self._last_position


class HandlerLog:
    """The log in one call of a handler: implements `DecisionLog` and `HistoryReader`.

    Args:
        log: the log.
        clock: gives the time of buffered events.
        buffer: the buffered events of the attempt.

    Attributes:
        appends: the appends of this call.
    """

    def __init__(self, log: Log, clock: Clock, buffer: HandlerBuffer) -> None:
        self._log = log
        self._clock = clock
        self._buffer = buffer
        self._closed = False
        self.appends: list[_Append] = []

    def close(self) -> None:
        """Refuse further calls: the handler has returned, or its caller has stopped waiting."""
        self._closed = True

    def check_open(self) -> None:
        """Raise `UsageError` after the end of the handler's call."""
        # fault: late-call-of-handler-accepted
        if self._closed:
            raise UsageError(
                "the context of a handler was used after the handler had returned, failed or passed its timeout. "
                "Nothing was written. Let the handler await all its calls before it returns."
            )

    async def append(self, writes: Sequence[StreamWrite], condition: AppendCondition | None = None) -> AppendResult:
        """Hold the events until the handled event is recorded, or return the conflict that the call is in now."""
        self.check_open()
        check_writes(writes)
        ids = [event.id for write in writes for event in write.events]
        stored = await self._log.find(ids) if self._buffer.check_ids else []
        await self._read_versions(writes)
        failed = await self._check_condition(condition) if condition and condition.queries else None
        # No other call of the handler runs from here on.
        self.check_open()
        # fault: handler-appends-in-its-call
        # fault: repeated-call-of-handler-not-recognized
        return (
            self._find_duplicate(writes, ids, stored)
            or failed
            or self._check_versions(writes)
            or self._add(writes, condition)
        )

    async def _read_versions(self, writes: Sequence[StreamWrite]) -> None:
        """Read the versions of streams that are unknown, or that may have changed because they are not as expected."""
        streams = [
            write.stream
            for write in writes
            if (version := self._buffer.version(write.stream)) is None or not is_expected(write.expected, version)
        ]
        if streams:
            for stream, version in zip(streams, await self._log.versions(streams), strict=True):
                self._buffer.note_version(stream, version)

    async def _check_condition(self, condition: AppendCondition) -> ConditionFailed | None:
        events, position = await self.read_matching(condition.queries, condition.after)
        return ConditionFailed(tuple(events), position) if events else None

    def _find_duplicate(
        self, writes: Sequence[StreamWrite], ids: Sequence[str], stored: Iterable[RecordedEvent]
    ) -> AppendResult | None:
        places = {each.id: each for each in (*stored, *self._buffered_events(ids))}
        return resolve_duplicate(writes, places) if places or len(set(ids)) < len(ids) else None

    def _check_versions(self, writes: Sequence[StreamWrite]) -> VersionConflict | None:
        for write in writes:
            actual = self._buffer.version(write.stream) or 0
            if not is_expected(write.expected, actual):
                return VersionConflict(write.stream, write.expected, actual)
        return None

    def _add(self, writes: Sequence[StreamWrite], condition: AppendCondition | None) -> Appended:
        result = self._buffer.add(writes, self._clock)
        if condition is not None:
            condition = replace(condition, after=self._buffer.stored_position(condition.after))
        self.appends.append((writes, condition))
        return result

    async def read_matching(self, queries: Sequence[Query], after: int = 0) -> tuple[list[RecordedEvent], int]:
        """Return the events after a position that match any of the queries, and the position of this read."""
        self.check_open()
        stored, end = await read_matching_events(self._log, queries, self._buffer.stored_position(after))
        # fault: buffered-events-not-read
        return self._buffer.extend_read(queries, after, stored, end)

    async def find(self, event_ids: Sequence[str]) -> list[RecordedEvent]:
        """Return events by id, the buffered ones last."""
        self.check_open()
        return [*await self._log.find(event_ids), *self._buffered_events(event_ids)]

    def _buffered_events(self, event_ids: Sequence[str]) -> list[RecordedEvent]:
        return [self._buffer.events[each] for each in event_ids if each in self._buffer.events]

    async def history(
        self, stream: str, *, after: int = 0, limit: int = PAGE_SIZE, until: Until = Until()
    ) -> tuple[list[EventSlice], bool]:
        """Read the event slices of a stream, in order of version, and whether there may be more.

        Once the stream has a buffered event, later events of other writers are left out: they get other versions than
        the buffered ones have here, so a decision on both is in conflict when it is recorded.
        """
        self.check_open()
        end = self._buffer.stored_version(stream)
        if end is None:
            stored, more = await self._log.history(stream, after=after, limit=limit, until=until)
            if until == Until() and not more and (stored or not after):
                self._buffer.note_version(stream, stored[-1][0] if stored else 0)
            return stored, more
        bound = replace(until, version=end if until.version is None else min(end, until.version))
        stored, more = (
            ([], False) if after >= end else await self._log.history(stream, after=after, limit=limit, until=bound)
        )
        if more:
            return stored, True
        buffered = (each for each in self._buffer.streams[stream] if each.version > after)
        # fault: buffered-events-of-stream-not-read
        return [*stored, *(_slice(each) for each in buffered if _is_within(each, until))], False

    async def histories(
        self, streams: Sequence[tuple[str, int]], *, limit: int = PAGE_SIZE
    ) -> tuple[list[tuple[str, list[EventSlice]]], bool]:
        """Read the event slices of several streams, each after a version, and whether there may be more."""
        self.check_open()
        if not self._buffer.events:
            return await self._log.histories(streams, limit=limit)
        histories = list[tuple[str, list[EventSlice]]]()
        for stream, after in streams:
            events, more = await self.history(stream, after=after, limit=limit)
            if events:
                histories.append((stream, events))
                limit -= len(events)
            if more or limit <= 0:
                return histories, True
        return histories, False

    def is_buffered(self, event_id: str) -> bool:
        """Whether this is the id of a buffered event."""
        return event_id in self._buffer.events


class HandlerLoader(Loader):
    """Loads states for one call of a handler. A state with buffered events is never saved as a snapshot."""

    def __init__(self, loader: Loader, log: HandlerLog) -> None:
        self.__dict__.update(loader.__dict__)
        self._log = self._handler_log = log

    def save_snapshot(self, snapshot: Snapshot) -> None:
        """Start saving a new snapshot in the background, unless its last event is buffered."""
        # fault: snapshot-of-buffered-events
        if not self._handler_log.is_buffered(snapshot.event_id):
            super().save_snapshot(snapshot)


def merge_appends(appends: Iterable[_Append]) -> HandlerAppend | None:
    """Return consecutive appends as one: all of its events, in order, and what must hold before the first of them."""
    events, counts = list[tuple[str, EncodedEvent]](), Counter[str]()
    expected, conditions = dict[str, int](), list[AppendCondition]()
    for writes, condition in appends:
        for write in writes:
            stream = write.stream
            before = _expected_before(write.expected, counts[stream])
            expected[stream] = _stricter(expected.get(stream, ANY), before)
            counts[stream] += len(write.events)
            events += [(stream, event) for event in write.events]
        if condition is not None:
            conditions.append(condition)
    return HandlerAppend(events, expected, conditions) if events else None


def _expected_before(expected: int, buffered: int) -> int:
    """Return the version that a stream must have before its buffered events, for an expected version after them."""
    if expected >= 0:
        return expected - buffered
    return ANY if buffered else expected


def _stricter(first: int, second: int) -> int:
    if first >= 0 or second >= 0:
        return first if first >= 0 else second
    return min(first, second)


def _slice(event: RecordedEvent) -> EventSlice:
    return event.version, event.position, event.id, event.type, event.schema_version, event.data


def _is_within(event: RecordedEvent, until: Until) -> bool:
    return (
        (until.version is None or event.version <= until.version)
        and (until.position is None or event.position <= until.position)
        and (until.recorded_at is None or event.recorded_at <= until.recorded_at)
        and (until.occurred_at is None or event.occurred_at <= until.occurred_at)
    )
