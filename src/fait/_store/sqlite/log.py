"""The log in SQLite: one row per event. There is one writer at a time, so position order is commit order."""

import asyncio
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from typing import Any, Final, TypeVar

import apsw
import msgspec

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
from fait._store.group_commit import AppendOutcome, GroupCommit, PendingAppend
from fait._store.ports.log import Epoch, ExpireResult, Features, Identity, OldestMessage, StreamInfo
from fait._store.ports.unit_of_work import HandlerAppend
from fait._store.position_signal import STORE_CLOSED, PositionSignal
from fait._store.sqlite.append_batch import AppendBatch, append_of_handler, decode_ends, find_existing
from fait._store.sqlite.connection import SqliteConnection, map_error
from fait._store.sqlite.retention import expire
from fait._store.sqlite.rows import head, page_end, read_events, read_history, read_page, read_stream
from fait._store.sqlite.statements import SQL
from fait._store.sqlite.timestamps import to_timestamp
from fait._store.sqlite.worker_threads import ReaderThreads, WriterThread
from fait._telemetry import logger

__all__ = ["IDLE_POLL_INTERVAL_S", "MAX_INLINE_ROWS", "POLL_INTERVAL_S", "SqliteLog"]

POLL_INTERVAL_S: Final = 0.002
"""Interval between polls for commits of other processes, while there are any. A poll takes a few microseconds."""

IDLE_POLL_INTERVAL_S: Final = 0.02
"""Interval between polls after `IDLE_AFTER_POLLS` polls without a commit."""

IDLE_AFTER_POLLS: Final = 500
"""Number of polls without a commit after which the interval grows."""

MAX_INLINE_ROWS: Final = 128
"""Maximum number of rows to read inline, in the event loop: this is cheaper than a switch to a thread and back."""

MAX_INLINE_EVENTS: Final = 10
"""Maximum number of events, and of tags, of an append that may be stored inline."""

MAX_INLINE_BYTES: Final = 64 << 10
"""Maximum size of an append that may be stored inline."""

_NO_LIMIT: Final = Until()

T = TypeVar("T")

_encode = msgspec.json.encode


class SqliteLog:
    """`Log` in an SQLite file. It belongs to the event loop in which it was created."""

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
        self._file = writer.file
        self._inline_reader = inline_reader
        self._polled_version = -1
        self._waiters = 0
        self._poller: asyncio.Task[None] | None = None
        self._signal = PositionSignal()
        self._closed = False
        self._group_commit = GroupCommit(self._flush, disjoint_streams=False)

    async def append(self, writes: Sequence[StreamWrite], condition: AppendCondition | None = None) -> AppendResult:
        check_writes(writes)
        if self._closed:
            raise StoreUnavailable(STORE_CLOSED)
        return await self._group_commit.append(writes, condition)

    def store(self, connection: SqliteConnection, append: HandlerAppend) -> int:
        """Store the events of handlers in the transaction of the writer. Returns the position of the last one."""
        return append_of_handler(connection, append, to_timestamp(self._clock.now()), self._check_end)

    def report(self, position: int) -> None:
        """Wake waiting readers after a commit of events up to a position."""
        self._signal.advance(position)

    async def _flush(self, appends: Sequence[PendingAppend]) -> Sequence[AppendOutcome | Exception]:
        run = self._writer.run_inline if len(appends) == 1 and _fits_inline(appends[0]) else self._writer.run
        outcomes = await run(partial(self._append_all, appends))
        for each in outcomes:
            if isinstance(each, Appended):
                self._signal.advance(each.position)
        return outcomes

    def _append_all(
        self, appends: Sequence[PendingAppend], connection: SqliteConnection
    ) -> Sequence[AppendOutcome | Exception]:
        """Store a batch in one transaction. Each append sees the appends before it."""
        now = to_timestamp(self._clock.now())
        if len(appends) > 1:
            with _Savepoint(connection):
                streams = {write.stream for append in appends for write in append.writes}
                batch = AppendBatch(connection, now, streams, self._check_end)
                results = [batch.append(append.writes, append.condition) for append in appends]
                batch.flush()
                return results
            # A constraint rejected one of the appends. Repeat them in the same order, each in a separate savepoint.
        # fault: results-in-reverse-order
        return [self._append_individually(connection, append, now) for append in appends]

    def _append_individually(
        self, connection: SqliteConnection, append: PendingAppend, now: str
    ) -> AppendOutcome | Exception:
        writes = append.writes
        # fault: append-without-savepoint
        one_row = (
            append.events == 1 and not writes[0].events[0].tags
        )  # a single statement is atomic without a savepoint
        with _Savepoint(connection, in_savepoint=not one_row) as attempt:
            batch = AppendBatch(connection, now, [write.stream for write in writes], self._check_end)
            result = batch.append(writes, append.condition)
            batch.flush()
            return result
        assert attempt.error is not None
        return find_existing(connection, writes) or attempt.error

    def _check_end(self, position: int) -> None:
        """Raise `StoreUnavailable` if the last event of the file lies below one that this process has seen."""
        self._file.check_end(position, self._signal.position)

    async def read_stream(
        self, stream: str, *, after: int = 0, limit: int = PAGE_SIZE, until: Until = Until()
    ) -> tuple[list[RecordedEvent], bool]:
        check_page(after, limit)
        limits = _limits(until)
        return await self._readers.run(lambda connection: read_stream(connection, stream, after, limit, limits))

    async def history(
        self, stream: str, *, after: int = 0, limit: int = PAGE_SIZE, until: Until = Until()
    ) -> tuple[list[EventSlice], bool]:
        check_page(after, limit)
        limits = _limits(until)
        inline_limit = min(limit, MAX_INLINE_ROWS)
        page = self._read_inline(lambda connection: _history(connection, stream, after, inline_limit, limits))
        if page is not None and (not page[1] or inline_limit == limit):
            return page
        return await self._readers.run(lambda connection: _history(connection, stream, after, limit, limits))

    async def histories(
        self, streams: Sequence[tuple[str, int]], *, limit: int = PAGE_SIZE
    ) -> tuple[list[tuple[str, list[EventSlice]]], bool]:
        check_limit(limit)
        return await self._readers.run(lambda connection: _histories(connection, streams, limit))

    async def read(self, after: int, *, query: Query = EVERYTHING, limit: int = PAGE_SIZE) -> Page:
        check_page(after, limit)
        page = self._read_inline(lambda connection: _read_if_near_end(connection, after, query, limit))
        return page or await self._readers.run(lambda connection: read_page(connection, after, query, limit))

    def _read_inline(self, read: Callable[[SqliteConnection], T | None]) -> T | None:
        """Read a few rows in the event loop; None also if the file is locked, which is rare."""
        try:
            result = read(self._inline_reader)
            self._file.check(time.perf_counter())
            return result
        except apsw.BusyError:
            return None
        except apsw.ConnectionClosedError:
            raise StoreUnavailable(STORE_CLOSED) from None
        except apsw.Error as error:
            self._file.check(time.perf_counter())  # an overwritten file looks corrupt
            raise map_error(error) from error

    async def find(self, event_ids: Sequence[str]) -> list[RecordedEvent]:
        values = (_encode(check_event_ids(event_ids)).decode(),)
        events = self._read_inline(_event_finder(values)) if len(event_ids) <= MAX_INLINE_ROWS else None
        return await self._readers.run(_event_finder(values)) if events is None else events

    async def streams(
        self, *, category: str | None = None, after: str = "", limit: int = PAGE_SIZE
    ) -> list[StreamInfo]:
        values = (after, check_limit(limit), category)
        rows = await self._readers.run(lambda connection: connection.execute(SQL["list_streams"], values).fetchall())
        return [StreamInfo(*row) for row in rows]

    async def versions(self, streams: Sequence[str]) -> list[int]:
        versions = self._read_inline(_version_finder(streams)) if len(streams) <= MAX_INLINE_ROWS else None
        return await self._readers.run(_version_finder(streams)) if versions is None else versions

    async def head(self) -> int:
        return await self._readers.run(head)

    async def last_position(self) -> int:
        return await self.head()

    async def epochs(self) -> list[Epoch]:
        rows = await self._readers.run(lambda connection: connection.execute(SQL["epochs"]).fetchall())
        return [Epoch(epoch_id, position, datetime.fromisoformat(time)) for epoch_id, position, time in rows]

    async def expire(
        self, type: str, before: datetime, up_to: int, *, after: int = 0, limit: int = PAGE_SIZE
    ) -> ExpireResult:
        check_page(after, limit)
        values = (type, to_timestamp(check_time("before", before)), check_integer("up_to", up_to), after, limit)
        return await self._writer.run(lambda connection: expire(connection, *values))

    async def expired_position(self) -> int:
        return await self._readers.run(lambda connection: connection.execute(SQL["expired_position"]).get)

    async def oldest_messages(self, after: int) -> list[OldestMessage]:
        check_integer("after", after)
        rows = await self._readers.run(
            lambda connection: connection.execute(SQL["oldest_messages"], (after,)).fetchall()
        )
        return [OldestMessage(type, position, datetime.fromisoformat(time)) for type, position, time in rows]

    def notify(self) -> None:
        self._poll()

    async def wait_for_events(self, after: int) -> None:
        self._waiters += 1
        if self._poller is None or self._poller.done():
            self._poller = asyncio.create_task(self._poll_until_idle(), name="fait-sqlite-poller")
        try:
            await self._signal.wait(after)
        finally:
            self._waiters -= 1

    async def _poll_until_idle(self) -> None:
        """Signal commits of other processes, while a reader waits."""
        idle_polls = 0
        while self._waiters:
            idle_polls = 0 if self._poll() else idle_polls + 1
            await asyncio.sleep(POLL_INTERVAL_S if idle_polls < IDLE_AFTER_POLLS else IDLE_POLL_INTERVAL_S)

    def _poll(self) -> bool:
        try:
            version = self._inline_reader.pragma("data_version")
            # fault: other-process-not-noticed
            if version == self._polled_version:
                self._file.check(time.perf_counter())  # in a file that was moved, no commit is ever noticed
                return False
            self._check_end(last := head(self._inline_reader))
            self._signal.advance(last)
        except apsw.BusyError:
            return True
        except StoreUnavailable as error:
            self._signal.close(error)
            return False
        except apsw.Error as error:
            logger.warning("failed to poll for commits of other processes, will retry: %s", error)
            return False
        self._polled_version = version
        return True

    async def close(self) -> None:
        """Wait for appends in flight, stop polling, and wake all waiting readers."""
        self._closed = True
        # fault: queued-appends-refused-by-close
        await self._group_commit.close()
        if self._poller is not None:
            self._poller.cancel()
            await asyncio.gather(self._poller, return_exceptions=True)
        self._signal.close()
        self._inline_reader.close()


def _fits_inline(append: PendingAppend) -> bool:
    """Whether the append takes little time, regardless of the size of the log."""
    if append.condition is not None or append.events > MAX_INLINE_EVENTS or append.size_bytes > MAX_INLINE_BYTES:
        return False
    return sum([len(event.tags) for write in append.writes for event in write.events]) <= MAX_INLINE_EVENTS


def _read_if_near_end(connection: SqliteConnection, after: int, query: Query, limit: int) -> Page | None:
    """Read a page for a live reader; None if there may be many events to read."""
    end = page_end(connection)
    return read_page(connection, after, query, limit, end) if end[0] - after <= MAX_INLINE_ROWS else None


def _limits(until: Until) -> tuple[int | None, int | None, str | None, str | None] | tuple[()]:
    if until == _NO_LIMIT:
        return ()
    recorded_at = until.recorded_at and to_timestamp(until.recorded_at)
    occurred_at = until.occurred_at and to_timestamp(until.occurred_at)
    return until.version, until.position, recorded_at, occurred_at


def _history(
    connection: SqliteConnection, stream: str, after: int, limit: int, limits: Sequence[Any]
) -> tuple[list[EventSlice], bool]:
    events, room = read_history(connection, stream, after, limit, limits)
    return events, len(events) == limit or room <= 0


def _histories(
    connection: SqliteConnection, streams: Sequence[tuple[str, int]], limit: int
) -> tuple[list[tuple[str, list[EventSlice]]], bool]:
    # One statement per stream: a join with the list of streams would have to sort all events to guarantee their order.
    histories, remaining, room = list[tuple[str, list[EventSlice]]](), limit, MAX_PAGE_BYTES
    for stream, after in streams:
        events, room = read_history(connection, stream, after, remaining, max_bytes=room)
        if events:
            histories.append((stream, events))
        remaining -= len(events)
        if not remaining or room <= 0:
            return histories, True
    return histories, False


def _version_finder(streams: Sequence[str]) -> Callable[[SqliteConnection], list[int]]:
    def find(connection: SqliteConnection) -> list[int]:
        ends = decode_ends(connection.execute(SQL["stream_ends"], (_encode(streams).decode(),)).get)
        return [ends[stream][0] if stream in ends else 0 for stream in streams]

    return find


def _event_finder(values: Sequence[Any]) -> Callable[[SqliteConnection], list[RecordedEvent]]:
    return lambda connection: read_events(connection, "find_events", values)


class _Savepoint:
    """A savepoint that is rolled back if an append is invalid; other errors propagate and end the transaction."""

    def __init__(self, connection: SqliteConnection, *, in_savepoint: bool = True) -> None:
        self._connection = connection
        self._in_savepoint = in_savepoint
        self.error: Exception | None = None

    def __enter__(self) -> "_Savepoint":
        if self._in_savepoint:
            self._connection.execute("SAVEPOINT appends")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> bool:
        if isinstance(error, apsw.ConstraintError | TypeError | ValueError | OverflowError):
            self.error = map_error(error) if isinstance(error, apsw.Error) else error
        if self._in_savepoint and self.error is not None:
            self._connection.execute("ROLLBACK TO appends")
        if self._in_savepoint and (self.error is not None or error is None):  # a full disk has already rolled back
            self._connection.execute("RELEASE appends")
        return self.error is not None
