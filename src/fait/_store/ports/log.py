"""The port `Log`: an append-only table of events in one global order. Every backend implements it.

Readers see a prefix of the log: they never observe an event at or below a position that they have already read.
Positions increase in the order in which events become visible. They may have gaps. Within an epoch they are not reused.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from msgspec import Struct

from fait._events.append import PAGE_SIZE, AppendCondition, AppendResult, Page, StreamWrite, Until
from fait._events.envelope import EventSlice, RecordedEvent
from fait._events.query import EVERYTHING, Query

__all__ = ["Epoch", "ExpireResult", "Features", "Identity", "Log", "OldestMessage", "StreamInfo", "epoch_of"]


class Identity(Struct, frozen=True):
    """The identity of a log.

    Attributes:
        log_id: a UUID generated when the log was created.
        epoch_id: id of the current epoch. It changes when a restored or copied log is adopted, as positions may be
            reused then.
    """

    log_id: str
    epoch_id: str


class Epoch(Struct, frozen=True):
    """A period in which a log assigns each position at most once.

    Attributes:
        epoch_id: a random UUID. If two copies of a log are adopted, each starts an epoch with an id of its own.
        after_position: position of the last event when the epoch started; 0 for the first epoch.
        started_at: when the log was created or adopted.
    """

    epoch_id: str
    after_position: int
    started_at: datetime


def epoch_of(epochs: Sequence[Epoch], position: int) -> Epoch:
    """Return the epoch in which the event at a position was recorded.

    Args:
        epochs: all epochs of the log, in order.
        position: position of an event, at least 1.

    Returns:
        The last epoch that started before the position.
    """
    # fault: event-in-later-epoch
    return next(each for each in reversed(epochs) if each.after_position < position)


class Features(Struct, frozen=True):
    """Optional guarantees of a backend.

    Attributes:
        durable: a stored append survives a crash of the process and of the machine.
        shared: several processes may open the same log.
        sql: handlers can run SQL statements in the transaction of their checkpoint.
    """

    durable: bool
    shared: bool
    sql: bool


class StreamInfo(Struct, frozen=True):
    """A stream in a listing.

    Attributes:
        stream: name of the stream.
        version: its current version, that of its last event.
    """

    stream: str
    version: int


class ExpireResult(Struct, frozen=True):
    """The result of one call of `expire`.

    Attributes:
        dropped: number of messages dropped.
        position: all messages of the type up to here were considered; pass it as `after` of the next call.
        more: whether the limit was reached, so that there may be more messages to drop.
    """

    dropped: int
    position: int
    more: bool


class OldestMessage(Struct, frozen=True):
    """The first message of a type after a position.

    Attributes:
        type: stored name of the event type.
        position: position of the message in the log.
        recorded_at: time at which the log stored it.
    """

    type: str
    position: int
    recorded_at: datetime


class Log(Protocol):
    """An append-only log of events. `fait.testing.contract` tests each guarantee below.

    Every method that accesses the database may raise `StoreUnavailable`. The methods that read or expire events raise
    `UsageError` if `limit` is less than 1. Times are aware; returned times are in UTC. A missing stream has no events
    and version 0.

    A page, and any other result of several events except that of `find`, ends with the event at which data, metadata
    and tags reach `MAX_PAGE_BYTES`, so that readers of large events need little memory. A backend may count only what
    it returns, and may leave out events of up to 4,096 bytes.
    """

    @property
    def features(self) -> Features:
        """The optional guarantees of this backend."""
        ...

    @property
    def identity(self) -> Identity:
        """The identity of this log. It does not change while the log is open."""
        ...

    async def append(self, writes: Sequence[StreamWrite], condition: AppendCondition | None = None) -> AppendResult:
        """Append events to one or several streams atomically: all of them, or none.

        Args:
            writes: the events of each stream. Each stream occurs once, with at least one event.
            condition: if given, append only if no event after `condition.after` matches any of its queries. All stored
                events count, also those appended without a condition and by other processes.

        Returns:
            The first of these that applies:

            - `Appended` with `repeated`: the same append is stored already: all event ids, in the same streams, in the
              same order, consecutively, with the same types, tags and data. Data is compared as JSON values, and only
              if the schema version is the same; metadata and times are not compared. Nothing is written. The condition
              and the expected versions are not checked.
            - `IdConflict`: an id is stored otherwise, or occurs twice in the append. Nothing is written.
            - `ConditionFailed`: an event matches the condition. Nothing is written. The result contains all such
              events up to its `position`.
            - `VersionConflict`: a stream does not have its expected version; the first one in the order of the writes.
              Nothing is written.
            - `Appended`: all events are stored.

        Raises:
            UsageError: the writes are malformed, or exceed `MAX_APPEND_EVENTS` or `MAX_APPEND_BYTES`. Nothing is
                written.
            StoreUnavailable: `outcome` says whether the events may have been written.

        Guarantees:
            The events get increasing positions and consecutive versions in their streams, in the order given.
            `recorded_at` is the time of the clock, but it never decreases within a stream, even if the clock does. A
            backend with a single writer guarantees this for the whole log, unless a clock jumps back by more than
            `MAX_CLOCK_SKEW`: an event recorded with a clock that is far ahead changes the times of its own stream
            only. An event without `occurred_at` gets its `recorded_at`.

            If `features.durable`, the events are durable when this returns.

            If this is canceled while the append is queued, nothing is written. If it is canceled later, the events may
            have been written. Appending again with the same event ids is safe and returns the outcome.
        """
        ...

    async def read_stream(
        self, stream: str, *, after: int = 0, limit: int = PAGE_SIZE, until: Until = Until()
    ) -> tuple[list[RecordedEvent], bool]:
        """Read the events of a stream, in order of version.

        Args:
            stream: name of the stream.
            after: start after this version.
            limit: maximum number of events.
            until: upper limits; all of them apply. With `occurred_at`, events that occurred later are left out, so the
                versions may have gaps.

        Returns:
            The events, and whether more may follow: there are `limit` events, or their size reached `MAX_PAGE_BYTES`.
        """
        ...

    async def history(
        self, stream: str, *, after: int = 0, limit: int = PAGE_SIZE, until: Until = Until()
    ) -> tuple[list[EventSlice], bool]:
        """Read the event slices of a stream, in order of version: only the fields that a fold needs.

        Args:
            stream: name of the stream.
            after: start after this version.
            limit: maximum number of events.
            until: upper limits; all of them apply. With `occurred_at`, events that occurred later are left out, so the
                versions may have gaps.

        Returns:
            The events, and whether more may follow, as in `read_stream`.
        """
        ...

    async def histories(
        self, streams: Sequence[tuple[str, int]], *, limit: int = PAGE_SIZE
    ) -> tuple[list[tuple[str, list[EventSlice]]], bool]:
        """Read the event slices of several streams with one query. The streams may be read at different times.

        Args:
            streams: each stream's name, once, and the version to start after.
            limit: maximum number of events in all streams together.

        Returns:
            The streams that have events, in the order given, each with its events in order of version, and whether
            more may follow, as in `history`. Then there is at least one event, the last stream may be incomplete, and
            later streams are missing: call again with the last stream, after its last version, and the streams that
            follow it.
        """
        ...

    async def read(self, after: int, *, query: Query = EVERYTHING, limit: int = PAGE_SIZE) -> Page:
        """Read events of the log, in order of position.

        Args:
            after: start after this position. It may lie beyond the head.
            query: the events to return.
            limit: maximum number of events.

        Returns:
            A page. Its `position` is where to continue; it is never less than `after`. `more` says whether to call
            again immediately, also if the page has fewer events than `limit`, or none.

        Guarantees:
            No event after `after` and up to the page's `position` matches the query, except those returned, now or
            later. Only `expire` removes events.

            A page may end a few milliseconds before the current head, except if the query has tags. Call `head` first
            to read every event that was acknowledged before.

            If the page has `revisions`, they count each change of a registration, in any process, that was
            acknowledged before one of its events was appended.
        """
        ...

    async def find(self, event_ids: Sequence[str]) -> list[RecordedEvent]:
        """Return the stored events with these ids, each once, in order of position."""
        ...

    async def streams(
        self, *, category: str | None = None, after: str = "", limit: int = PAGE_SIZE
    ) -> list[StreamInfo]:
        """List streams by name, in code point order.

        Args:
            category: list only the streams of this category.
            after: start after this name.
            limit: maximum number of streams.
        """
        ...

    async def versions(self, streams: Sequence[str]) -> list[int]:
        """Return the current version of each stream, in the order given; 0: there is no such stream."""
        ...

    async def head(self) -> int:
        """Return the position of the last event that readers can read now; 0 for an empty log.

        It is not less than that of an append, in any process, that was acknowledged before the call, unless an earlier
        append is still open.
        """
        ...

    async def last_position(self) -> int:
        """Return the position of the last stored event, also if readers cannot read it yet; 0 for an empty log.

        It is not less than a position that a reader, in any process, had passed before the call. `head` may be less.
        """
        ...

    async def epochs(self) -> list[Epoch]:
        """Return all epochs of the log, in order; at least one.

        The first started after position 0. The last is the current one. Their `after_position` never decreases, and
        epochs that started without an event between them have the same: use `epoch_of`. An epoch never changes.
        """
        ...

    async def expire(
        self, type: str, before: datetime, up_to: int, *, after: int = 0, limit: int = PAGE_SIZE
    ) -> ExpireResult:
        """Drop old messages of a type, in order of position: events that were appended as expiring.

        Considers messages until it meets one that was recorded at or after `before`. Drops each of them, unless it is
        the last event of its stream: so streams keep their versions, and the log keeps its head.

        Args:
            type: stored name of the event type.
            before: consider only messages recorded before this time.
            up_to: consider only messages up to this position.
            after: consider only messages after this position.
            limit: maximum number of messages considered. They are dropped in one transaction.

        Guarantees:
            If `features.shared`, no message after a checkpoint of the same store is dropped. `expired_position` is
            updated in the same transaction. Positions and versions of dropped messages are never reused. Other events
            do not change.
        """
        ...

    async def expired_position(self) -> int:
        """Return the highest position of all messages ever dropped; 0 if there are none."""
        ...

    async def oldest_messages(self, after: int) -> list[OldestMessage]:
        """Return the first message after a position, for each type that has one, in order of type."""
        ...

    def notify(self) -> None:
        """Wake waiting readers, which query the log: events may have been committed by another connection."""
        ...

    async def wait_for_events(self, after: int) -> None:
        """Wait until the log may have an event after a position.

        Returns immediately if it has one. May return although there is none: read, and wait again.

        Raises:
            StoreUnavailable: the store is closed.
        """
        ...
