"""Ranges and workers in PostgreSQL."""

import msgspec

from fait._store.ports.leases import Lease, Range
from fait._store.ports.registrations import RangeKey
from fait._store.postgres.connection import Database
from fait._store.registration_rows import lease_from_row, range_from_row

__all__ = ["PostgresLeases"]

_key_values = msgspec.structs.astuple


class PostgresLeases:
    """`Leases` in one schema of a PostgreSQL database."""

    def __init__(self, database: Database) -> None:
        self._fetch = database.fetch

    async def ranges(self) -> list[Range]:
        return [range_from_row(row) for row in await self._fetch("list_ranges")]

    async def range(self, key: RangeKey) -> Range | None:
        rows = await self._fetch("read_range", *_key_values(key))
        return range_from_row(tuple(rows[0])) if rows else None

    async def acquire(self, seen: Range, worker: str, definition_hash: str, epoch_id: str) -> Lease | None:
        values = (*_key_values(seen.key), worker, seen.fencing_token, definition_hash, epoch_id)
        rows = await self._fetch("acquire_range", *values)
        return lease_from_row(seen.key, worker, rows[0]) if rows else None

    async def release(self, lease: Lease) -> None:
        await self._fetch("release_range", *_key_values(lease.key), lease.worker, lease.fencing_token)

    async def heartbeat(self, worker: str) -> list[RangeKey]:
        return [RangeKey(*row) for row in await self._fetch("heartbeat_worker", worker)]

    async def idle_workers(self) -> dict[str, int]:
        return dict(await self._fetch("list_idle_workers"))

    async def expire(self, worker: str, heartbeat: int) -> None:
        await self._fetch("expire_worker", worker, heartbeat)

    async def deregister(self, worker: str) -> None:
        await self._fetch("deregister_worker", worker)
