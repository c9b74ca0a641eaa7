"""Outboxes for libraries that do not announce the end of a transaction."""

from collections.abc import AsyncGenerator, Generator
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager, contextmanager
from itertools import count
from typing import Final, Protocol

from fait._delivery.outbox.outbox import AsyncOutbox, Dialect, OnCommit, Outbox, OutboxBuffer, OutboxEntry
from fait._errors import UsageError
from fait._events.append import raise_on_conflict
from fait._events.codec import Codec
from fait._store.external_transaction import Rows, Statement, run, run_async

__all__ = [
    "AsyncConnectionOutbox",
    "AsyncOutboxConnection",
    "ConnectionOutbox",
    "OutboxConnection",
    "transaction_replaced",
]


class OutboxConnection(Protocol):
    """A connection of a synchronous library, as its adapter implements it."""

    @property
    def dialect(self) -> Dialect:
        """The kind of database."""
        ...

    def check(self) -> None:
        """Raise `UsageError` unless a transaction is open to which an event can be added."""
        ...

    def run(self, statement: Statement) -> Rows:
        """Run a statement in that transaction."""
        ...

    def transaction(self) -> AbstractContextManager[bool]:
        """Begin a transaction of the library. The value is True if its end commits, False if it is a savepoint."""
        ...


class AsyncOutboxConnection(Protocol):
    """A connection of an asynchronous library, as its adapter implements it."""

    @property
    def dialect(self) -> Dialect:
        """The kind of database."""
        ...

    def check(self) -> None:
        """Raise `UsageError` unless a transaction is open to which an event can be added."""
        ...

    async def run(self, statement: Statement) -> Rows:
        """Run a statement in that transaction."""
        ...

    def transaction(self) -> AbstractAsyncContextManager[bool]:
        """Begin a transaction of the library. The value is True if its end commits, False if it is a savepoint."""
        ...


_numbers: Final = count(1)


class _SavepointBuffer:
    """The events added in `transaction()` on PostgreSQL, until the end of the block.

    If a savepoint is rolled back, the events added in it must be removed, but drivers do not announce this. So each
    event appends a marker to a transaction-local setting, which PostgreSQL reverts with the savepoint. At the end, the
    events whose markers are still set are stored.

    The setting is lost, too, if a statement of the application ends the transaction. The transaction's id tells the two
    cases apart.
    """

    def __init__(self, buffer: OutboxBuffer) -> None:
        self.buffer = buffer
        self._numbers: list[int] = []
        self._transactions: set[str | None] = set()

    def add_marker(self) -> Statement:
        """Return the statement that sets a marker for the last event; its rows are for `note_transaction`."""
        self._numbers.append(next(_numbers))
        markers = "concat(current_setting('fait.added', true), ' ', CAST(? AS text))"
        return Statement(
            f"VALUES (CAST(pg_current_xact_id() AS text), set_config('fait.added', {markers}, true))",
            (str(self._numbers[-1]),),
        )

    def note_transaction(self, rows: Rows) -> None:
        """Remember the transaction in which the last event was added."""
        self._transactions.add(rows[0][0])

    def select_markers(self) -> Statement:
        """Return the statement that reads the markers."""
        return Statement("VALUES (CAST(pg_current_xact_id_if_assigned() AS text), current_setting('fait.added', true))")

    def drop_rolled_back(self, rows: Rows) -> OutboxBuffer:
        """Remove the events without a marker, given the rows of `select_markers`.

        Raises:
            UsageError: the events were added in another transaction than the open one.
        """
        [(transaction, added)] = rows
        # fault: outbox-in-another-transaction
        if self._transactions != {transaction}:
            raise transaction_replaced()
        markers = set((added or "").split())
        # fault: events-survive-savepoint
        self.buffer.keep_selected([str(number) in markers for number in self._numbers])
        return self.buffer


class ConnectionOutbox(Outbox):
    """Stores an event when it is added; in `transaction()` on PostgreSQL, at the end of the block."""

    def __init__(self, connection: OutboxConnection, codec: Codec, schema: str, on_commit: OnCommit) -> None:
        self._connection = connection
        self._codec = codec
        self._schema = schema
        self._on_commit = on_commit
        self._pending: _SavepointBuffer | None = None

    @contextmanager
    def transaction(self) -> Generator[Outbox]:
        """Implement `Outbox.transaction`. The same outbox cannot begin a second transaction within the first."""
        if self._pending is not None:
            raise _transaction_already_open()
        with self._connection.transaction() as commits:
            if self._connection.dialect == "postgresql":  # SQLite: the block holds the write lock anyway
                self._pending = _SavepointBuffer(OutboxBuffer(self._codec, self._schema))
            try:
                yield self
            finally:
                pending, self._pending = self._pending, None
            if pending and pending.buffer:
                self._store(pending.drop_rolled_back(self._connection.run(pending.select_markers())))
        if commits:
            self._on_commit()

    def _write(self, entry: OutboxEntry) -> None:
        self._connection.check()
        buffer = self._pending.buffer if self._pending else OutboxBuffer(self._codec, self._schema)
        buffer.add(entry)
        if self._pending:
            self._pending.note_transaction(self._connection.run(self._pending.add_marker()))
        else:
            self._store(buffer)

    def _store(self, buffer: OutboxBuffer) -> None:
        for append in buffer.statements(self._connection.dialect):
            raise_on_conflict(run(append, self._connection.run))


class AsyncConnectionOutbox(AsyncOutbox):
    """Stores an event when it is added; in `transaction()` on PostgreSQL, at the end of the block."""

    def __init__(self, connection: AsyncOutboxConnection, codec: Codec, schema: str, on_commit: OnCommit) -> None:
        self._connection = connection
        self._codec = codec
        self._schema = schema
        self._on_commit = on_commit
        self._pending: _SavepointBuffer | None = None

    @asynccontextmanager
    async def transaction(self) -> AsyncGenerator[AsyncOutbox]:
        """Implement `AsyncOutbox.transaction`. The same outbox cannot begin a second transaction within the first."""
        if self._pending is not None:
            raise _transaction_already_open()
        async with self._connection.transaction() as commits:
            if self._connection.dialect == "postgresql":  # SQLite: the block holds the write lock anyway
                self._pending = _SavepointBuffer(OutboxBuffer(self._codec, self._schema))
            try:
                yield self
            finally:
                pending, self._pending = self._pending, None
            if pending and pending.buffer:
                await self._store(pending.drop_rolled_back(await self._connection.run(pending.select_markers())))
        if commits:
            self._on_commit()

    async def _write(self, entry: OutboxEntry) -> None:
        self._connection.check()
        buffer = self._pending.buffer if self._pending else OutboxBuffer(self._codec, self._schema)
        buffer.add(entry)
        if self._pending:
            self._pending.note_transaction(await self._connection.run(self._pending.add_marker()))
        else:
            await self._store(buffer)

    async def _store(self, buffer: OutboxBuffer) -> None:
        for append in buffer.statements(self._connection.dialect):
            raise_on_conflict(await run_async(append, self._connection.run))


def transaction_replaced() -> UsageError:
    """Return the error for events whose transaction was ended by a statement of the application."""
    return UsageError(
        "the transaction in which the events were added has been ended by hand, with COMMIT or ROLLBACK. The events "
        "were not stored. That statement committed or rolled back the changes before it; later changes are rolled "
        "back. Remove it: raise an exception to roll back, and let the block or the library commit."
    )


def _transaction_already_open() -> UsageError:
    return UsageError(
        "transaction() of this outbox is already open. Nothing was written. Call add(...) in the open block. For a "
        "savepoint, call your database library."
    )
