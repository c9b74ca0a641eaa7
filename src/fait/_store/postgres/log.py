"""The log in PostgreSQL: appends call a function of the database, and readers stop at the high-water mark."""

from collections.abc import Sequence
from datetime import datetime
from itertools import groupby
from operator import itemgetter
from typing import Any, Final

from fait._arguments import check_integer, check_time
from fait._clock import Clock
from fait._errors import StoreUnavailable
from fait._events.append import (
    MAX_PAGE_BYTES,
    PAGE_SIZE,
    AppendCondition,
    Appended,
    AppendResult,
    Page,
    StreamWrite,
    Until,
    check_event_ids,
    check_limit,
    check_page,
    check_writes,
)
from fait._events.envelope import EventSlice, RecordedEvent
from fait._events.query import EVERYTHING, Query
from fait._store.duplicate_append import resolve_duplicate
from fait._store.group_commit import AppendOutcome, GroupCommit, PendingAppend
from fait._store.ports.log import Epoch, ExpireResult, Features, Identity, OldestMessage, StreamInfo
from fait._store.ports.unit_of_work import HandlerAppend
from fait._store.position_signal import STORE_CLOSED
from fait._store.postgres.append_protocol import Expected
from fait._store.postgres.appender import Appender
from fait._store.postgres.connection import Database, LogMoved, PostgresConnection
from fait._store.postgres.high_water_mark import HighWaterMark
from fait._store.postgres.rows import recorded_events

__all__ = ["MAX_POSITION", "MAX_SCANNED_POSITIONS", "PostgresLog"]

MAX_POSITION: Final = (1 << 63) - 1
"""Maximum value of a position."""

MAX_SCANNED_POSITIONS: Final = 1_000_000
"""Maximum number of positions that one read scans: a query for a rare type in a long log would take very long.

It does not apply to a query with tags, whose events an index finds, nor to a gap without any event.
"""

_DATA: Final = 6
"""Index of the data in a row with a whole event."""

_BY_SIZE: Final = {
    "histories": "histories_by_size",
    "history": "history_by_size",
    "read_log": "read_log_by_size",
    "read_stream": "read_stream_by_size",
    "read_tagged": "read_tagged_by_size",
}
"""For each statement that leaves out the data of large events, the one for a page with such events."""


class PostgresLog:
    """`Log` in one schema of a PostgreSQL database. Belongs to the event loop in which it was created."""

    features = Features(durable=True, shared=True, sql=True)

    def __init__(self, identity: Identity, clock: Clock, database: Database, channel: str, known_position: int) -> None:
        self.identity = identity
        self._database = database
        self._high_water_mark = HighWaterMark(database, channel, known_position)
        self._appender = Appender(database, clock, self._expected, self._high_water_mark.advance_to)
        self._group_commit = GroupCommit(self._flush, max_batches=self._appender.max_batches)
        self._closed = False

    async def append(self, writes: Sequence[StreamWrite], condition: AppendCondition | None = None) -> AppendResult:
        check_writes(writes)
        if self._closed:
            raise StoreUnavailable(STORE_CLOSED)
        ids = [event.id for write in writes for event in write.events]
        if len(ids) > 1 and len(set(ids)) < len(ids):
            return resolve_duplicate(writes, {event.id: event for event in await self.find(ids)})
        try:
            return await self._group_commit.append(writes, condition)
        except LogMoved as error:
            self._high_water_mark.report_moved(error)
            raise

    async def store(self, connection: PostgresConnection, append: HandlerAppend) -> AppendOutcome:
        """Store the events of handlers in the transaction of a connection; on any other outcome, roll it back."""
        return await self._appender.append_in(connection, append)

    async def store_after_move(
        self, connection: PostgresConnection, append: HandlerAppend, move: Sequence[object]
    ) -> int | None:
        """Move a range and store the events of handlers in one statement; see `Appender.append_after_move`."""
        return await self._appender.append_after_move(connection, append, move)

    def report(self, position: int) -> None:
        """Wake waiting readers, also those of other processes, after a commit of events up to a position."""
        self._high_water_mark.report_append(position)

    async def _flush(self, pending: Sequence[PendingAppend]) -> Sequence[AppendOutcome | Exception]:
        """Store a batch, and report the new positions, also of appends whose callers were canceled."""
        outcomes = await self._appender.send(pending)
        positions = [outcome.position for outcome in outcomes if isinstance(outcome, Appended)]
        if positions:
            self.report(max(positions))
        return outcomes

    def _expected(self) -> Expected:
        self._high_water_mark.check_not_moved()
        return self.identity.epoch_id, self._high_water_mark.known_position

    async def read_stream(
        self, stream: str, *, after: int = 0, limit: int = PAGE_SIZE, until: Until = Until()
    ) -> tuple[list[RecordedEvent], bool]:
        check_page(after, limit)
        limits = (until.version, until.position, until.recorded_at, until.occurred_at)
        rows, full = await self._fetch_page("read_stream", _DATA, limit, stream, after, limit, *limits)
        return recorded_events(rows), full

    async def history(
        self, stream: str, *, after: int = 0, limit: int = PAGE_SIZE, until: Until = Until()
    ) -> tuple[list[EventSlice], bool]:
        check_page(after, limit)
        limits = (until.version, until.position, until.recorded_at, until.occurred_at)
        rows, full = await self._fetch_page("history", -1, limit, stream, after, limit, *limits)
        return [tuple(row) for row in rows], full

    async def histories(
        self, streams: Sequence[tuple[str, int]], *, limit: int = PAGE_SIZE
    ) -> tuple[list[tuple[str, list[EventSlice]]], bool]:
        names, after = [stream for stream, _ in streams], [version for _, version in streams]
        rows, full = await self._fetch_page("histories", -1, check_limit(limit), names, after, limit)
        groups = groupby(rows, key=itemgetter(0))
        return [(names[number - 1], [row[1:] for row in group]) for number, group in groups], full

    async def read(self, after: int, *, query: Query = EVERYTHING, limit: int = PAGE_SIZE) -> Page:
        check_page(after, limit)
        scan_end = MAX_POSITION if query.tags else after + MAX_SCANNED_POSITIONS
        position, events, full = after, list[RecordedEvent](), False
        mark = self._high_water_mark.position
        if mark - after >= limit and not query.tags:  # catching up: the known mark is sufficient
            position = min(mark, scan_end)
            events, full = await self._read(after, position, query, limit)
        if not full and position < scan_end:
            mark = await self._mark(position, query)  # events that commit later are for the next page
            if min(mark, scan_end) > position:
                last_events, full = await self._read_tail(position, min(mark, scan_end), query, limit - len(events))
                events += last_events
                position = min(mark, scan_end)
        if full:
            return self._page(events, events[-1].position, more=True)
        if position < mark:
            position = await self._skip_gap(position, mark)
        return self._page(events, position, more=position < mark)

    def _page(self, events: list[RecordedEvent], position: int, *, more: bool) -> Page:
        return Page(events, position, more, self._high_water_mark.revisions(position))

    async def _mark(self, position: int, query: Query) -> int:
        """Return the mark for a read after a position.

        A subscription is woken for each event, so it may get a mark that is some milliseconds old. A boundary reads by
        tags: with such a mark, it could miss an append that another process has acknowledged.
        """
        # fault: old-mark-for-tags
        return await (self._high_water_mark.fetch() if query.tags else self._high_water_mark.refresh(beyond=position))

    async def _read_tail(self, after: int, mark: int, query: Query, limit: int) -> tuple[list[RecordedEvent], bool]:
        """Read events up to a mark that was just refreshed: they may be in the tail cache."""
        cached_events = self._high_water_mark.tail_cache.between(after, mark)
        if cached_events is None:
            return await self._read(after, mark, query, limit)
        events = [event for event in cached_events if query.matches(event)][:limit]
        return events, len(events) == limit

    async def _read(self, after: int, mark: int, query: Query, limit: int) -> tuple[list[RecordedEvent], bool]:
        """Read a page; also return whether it is full."""
        values = (after, mark, limit, list(query.types) or None, query.category)
        if query.tags:
            rows, full = await self._fetch_page("read_tagged", _DATA, limit, *values, list(query.tags))
        else:
            rows, full = await self._fetch_page("read_log", _DATA, limit, *values)
        return recorded_events(rows), full

    async def _fetch_page(self, statement: str, data: int, limit: int, *values: object) -> tuple[Sequence[Any], bool]:
        """Fetch rows until their number or the size of their events reaches a limit; also return whether it did.

        Most pages have no large event. To add up sizes, the server would have to copy each row.

        Args:
            statement: the statement, which leaves out the data of large events.
            data: index of the column with the data.
            limit: maximum number of rows.
            *values: parameters of the statement.
        """
        rows: Sequence[Any] = await self._database.fetch(statement, *values)
        # fault: large-events-left-out
        if None not in map(itemgetter(data), rows):
            return rows, len(rows) == limit
        rows = await self._database.fetch(_BY_SIZE[statement], *values, MAX_PAGE_BYTES)
        # fault: page-of-large-events-as-last
        full = len(rows) == limit or bool(rows and rows[-1][-1] >= MAX_PAGE_BYTES)
        return [row[:-1] for row in rows], full

    async def _skip_gap(self, position: int, mark: int) -> int:
        """Return the end of the gap after a position: otherwise a large gap would take a query per scanned part."""
        [(following,)] = await self._database.fetch("next_position", position)
        # fault: gap-skip-passes-event
        return mark if following is None else min(mark, following - 1)

    async def find(self, event_ids: Sequence[str]) -> list[RecordedEvent]:
        return recorded_events(await self._database.fetch("find_events", check_event_ids(event_ids)))

    async def streams(
        self, *, category: str | None = None, after: str = "", limit: int = PAGE_SIZE
    ) -> list[StreamInfo]:
        rows = await self._database.fetch("list_streams", after, check_limit(limit), category)
        return [StreamInfo(stream, version) for stream, version in rows]

    async def versions(self, streams: Sequence[str]) -> list[int]:
        return [version for (version,) in await self._database.fetch("stream_versions", list(streams))]

    async def head(self) -> int:
        # fault: old-mark-as-head
        return await self._high_water_mark.fetch()

    async def last_position(self) -> int:
        [(position,)] = await self._database.fetch("head", MAX_POSITION)
        return position

    async def epochs(self) -> list[Epoch]:
        return [Epoch(*row) for row in await self._database.fetch("epochs")]

    async def expire(
        self, type: str, before: datetime, up_to: int, *, after: int = 0, limit: int = PAGE_SIZE
    ) -> ExpireResult:
        check_page(after, limit)
        values = (type, check_time("before", before), check_integer("up_to", up_to), after, limit)
        [(deleted, examined, last_position)] = await self._database.fetch("expire_messages", *values)
        self._high_water_mark.tail_cache.evict(last_position or 0)
        return ExpireResult(deleted, last_position or after, more=examined == limit)

    async def expired_position(self) -> int:
        [(position,)] = await self._database.fetch("expired_position")
        return position

    async def oldest_messages(self, after: int) -> list[OldestMessage]:
        rows = await self._database.fetch("oldest_messages", check_integer("after", after))
        return [OldestMessage(*row) for row in rows]

    def notify(self) -> None:
        self._high_water_mark.poll()

    async def wait_for_events(self, after: int) -> None:
        await self._high_water_mark.wait(after)

    async def close(self) -> None:
        """Wait for appends in flight, and stop polling."""
        self._closed = True
        await self._group_commit.close()
        await self._high_water_mark.close()
        await self._appender.close()
