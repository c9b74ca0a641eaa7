"""Ranges and workers in SQLite."""

from typing import Any

import msgspec

from fait._store.ports.leases import Lease, Range
from fait._store.ports.registrations import RangeKey
from fait._store.registration_rows import lease_from_row, range_from_row
from fait._store.sqlite.connection import SqliteConnection
from fait._store.sqlite.statements import SQL
from fait._store.sqlite.worker_threads import ReaderThreads, WriterThread

__all__ = ["SqliteLeases"]

_key_values = msgspec.structs.astuple


class SqliteLeases:
    """`Leases` in an SQLite file."""

    def __init__(self, writer: WriterThread, readers: ReaderThreads) -> None:
        self._writer = writer
        self._readers = readers

    async def ranges(self) -> list[Range]:
        return [range_from_row(row) for row in await self._read("list_ranges")]

    async def range(self, key: RangeKey) -> Range | None:
        rows = await self._read("read_range", *_key_values(key))
        return range_from_row(rows[0]) if rows else None

    async def acquire(self, seen: Range, worker: str, definition_hash: str, epoch_id: str) -> Lease | None:
        values = (*_key_values(seen.key), worker, seen.fencing_token, definition_hash, epoch_id)
        rows = await self._write("acquire_range", *values)
        return lease_from_row(seen.key, worker, rows[0]) if rows else None

    async def release(self, lease: Lease) -> None:
        await self._write("release_range", *_key_values(lease.key), lease.worker, lease.fencing_token)

    async def heartbeat(self, worker: str) -> list[RangeKey]:
        def job(connection: SqliteConnection) -> list[Any]:
            connection.execute(SQL["heartbeat_worker"], (worker,))
            return connection.execute(SQL["ranges_of_worker"], (worker,)).fetchall()

        return [RangeKey(*row) for row in await self._writer.run(job)]

    async def idle_workers(self) -> dict[str, int]:
        return dict(await self._read("list_idle_workers"))

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
