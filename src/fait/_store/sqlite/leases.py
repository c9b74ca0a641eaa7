"""Ranges and workers in SQLite."""

from datetime import datetime
from typing import Any

from msgspec.structs import astuple

from fait._clock import Clock
from fait._store.ports.failures import KeyFailure
from fait._store.ports.leases import Lease, Range, RegisteredWorker, Worker
from fait._store.ports.registrations import RangeKey
from fait._store.registration_rows import (
    failure_from_row,
    lease_from_row,
    range_from_row,
    worker_from_row,
    worker_to_row,
)
from fait._store.sqlite.connection import SqliteConnection
from fait._store.sqlite.statements import SQL
from fait._store.sqlite.timestamps import to_timestamp
from fait._store.sqlite.worker_threads import ReaderThreads, WriterThread

__all__ = ["SqliteLeases"]


class SqliteLeases:
    """`Leases` in an SQLite file."""

    def __init__(self, writer: WriterThread, readers: ReaderThreads, clock: Clock) -> None:
        self._writer = writer
        self._readers = readers
        self._clock = clock

    async def ranges(self, subscription: str | None = None) -> list[Range]:
        return [range_from_row(row) for row in await self._read("list_ranges", subscription)]

    async def range(self, key: RangeKey) -> Range | None:
        rows = await self._read("read_range", *astuple(key))
        return range_from_row(rows[0]) if rows else None

    async def acquire(self, seen: Range, worker: str, definition_hash: str, epoch_id: str) -> Lease | None:
        values = (*astuple(seen.key), worker, seen.fencing_token, definition_hash, epoch_id)

        def job(connection: SqliteConnection) -> Lease | None:
            rows = connection.execute(SQL["acquire_range"], values).fetchall()
            return lease_from_row(seen.key, worker, rows[0], _failures(connection, seen.key, rows[0])) if rows else None

        return await self._writer.run(job)

    async def release(self, lease: Lease) -> None:
        await self._write("release_range", *_owner(lease))

    async def report(self, lease: Lease, health: str) -> None:
        await self._write("report_health", *_owner(lease), health)

    async def split(self, lease: Lease, middle: int) -> bool:
        def job(connection: SqliteConnection) -> bool:
            if not connection.execute(SQL["insert_upper_half"], (*_owner(lease), middle)).fetchall():
                return False
            connection.execute(SQL["shrink_to_lower_half"], (*astuple(lease.key), middle))
            return True

        return await self._writer.run(job)

    async def merge(self, lower: Lease, upper: Lease) -> bool:
        values = (*_owner(lower), upper.key.low, upper.fencing_token)

        def job(connection: SqliteConnection) -> bool:
            if not connection.execute(SQL["extend_lower_range"], values).fetchall():
                return False
            connection.execute(SQL["delete_range"], astuple(upper.key))
            return True

        return await self._writer.run(job)

    async def heartbeat(self, worker: Worker) -> list[RangeKey]:
        values = (*worker_to_row(worker), to_timestamp(self._clock.now()))

        def job(connection: SqliteConnection) -> list[Any]:
            connection.execute(SQL["heartbeat_worker"], values)
            return connection.execute(SQL["ranges_of_worker"], (worker.id,)).fetchall()

        return [RangeKey(*row) for row in await self._writer.run(job)]

    async def workers(self) -> list[RegisteredWorker]:
        rows = await self._read("list_workers")
        return [worker_from_row((*columns, datetime.fromisoformat(time))) for *columns, time in rows]

    async def expire(self, worker: str, heartbeat: int) -> None:
        await self._write("delete_worker", worker, heartbeat)

    async def deregister(self, worker: str) -> None:
        def job(connection: SqliteConnection) -> None:
            connection.execute(SQL["free_ranges_of_worker"], (worker,))
            connection.execute(SQL["delete_worker"], (worker, None))

        await self._writer.run(job)

    async def _read(self, statement: str, *values: Any) -> list[Any]:
        return await self._readers.run(lambda connection: connection.execute(SQL[statement], values).fetchall())

    async def _write(self, statement: str, *values: Any) -> list[Any]:
        return await self._writer.run(lambda connection: connection.execute(SQL[statement], values).fetchall())


def _owner(lease: Lease) -> tuple[Any, ...]:
    """Return the values that identify a range and its owner."""
    return *astuple(lease.key), lease.worker, lease.fencing_token


def _failures(connection: SqliteConnection, key: RangeKey, row: Any) -> list[KeyFailure]:
    """Return the failures of the range of a lease's row, which begins with low and high."""
    values = (key.subscription, key.generation, *row[:2])
    return [failure_from_row(each) for each in connection.execute(SQL["range_failures"], values).fetchall()]
