"""Snapshots in PostgreSQL."""

from collections.abc import Sequence

import msgspec

from fait._decisions.snapshot import Snapshot
from fait._store.postgres.connection import Database

__all__ = ["PostgresSnapshots"]


class PostgresSnapshots:
    """`SnapshotStore` in one schema of a PostgreSQL database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def load_snapshots(self, streams: Sequence[str]) -> list[Snapshot]:
        return [Snapshot(*row) for row in await self._database.fetch("load_snapshots", list(streams))]

    async def save_snapshot(self, snapshot: Snapshot) -> None:
        await self._database.fetch("save_snapshot", *msgspec.structs.astuple(snapshot))
