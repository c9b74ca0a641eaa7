"""The outbox on a connection of a library that does not tell when a transaction is about to end."""

from collections.abc import AsyncGenerator, Generator
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager, contextmanager
from itertools import count
from typing import Final, Protocol

from fait._delivery.outbox import AsyncOutbox, Dialect, Letter, Letters, Outbox, Ring
from fait._errors import UsageError
from fait._events.append import raised
from fait._events.codec import Codec
from fait._store.external_transaction import Ask, Rows, converse, converse_async

__all__ = ["AsyncConnection", "AsyncConnectionOutbox", "Connection", "ConnectionOutbox"]


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


class ConnectionOutbox(Outbox):
    """Stores an event at once, and last of all in a transaction of its own on PostgreSQL."""

    def __init__(self, connection: Connection, codec: Codec, schema: str, ring: Ring) -> None:
        self._connection = connection
        self._codec = codec
        self._schema = schema
        self._ring = ring
        self._gathered: _Gathered | None = None

    @contextmanager
    def transaction(self) -> Generator[Outbox]:
        """As `Outbox.transaction`; a second one within it is refused."""
        if self._gathered is not None:
            raise UsageError("this outbox's transaction is open already. Nothing was written.")
        with self._connection.transaction() as commits:
            if self._connection.dialect == "postgresql":  # SQLite's one writer keeps the others waiting from the start
                self._gathered = _Gathered(Letters(self._codec, self._schema))
            try:
                yield self
            finally:
                gathered, self._gathered = self._gathered, None
            if gathered and gathered.letters:
                self._connection.check()
                self._store(gathered.settle(self._connection.run(gathered.noted())))
        if commits:
            self._ring()

    def _write(self, letter: Letter) -> None:
        self._connection.check()
        letters = self._gathered.letters if self._gathered else Letters(self._codec, self._schema)
        letters.write(letter)
        if self._gathered:
            self._connection.run(self._gathered.note())
        else:
            self._store(letters)

    def _store(self, letters: Letters) -> None:
        for conversation in letters.conversations(self._connection.dialect):
            raised(converse(conversation, self._connection.run))


class AsyncConnectionOutbox(AsyncOutbox):
    """Stores an event at once, and last of all in a transaction of its own on PostgreSQL."""

    def __init__(self, connection: AsyncConnection, codec: Codec, schema: str, ring: Ring) -> None:
        self._connection = connection
        self._codec = codec
        self._schema = schema
        self._ring = ring
        self._gathered: _Gathered | None = None

    @asynccontextmanager
    async def transaction(self) -> AsyncGenerator[AsyncOutbox]:
        """As `Outbox.transaction`; a second one within it is refused."""
        if self._gathered is not None:
            raise UsageError("this outbox's transaction is open already. Nothing was written.")
        async with self._connection.transaction() as commits:
            if self._connection.dialect == "postgresql":  # SQLite's one writer keeps the others waiting from the start
                self._gathered = _Gathered(Letters(self._codec, self._schema))
            try:
                yield self
            finally:
                gathered, self._gathered = self._gathered, None
            if gathered and gathered.letters:
                self._connection.check()
                await self._store(gathered.settle(await self._connection.run(gathered.noted())))
        if commits:
            self._ring()

    async def _write(self, letter: Letter) -> None:
        self._connection.check()
        letters = self._gathered.letters if self._gathered else Letters(self._codec, self._schema)
        letters.write(letter)
        if self._gathered:
            await self._connection.run(self._gathered.note())
        else:
            await self._store(letters)

    async def _store(self, letters: Letters) -> None:
        for conversation in letters.conversations(self._connection.dialect):
            raised(await converse_async(conversation, self._connection.run))
