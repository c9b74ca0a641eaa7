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
    PAGE,
    AppendCondition,
    Appended,
    Page,
    Until,
    Verdict,
    Write,
    check_limit,
    check_writes,
)
from fait._events.envelope import Bare, StoredEvent
from fait._events.query import EVERYTHING, Query
from fait._store.group_commit import Coalescer, Outcome, Request
from fait._store.log import Dropped, Features, Identity, OldestMessage, StreamInfo
from fait._store.position_signal import Doorbell
from fait._store.sqlite.append_batch import Batch, known
from fait._store.sqlite.connection import Connection, unavailable
from fait._store.sqlite.retention import expire
from fait._store.sqlite.rows import head, read_events, read_page
from fait._store.sqlite.statements import SQL
from fait._store.sqlite.timestamps import stored_moment
from fait._store.sqlite.worker_threads import Direct, Readers, Writer
from fait._telemetry import logger

__all__ = ["NEAR", "POLL_IDLE_S", "POLL_S", "SqliteLog"]

POLL_S: Final = 0.002
"""How often other processes' commits are looked for while there is traffic. A look costs a few microseconds."""

POLL_IDLE_S: Final = 0.02
"""… and when there has been none for `IDLE_LOOKS` looks."""

IDLE_LOOKS: Final = 500

NEAR: Final = 128
"""Rows that are read in place, by the event loop itself: less work than handing the question to a thread and back."""

FEW: Final = 10
"""Events, and tags of them, that are stored in place, if they come alone and the disk is quick."""

LIGHT: Final = 64 << 10
"""Bytes of such events."""

T = TypeVar("T")

_encode = msgspec.json.encode


class SqliteLog:
    """`Log` in an SQLite file. Belongs to the event loop it was made in."""

    def __init__(
        self,
        identity: Identity,
        clock: Clock,
        writer: Writer,
        readers: Readers,
        near: Connection,
        *,
        durable: bool,
    ) -> None:
        self.features = Features(durable=durable, shared=True, sql=True)
        self.identity = identity
        self._clock = clock
        self._writer = writer
        self._readers = readers
        self._near = near
        self._watched_version = -1
        self._waiters = 0
        self._watcher: asyncio.Task[None] | None = None
        self._bell = Doorbell()
        self._coalescer = Coalescer(self._flush, disjoint=False)

    async def append(self, writes: Sequence[Write], condition: AppendCondition | None = None) -> Verdict:
        check_writes(writes)
        return await self._coalescer.append(writes, condition)

    def _flush(self, requests: Sequence[Request]) -> Direct:
        begin = self._writer.begin_small if len(requests) == 1 and _is_small(requests[0]) else self._writer.begin
        return begin(partial(self._append_all, requests), self._tell)

    def _tell(self, verdicts: Sequence[Outcome | Exception]) -> None:
        """Wake whoever waits for events, in the same turn of the loop as those who appended them."""
        self._bell.ring(max((each.position for each in verdicts if isinstance(each, Appended)), default=0))

    def _append_all(self, requests: Sequence[Request], connection: Connection) -> Sequence[Outcome | Exception]:
        """Store them in one transaction, one after another: each sees what those before it did."""
        now = stored_moment(self._clock.now())
        if len(requests) > 1:
            with _Attempt(connection):
                streams = {write.stream for request in requests for write in request.writes}
                batch = Batch(connection, now, streams)
                verdicts = [batch.append(request.writes, request.condition) for request in requests]
                batch.flush()
                return verdicts
            # One of them was refused by the database. Once more, in the same order, each on its own feet.
        return [_append_alone(connection, request, now) for request in requests]

    async def read_stream(
        self, stream: str, *, after: int = 0, limit: int = PAGE, until: Until = Until()
    ) -> list[StoredEvent]:
        recorded_at = until.recorded_at and stored_moment(until.recorded_at)
        values = (stream, after, check_limit(limit), until.version, until.position, recorded_at)
        return await self._readers.run(lambda connection: read_events(connection, "read_stream", values))

    async def history(self, stream: str, *, after: int = 0, limit: int = PAGE, until: Until = Until()) -> list[Bare]:
        recorded_at = until.recorded_at and stored_moment(until.recorded_at)
        occurred_at = until.occurred_at and stored_moment(until.occurred_at)
        limits = (until.version, until.position, recorded_at, occurred_at)
        near = min(check_limit(limit), NEAR)
        rows = self._nearby(lambda connection: _history(connection, stream, after, near, limits))
        if rows is not None and (len(rows) < near or near == limit):
            return rows
        return await self._readers.run(lambda connection: _history(connection, stream, after, limit, limits))

    async def histories(self, streams: Sequence[tuple[str, int]], *, limit: int = PAGE) -> list[tuple[str, list[Bare]]]:
        check_limit(limit)
        return await self._readers.run(lambda connection: _histories(connection, streams, limit))

    async def read(self, after: int, *, query: Query = EVERYTHING, limit: int = PAGE) -> Page:
        check_limit(limit)
        mark = self._nearby(head)
        if mark is not None and mark - after <= NEAR:  # a live reader: there is little to look at
            page = self._nearby(lambda connection: read_page(connection, after, query, limit, mark))
            if page is not None:
                return page
        return await self._readers.run(lambda connection: read_page(connection, after, query, limit))

    def _nearby(self, read: Callable[[Connection], T]) -> T | None:
        """A small answer, at once; None in the rare moment when the file cannot be read without waiting."""
        try:
            return read(self._near)
        except apsw.BusyError:
            return None
        except apsw.ConnectionClosedError:
            raise StoreUnavailable("the store is closed.") from None
        except apsw.Error as problem:
            raise unavailable(problem) from problem

    async def find(self, event_ids: Sequence[str]) -> list[StoredEvent]:
        wanted = (_encode(event_ids).decode(),)
        found = self._nearby(_finding(wanted)) if len(event_ids) <= NEAR else None
        return await self._readers.run(_finding(wanted)) if found is None else found

    async def streams(self, *, category: str | None = None, after: str = "", limit: int = PAGE) -> list[StreamInfo]:
        values = (after, limit, category)
        rows = await self._readers.run(lambda connection: connection.execute(SQL["list_streams"], values).fetchall())
        return [StreamInfo(*row) for row in rows]

    async def head(self) -> int:
        return await self._readers.run(head)

    async def expire(self, type: str, before: datetime, behind: int, *, after: int = 0, limit: int = PAGE) -> Dropped:
        values = (type, stored_moment(before), behind, after, check_limit(limit))
        return await self._writer.run(lambda connection: expire(connection, *values))

    async def expired(self) -> int:
        return await self._readers.run(lambda connection: connection.execute(SQL["expired"]).get)

    async def oldest_messages(self, after: int) -> list[OldestMessage]:
        rows = await self._readers.run(
            lambda connection: connection.execute(SQL["oldest_messages"], (after,)).fetchall()
        )
        return [OldestMessage(name, position, datetime.fromisoformat(at)) for name, position, at in rows]

    def hear(self) -> None:
        self._look()

    async def changed(self, after: int) -> None:
        self._waiters += 1
        if self._watcher is None or self._watcher.done():
            self._watcher = asyncio.create_task(self._watch_file(), name="fait-sqlite-watch")
        try:
            await self._bell.wait(after)
        finally:
            self._waiters -= 1

    async def _watch_file(self) -> None:
        """Ring for commits of other processes, as long as somebody waits."""
        idle = 0
        while self._waiters:
            idle = 0 if self._look() else idle + 1
            await asyncio.sleep(POLL_S if idle < IDLE_LOOKS else POLL_IDLE_S)

    def _look(self) -> bool:
        try:
            version = self._near.pragma("data_version")
            if version == self._watched_version:
                return False
            self._bell.ring(head(self._near))
        except apsw.BusyError:
            return True
        except apsw.Error as problem:
            logger.warning("the file could not be watched: %s", problem)
            return False
        self._watched_version = version
        return True

    async def close(self) -> None:
        """Stop watching the file."""
        if self._watcher is not None:
            self._watcher.cancel()
            await asyncio.gather(self._watcher, return_exceptions=True)
        self._bell.close()
        self._near.close()


def _is_small(request: Request) -> bool:
    """Whether it takes little time to store, whatever is there already."""
    if request.condition is not None or request.events > FEW or request.bytes > LIGHT:
        return False
    return sum(len(event.tags) for write in request.writes for event in write.events) <= FEW


def _history(connection: Connection, stream: str, after: int, limit: int, limits: Sequence[Any]) -> list[Bare]:
    return connection.execute(SQL["history"], (stream, after, limit, *limits)).fetchall()


def _histories(connection: Connection, streams: Sequence[tuple[str, int]], limit: int) -> list[tuple[str, list[Bare]]]:
    # One statement for each: a join with the list would have to sort all their events to promise the order.
    found, room = list[tuple[str, list[Bare]]](), limit
    for stream, after in streams:
        if room and (events := _history(connection, stream, after, room, (None,) * 4)):
            found.append((stream, events))
            room -= len(events)
    return found


def _finding(wanted: Sequence[Any]) -> Callable[[Connection], list[StoredEvent]]:
    return lambda connection: read_events(connection, "find_events", wanted)


def _append_alone(connection: Connection, request: Request, now: str) -> Outcome | Exception:
    writes = request.writes
    one_row = request.events == 1 and not writes[0].events[0].tags  # if it is refused, nothing is left behind
    with _Attempt(connection, in_savepoint=not one_row) as attempt:
        batch = Batch(connection, now, [write.stream for write in writes])
        verdict = batch.append(writes, request.condition)
        batch.flush()
        return verdict
    assert attempt.problem is not None
    return known(connection, writes) or attempt.problem


class _Attempt:
    """A part of a transaction, taken back alone when a request is at fault; other problems end the transaction."""

    def __init__(self, connection: Connection, *, in_savepoint: bool = True) -> None:
        self._connection = connection
        self._in_savepoint = in_savepoint
        self.problem: Exception | None = None

    def __enter__(self) -> "_Attempt":
        if self._in_savepoint:
            self._connection.execute("SAVEPOINT appends")
        return self

    def __exit__(self, kind: type[BaseException] | None, problem: BaseException | None, trace: object) -> bool:
        if isinstance(problem, apsw.ConstraintError | TypeError | ValueError | OverflowError):
            self.problem = problem
        if self._in_savepoint and self.problem is not None:
            self._connection.execute("ROLLBACK TO appends")
        if self._in_savepoint and (self.problem is not None or problem is None):  # a full disk has ended it already
            self._connection.execute("RELEASE appends")
        return self.problem is not None
