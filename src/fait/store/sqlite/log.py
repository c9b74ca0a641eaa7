"""The log in SQLite: a row per event, a row per stream, and one writer, so that position order is commit order."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

import apsw
import msgspec

from fait.clock import Clock
from fait.events.append import (
    PAGE,
    AppendCondition,
    Appended,
    ConditionFailed,
    Conflict,
    Duplicate,
    Page,
    Until,
    Verdict,
    Write,
    check_limit,
    check_writes,
)
from fait.events.envelope import Bare, NewEvent, StoredEvent
from fait.events.query import EVERYTHING, Query
from fait.events.version import is_expected
from fait.store.coalescer import Coalescer, Outcome, Request
from fait.store.doorbell import Doorbell
from fait.store.log import Features, Identity, StreamInfo
from fait.store.sqlite.connection import Connection, Readers, Writer
from fait.store.sqlite.statements import SQL

__all__ = ["POLL_IDLE_S", "POLL_S", "SqliteLog", "stored_moment"]

POLL_S: Final = 0.002
"""How often other processes' commits are looked for while there is traffic. A look costs a few microseconds."""

POLL_IDLE_S: Final = 0.02
"""… and when there has been none for `IDLE_LOOKS` looks."""

IDLE_LOOKS: Final = 500

_decode_tags = msgspec.json.Decoder(tuple[str, ...]).decode
_encode = msgspec.json.encode


class SqliteLog:
    """`Log` in an SQLite file. Belongs to the event loop it was made in."""

    def __init__(
        self,
        identity: Identity,
        clock: Clock,
        writer: Writer,
        readers: Readers,
        watch: Connection,
        *,
        durable: bool,
    ) -> None:
        self.features = Features(durable=durable, shared=True, sql=True)
        self.identity = identity
        self._clock = clock
        self._writer = writer
        self._readers = readers
        self._watch = watch
        self._watched_version = -1
        self._waiters = 0
        self._watcher: asyncio.Task[None] | None = None
        self._bell = Doorbell()
        # Two lanes: one batch commits while the next is already with the writer.
        self._coalescer = Coalescer(self._flush, lanes=2, disjoint=False)

    async def append(self, writes: Sequence[Write], condition: AppendCondition | None = None) -> Verdict:
        check_writes(writes)
        verdict = await self._coalescer.append(writes, condition)
        if isinstance(verdict, Appended):
            self._bell.ring(verdict.position)
        return verdict

    def _flush(self, requests: Sequence[Request]) -> "asyncio.Future[Sequence[Outcome | Exception]]":
        return self._writer.submit(partial(self._append_all, requests))

    def _append_all(self, requests: Sequence[Request], connection: Connection) -> Sequence[Outcome | Exception]:
        """Store them in one transaction, one after another: each sees what those before it did."""
        moment = self._moment(connection)
        with _Savepoint(connection):
            return [_append(connection, request.writes, request.condition, moment) for request in requests]
        # One of them was refused by the database. Once more, in the same order, each on its own feet.
        return [_append_alone(connection, request, moment) for request in requests]

    def _moment(self, connection: Connection) -> str:
        """Now, or the last event's time if the clock went back: the log's time never does."""
        now = stored_moment(self._clock.now())
        last = connection.execute(SQL["last_recorded_at"]).get
        return max(now, last) if last else now

    async def read_stream(
        self, stream: str, *, after: int = 0, limit: int = PAGE, until: Until = Until()
    ) -> list[StoredEvent]:
        recorded_at = until.recorded_at and stored_moment(until.recorded_at)
        values = (stream, after, check_limit(limit), until.version, until.position, recorded_at)
        return await self._readers.run(lambda connection: _events(connection, "read_stream", values))

    async def read_streams(self, streams: Sequence[tuple[str, int]], *, limit: int = PAGE) -> list[StoredEvent]:
        return await self._readers.run(lambda connection: _streams(connection, streams, limit))

    async def history(self, stream: str, *, after: int = 0, limit: int = PAGE, until: Until = Until()) -> list[Bare]:
        recorded_at = until.recorded_at and stored_moment(until.recorded_at)
        occurred_at = until.occurred_at and stored_moment(until.occurred_at)
        values = (stream, after, check_limit(limit), until.version, until.position, recorded_at, occurred_at)
        return await self._readers.run(lambda connection: connection.execute(SQL["history"], values).fetchall())

    async def read(self, after: int, *, query: Query = EVERYTHING, limit: int = PAGE) -> Page:
        check_limit(limit)
        return await self._readers.run(lambda connection: _page(connection, after, query, limit))

    async def find(self, event_ids: Sequence[str]) -> list[StoredEvent]:
        wanted = (_encode(event_ids).decode(),)
        return await self._readers.run(lambda connection: _events(connection, "find_events", wanted))

    async def streams(self, *, category: str | None = None, after: str = "", limit: int = PAGE) -> list[StreamInfo]:
        values = (after, limit, category)
        rows = await self._readers.run(lambda connection: connection.execute(SQL["list_streams"], values).fetchall())
        return [StreamInfo(*row) for row in rows]

    async def head(self) -> int:
        return await self._readers.run(lambda connection: connection.execute(SQL["head"]).get)

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
            version = self._watch.pragma("data_version")
            if version == self._watched_version:
                return False
            self._bell.ring(self._watch.execute(SQL["head"]).get)
        except apsw.BusyError:
            return True
        self._watched_version = version
        return True

    async def close(self) -> None:
        """Stop watching the file."""
        if self._watcher is not None:
            self._watcher.cancel()
            await asyncio.gather(self._watcher, return_exceptions=True)
        self._bell.close()
        self._watch.close()


def stored_moment(moment: datetime) -> str:
    """UTC text of fixed width: it sorts as time does."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")[:26] + "Z"


def _append(connection: Connection, writes: Sequence[Write], condition: AppendCondition | None, moment: str) -> Verdict:
    if condition is not None and (failed := _failed(connection, condition)):
        return _known(writes, connection) or failed
    if len(writes) > 1 and (refused := _why_not(writes, connection)):  # all are checked before any is moved on
        return refused
    versions: list[int] = []
    for write in writes:
        count = len(write.events)
        version = connection.execute(SQL["advance_stream"], (write.stream, count, write.expected)).get
        if version is None:
            refused = _why_not(writes, connection)
            assert refused is not None
            return refused
        first = version - count + 1
        rows = [_row(write.stream, first + place, event, moment) for place, event in enumerate(write.events)]
        connection.executemany(SQL["insert_event"], rows)
        if any(event.tags for event in write.events):
            _insert_tags(connection, write.events)
        versions.append(version)
    return Appended(connection.last_insert_rowid(), tuple(versions))


def _append_alone(connection: Connection, request: Request, moment: str) -> Outcome | Exception:
    with _Savepoint(connection) as savepoint:
        return _append(connection, request.writes, request.condition, moment)
    assert savepoint.problem is not None
    return _known(request.writes, connection) or savepoint.problem


class _Savepoint:
    """A part of a transaction, taken back alone when a request is at fault; other problems end the transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.problem: Exception | None = None

    def __enter__(self) -> "_Savepoint":
        self._connection.execute("SAVEPOINT appends")
        return self

    def __exit__(self, kind: type[BaseException] | None, problem: BaseException | None, trace: object) -> bool:
        if isinstance(problem, apsw.ConstraintError | TypeError | ValueError | OverflowError):
            self.problem = problem
            self._connection.execute("ROLLBACK TO appends")
        if self.problem is not None or problem is None:  # a full disk, for one, has ended the transaction already
            self._connection.execute("RELEASE appends")
        return self.problem is not None


def _failed(connection: Connection, condition: AppendCondition) -> ConditionFailed | None:
    """What came after the condition's position and is meant by it. Nobody can append meanwhile: there is one writer."""
    found: dict[int, StoredEvent] = {}
    position = connection.execute(SQL["head"]).get
    for query in condition.queries:
        page = _page(connection, condition.after, query, PAGE)
        found.update((event.position, event) for event in page.events)
        position = min(position, page.position)
    events = tuple(found[at] for at in sorted(found) if at <= position)
    return ConditionFailed(events, position) if events else None


def _row(stream: str, version: int, event: NewEvent, moment: str) -> tuple[Any, ...]:
    tags = _encode(event.tags).decode() if event.tags else None
    occurred_at = stored_moment(event.occurred_at) if event.occurred_at else moment
    return (stream, version, event.type, event.schema, event.id, event.data, event.metadata, tags, moment, occurred_at)


def _insert_tags(connection: Connection, events: Sequence[NewEvent]) -> None:
    first = connection.last_insert_rowid() - len(events) + 1
    rows = [(tag, first + place) for place, event in enumerate(events) for tag in event.tags]
    connection.executemany(SQL["insert_tag"], rows)


def _why_not(writes: Sequence[Write], connection: Connection) -> Verdict | None:
    """Why an append was refused: its ids are stored already, or a stream is at another version; None if neither."""
    if known := _known(writes, connection):
        return known
    for write in writes:
        actual = connection.execute(SQL["stream_version"], (write.stream,)).get or 0
        if not is_expected(write.expected, actual):
            return Conflict(write.stream, write.expected, actual)
    return None


def _known(writes: Sequence[Write], connection: Connection) -> Verdict | None:
    """The answer if any of the ids is taken; None if all are new."""
    ids = [event.id for write in writes for event in write.events]
    stored = {event.id: event for event in _events(connection, "find_events", (_encode(ids).decode(),))}
    return _repeated(writes, ids, stored) if stored or len(set(ids)) < len(ids) else None


def _repeated(writes: Sequence[Write], ids: list[str], stored: dict[str, StoredEvent]) -> Verdict:
    """Whether stored ids are the same append, made before."""
    versions: list[int] = []
    for write in writes:
        found = [stored.get(event.id) for event in write.events]
        first = found[0].version if found[0] else 0
        for place, event in enumerate(found):
            if event is None or event.stream != write.stream or event.version != first + place:
                taken = next((each for each in ids if each in stored), None)
                return Duplicate(taken or next(each for each in ids if ids.count(each) > 1))
        versions.append(first + len(found) - 1)
    return Appended(max(event.position for event in stored.values()), tuple(versions), repeated=True)


def _page(connection: Connection, after: int, query: Query, limit: int) -> Page:
    mark = connection.execute(SQL["head"]).get  # first: what commits after this is for the next page
    types = _encode(query.types).decode() if query.types else None
    values: tuple[Any, ...] = (after, mark, limit, types, query.category)
    if query.tags:
        events = _events(connection, "read_tagged", (*values, query.tags[0], _encode(query.tags).decode()))
    else:
        events = _events(connection, "read_log", values)
    if len(events) == limit:
        return Page(events, events[-1].position, more=True)
    return Page(events, max(after, mark), more=False)


def _streams(connection: Connection, streams: Sequence[tuple[str, int]], limit: int) -> list[StoredEvent]:
    # One statement for each: a join with the list would have to sort all their events to promise the order.
    found: list[StoredEvent] = []
    for stream, after in streams:
        found += _events(connection, "read_stream", (stream, after, limit - len(found), None, None, None))
        if len(found) >= limit:
            break
    return found


def _events(connection: Connection, statement: str, values: Sequence[Any]) -> list[StoredEvent]:
    moment = datetime.fromisoformat
    return [
        StoredEvent(
            position, stream, version, name, schema, event_id, data, metadata,
            _decode_tags(tags) if tags else (), moment(recorded_at), moment(occurred_at),
        )
        for position, stream, version, name, schema, event_id, data, metadata, tags, recorded_at, occurred_at
        in connection.execute(SQL[statement], values)
    ]  # fmt: skip
