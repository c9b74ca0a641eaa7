"""The log in SQLite: a row per event, and one writer at a time, so that position order is commit order."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from typing import Any, Final, TypeVar

import apsw
import msgspec

from fait._clock import Clock
from fait._errors import StoreUnavailable
from fait._events.append import (
    PAGE_SIZE,
    AppendCondition,
    Appended,
    AppendResult,
    Page,
    StreamWrite,
    Until,
    check_limit,
    check_writes,
)
from fait._events.envelope import EventSlice, RecordedEvent
from fait._events.query import EVERYTHING, Query
from fait._store.group_commit import AppendOutcome, GroupCommit, PendingAppend
from fait._store.log import ExpireResult, Features, Identity, OldestMessage, StreamInfo
from fait._store.position_signal import PositionSignal
from fait._store.sqlite.append_batch import AppendBatch, find_existing
from fait._store.sqlite.connection import SqliteConnection, map_error
from fait._store.sqlite.retention import expire
from fait._store.sqlite.rows import head, read_events, read_page
from fait._store.sqlite.statements import SQL
from fait._store.sqlite.timestamps import to_timestamp
from fait._store.sqlite.worker_threads import ImmediateFuture, ReaderThreads, WriterThread
from fait._telemetry import logger

__all__ = ["IDLE_POLL_INTERVAL_S", "MAX_INLINE_ROWS", "POLL_INTERVAL_S", "SqliteLog"]

POLL_INTERVAL_S: Final = 0.002
"""How often other processes' commits are looked for while there is traffic. A look costs a few microseconds."""

IDLE_POLL_INTERVAL_S: Final = 0.02
"""… and when there has been none for `IDLE_LOOKS` looks."""

IDLE_AFTER_POLLS: Final = 500

MAX_INLINE_ROWS: Final = 128
"""Rows that are read in place, by the event loop itself: less work than handing the question to a thread and back."""

MAX_INLINE_EVENTS: Final = 10
"""Events, and tags of them, that are stored in place, if they come alone and the disk is quick."""

MAX_INLINE_BYTES: Final = 64 << 10
"""Bytes of such events."""

T = TypeVar("T")

_encode = msgspec.json.encode


class SqliteLog:
    """`Log` in an SQLite file. Belongs to the event loop it was made in."""

    def __init__(
        self,
        identity: Identity,
        clock: Clock,
        writer: WriterThread,
        readers: ReaderThreads,
        inline_reader: SqliteConnection,
        *,
        durable: bool,
    ) -> None:
        self.features = Features(durable=durable, shared=True, sql=True)
        self.identity = identity
        self._clock = clock
        self._writer = writer
        self._readers = readers
        self._inline_reader = inline_reader
        self._polled_version = -1
        self._waiters = 0
        self._poller: asyncio.Task[None] | None = None
        self._signal = PositionSignal()
        self._group_commit = GroupCommit(self._flush, disjoint_streams=False)

    async def append(self, writes: Sequence[StreamWrite], condition: AppendCondition | None = None) -> AppendResult:
        check_writes(writes)
        return await self._group_commit.append(writes, condition)

    def _flush(self, requests: Sequence[PendingAppend]) -> ImmediateFuture:
        begin = self._writer.submit_inline if len(requests) == 1 and _fits_inline(requests[0]) else self._writer.submit
        return begin(partial(self._append_all, requests), self._signal_readers)

    def _signal_readers(self, verdicts: Sequence[AppendOutcome | Exception]) -> None:
        """Wake whoever waits for events, in the same turn of the loop as those who appended them."""
        self._signal.advance(max((each.position for each in verdicts if isinstance(each, Appended)), default=0))

    def _append_all(
        self, requests: Sequence[PendingAppend], connection: SqliteConnection
    ) -> Sequence[AppendOutcome | Exception]:
        """Store them in one transaction, one after another: each sees what those before it did."""
        now = to_timestamp(self._clock.now())
        if len(requests) > 1:
            with _Savepoint(connection):
                streams = {write.stream for request in requests for write in request.writes}
                batch = AppendBatch(connection, now, streams)
                verdicts = [batch.append(request.writes, request.condition) for request in requests]
                batch.flush()
                return verdicts
            # One of them was refused by the database. Once more, in the same order, each on its own feet.
        # fault: results-in-reverse-order
        return [_append_individually(connection, request, now) for request in requests]

    async def read_stream(
        self, stream: str, *, after: int = 0, limit: int = PAGE_SIZE, until: Until = Until()
    ) -> list[RecordedEvent]:
        recorded_at = until.recorded_at and to_timestamp(until.recorded_at)
        values = (stream, after, check_limit(limit), until.version, until.position, recorded_at)
        return await self._readers.run(lambda connection: read_events(connection, "read_stream", values))

    async def history(
        self, stream: str, *, after: int = 0, limit: int = PAGE_SIZE, until: Until = Until()
    ) -> list[EventSlice]:
        recorded_at = until.recorded_at and to_timestamp(until.recorded_at)
        occurred_at = until.occurred_at and to_timestamp(until.occurred_at)
        limits = (until.version, until.position, recorded_at, occurred_at)
        near = min(check_limit(limit), MAX_INLINE_ROWS)
        rows = self._read_inline(lambda connection: _history(connection, stream, after, near, limits))
        if rows is not None and (len(rows) < near or near == limit):
            return rows
        return await self._readers.run(lambda connection: _history(connection, stream, after, limit, limits))

    async def histories(
        self, streams: Sequence[tuple[str, int]], *, limit: int = PAGE_SIZE
    ) -> list[tuple[str, list[EventSlice]]]:
        check_limit(limit)
        return await self._readers.run(lambda connection: _histories(connection, streams, limit))

    async def read(self, after: int, *, query: Query = EVERYTHING, limit: int = PAGE_SIZE) -> Page:
        check_limit(limit)
        mark = self._read_inline(head)
        if mark is not None and mark - after <= MAX_INLINE_ROWS:  # a live reader: there is little to look at
            page = self._read_inline(lambda connection: read_page(connection, after, query, limit, mark))
            if page is not None:
                return page
        return await self._readers.run(lambda connection: read_page(connection, after, query, limit))

    def _read_inline(self, read: Callable[[SqliteConnection], T]) -> T | None:
        """A small answer, at once; None in the rare moment when the file cannot be read without waiting."""
        try:
            return read(self._inline_reader)
        except apsw.BusyError:
            return None
        except apsw.ConnectionClosedError:
            raise StoreUnavailable("the store is closed.") from None
        except apsw.Error as problem:
            raise map_error(problem) from problem

    async def find(self, event_ids: Sequence[str]) -> list[RecordedEvent]:
        wanted = (_encode(event_ids).decode(),)
        found = self._read_inline(_event_finder(wanted)) if len(event_ids) <= MAX_INLINE_ROWS else None
        return await self._readers.run(_event_finder(wanted)) if found is None else found

    async def streams(
        self, *, category: str | None = None, after: str = "", limit: int = PAGE_SIZE
    ) -> list[StreamInfo]:
        values = (after, limit, category)
        rows = await self._readers.run(lambda connection: connection.execute(SQL["list_streams"], values).fetchall())
        return [StreamInfo(*row) for row in rows]

    async def head(self) -> int:
        return await self._readers.run(head)

    async def expire(
        self, type: str, before: datetime, up_to: int, *, after: int = 0, limit: int = PAGE_SIZE
    ) -> ExpireResult:
        values = (type, to_timestamp(before), up_to, after, check_limit(limit))
        return await self._writer.run(lambda connection: expire(connection, *values))

    async def expired_position(self) -> int:
        return await self._readers.run(lambda connection: connection.execute(SQL["expired_position"]).get)

    async def oldest_messages(self, after: int) -> list[OldestMessage]:
        rows = await self._readers.run(
            lambda connection: connection.execute(SQL["oldest_messages"], (after,)).fetchall()
        )
        return [OldestMessage(name, position, datetime.fromisoformat(at)) for name, position, at in rows]

    def notify(self) -> None:
        self._poll()

    async def wait_for_events(self, after: int) -> None:
        self._waiters += 1
        if self._poller is None or self._poller.done():
            self._poller = asyncio.create_task(self._poll_until_idle(), name="fait-sqlite-watch")
        try:
            await self._signal.wait(after)
        finally:
            self._waiters -= 1

    async def _poll_until_idle(self) -> None:
        """Ring for commits of other processes, as long as somebody waits."""
        idle = 0
        while self._waiters:
            idle = 0 if self._poll() else idle + 1
            await asyncio.sleep(POLL_INTERVAL_S if idle < IDLE_AFTER_POLLS else IDLE_POLL_INTERVAL_S)

    def _poll(self) -> bool:
        try:
            version = self._inline_reader.pragma("data_version")
            # fault: other-process-not-noticed
            if version == self._polled_version:
                return False
            self._signal.advance(head(self._inline_reader))
        except apsw.BusyError:
            return True
        except apsw.Error as problem:
            logger.warning("the file could not be watched: %s", problem)
            return False
        self._polled_version = version
        return True

    async def close(self) -> None:
        """Stop watching the file."""
        if self._poller is not None:
            self._poller.cancel()
            await asyncio.gather(self._poller, return_exceptions=True)
        self._signal.close()
        self._inline_reader.close()


def _fits_inline(request: PendingAppend) -> bool:
    """Whether it takes little time to store, whatever is there already."""
    if request.condition is not None or request.events > MAX_INLINE_EVENTS or request.size_bytes > MAX_INLINE_BYTES:
        return False
    return sum(len(event.tags) for write in request.writes for event in write.events) <= MAX_INLINE_EVENTS


def _history(
    connection: SqliteConnection, stream: str, after: int, limit: int, limits: Sequence[Any]
) -> list[EventSlice]:
    return connection.execute(SQL["history"], (stream, after, limit, *limits)).fetchall()


def _histories(
    connection: SqliteConnection, streams: Sequence[tuple[str, int]], limit: int
) -> list[tuple[str, list[EventSlice]]]:
    # One statement for each: a join with the list would have to sort all their events to promise the order.
    found, room = list[tuple[str, list[EventSlice]]](), limit
    for stream, after in streams:
        if room and (events := _history(connection, stream, after, room, (None,) * 4)):
            found.append((stream, events))
            room -= len(events)
    return found


def _event_finder(wanted: Sequence[Any]) -> Callable[[SqliteConnection], list[RecordedEvent]]:
    return lambda connection: read_events(connection, "find_events", wanted)


def _append_individually(connection: SqliteConnection, request: PendingAppend, now: str) -> AppendOutcome | Exception:
    writes = request.writes
    # fault: append-without-savepoint
    one_row = request.events == 1 and not writes[0].events[0].tags  # if it is refused, nothing is left behind
    with _Savepoint(connection, in_savepoint=not one_row) as attempt:
        batch = AppendBatch(connection, now, [write.stream for write in writes])
        verdict = batch.append(writes, request.condition)
        batch.flush()
        return verdict
    assert attempt.error is not None
    return find_existing(connection, writes) or attempt.error


class _Savepoint:
    """A part of a transaction, taken back alone when a request is at fault; other problems end the transaction."""

    def __init__(self, connection: SqliteConnection, *, in_savepoint: bool = True) -> None:
        self._connection = connection
        self._in_savepoint = in_savepoint
        self.error: Exception | None = None

    def __enter__(self) -> "_Savepoint":
        if self._in_savepoint:
            self._connection.execute("SAVEPOINT appends")
        return self

    def __exit__(self, kind: type[BaseException] | None, problem: BaseException | None, trace: object) -> bool:
        if isinstance(problem, apsw.ConstraintError | TypeError | ValueError | OverflowError):
            self.error = problem
        if self._in_savepoint and self.error is not None:
            self._connection.execute("ROLLBACK TO appends")
        if self._in_savepoint and (self.error is not None or problem is None):  # a full disk has ended it already
            self._connection.execute("RELEASE appends")
        return self.error is not None
