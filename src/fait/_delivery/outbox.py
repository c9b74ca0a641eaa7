"""The outbox: events in the transaction you already have, whatever you wrote it with. Both are stored, or neither.

    with connection.transaction():
        connection.execute("UPDATE orders SET ...")
        shop.outbox(connection).add(OrderPlaced(...), stream="order-7")

The outbox never begins, commits or rolls back a transaction of yours, and opens no connection. An event is proven when
it is added. It is stored last of all in the transaction where the library tells when that ends, or in a `transaction`
of the outbox's own on PostgreSQL. Otherwise it is stored at once: then add it last, as the streams it touches stay
locked, and readers wait behind it, until the transaction ends.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from datetime import UTC, datetime
from itertools import compress
from typing import Literal

from msgspec import Struct

from fait._clock import new_id
from fait._decisions.new_events import NewEvents, encode_writes, event_ids
from fait._decisions.transact import Options, build_metadata
from fait._events.append import StreamWrite
from fait._events.codec import Codec
from fait._events.version import ANY, Expected
from fait._store.external_transaction import StatementProtocol
from fait._store.open import append_in_transaction

__all__ = ["AsyncOutbox", "Dialect", "OnCommit", "Outbox", "OutboxBuffer", "OutboxEntry"]

Dialect = Literal["postgresql", "sqlite"]

OnCommit = Callable[[], None]
"""Told after a commit: the log may have grown."""


class OutboxEntry(Struct, frozen=True):
    """What was said when an event was added; see `Outbox.add`."""

    event: object
    stream: str
    expected: Expected
    tags: Iterable[str]
    occurred_at: datetime | None
    id: str | None
    key: str | None


class OutboxBuffer:
    """Events that are to be stored together, proven and in order."""

    def __init__(self, codec: Codec, schema: str) -> None:
        self._codec = codec
        self._schema = schema
        self._writes: list[tuple[StreamWrite, bool]] = []

    def __len__(self) -> int:
        return len(self._writes)

    def add(self, letter: OutboxEntry) -> None:
        """Prove an event and keep it."""
        stream, tags, key = letter.stream, letter.tags, letter.key
        several = tags if isinstance(tags, str) else tuple(tags)  # one text is refused, not taken for its characters
        facts = NewEvents(stream, [letter.event], letter.expected, several, letter.occurred_at)
        named = bool(letter.id or key)
        ids = event_ids(f"outbox/{stream}", key, letter.id) if named else new_id
        [write] = encode_writes(self._codec, [facts], ids, build_metadata(Options(key=key)))
        self._writes.append((write, named))

    def keep_selected(self, chosen: Iterable[bool]) -> None:
        """Drop those that were not chosen; there is an answer for each, in their order."""
        self._writes = list(compress(self._writes, chosen))

    def truncate(self, beyond: int = 0) -> None:
        """Drop those written last: their part of the transaction was rolled back."""
        del self._writes[beyond:]

    def statements(self, dialect: Dialect) -> Iterator[StatementProtocol]:
        """What is to be said to store them, in the order they were written: mostly one conversation."""
        for writes, look_up in _group_writes(self._writes):
            yield append_in_transaction(dialect, writes, self._schema, datetime.now(UTC), look_up=look_up)


def _group_writes(written: Sequence[tuple[StreamWrite, bool]]) -> Iterator[tuple[list[StreamWrite], bool]]:
    """Writes that can be one append, with whether their ids may be stored already; the order of all events stays.

    A stream stands in an append once. What may be stored already stands alone, or its repetition would refuse the rest.
    """
    group: list[StreamWrite] = []
    streams: set[str] = set()
    look_up = False
    for write, search in written:
        last = group[-1] if group else None
        alone = search or look_up
        if last and not alone and last.stream == write.stream and write.expected == ANY:
            group[-1] = StreamWrite(last.stream, last.events + write.events, last.expected)
            continue
        if last and (alone or write.stream in streams):
            yield group, look_up
            group, streams = [], set()
        look_up = search
        group.append(write)
        streams.add(write.stream)
    if group:
        yield group, look_up


class Outbox(ABC):
    """Adds events to a transaction of a library that does not wait."""

    def add(
        self,
        event: object,
        /,
        *,
        stream: str,
        expected: Expected = "any",
        tags: Iterable[str] = (),
        occurred_at: datetime | None = None,
        id: str | None = None,
        key: str | None = None,
    ) -> None:
        """Add an event to the open transaction.

        Args:
            event: an event, or `Untyped`.
            stream: the thing it belongs to; its handlers see the events of one stream in order.
            expected: the version the stream must be at, or "no_stream", "exists", "any".
            tags: the other things it belongs to.
            occurred_at: when it became true; by default, when it is recorded.
            id: a UUID of your own; the same id again is the same event.
            key: names the intention: the same key again, on the same stream, is the same event.

        Raises:
            UsageError: no transaction is open, or it cannot take an event; says what to do.
            InvalidValue: the event holds what cannot be stored.
            WrongExpectedVersion: the stream is at another version. Roll back. In a `transaction` of the outbox's own on
                PostgreSQL, raised at its end; with SQLAlchemy, by the commit.
        """
        self._write(OutboxEntry(event, stream, expected, tags, occurred_at, id, key))

    @abstractmethod
    def transaction(self) -> AbstractContextManager["Outbox"]:
        """Begin a transaction; at its end, store what was added meanwhile and commit, then wake the handlers.

        In PostgreSQL, within a transaction that is open already, it is a savepoint; that transaction decides.
        """
        ...

    @abstractmethod
    def _write(self, letter: OutboxEntry) -> None: ...


class AsyncOutbox(ABC):
    """Adds events to a transaction of a library that waits."""

    async def add(
        self,
        event: object,
        /,
        *,
        stream: str,
        expected: Expected = "any",
        tags: Iterable[str] = (),
        occurred_at: datetime | None = None,
        id: str | None = None,
        key: str | None = None,
    ) -> None:
        """Add an event to the open transaction: as `Outbox.add`."""
        await self._write(OutboxEntry(event, stream, expected, tags, occurred_at, id, key))

    @abstractmethod
    def transaction(self) -> AbstractAsyncContextManager["AsyncOutbox"]:
        """Begin a transaction, and end it with the block: as `Outbox.transaction`."""
        ...

    @abstractmethod
    async def _write(self, letter: OutboxEntry) -> None: ...
