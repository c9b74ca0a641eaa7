"""The outbox on a connection of a library that does not tell when a transaction is about to end."""

from collections.abc import AsyncGenerator, Generator
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager, contextmanager
from itertools import count
from typing import Final, Protocol

from fait._delivery.outbox import AsyncOutbox, Dialect, OnCommit, Outbox, OutboxBuffer, OutboxEntry
from fait._errors import UsageError
from fait._events.append import raise_on_conflict
from fait._events.codec import Codec
from fait._store.external_transaction import Rows, Statement, run, run_async

__all__ = ["AsyncConnectionOutbox", "AsyncOutboxConnection", "ConnectionOutbox", "OutboxConnection"]


class OutboxConnection(Protocol):
    """What an adapter does for a library that does not wait."""

    @property
    def dialect(self) -> Dialect:
        """The database it leads to."""
        ...

    def check(self) -> None:
        """Raise `UsageError` unless a transaction is open that an event may join."""
        ...

    def run(self, ask: Statement) -> Rows:
        """Run a statement in that transaction."""
        ...

    def transaction(self) -> AbstractContextManager[bool]:
        """Begin a transaction, and end it with the block, as the library does; gives whether that end is a commit."""
        ...


class AsyncOutboxConnection(Protocol):
    """What an adapter does for a library that waits."""

    @property
    def dialect(self) -> Dialect:
        """The database it leads to."""
        ...

    def check(self) -> None:
        """Raise `UsageError` unless a transaction is open that an event may join."""
        ...

    async def run(self, ask: Statement) -> Rows:
        """Run a statement in that transaction."""
        ...

    def transaction(self) -> AbstractAsyncContextManager[bool]:
        """Begin a transaction, and end it with the block, as the library does; gives whether that end is a commit."""
        ...


_numbers: Final = count(1)


class _SavepointBuffer:
    """What is added in a transaction of the outbox's own, until its end.

    A savepoint that is rolled back takes back what was added since it began, and no driver says so. So each event is
    noted in a setting of the transaction, which goes back with the savepoint: what is noted at the end is what counts.
    """

    def __init__(self, letters: OutboxBuffer) -> None:
        self.letters = letters
        self._numbers: list[int] = []

    def mark(self) -> Statement:
        """Note the event that was written last."""
        self._numbers.append(next(_numbers))
        added = "concat(current_setting('fait.added', true), ' ', CAST(? AS text))"
        return Statement(f"VALUES (set_config('fait.added', {added}, true))", (str(self._numbers[-1]),))

    def read_marks(self) -> Statement:
        """Ask what is noted."""
        return Statement("VALUES (current_setting('fait.added', true))")

    def drop_rolled_back(self, rows: Rows) -> OutboxBuffer:
        """What counts."""
        noted = set((rows[0][0] or "").split())
        # fault: events-survive-savepoint
        self.letters.keep_selected([str(number) in noted for number in self._numbers])
        return self.letters


class ConnectionOutbox(Outbox):
    """Stores an event at once, and last of all in a transaction of its own on PostgreSQL."""

    def __init__(self, connection: OutboxConnection, codec: Codec, schema: str, on_commit: OnCommit) -> None:
        self._connection = connection
        self._codec = codec
        self._schema = schema
        self._on_commit = on_commit
        self._buffer: _SavepointBuffer | None = None

    @contextmanager
    def transaction(self) -> Generator[Outbox]:
        """As `Outbox.transaction`; a second one within it is refused."""
        if self._buffer is not None:
            raise UsageError("this outbox's transaction is open already. Nothing was written.")
        with self._connection.transaction() as commits:
            if self._connection.dialect == "postgresql":  # SQLite's one writer keeps the others waiting from the start
                self._buffer = _SavepointBuffer(OutboxBuffer(self._codec, self._schema))
            try:
                yield self
            finally:
                gathered, self._buffer = self._buffer, None
            if gathered and gathered.letters:
                self._connection.check()
                self._store(gathered.drop_rolled_back(self._connection.run(gathered.read_marks())))
        if commits:
            self._on_commit()

    def _write(self, letter: OutboxEntry) -> None:
        self._connection.check()
        letters = self._buffer.letters if self._buffer else OutboxBuffer(self._codec, self._schema)
        letters.add(letter)
        if self._buffer:
            self._connection.run(self._buffer.mark())
        else:
            self._store(letters)

    def _store(self, letters: OutboxBuffer) -> None:
        for conversation in letters.statements(self._connection.dialect):
            raise_on_conflict(run(conversation, self._connection.run))


class AsyncConnectionOutbox(AsyncOutbox):
    """Stores an event at once, and last of all in a transaction of its own on PostgreSQL."""

    def __init__(self, connection: AsyncOutboxConnection, codec: Codec, schema: str, on_commit: OnCommit) -> None:
        self._connection = connection
        self._codec = codec
        self._schema = schema
        self._on_commit = on_commit
        self._buffer: _SavepointBuffer | None = None

    @asynccontextmanager
    async def transaction(self) -> AsyncGenerator[AsyncOutbox]:
        """As `Outbox.transaction`; a second one within it is refused."""
        if self._buffer is not None:
            raise UsageError("this outbox's transaction is open already. Nothing was written.")
        async with self._connection.transaction() as commits:
            if self._connection.dialect == "postgresql":  # SQLite's one writer keeps the others waiting from the start
                self._buffer = _SavepointBuffer(OutboxBuffer(self._codec, self._schema))
            try:
                yield self
            finally:
                gathered, self._buffer = self._buffer, None
            if gathered and gathered.letters:
                self._connection.check()
                await self._store(gathered.drop_rolled_back(await self._connection.run(gathered.read_marks())))
        if commits:
            self._on_commit()

    async def _write(self, letter: OutboxEntry) -> None:
        self._connection.check()
        letters = self._buffer.letters if self._buffer else OutboxBuffer(self._codec, self._schema)
        letters.add(letter)
        if self._buffer:
            await self._connection.run(self._buffer.mark())
        else:
            await self._store(letters)

    async def _store(self, letters: OutboxBuffer) -> None:
        for conversation in letters.statements(self._connection.dialect):
            raise_on_conflict(await run_async(conversation, self._connection.run))
