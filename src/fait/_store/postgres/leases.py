"""Ranges and workers in PostgreSQL."""

from collections.abc import Sequence
from typing import Any, Final

import msgspec
from msgspec.structs import astuple

from fait._store.ports.failures import KeyFailure
from fait._store.ports.leases import Lease, Range, RegisteredWorker, Worker
from fait._store.ports.registrations import RangeKey
from fait._store.postgres.connection import Database
from fait._store.registration_rows import (
    lease_from_row,
    range_from_row,
    worker_from_row,
    worker_to_row,
)

__all__ = ["PostgresLeases", "pending_to_sql"]

_FAILURES: Final = msgspec.json.Decoder(list[KeyFailure])


class PostgresLeases:
    """`Leases` in one schema of a PostgreSQL database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._fetch = database.fetch

    async def ranges(self, subscription: str | None = None) -> list[Range]:
        return [range_from_row(tuple(row)) for row in await self._fetch("list_ranges", subscription)]

    async def range(self, key: RangeKey) -> Range | None:
        rows = await self._fetch("read_range", *astuple(key))
        return range_from_row(tuple(rows[0])) if rows else None

    async def acquire(self, seen: Range, worker: str, definition_hash: str, epoch_id: str) -> Lease | None:
        values = (*astuple(seen.key), worker, seen.fencing_token, definition_hash, epoch_id)
        for *columns, failures in await self._fetch("acquire_range", *values):
            return lease_from_row(seen.key, worker, columns, _FAILURES.decode(failures))
        return None

    async def release(self, lease: Lease) -> None:
        await self._fetch("release_range", *_owner(lease))

    async def report(self, lease: Lease, health: str) -> None:
        await self._fetch("report_health", *_owner(lease), health)

    async def split(self, lease: Lease, middle: int) -> bool:
        return bool(await self._fetch("split_range", *_owner(lease), middle, lease.high))

    async def merge(self, lower: Lease, upper: Lease) -> bool:
        return bool(await self._fetch("merge_ranges", *_owner(lower), upper.key.low, upper.fencing_token))

    async def heartbeat(self, worker: Worker) -> list[RangeKey]:
        values = (*worker_to_row(worker), self._database.now())
        return [RangeKey(*row) for row in await self._fetch("heartbeat_worker", *values)]

    async def workers(self) -> list[RegisteredWorker]:
        return [worker_from_row(row) for row in await self._fetch("list_workers")]

    async def expire(self, worker: str, heartbeat: int) -> None:
        await self._fetch("expire_worker", worker, heartbeat)

    async def deregister(self, worker: str) -> None:
        await self._fetch("deregister_worker", worker)


def pending_to_sql(pending: Sequence[int]) -> str:
    """Return positions as the text of an array: the driver would ask the server for the type of an array."""
    return f"{{{','.join(map(str, pending))}}}" if pending else "{}"


def _owner(lease: Lease) -> tuple[Any, ...]:
    """Return the values that identify a range and its owner."""
    return *astuple(lease.key), lease.worker, lease.fencing_token
