"""The outbox: events in the transaction you already have, whatever you wrote it with. Both are stored, or neither.

    with connection.transaction():
        connection.execute("UPDATE orders SET ...")
        shop.outbox(connection).add(OrderPlaced(...), stream="order-7")

The outbox never begins, commits or rolls back a transaction of yours, and opens no connection. An event is proven when
it is added. It is stored last of all in the transaction where the library tells when that ends, and otherwise at once:
then add it last, as the streams it touches stay locked, and readers wait behind it, until the transaction ends.
"""

from collections.abc import AsyncGenerator, Callable, Generator, Iterable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager, contextmanager
from datetime import UTC, datetime
from typing import Literal, Protocol

from fait.clock import new_id
from fait.decisions.facts import Facts, ids_for, writes_of
from fait.decisions.transact import Options, metadata_of
from fait.errors import UsageError
from fait.events.append import Write, raised
from fait.events.codec import Codec
from fait.events.version import ANY, Expected
from fait.store.joined import Ask, Conversation, Rows, converse, converse_async
from fait.store.open import join

__all__ = ["AsyncConnection", "AsyncOutbox", "Connection", "Dialect", "Letters", "Outbox", "Ring"]

Dialect = Literal["postgresql", "sqlite"]

Ring = Callable[[int], None]
"""Told, after a commit, up to which position the log has grown."""


class Connection(Protocol):
    """What an adapter does for a library that does not wait."""

    @property
    def dialect(self) -> Dialect:
        """The database it leads to."""
        ...

    def check(self) -> None:
        """Raise `UsageError` unless a transaction is open that an event may join."""
        ...

    def run(self, ask: Ask) -> Rows:
        """Run a statement in that transaction."""
        ...

    def transaction(self) -> AbstractContextManager[object]:
        """Begin a transaction, and end it with the block, as the library does."""
        ...


class AsyncConnection(Protocol):
    """What an adapter does for a library that waits."""

    @property
    def dialect(self) -> Dialect:
        """The database it leads to."""
        ...

    def check(self) -> None:
        """Raise `UsageError` unless a transaction is open that an event may join."""
        ...

    async def run(self, ask: Ask) -> Rows:
        """Run a statement in that transaction."""
        ...

    def transaction(self) -> AbstractAsyncContextManager[object]:
        """Begin a transaction, and end it with the block, as the library does."""
        ...


class Letters:
    """Events that are to be stored together, proven and in order."""

    def __init__(self, codec: Codec, schema: str) -> None:
        self._codec = codec
        self._schema = schema
        self._written: list[tuple[Write, bool]] = []

    def __len__(self) -> int:
        return len(self._written)

    def write(
        self,
        event: object,
        stream: str,
        expected: Expected,
        tags: Iterable[str],
        occurred_at: datetime | None,
        id: str | None,
        key: str | None,
    ) -> None:
        """Prove an event and keep it."""
        facts = Facts(stream, [event], expected, tuple(tags), occurred_at)
        ids = ids_for(f"outbox/{stream}", key, id) if id or key else new_id
        [write] = writes_of(self._codec, [facts], ids, metadata_of(Options(key=key)))
        self._written.append((write, bool(id or key)))

    def forget(self, beyond: int = 0) -> None:
        """Drop those written last: their part of the transaction was rolled back."""
        del self._written[beyond:]

    def conversations(self, dialect: Dialect) -> Iterator[Conversation]:
        """What is to be said to store them, in the order they were written: mostly one conversation."""
        for writes, look_up in _together(self._written):
            yield join(dialect, writes, self._schema, datetime.now(UTC), look_up=look_up)


def _together(written: Sequence[tuple[Write, bool]]) -> Iterator[tuple[list[Write], bool]]:
    """Writes that can be one append: a stream stands in it once. The order of all events stays as it was."""
    group: list[Write] = []
    look_up = False
    for write, search in written:
        last = group[-1] if group else None
        if last and last.stream == write.stream and write.expected == ANY:
            group[-1] = Write(last.stream, last.events + write.events, last.expected)
        elif any(each.stream == write.stream for each in group):
            yield group, look_up
            group, look_up = [write], False
        else:
            group.append(write)
        look_up = look_up or search
    if group:
        yield group, look_up


class Outbox:
    """Adds events to a transaction of a library that does not wait."""

    def __init__(self, connection: Connection, codec: Codec, schema: str, ring: Ring) -> None:
        self._connection = connection
        self._codec = codec
        self._schema = schema
        self._ring = ring
        self._gathered: Letters | None = None

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
            WrongExpectedVersion: the stream is at another version. Roll back.
        """
        gathered = Letters(self._codec, self._schema) if self._gathered is None else self._gathered
        gathered.write(event, stream, expected, tags, occurred_at, id, key)
        self._connection.check()
        if self._gathered is None:
            self._store(gathered)

    @contextmanager
    def transaction(self) -> Generator["Outbox"]:
        """Begin a transaction; at its end, store what was added meanwhile and commit, then wake the handlers."""
        if self._gathered is not None:
            raise UsageError("this outbox's transaction is open already. Nothing was written.")
        self._gathered, position = Letters(self._codec, self._schema), 0
        try:
            with self._connection.transaction():
                yield self
                position = self._store(self._gathered)
        finally:
            self._gathered = None
        self._ring(position)

    def _store(self, letters: Letters) -> int:
        position = 0
        for conversation in letters.conversations(self._connection.dialect):
            position = raised(converse(conversation, self._connection.run)).position
        return position


class AsyncOutbox:
    """Adds events to a transaction of a library that waits."""

    def __init__(self, connection: AsyncConnection, codec: Codec, schema: str, ring: Ring) -> None:
        self._connection = connection
        self._codec = codec
        self._schema = schema
        self._ring = ring
        self._gathered: Letters | None = None

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
        gathered = Letters(self._codec, self._schema) if self._gathered is None else self._gathered
        gathered.write(event, stream, expected, tags, occurred_at, id, key)
        self._connection.check()
        if self._gathered is None:
            await self._store(gathered)

    @asynccontextmanager
    async def transaction(self) -> AsyncGenerator["AsyncOutbox"]:
        """Begin a transaction; at its end, store what was added meanwhile and commit, then wake the handlers."""
        if self._gathered is not None:
            raise UsageError("this outbox's transaction is open already. Nothing was written.")
        self._gathered, position = Letters(self._codec, self._schema), 0
        try:
            async with self._connection.transaction():
                yield self
                position = await self._store(self._gathered)
        finally:
            self._gathered = None
        self._ring(position)

    async def _store(self, letters: Letters) -> int:
        position = 0
        for conversation in letters.conversations(self._connection.dialect):
            position = raised(await converse_async(conversation, self._connection.run)).position
        return position
