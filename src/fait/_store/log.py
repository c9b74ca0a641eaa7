"""The log: an append-only table of events in one global order, behind a port that every backend implements alike.

Readers see a prefix of the log: when a reader has seen position 7, no event with a lower position will ever appear.
Positions grow in that order; they may have gaps, and are never given twice.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from msgspec import Struct

from fait._events.append import PAGE_SIZE, AppendCondition, AppendResult, Page, StreamWrite, Until
from fait._events.envelope import EventSlice, RecordedEvent
from fait._events.query import EVERYTHING, Query

__all__ = ["ExpireResult", "Features", "Identity", "Log", "OldestMessage", "StreamInfo"]


class Identity(Struct, frozen=True):
    """Which log this is.

    Attributes:
        log_id: made when the log was created.
        epoch: grows when a restored or copied log is adopted, as positions may then be used again.
    """

    log_id: str
    epoch: int


class Features(Struct, frozen=True):
    """What a backend promises beyond the contract.

    Attributes:
        durable: an acknowledged append survives a crash of the process and of the machine.
        shared: several processes may open the same log.
        sql: handlers can run SQL statements in their checkpoint's transaction.
    """

    durable: bool
    shared: bool
    sql: bool


class StreamInfo(Struct, frozen=True):
    """A stream in a listing: its name and its current version: that of its last event."""

    stream: str
    version: int


class ExpireResult(Struct, frozen=True):
    """What became of messages that are old enough.

    Attributes:
        messages: how many were dropped.
        position: all messages of the type up to here have been considered: go on from it.
        more: there may be more at once.
    """

    dropped: int
    position: int
    more: bool


class OldestMessage(Struct, frozen=True):
    """The first message of its type that lies beyond a position.

    Attributes:
        type: its stored name.
        position: its place in the log.
        recorded_at: when the log learned it.
    """

    type: str
    position: int
    recorded_at: datetime


class Log(Protocol):
    """An append-only log. Every promise here is a test in `fait.testing.contract`."""

    @property
    def features(self) -> Features:
        """What this backend promises."""
        ...

    @property
    def identity(self) -> Identity:
        """Which log this is."""
        ...

    async def append(self, writes: Sequence[StreamWrite], condition: AppendCondition | None = None) -> AppendResult:
        """Store events of one or several streams: all of them, or none.

        The events get consecutive versions in their streams, in the order given, and `recorded_at`, which never goes
        back. With a condition, they are stored only if nothing that it depends on came after its position, whoever
        appends it in whatever way. When all ids are stored already by the same append, it is answered again instead
        of being repeated. Where several answers would be true, the first of these is given: the ids are taken, the
        condition failed, a stream is at another version. (A new decision on what came between may well heal both.)

        Raises:
            StoreUnavailable: `.outcome` says whether it may have been written.

        Guarantees: durable when this returns, where `features.durable`. Cancelled while it waits for its turn: not
        written; cancelled later: unknown, and the same ids settle it.
        """
        ...

    async def read_stream(
        self, stream: str, *, after: int = 0, limit: int = PAGE_SIZE, until: Until = Until()
    ) -> list[RecordedEvent]:
        """Events of one stream beyond version `after`, in order, at most `limit`. No stream: an empty list."""
        ...

    async def history(
        self, stream: str, *, after: int = 0, limit: int = PAGE_SIZE, until: Until = Until()
    ) -> list[EventSlice]:
        """The same events as `read_stream` gives, but only what a fold needs of them."""
        ...

    async def histories(
        self, streams: Sequence[tuple[str, int]], *, limit: int = PAGE_SIZE
    ) -> list[tuple[str, list[EventSlice]]]:
        """What a fold needs of several streams' events, each stream beyond a version, at most `limit` events in all.

        Streams in the order given, without those of which there is nothing; each in the order of its versions. When
        there are `limit` events, go on with the last stream beyond its last version, and those after it. Each stream
        is asked for once. They need not be of one moment.
        """
        ...

    async def read(self, after: int, *, query: Query = EVERYTHING, limit: int = PAGE_SIZE) -> Page:
        """Events of the log beyond position `after`, in order, at most `limit`.

        Guarantees: an event at or below the page's `position` that the query means, and that was not given, does not
        exist and never will.
        """
        ...

    async def find(self, event_ids: Sequence[str]) -> list[RecordedEvent]:
        """Those of the events that are stored, in order of position."""
        ...

    async def streams(
        self, *, category: str | None = None, after: str = "", limit: int = PAGE_SIZE
    ) -> list[StreamInfo]:
        """Streams by name (code point order), beyond the name `after`, at most `limit`."""
        ...

    async def head(self) -> int:
        """Position of the last event; 0 for an empty log."""
        ...

    async def expire(
        self, type: str, before: datetime, up_to: int, *, after: int = 0, limit: int = PAGE_SIZE
    ) -> ExpireResult:
        """Drop messages of a type: events that were appended as expiring, in order of position.

        At most `limit` are considered in one transaction: those beyond position `after`, up to `behind`, that were
        recorded before a moment, as far as the first that was not. Each is dropped unless it is the last event of its
        stream: so streams keep their versions, and the log its end.

        Guarantees: nothing is dropped that a checkpoint in the same store has not passed. What is read below
        `expired` afterwards lacks what was dropped, and only that.
        """
        ...

    async def expired_position(self) -> int:
        """The highest position of all dropped messages; 0 if none ever was."""
        ...

    async def oldest_messages(self, after: int) -> list[OldestMessage]:
        """For each type with messages beyond a position the first of them, by type."""
        ...

    def notify(self) -> None:
        """Be told that somebody may have committed events: those who wait look at once."""
        ...

    async def wait_for_events(self, after: int) -> None:
        """Wait until the log may hold something beyond position `after`.

        Returns at once if it does. May also return for nothing: read, and wait again.
        """
        ...
