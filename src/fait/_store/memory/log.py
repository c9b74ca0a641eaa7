"""The log in memory: a list of events."""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from itertools import groupby, islice, takewhile
from operator import attrgetter
from uuid import uuid4

from fait._arguments import check_integer, check_time
from fait._clock import Clock
from fait._events.append import (
    MAX_PAGE_BYTES,
    PAGE_SIZE,
    AppendCondition,
    Appended,
    AppendResult,
    ConditionFailed,
    Conflict,
    IdConflict,
    Page,
    StreamWrite,
    Until,
    VersionConflict,
    check_event_ids,
    check_limit,
    check_page,
    check_size,
    check_writes,
    count_characters,
)
from fait._events.envelope import EventSlice, RecordedEvent, size_of
from fait._events.query import EVERYTHING, Query
from fait._events.stream import category_of
from fait._events.version import ANY, is_expected
from fait._store.duplicate_append import resolve_duplicate
from fait._store.ports.log import Epoch, ExpireResult, Features, Identity, OldestMessage, StreamInfo
from fait._store.ports.unit_of_work import HandlerAppend
from fait._store.position_signal import PositionSignal
from fait._store.recording_time import recording_time

__all__ = ["MemoryLog"]

_position = attrgetter("position")
_version = attrgetter("version")


class MemoryLog:
    """The port `Log`, held in a list."""

    features = Features(durable=False, shared=False, sql=False)

    def __init__(self, clock: Clock) -> None:
        self._epoch = Epoch(str(uuid4()), 0, clock.now())
        self.identity = Identity(str(uuid4()), self._epoch.epoch_id)
        self._clock = clock
        self._events: list[RecordedEvent] = []
        self._streams: defaultdict[str, list[RecordedEvent]] = defaultdict(list)
        self._by_id: dict[str, RecordedEvent] = {}
        self._messages: defaultdict[str, list[RecordedEvent]] = defaultdict(list)
        self._expired = 0
        self._signal = PositionSignal()

    async def append(self, writes: Sequence[StreamWrite], condition: AppendCondition | None = None) -> AppendResult:
        check_writes(writes)
        check_size(writes, count_characters(writes))
        # fault: repeated-append-not-recognized
        return (
            self._find_duplicate(writes)
            or self._check_condition(condition)
            or self._check_versions(writes)
            or self._store(writes)
        )

    def find_conflict(self, append: HandlerAppend) -> Conflict | None:
        """Return why the events of handlers cannot be stored; None if they can."""
        ids = [event.id for _, event in append.events]
        if existing := next((each for each in ids if each in self._by_id), None):
            return IdConflict(existing)
        if len(set(ids)) < len(ids):
            return IdConflict(next(each for each in ids if ids.count(each) > 1))
        return next(filter(None, map(self._check_condition, append.conditions)), None) or self._check_versions(
            [StreamWrite(stream, (), version) for stream, version in append.expected.items()]
        )

    def store(self, append: HandlerAppend) -> None:
        """Store the events of handlers."""
        self._store([StreamWrite(stream, (event,), ANY) for stream, event in append.events])

    def _find_duplicate(self, writes: Sequence[StreamWrite]) -> Appended | IdConflict | None:
        ids = [event.id for write in writes for event in write.events]
        stored = {event_id: self._by_id[event_id] for event_id in ids if event_id in self._by_id}
        return resolve_duplicate(writes, stored) if stored or len(set(ids)) < len(ids) else None

    def _check_versions(self, writes: Sequence[StreamWrite]) -> VersionConflict | None:
        for write in writes:
            actual = self._version(write.stream)
            if not is_expected(write.expected, actual):
                return VersionConflict(write.stream, write.expected, actual)
        return None

    def _check_condition(self, condition: AppendCondition | None) -> ConditionFailed | None:
        if condition is None:
            return None
        later = self._after(condition.after)
        events = tuple(event for event in later if any(query.matches(event) for query in condition.queries))
        return ConditionFailed(events, self._head) if events else None

    def _store(self, writes: Sequence[StreamWrite]) -> Appended:
        now = recording_time(self._clock.now(), self._events[-1].recorded_at if self._events else None)
        for write in writes:
            history = self._streams[write.stream]
            recorded_at = max(now, history[-1].recorded_at) if history else now
            for new in write.events:
                stored = RecordedEvent(
                    position=self._head + 1,
                    stream=write.stream,
                    version=self._version(write.stream) + 1,
                    type=new.type,
                    schema_version=new.schema_version,
                    id=new.id,
                    data=new.data,
                    metadata=new.metadata,
                    tags=new.tags,
                    recorded_at=recorded_at,
                    occurred_at=new.occurred_at.astimezone(UTC) if new.occurred_at else recorded_at,
                )
                history.append(stored)
                self._events.append(stored)
                self._by_id[new.id] = stored
                if new.expires:
                    self._messages[new.type].append(stored)
        # fault: append-wakes-no-reader
        self._signal.advance(self._head)
        return Appended(self._head, tuple(self._version(write.stream) for write in writes))

    @property
    def _head(self) -> int:
        return self._events[-1].position if self._events else 0

    def _version(self, stream: str) -> int:
        history = self._streams.get(stream)
        return history[-1].version if history else 0

    def _after(self, position: int) -> list[RecordedEvent]:
        return self._events[bisect_right(self._events, position, key=_position) :]

    async def read_stream(
        self, stream: str, *, after: int = 0, limit: int = PAGE_SIZE, until: Until = Until()
    ) -> tuple[list[RecordedEvent], bool]:
        check_page(after, limit)
        return _first_page(self._stream_events(stream, after, until), limit)

    def _stream_events(self, stream: str, after: int, until: Until = Until()) -> list[RecordedEvent]:
        history = self._streams.get(stream, [])
        limits = (
            (until.version, _version),
            (until.position, _position),
            (until.recorded_at, attrgetter("recorded_at")),
        )
        ends = [bisect_right(history, bound, key=attribute) for bound, attribute in limits if bound is not None]
        events = _after_version(history[: min(ends, default=len(history))], after)
        if until.occurred_at is not None:
            events = [event for event in events if event.occurred_at <= until.occurred_at]
        return events

    async def history(
        self, stream: str, *, after: int = 0, limit: int = PAGE_SIZE, until: Until = Until()
    ) -> tuple[list[EventSlice], bool]:
        check_page(after, limit)
        events, more = _first_page(self._stream_events(stream, after, until), limit)
        return _slices(events), more

    async def histories(
        self, streams: Sequence[tuple[str, int]], *, limit: int = PAGE_SIZE
    ) -> tuple[list[tuple[str, list[EventSlice]]], bool]:
        check_limit(limit)
        all_events = (event for stream, after in streams for event in self._stream_events(stream, after))
        events, more = _first_page(all_events, limit)
        return [(stream, _slices(group)) for stream, group in groupby(events, key=attrgetter("stream"))], more

    async def read(self, after: int, *, query: Query = EVERYTHING, limit: int = PAGE_SIZE) -> Page:
        check_page(after, limit)
        events, more = _first_page((event for event in self._after(after) if query.matches(event)), limit)
        return Page(events, events[-1].position if more else max(after, self._head), more)

    async def find(self, event_ids: Sequence[str]) -> list[RecordedEvent]:
        events = {event_id: self._by_id[event_id] for event_id in check_event_ids(event_ids) if event_id in self._by_id}
        return sorted(events.values(), key=_position)

    async def streams(
        self, *, category: str | None = None, after: str = "", limit: int = PAGE_SIZE
    ) -> list[StreamInfo]:
        check_limit(limit)
        names = sorted(
            name for name in self._streams if name > after and (category is None or category_of(name) == category)
        )
        return [StreamInfo(name, self._version(name)) for name in names[:limit]]

    async def versions(self, streams: Sequence[str]) -> list[int]:
        return [self._version(stream) for stream in streams]

    async def head(self) -> int:
        return self._head

    async def last_position(self) -> int:
        return self._head

    async def epochs(self) -> list[Epoch]:
        return [self._epoch]

    async def expire(
        self, type: str, before: datetime, up_to: int, *, after: int = 0, limit: int = PAGE_SIZE
    ) -> ExpireResult:
        check_page(after, limit)
        check_integer("up_to", up_to)
        check_time("before", before)
        messages = (each for each in self._messages[type] if after < each.position <= up_to)
        old = list(takewhile(lambda each: each.recorded_at < before, islice(messages, limit)))
        dropped = [each for each in old if each is not self._streams[each.stream][-1]]
        for each in dropped:
            self._drop(each)
        self._expired = max([self._expired, *(each.position for each in dropped)])
        return ExpireResult(len(dropped), old[-1].position if old else after, more=len(old) == limit)

    def _drop(self, event: RecordedEvent) -> None:
        for events in (self._events, self._streams[event.stream], self._messages[event.type]):
            events.remove(event)
        del self._by_id[event.id]

    async def expired_position(self) -> int:
        return self._expired

    async def oldest_messages(self, after: int) -> list[OldestMessage]:
        check_integer("after", after)
        oldest = list[OldestMessage]()
        for name, messages in sorted(self._messages.items()):
            for each in messages[bisect_right(messages, after, key=_position) :][:1]:
                oldest.append(OldestMessage(name, each.position, each.recorded_at))
        return oldest

    def notify(self) -> None:
        """Do nothing: no other process can append."""

    async def wait_for_events(self, after: int) -> None:
        await self._signal.wait(after)

    def close(self) -> None:
        """Wake waiting readers with `StoreUnavailable`."""
        self._signal.close()


def _after_version(history: list[RecordedEvent], version: int) -> list[RecordedEvent]:
    return history[bisect_right(history, version, key=_version) :]


def _first_page(events: Iterable[RecordedEvent], limit: int) -> tuple[list[RecordedEvent], bool]:
    """Return events until their number or their size reaches a limit, and whether it did."""
    page, size = list[RecordedEvent](), 0
    for event in events:
        page.append(event)
        size += size_of(event)
        if len(page) == limit or size >= MAX_PAGE_BYTES:
            return page, True
    return page, False


def _slices(events: Iterable[RecordedEvent]) -> list[EventSlice]:
    return [(event.version, event.position, event.id, event.type, event.schema_version, event.data) for event in events]
