"""The outbox: events appended in the application's own transaction. Both are committed, or neither.

    with connection.transaction():
        connection.execute("UPDATE orders SET ...")
        shop.outbox(connection).add(OrderPlaced(...), stream="order-7")

The outbox opens no connection, and it never begins, commits or rolls back a transaction, except in `transaction()`. An
event is encoded and validated when it is added. It is stored at the end of the transaction with SQLAlchemy, which
announces a commit, and in `transaction()` on PostgreSQL. Otherwise it is stored immediately: add it last, because its
streams stay locked, and readers of the log wait, until the transaction ends.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from datetime import UTC, datetime
from itertools import chain, compress
from typing import Literal

from msgspec import Struct

from fait._decisions.calls import Options
from fait._decisions.idempotency import Intention, is_duplicate
from fait._decisions.new_events import NewEvents, encode_writes
from fait._events.append import StreamWrite, check_size, count_characters
from fait._events.codec import Codec
from fait._events.version import ANY, Expected
from fait._store.external_transaction import StatementProtocol
from fait._store.open import append_in_transaction, find_in_transaction

__all__ = ["AsyncOutbox", "Dialect", "OnCommit", "Outbox", "OutboxBuffer", "OutboxEntry"]

Dialect = Literal["postgresql", "sqlite"]

OnCommit = Callable[[], None]
"""Called after a commit, to wake the subscriptions of this process."""


class OutboxEntry(Struct, frozen=True):
    """An event added to an outbox; the fields are the arguments of `Outbox.add`."""

    event: object
    stream: str
    expected: Expected
    tags: Iterable[str]
    occurred_at: datetime | None
    id: str | None
    key: str | None
    scope: str


class OutboxBuffer:
    """The entries of one transaction, encoded and in order."""

    def __init__(self, codec: Codec, schema: str) -> None:
        self._codec = codec
        self._schema = schema
        self._writes: list[tuple[StreamWrite, Intention]] = []
        self._characters = 0

    def __len__(self) -> int:
        return len(self._writes)

    def add(self, entry: OutboxEntry) -> None:
        """Encode and validate an event, and add it to the buffer, which has the maximum size of an append."""
        new_events = NewEvents(entry.stream, [entry.event], entry.expected, entry.tags, entry.occurred_at)
        intention = Intention(Options(key=entry.key, scope=entry.scope), event_id=entry.id)
        [write] = encode_writes(self._codec, [new_events], intention)
        characters = self._characters + count_characters([write])
        check_size(chain(self._buffered(), [write]), characters)
        self._writes.append((write, intention))
        self._characters = characters

    def _buffered(self) -> Iterator[StreamWrite]:
        return (write for write, _ in self._writes)

    def keep_selected(self, selectors: Iterable[bool]) -> None:
        """Remove the events whose selector is False; there is one selector for each event, in order."""
        self._writes = list(compress(self._writes, selectors))
        self._characters = count_characters(self._buffered())

    def truncate(self, length: int = 0) -> None:
        """Remove all events after the first `length`, because their savepoint was rolled back."""
        del self._writes[length:]
        self._characters = count_characters(self._buffered())

    def statements(self, dialect: Dialect) -> Iterator[StatementProtocol]:
        """Yield the appends that store the events in order. In most cases there is one."""
        for writes, intention in _group_writes(self._writes):
            yield _append_once(dialect, writes, self._schema, intention)


def _append_once(
    dialect: Dialect, writes: Sequence[StreamWrite], schema: str, intention: Intention
) -> StatementProtocol:
    """Return the statement protocol of an append that raises `KeyReused` if its key has another intention."""
    look_up = not intention.has_new_ids
    result = yield from append_in_transaction(dialect, writes, schema, datetime.now(UTC), look_up=look_up)
    # fault: outbox-key-unchecked
    if intention.options.key is not None and is_duplicate(result):
        stored = yield from find_in_transaction(dialect, intention.first_ids(2), schema)
        intention.check_same_append(result, 1, stored)
    return result


def _group_writes(
    buffered: Sequence[tuple[StreamWrite, Intention]],
) -> Iterator[tuple[list[StreamWrite], Intention]]:
    """Yield appends that contain the writes in order: the writes of each, and the intention of the last of them.

    A stream occurs once in an append. A write whose id may be stored already is an append of its own: otherwise its
    repetition would reject the whole append.
    """
    group: list[StreamWrite] = []
    streams: set[str] = set()
    latest: Intention | None = None
    for write, intention in buffered:
        last = group[-1] if group else None
        alone = not intention.has_new_ids or (latest is not None and not latest.has_new_ids)
        if last and not alone and last.stream == write.stream and write.expected == ANY:
            group[-1] = StreamWrite(last.stream, last.events + write.events, last.expected)
            continue
        if latest and last and (alone or write.stream in streams):
            yield group, latest
            group, streams = [], set()
        latest = intention
        group.append(write)
        streams.add(write.stream)
    if latest and group:
        yield group, latest


class Outbox(ABC):
    """Adds events to a transaction of a synchronous database library."""

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
        scope: str = "",
    ) -> None:
        """Add an event to the open transaction.

        Args:
            event: an instance of an event class, or `Untyped`.
            stream: the stream to append to, such as "order-7". Handlers receive the events of a stream in order.
            expected: the version that the stream must have, or "no_stream", "exists" or "any".
            tags: further entities that the event belongs to, as "kind:id".
            occurred_at: the time the fact became true, as an aware datetime; by default the time it is recorded.
            id: a UUID for the event, in place of a key. The same event with the same id is not stored again.
            key: an idempotency key, which names one intention in the whole log. The same event with the same key is not
                stored again.
            scope: scope of the key: the same key in another scope is another key. By default "", which all callers
                share.

        Raises:
            UsageError: no transaction is open, the event's class is not included in the app, or the event cannot be
                added to the transaction, also because events of more than 64 MiB wait for its commit. The message names
                the correct call.
            InvalidValue: a value in the event cannot be stored.
            WrongExpectedVersion: the stream has another version. Roll back the transaction. In `transaction()` on
                PostgreSQL it is raised at the end of the block; with SQLAlchemy, by the commit.
            DuplicateEventId: the id belongs to another event. Raised at the same time.
            KeyReused: the key was used for another event, or for a command. Raised at the same time.
            StoreUnavailable: the transaction cannot write to the log, its connection is lost, it has waited for a lock
                until a timeout, or another open transaction has added the same id or key and committed first. Roll
                back, and retry the transaction. Raised at the same time.
        """
        self._write(OutboxEntry(event, stream, expected, tags, occurred_at, id, key, scope))

    @abstractmethod
    def transaction(self) -> AbstractContextManager["Outbox"]:
        """Run a block in a transaction; at its end store the added events, commit, and wake the handlers.

        The transaction is rolled back if the block raises an exception. If one is open already, the block is a
        savepoint with psycopg and Django, and the outer transaction decides; other libraries raise an error.

        Returns:
            A context manager whose value is this outbox.

        Raises:
            UsageError: a transaction is open already, and this library cannot begin another one in it.
        """
        ...

    @abstractmethod
    def _write(self, entry: OutboxEntry) -> None: ...


class AsyncOutbox(ABC):
    """Adds events to a transaction of an asynchronous database library."""

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
        scope: str = "",
    ) -> None:
        """Add an event to the open transaction.

        Arguments and errors are those of `Outbox.add`.
        """
        await self._write(OutboxEntry(event, stream, expected, tags, occurred_at, id, key, scope))

    @abstractmethod
    def transaction(self) -> AbstractAsyncContextManager["AsyncOutbox"]:
        """Run a block in a transaction; at its end store the added events, commit, and wake the handlers.

        The transaction is rolled back if the block raises an exception. If one is open already, the block is a
        savepoint with asyncpg and psycopg, and the outer transaction decides; other libraries raise an error.

        Returns:
            An asynchronous context manager whose value is this outbox.

        Raises:
            UsageError: a transaction is open already, and this library cannot begin another one in it.
        """
        ...

    @abstractmethod
    async def _write(self, entry: OutboxEntry) -> None: ...
