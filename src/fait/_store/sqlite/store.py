"""Opening an SQLite file: bring its schema up to date, read its identity, start its threads."""

import asyncio
from datetime import datetime
from functools import partial
from uuid import uuid4

import apsw

from fait._clock import Clock
from fait._errors import UsageError
from fait._store.health import Finding
from fait._store.log import Identity
from fait._store.migrations import Migration, MigrationStatus, load_migrations, pending_migrations
from fait._store.sqlite.connection import SqliteConnection, Synchronous, connect, connect_readonly, map_error
from fait._store.sqlite.health import examine
from fait._store.sqlite.ledger import SqliteLedger
from fait._store.sqlite.log import SqliteLog
from fait._store.sqlite.multi_driver_guard import FileId, claim, release
from fait._store.sqlite.statements import SQL
from fait._store.sqlite.timestamps import to_timestamp
from fait._store.sqlite.worker_threads import ReaderThreads, WriterThread

__all__ = ["SqliteStore", "applied_migrations", "open_store"]


class SqliteStore:
    """Both ports on one file."""

    def __init__(
        self, log: SqliteLog, ledger: SqliteLedger, writer: WriterThread, readers: ReaderThreads, file: FileId
    ) -> None:
        self._file = file
        self.log = log
        self.ledger = ledger
        self._writer = writer
        self._readers = readers

    async def examine(self) -> list[Finding]:
        """Check the file and the log's own rules in it; takes time in proportion to the log."""
        return await self._readers.run(examine)

    async def close(self) -> None:
        """Finish what was asked for and close the file, also when the caller is cancelled meanwhile."""
        await asyncio.shield(self._close())

    async def _close(self) -> None:
        try:
            await self.log.close()
            await self._readers.close()
            await self._writer.close()
        finally:
            release(self._file)


async def open_store(path: str, options: dict[str, str], clock: Clock, *, create: bool = True) -> SqliteStore:
    """Open a file, or create it; with `create=False` only a file that is a store already.

    Options: `synchronous=FULL` (the default), or `NORMAL`, which may lose the last commits when the power fails.
    """
    chosen = options.get("synchronous", "FULL").upper()
    unknown = options.keys() - {"synchronous"}
    if unknown or chosen not in ("FULL", "NORMAL"):
        raise UsageError(f"sqlite:// takes the option synchronous=FULL or NORMAL, not {', '.join(options)}=…")
    synchronous: Synchronous = "NORMAL" if chosen == "NORMAL" else "FULL"
    open_connection = partial(connect, path, synchronous=synchronous)
    if not create:
        _check_is_store(path)
    first, file = claim(path, open_connection)
    threads: list[WriterThread | ReaderThreads] = []
    try:
        identity = await asyncio.to_thread(_migrate, path, first, clock)
        threads.append(writer := WriterThread(open_connection))
        threads.append(readers := ReaderThreads(open_connection))
        near = open_connection(busy_timeout_ms=0)  # the event loop reads through it: it must never wait
    except BaseException as problem:
        for each in threads:
            await each.close()
        release(file)
        if isinstance(problem, apsw.Error):
            raise map_error(problem, path) from problem
        raise
    log = SqliteLog(identity, clock, writer, readers, near, durable=synchronous == "FULL")
    return SqliteStore(log, SqliteLedger(writer, readers), writer, readers, file)


def _check_is_store(path: str) -> None:
    """Refuse a file that is not a store yet, without touching it."""
    try:
        found = connect_readonly(path).pragma("table_info", "fait_migrations")
    except apsw.NotADBError as problem:
        raise map_error(problem, path) from problem
    except apsw.Error as problem:
        raise UsageError(f"there is no store at {path}; is the path right? Nothing was created.") from problem
    if not found:
        raise UsageError(
            f"{path} is an SQLite file without a log of fait in it; is the path right? Nothing was changed."
        )


def _migrate(path: str, connection: SqliteConnection, clock: Clock) -> Identity:
    moment = to_timestamp(clock.now())
    connection.execute("BEGIN IMMEDIATE")  # two processes may open a new file at once
    try:
        connection.execute(SQL["create_migrations"])
        for migration in pending_migrations(
            load_migrations("fait._store.sqlite"), applied_migrations(connection), path
        ):
            _apply(connection, migration, moment)
        if not connection.execute(SQL["identity"]).fetchall():
            connection.execute(SQL["create_log"], (str(uuid4()), moment))
        identity = Identity(*connection.execute(SQL["identity"]).fetchall()[0])
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        connection.close()
    return identity


def _apply(connection: SqliteConnection, migration: Migration, moment: str) -> None:
    connection.execute(migration.sql)
    values = (migration.number, migration.name, migration.checksum, migration.compatible_from, moment)
    connection.execute(SQL["insert_migration"], values)


def applied_migrations(connection: SqliteConnection) -> list[MigrationStatus]:
    """The steps that were applied, in a file that has any."""
    rows = connection.execute(SQL["applied_migrations"]).fetchall()
    return [MigrationStatus(*what, applied_at=datetime.fromisoformat(applied_at)) for *what, applied_at in rows]
