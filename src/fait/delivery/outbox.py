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
from itertools import compress, count
from typing import Final, Literal, Protocol

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

    def transaction(self) -> AbstractContextManager[bool]:
        """Begin a transaction, and end it with the block, as the library does; gives whether that end is a commit."""
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

    def transaction(self) -> AbstractAsyncContextManager[bool]:
        """Begin a transaction, and end it with the block, as the library does; gives whether that end is a commit."""
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
        several = tags if isinstance(tags, str) else tuple(tags)  # one text is refused, not taken for its characters
        facts = Facts(stream, [event], expected, several, occurred_at)
        ids = ids_for(f"outbox/{stream}", key, id) if id or key else new_id
        [write] = writes_of(self._codec, [facts], ids, metadata_of(Options(key=key)))
        self._written.append((write, bool(id or key)))

    def keep(self, chosen: Iterable[bool]) -> None:
        """Drop those that were not chosen; there is an answer for each, in their order."""
        self._written = list(compress(self._written, chosen))

    def forget(self, beyond: int = 0) -> None:
        """Drop those written last: their part of the transaction was rolled back."""
        del self._written[beyond:]

    def conversations(self, dialect: Dialect) -> Iterator[Conversation]:
        """What is to be said to store them, in the order they were written: mostly one conversation."""
        for writes, look_up in _together(self._written):
            yield join(dialect, writes, self._schema, datetime.now(UTC), look_up=look_up)


def _together(written: Sequence[tuple[Write, bool]]) -> Iterator[tuple[list[Write], bool]]:
    """Writes that can be one append, with whether their ids may be stored already; the order of all events stays.

    A stream stands in an append once. What may be stored already stands alone, or its repetition would refuse the rest.
    """
    group: list[Write] = []
    streams: set[str] = set()
    look_up = False
    for write, search in written:
        last = group[-1] if group else None
        alone = search or look_up
        if last and not alone and last.stream == write.stream and write.expected == ANY:
            group[-1] = Write(last.stream, last.events + write.events, last.expected)
            continue
        if last and (alone or write.stream in streams):
            yield group, look_up
            group, streams = [], set()
        look_up = search
        group.append(write)
        streams.add(write.stream)
    if group:
        yield group, look_up


_numbers: Final = count(1)


class _Gathered:
    """What is added in a transaction of the outbox's own, until its end.

    A savepoint that is rolled back takes back what was added since it began, and no driver says so. So each event is
    noted in a setting of the transaction, which goes back with the savepoint: what is noted at the end is what counts.
    """

    def __init__(self, letters: Letters) -> None:
        self.letters = letters
        self._numbers: list[int] = []

    def note(self) -> Ask:
        """Note the event that was written last."""
        self._numbers.append(next(_numbers))
        added = "concat(current_setting('fait.added', true), ' ', CAST(? AS text))"
        return Ask(f"VALUES (set_config('fait.added', {added}, true))", (str(self._numbers[-1]),))

    def noted(self) -> Ask:
        """Ask what is noted."""
        return Ask("VALUES (current_setting('fait.added', true))")

    def settle(self, rows: Rows) -> Letters:
        """What counts."""
        noted = set((rows[0][0] or "").split())
        self.letters.keep([str(number) in noted for number in self._numbers])
        return self.letters


class Outbox:
    """Adds events to a transaction of a library that does not wait."""

    def __init__(self, connection: Connection, codec: Codec, schema: str, ring: Ring) -> None:
        self._connection = connection
        self._codec = codec
        self._schema = schema
        self._ring = ring
        self._gathered: _Gathered | None = None

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
                PostgreSQL, raised at its end.
        """
        self._connection.check()
        letters = self._gathered.letters if self._gathered else Letters(self._codec, self._schema)
        letters.write(event, stream, expected, tags, occurred_at, id, key)
        if self._gathered:
            self._connection.run(self._gathered.note())
        else:
            self._store(letters)

    @contextmanager
    def transaction(self) -> Generator["Outbox"]:
        """Begin a transaction; at its end, store what was added meanwhile and commit, then wake the handlers.

        In PostgreSQL, within a transaction that is open already, it is a savepoint; that transaction decides.
        """
        if self._gathered is not None:
            raise UsageError("this outbox's transaction is open already. Nothing was written.")
        position = 0
        with self._connection.transaction() as commits:
            if (
                self._connection.dialect == "postgresql"
            ):  # SQLite's one writer keeps the others waiting from the beginning
                self._gathered = _Gathered(Letters(self._codec, self._schema))
            try:
                yield self
            finally:
                gathered, self._gathered = self._gathered, None
            if gathered and gathered.letters:
                self._connection.check()
                position = self._store(gathered.settle(self._connection.run(gathered.noted())))
        if commits:
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
        self._gathered: _Gathered | None = None

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
        self._connection.check()
        letters = self._gathered.letters if self._gathered else Letters(self._codec, self._schema)
        letters.write(event, stream, expected, tags, occurred_at, id, key)
        if self._gathered:
            await self._connection.run(self._gathered.note())
        else:
            await self._store(letters)

    @asynccontextmanager
    async def transaction(self) -> AsyncGenerator["AsyncOutbox"]:
        """Begin a transaction, and end it with the block: as `Outbox.transaction`."""
        if self._gathered is not None:
            raise UsageError("this outbox's transaction is open already. Nothing was written.")
        position = 0
        async with self._connection.transaction() as commits:
            if (
                self._connection.dialect == "postgresql"
            ):  # SQLite's one writer keeps the others waiting from the beginning
                self._gathered = _Gathered(Letters(self._codec, self._schema))
            try:
                yield self
            finally:
                gathered, self._gathered = self._gathered, None
            if gathered and gathered.letters:
                self._connection.check()
                position = await self._store(gathered.settle(await self._connection.run(gathered.noted())))
        if commits:
            self._ring(position)

    async def _store(self, letters: Letters) -> int:
        position = 0
        for conversation in letters.conversations(self._connection.dialect):
            position = raised(await converse_async(conversation, self._connection.run)).position
        return position
