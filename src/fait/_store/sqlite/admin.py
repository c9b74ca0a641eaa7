"""Administration of an SQLite file: applied and pending migrations, and the adoption of a restored or copied file."""

import asyncio
import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from uuid import uuid4

import apsw

from fait._clock import SystemClock
from fait._errors import StoreUnavailable
from fait._store.adoption import Adoption, CarriedCheckpoint
from fait._store.migrations import Migration, MigrationStatus, load_migrations, migration_statuses, pending_migrations
from fait._store.ports.log import Identity
from fait._store.sqlite.backup import back_up
from fait._store.sqlite.connection import SqliteConnection, Synchronous, connect, map_error
from fait._store.sqlite.multi_driver_guard import claim, release
from fait._store.sqlite.statements import SQL
from fait._store.sqlite.store import check_is_store, open_store, stored_migrations
from fait._store.sqlite.timestamps import to_timestamp

__all__ = ["SqliteAdmin"]

_PACKAGE = "fait._store.sqlite"


class SqliteAdmin:
    """`StoreAdmin` for an SQLite file. The file is open only during a call."""

    def __init__(self, path: str, synchronous: Synchronous) -> None:
        self.location = path
        self._synchronous: Synchronous = synchronous

    async def migrations(self) -> list[MigrationStatus]:
        """All migrations, applied and pending. Changes nothing and creates no file."""
        return migration_statuses(
            load_migrations(_PACKAGE), await asyncio.to_thread(_applied, self.location), self.location
        )

    async def migrate(self) -> list[Migration]:
        """Apply pending migrations, as opening the store does, and return them. Creates a missing file."""
        pending = pending_migrations(
            load_migrations(_PACKAGE), await asyncio.to_thread(_applied, self.location), self.location
        )
        await (await open_store(self.location, self._synchronous, SystemClock())).close()
        return pending

    async def script(self, *, from_scratch: bool) -> str:
        """SQL script of the pending migrations; "" if there are none.

        With `from_scratch`, the script is for a new file, and the existing one is not read.
        """
        applied = [] if from_scratch else await asyncio.to_thread(_applied, self.location)
        pending = pending_migrations(load_migrations(_PACKAGE), applied, self.location)
        return _script(pending) if pending else ""

    async def adopt(self, *, in_place: bool, dry_run: bool) -> Adoption:
        """Start a new epoch. `in_place` has no effect, because a file does not show whether it was copied."""
        await (await open_store(self.location, self._synchronous, SystemClock(), create=False)).close()
        return await asyncio.to_thread(_adopt, self.location, dry_run)

    async def backup(self, file: str, on_progress: Callable[[int, int], None]) -> int:
        """Copy the file with its WAL, as of one moment. If this is canceled, nothing is created."""
        await asyncio.to_thread(check_is_store, self.location)
        canceled = threading.Event()
        copying = asyncio.ensure_future(asyncio.to_thread(back_up, self.location, file, on_progress, canceled))
        try:
            return await asyncio.shield(copying)
        except asyncio.CancelledError:
            canceled.set()
            await asyncio.gather(copying, return_exceptions=True)
            raise

    async def drop(self) -> None:
        """Delete the file, its WAL and its shared-memory file."""
        await asyncio.to_thread(_delete_files, [f"{self.location}{suffix}" for suffix in ("", "-wal", "-shm")])


def _delete_files(files: Sequence[str]) -> None:
    try:
        for file in files:
            Path(file).unlink(missing_ok=True)
    except OSError as error:
        raise StoreUnavailable(
            f"{error.filename} cannot be deleted ({error.strerror}). Delete it with: rm {' '.join(files)}."
        ) from error


def _applied(path: str) -> list[MigrationStatus]:
    return stored_migrations(path) or []


def _script(migrations: Sequence[Migration]) -> str:
    parts = ["BEGIN IMMEDIATE;", SQL["create_migrations"]]
    for each in migrations:
        values = (str(each.number), f"'{each.name}'", f"'{each.checksum}'", str(each.compatible_from), _NOW)
        parts += [each.sql.strip(), _with_values(SQL["insert_migration"], values)]
    return "\n\n".join([*parts, "COMMIT;"]) + "\n"


_NOW = "strftime('%Y-%m-%dT%H:%M:%f000Z', 'now')"


def _with_values(sql: str, values: Sequence[str]) -> str:
    for number, value in enumerate(values, 1):
        sql = sql.replace(f"?{number}", value)
    return sql


@contextmanager
def _transaction(path: str, *, commit: bool) -> Generator[SqliteConnection]:
    connection, file = claim(path, partial(connect, path))
    try:
        connection.execute("BEGIN IMMEDIATE")
        yield connection
        if commit:
            connection.execute("COMMIT")
    except apsw.Error as error:
        raise map_error(error, path) from error
    finally:
        connection.close()  # rolls back unless committed
        release(file)


def _adopt(path: str, dry_run: bool) -> Adoption:
    with _transaction(path, commit=not dry_run) as connection:
        old = Identity(*connection.execute(SQL["identity"]).fetchall()[0])
        new = Identity(old.log_id, str(uuid4()))
        head = connection.execute(SQL["head"]).get
        # fault: epoch-starts-at-0
        connection.execute(SQL["start_epoch"], (new.epoch_id, head, to_timestamp(SystemClock().now())))
        connection.execute(SQL["adopt_log"], (new.epoch_id,))
        connection.execute(SQL["free_ranges"], (None,))  # workers of the old epoch can record nothing more
        connection.execute(SQL["adopt_registrations"], (old.log_id, old.epoch_id, new.epoch_id, head))
        rows = connection.execute(SQL["adopted_positions"], (new.epoch_id,)).fetchall()
        carried = [CarriedCheckpoint(name, position, bool(is_new)) for name, position, is_new in rows]
        return Adoption(old, new, head, carried)
