"""The tables of an SQLite file: which steps made them, which are pending, and how a restored file is adopted."""

import asyncio
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import apsw

from fait._clock import SystemClock
from fait._errors import StoreUnavailable
from fait._store.adoption import Adopted, Carried
from fait._store.log import Identity
from fait._store.migrations import Migration, Step, all_steps, load, pending
from fait._store.sqlite.connection import Connection, connect, connect_reading, unavailable
from fait._store.sqlite.multi_driver_guard import claim, release
from fait._store.sqlite.statements import SQL
from fait._store.sqlite.store import applied_steps, open_store

__all__ = ["SqliteSchema"]

_PACKAGE = "fait._store.sqlite"


class SqliteSchema:
    """The schema of a file, which is open only during each call."""

    def __init__(self, path: str, options: dict[str, str]) -> None:
        self.where = path
        self._options = options

    async def steps(self) -> list[Step]:
        """All steps, applied or pending. Nothing is changed, and no file is made."""
        return all_steps(load(_PACKAGE), await asyncio.to_thread(_applied, self.where), self.where)

    async def migrate(self) -> list[Migration]:
        """Apply what is pending, as opening the file does; a file that is not there is made."""
        steps = pending(load(_PACKAGE), await asyncio.to_thread(_applied, self.where), self.where)
        await (await open_store(self.where, self._options, SystemClock())).close()
        return steps

    async def script(self, *, whole: bool) -> str:
        """SQL that does what `migrate` does, "" if nothing is pending.

        With `whole`, all of it, for a new file; none is looked for.
        """
        known = load(_PACKAGE)
        applied = [] if whole else await asyncio.to_thread(_applied, self.where)
        steps = pending(known, applied, self.where)
        return _script(steps) if steps else ""

    async def adopt(self, *, in_place: bool, rehearse: bool) -> Adopted:
        """Begin a new epoch. A file does not know that it was copied, so that `in_place` makes no difference."""
        await (await open_store(self.where, self._options, SystemClock(), create=False)).close()
        return await asyncio.to_thread(_adopt, self.where, rehearse)

    async def drop(self) -> None:
        """Remove the file, and those that SQLite keeps beside it."""
        await asyncio.to_thread(_remove, [f"{self.where}{suffix}" for suffix in ("", "-wal", "-shm")])


def _remove(files: Sequence[str]) -> None:
    try:
        for file in files:
            Path(file).unlink(missing_ok=True)
    except OSError as problem:
        raise StoreUnavailable(
            f"{problem.filename} cannot be removed ({problem.strerror}). To remove it: rm {' '.join(files)}."
        ) from problem


def _applied(path: str) -> list[Step]:
    if not Path(path).exists():
        return []
    try:
        connection = connect_reading(path)
        try:
            return applied_steps(connection) if connection.pragma("table_info", "fait_migrations") else []
        finally:
            connection.close()
    except apsw.Error as problem:
        raise unavailable(problem, path) from problem


def _script(steps: Sequence[Migration]) -> str:
    parts = ["BEGIN IMMEDIATE;", SQL["create_migrations"]]
    for step in steps:
        values = (str(step.number), f"'{step.name}'", f"'{step.fingerprint}'", str(step.compatible_from), _NOW)
        parts += [step.sql.strip(), _with_values(SQL["insert_migration"], values)]
    return "\n\n".join([*parts, "COMMIT;"]) + "\n"


_NOW = "strftime('%Y-%m-%dT%H:%M:%f000Z', 'now')"


def _with_values(sql: str, values: Sequence[str]) -> str:
    for number, value in enumerate(values, 1):
        sql = sql.replace(f"?{number}", value)
    return sql


@contextmanager
def _transaction(path: str, *, keep: bool) -> Generator[Connection]:
    connection, file = claim(path, partial(connect, path))
    try:
        connection.execute("BEGIN IMMEDIATE")
        yield connection
        if keep:
            connection.execute("COMMIT")
    except apsw.Error as problem:
        raise unavailable(problem, path) from problem
    finally:
        connection.close()  # takes back what was not committed
        release(file)


def _adopt(path: str, rehearse: bool) -> Adopted:
    with _transaction(path, keep=not rehearse) as connection:
        was = Identity(*connection.execute(SQL["identity"]).fetchall()[0])
        now = Identity(*connection.execute(SQL["adopt_log"]).fetchall()[0])
        head = connection.execute(SQL["head"]).fetchall()[0][0]
        connection.execute(SQL["adopt_checkpoints"], (was.log_id, was.epoch, now.epoch, head))
        rows = connection.execute(SQL["checkpoints"], (None,)).fetchall()
        carried = [Carried(name, position, epoch == now.epoch) for name, _, position, _, epoch, *_ in rows]
        return Adopted(was, now, head, carried)
