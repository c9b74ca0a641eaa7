"""The log in PostgreSQL: appends by a function in the database, reads up to the high-water mark."""

import asyncio
from collections.abc import Sequence
from datetime import datetime
from itertools import groupby
from operator import itemgetter
from typing import Final

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
from fait._store.duplicate_append import repetition
from fait._store.group_commit import Answer, Coalescer, Request
from fait._store.log import Dropped, Features, Identity, OldestMessage, StreamInfo
from fait._store.postgres.appender import Appender
from fait._store.postgres.connection import Database
from fait._store.postgres.high_water_mark import Watcher
from fait._store.postgres.rows import stored_events

__all__ = ["WINDOW", "PostgresLog"]

WINDOW: Final = 1_000_000
"""Positions that one statement looks through: a rare type in a long log would take for ever otherwise."""


class PostgresLog:
    """`Log` in one schema of a PostgreSQL database. Belongs to the event loop it was made in."""

    features = Features(durable=True, shared=True, sql=True)

    def __init__(self, identity: Identity, clock: Clock, database: Database, channel: str) -> None:
        self.identity = identity
        self._database = database
        self._watcher = Watcher(database, channel)
        self._appender = Appender(database, clock, self._watcher.stored)
        self._coalescer = Coalescer(self._flush, lanes=self._appender.most_batches)
        self._flushes = 0
        self._ended = asyncio.Event()
        self._closed = False

    async def append(self, writes: Sequence[Write], condition: AppendCondition | None = None) -> Verdict:
        check_writes(writes)
        if self._closed:
            raise StoreUnavailable("the store is closed.")
        ids = [event.id for write in writes for event in write.events]
        if len(ids) > 1 and len(set(ids)) < len(ids):
            return repetition(writes, {event.id: event for event in await self.find(ids)})
        return await self._coalescer.append(writes, condition)

    def _flush(self, requests: Sequence[Request]) -> Answer:
        flush = self._appender.begin(requests)
        self._flushes += 1
        flush.add_done_callback(self._flushed)
        return flush

    def _flushed(self, flush: Answer) -> None:
        """Spread the news, also of appends that nobody waits for any more."""
        self._flushes -= 1
        if self._closed:
            asyncio.get_running_loop().call_soon(self._ended.set)  # after those who wait have begun the next flush
        if not flush.cancelled() and flush.exception() is None:
            stored = [each.position for each in flush.result() if isinstance(each, Appended)]
            if stored:
                self._watcher.appended(max(stored))

    async def read_stream(
        self, stream: str, *, after: int = 0, limit: int = PAGE, until: Until = Until()
    ) -> list[StoredEvent]:
        values = (stream, after, check_limit(limit), until.version, until.position, until.recorded_at)
        return stored_events(await self._database.fetch("read_stream", *values))

    async def history(self, stream: str, *, after: int = 0, limit: int = PAGE, until: Until = Until()) -> list[Bare]:
        limits = (until.version, until.position, until.recorded_at, until.occurred_at)
        rows = await self._database.fetch("history", stream, after, check_limit(limit), *limits)
        return [tuple(row) for row in rows]

    async def histories(self, streams: Sequence[tuple[str, int]], *, limit: int = PAGE) -> list[tuple[str, list[Bare]]]:
        names, after = [stream for stream, _ in streams], [version for _, version in streams]
        rows = await self._database.fetch("histories", names, after, check_limit(limit))
        return [(names[place - 1], [row[1:] for row in group]) for place, group in groupby(rows, key=itemgetter(0))]

    async def read(self, after: int, *, query: Query = EVERYTHING, limit: int = PAGE) -> Page:
        check_limit(limit)
        end, seen, events = after + WINDOW, after, list[StoredEvent]()
        known = self._watcher.known
        if known - after >= limit and not query.tags:  # catching up: what is final needs no new mark
            seen = min(known, end)
            events = await self._read(after, seen, query, limit)
        mark = known
        if len(events) < limit and seen < end:
            mark = await self._watcher.mark(beyond=seen)  # first: what commits after this is for the next page
            if min(mark, end) > seen:
                events += await self._read_recent(seen, min(mark, end), query, limit - len(events))
                seen = min(mark, end)
        if len(events) == limit:
            return Page(events, events[-1].position, more=True)
        return Page(events, seen, more=seen < mark)

    async def _read_recent(self, after: int, mark: int, query: Query, limit: int) -> list[StoredEvent]:
        """Up to a mark that was asked for just now: the last events may have come with it."""
        recent = self._watcher.recent.between(after, mark)
        if recent is None:
            return await self._read(after, mark, query, limit)
        return [event for event in recent if query.matches(event)][:limit]

    async def _read(self, after: int, mark: int, query: Query, limit: int) -> list[StoredEvent]:
        values = (after, mark, limit, list(query.types) or None, query.category)
        if query.tags:
            return stored_events(await self._database.fetch("read_tagged", *values, list(query.tags)))
        return stored_events(await self._database.fetch("read_log", *values))

    async def find(self, event_ids: Sequence[str]) -> list[StoredEvent]:
        return stored_events(await self._database.fetch("find_events", event_ids))

    async def streams(self, *, category: str | None = None, after: str = "", limit: int = PAGE) -> list[StreamInfo]:
        rows = await self._database.fetch("list_streams", after, limit, category)
        return [StreamInfo(stream, version) for stream, version in rows]

    async def head(self) -> int:
        return await self._watcher.mark(beyond=-1)

    async def expire(self, type: str, before: datetime, behind: int, *, after: int = 0, limit: int = PAGE) -> Dropped:
        values = (type, before, behind, after, check_limit(limit))
        [(gone, old, last)] = await self._database.fetch("expire", *values)
        self._watcher.recent.drop(last or 0)
        return Dropped(gone, last or after, more=old == limit)

    async def expired(self) -> int:
        [(position,)] = await self._database.fetch("expired")
        return position

    async def oldest_messages(self, after: int) -> list[OldestMessage]:
        return [OldestMessage(*row) for row in await self._database.fetch("oldest_messages", after)]

    def hear(self) -> None:
        self._watcher.look()

    async def changed(self, after: int) -> None:
        await self._watcher.wait(after)

    async def close(self) -> None:
        """Finish the appends that are under way, and stop watching."""
        self._closed = True
        while self._flushes:
            self._ended.clear()
            await self._ended.wait()
        await self._watcher.close()
        await self._appender.close()
