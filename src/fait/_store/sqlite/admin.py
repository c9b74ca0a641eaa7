"""The tables of an SQLite file: which steps made them, which are pending, and how a restored file is adopted."""

import asyncio
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import apsw

from fait._clock import SystemClock
from fait._errors import StoreUnavailable
from fait._store.adoption import Adoption, CarriedCheckpoint
from fait._store.log import Identity
from fait._store.migrations import Migration, MigrationStatus, load_migrations, migration_statuses, pending_migrations
from fait._store.sqlite.connection import SqliteConnection, connect, connect_readonly, map_error
from fait._store.sqlite.multi_driver_guard import claim, release
from fait._store.sqlite.statements import SQL
from fait._store.sqlite.store import applied_migrations, open_store

__all__ = ["SqliteAdmin"]

_PACKAGE = "fait._store.sqlite"


class SqliteAdmin:
    """The schema of a file, which is open only during each call."""

    def __init__(self, path: str, options: dict[str, str]) -> None:
        self.location = path
        self._options = options

    async def migrations(self) -> list[MigrationStatus]:
        """All steps, applied or pending. Nothing is changed, and no file is made."""
        return migration_statuses(
            load_migrations(_PACKAGE), await asyncio.to_thread(_applied, self.location), self.location
        )

    async def migrate(self) -> list[Migration]:
        """Apply what is pending, as opening the file does; a file that is not there is made."""
        steps = pending_migrations(
            load_migrations(_PACKAGE), await asyncio.to_thread(_applied, self.location), self.location
        )
        await (await open_store(self.location, self._options, SystemClock())).close()
        return steps

    async def script(self, *, from_scratch: bool) -> str:
        """SQL that does what `migrate` does, "" if nothing is pending.

        With `whole`, all of it, for a new file; none is looked for.
        """
        known = load_migrations(_PACKAGE)
        applied = [] if from_scratch else await asyncio.to_thread(_applied, self.location)
        steps = pending_migrations(known, applied, self.location)
        return _script(steps) if steps else ""

    async def adopt(self, *, in_place: bool, dry_run: bool) -> Adoption:
        """Begin a new epoch. A file does not know that it was copied, so that `in_place` makes no difference."""
        await (await open_store(self.location, self._options, SystemClock(), create=False)).close()
        return await asyncio.to_thread(_adopt, self.location, dry_run)

    async def drop(self) -> None:
        """Remove the file, and those that SQLite keeps beside it."""
        await asyncio.to_thread(_delete_files, [f"{self.location}{suffix}" for suffix in ("", "-wal", "-shm")])


def _delete_files(files: Sequence[str]) -> None:
    try:
        for file in files:
            Path(file).unlink(missing_ok=True)
    except OSError as problem:
        raise StoreUnavailable(
            f"{problem.filename} cannot be removed ({problem.strerror}). To remove it: rm {' '.join(files)}."
        ) from problem


def _applied(path: str) -> list[MigrationStatus]:
    if not Path(path).exists():
        return []
    try:
        connection = connect_readonly(path)
        try:
            return applied_migrations(connection) if connection.pragma("table_info", "fait_migrations") else []
        finally:
            connection.close()
    except apsw.Error as problem:
        raise map_error(problem, path) from problem


def _script(steps: Sequence[Migration]) -> str:
    parts = ["BEGIN IMMEDIATE;", SQL["create_migrations"]]
    for step in steps:
        values = (str(step.number), f"'{step.name}'", f"'{step.checksum}'", str(step.compatible_from), _NOW)
        parts += [step.sql.strip(), _with_values(SQL["insert_migration"], values)]
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
    except apsw.Error as problem:
        raise map_error(problem, path) from problem
    finally:
        connection.close()  # takes back what was not committed
        release(file)


def _adopt(path: str, dry_run: bool) -> Adoption:
    with _transaction(path, commit=not dry_run) as connection:
        was = Identity(*connection.execute(SQL["identity"]).fetchall()[0])
        now = Identity(*connection.execute(SQL["adopt_log"]).fetchall()[0])
        head = connection.execute(SQL["head"]).fetchall()[0][0]
        connection.execute(SQL["adopt_checkpoints"], (was.log_id, was.epoch, now.epoch, head))
        rows = connection.execute(SQL["read_checkpoints"], (None,)).fetchall()
        carried = [CarriedCheckpoint(name, position, epoch == now.epoch) for name, _, position, _, epoch, *_ in rows]
        return Adoption(was, now, head, carried)
