"""Opens an SQLite store: applies migrations, reads the identity of the log, starts the threads."""

import asyncio
from collections.abc import Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from uuid import uuid4

import apsw

from fait._clock import Clock
from fait._errors import StoreUnavailable, UsageError
from fait._store.command_hint import command_hint
from fait._store.migrations import Migration, MigrationStatus, load_migrations, pending_migrations
from fait._store.ports.log import Identity
from fait._store.ports.store import Finding, OpeningState, read_opening_state
from fait._store.ports.tables import Table
from fait._store.sqlite.connection import SqliteConnection, Synchronous, connect, connect_readonly, map_error
from fait._store.sqlite.failures import SqliteFailures
from fait._store.sqlite.health import examine
from fait._store.sqlite.inbox import SqliteInbox
from fait._store.sqlite.leases import SqliteLeases
from fait._store.sqlite.log import SqliteLog
from fait._store.sqlite.multi_driver_guard import claim, release
from fait._store.sqlite.recorder import SqliteRecorder
from fait._store.sqlite.registrations import SqliteRegistrations
from fait._store.sqlite.snapshots import SqliteSnapshots
from fait._store.sqlite.statements import SQL
from fait._store.sqlite.tables import SqliteTables
from fait._store.sqlite.timestamps import to_timestamp
from fait._store.sqlite.wal_lock import FileId
from fait._store.sqlite.worker_threads import ReaderThreads, WriterThread

__all__ = ["SqliteStore", "check_is_store", "open_store", "stored_migrations"]


class SqliteStore:
    """`Store` in one SQLite file."""

    def __init__(
        self, log: SqliteLog, writer: WriterThread, readers: ReaderThreads, file: FileId, clock: Clock
    ) -> None:
        self._file: FileId | None = file
        self.log = log
        self.registrations = SqliteRegistrations(writer, readers, clock)
        self.leases = SqliteLeases(writer, readers, clock)
        self.failures = SqliteFailures(writer, readers, clock)
        self.inbox = SqliteInbox(writer, readers)
        self.recorder = SqliteRecorder(writer, log)
        self.tables = SqliteTables(writer, readers)
        self.snapshots = SqliteSnapshots(writer, readers)
        self._writer = writer
        self._readers = readers

    async def opening_state(self, tables: Sequence[Table]) -> OpeningState:
        """Return what opening an app compares with its declarations."""
        return await read_opening_state(self)

    async def examine(self) -> list[Finding]:
        """Check the file and the invariants of the log. Reads the whole log."""
        return await self._readers.run(examine)

    async def close(self) -> None:
        """Finish queued jobs and close the file, even if the calling task is canceled."""
        await asyncio.shield(self._close())

    async def _close(self) -> None:
        try:
            await self.log.close()
            await self._readers.close()
            await self._writer.close()
        finally:
            file, self._file = self._file, None
            if file is not None:  # else it is closed a second time
                release(file)


async def open_store(path: str, synchronous: Synchronous, clock: Clock, *, create: bool = True) -> SqliteStore:
    """Open a file, or create it.

    Args:
        path: the file.
        synchronous: NORMAL is faster than FULL, but may lose the last commits on a power failure.
        clock: the source of `recorded_at`.
        create: whether to create a store if there is none.

    Raises:
        UsageError: `create=False` and there is no store.
        StoreUnavailable: the file cannot be opened.
    """
    open_connection = partial(connect, path, synchronous=synchronous)
    if not create:
        check_is_store(path)
    first, file = claim(path, open_connection)
    threads: list[WriterThread | ReaderThreads] = []
    try:
        identity = await asyncio.to_thread(_migrate, path, first, clock)
        threads.append(writer := WriterThread(open_connection, path))
        threads.append(readers := ReaderThreads(open_connection, writer.file))
        inline_reader = open_connection(busy_timeout_ms=0)  # used in the event loop, which must not block
    except BaseException as error:
        for each in reversed(threads):  # the writer last, as in `SqliteStore.close`
            await each.close()
        release(file)
        if isinstance(error, apsw.Error):
            raise map_error(error, path) from error
        raise
    log = SqliteLog(identity, clock, writer, readers, inline_reader, durable=synchronous == "FULL")
    return SqliteStore(log, writer, readers, file, clock)


def check_is_store(path: str) -> None:
    """Raise `UsageError` unless the file is a store. Changes nothing."""
    applied = stored_migrations(path)
    if applied is None:
        raise UsageError(
            f"there is no store at {path}. Nothing was created. Check the path, or create the store with: "
            f"{command_hint('db init', f'sqlite:///{path}')}"
        )
    if not applied:
        raise UsageError(
            f"{path} is an SQLite file, but not a fait store. Nothing was changed. Check the path, or create the store "
            f"in this file with: {command_hint('db init', f'sqlite:///{path}')}. If it is a copy of a store in use, "
            "its WAL is missing: copy the store with fait backup"
        )


def stored_migrations(path: str) -> list[MigrationStatus] | None:
    """Return the applied migrations of a file, none if it is not a store; None if there is no file. Changes nothing.

    Raises:
        StoreUnavailable: there is a file, or there may be one, but it cannot be read.
    """
    try:
        Path(path).stat()
        connection = connect_readonly(path)
        try:
            return _applied_migrations(connection) if connection.pragma("table_info", "fait_migrations") else []
        finally:
            connection.close()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise StoreUnavailable(
            f"{path} cannot be opened ({error.strerror}). Check the path and permissions."
        ) from error
    except apsw.Error as error:
        raise map_error(error, path) from error


def _migrate(path: str, connection: SqliteConnection, clock: Clock) -> Identity:
    now = to_timestamp(clock.now())
    connection.execute("BEGIN IMMEDIATE")  # several processes may open a new file at the same time
    try:
        connection.execute(SQL["create_migrations"])
        for migration in pending_migrations(
            load_migrations("fait._store.sqlite"), _applied_migrations(connection), path
        ):
            _apply(connection, migration, now)
        if not connection.execute(SQL["identity"]).fetchall():
            connection.execute(SQL["start_epoch"], (epoch_id := str(uuid4()), 0, now))
            connection.execute(SQL["create_log"], (str(uuid4()), epoch_id))
        identity = Identity(*connection.execute(SQL["identity"]).fetchall()[0])
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        connection.close()
    return identity


def _apply(connection: SqliteConnection, migration: Migration, now: str) -> None:
    connection.execute(migration.sql)
    values = (migration.number, migration.name, migration.checksum, migration.compatible_from, now)
    connection.execute(SQL["insert_migration"], values)


def _applied_migrations(connection: SqliteConnection) -> list[MigrationStatus]:
    """The applied migrations of a file that has the table `fait_migrations`."""
    rows = connection.execute(SQL["applied_migrations"]).fetchall()
    return [MigrationStatus(*values, applied_at=datetime.fromisoformat(time)) for *values, time in rows]
