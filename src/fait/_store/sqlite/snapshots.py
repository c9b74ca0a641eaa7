"""Snapshots in SQLite."""

from collections.abc import Sequence

import msgspec

from fait._decisions.snapshot import Snapshot
from fait._store.sqlite.statements import SQL
from fait._store.sqlite.worker_threads import ReaderThreads, WriterThread

__all__ = ["SqliteSnapshots"]


class SqliteSnapshots:
    """`SnapshotStore` in an SQLite file."""

    def __init__(self, writer: WriterThread, readers: ReaderThreads) -> None:
        self._writer = writer
        self._readers = readers

    async def load_snapshots(self, streams: Sequence[str]) -> list[Snapshot]:
        values = (msgspec.json.encode(streams).decode(),)
        rows = await self._readers.run(lambda each: each.execute(SQL["load_snapshots"], values).fetchall())
        return [Snapshot(*row) for row in rows]

    async def save_snapshot(self, snapshot: Snapshot) -> None:
        values = msgspec.structs.astuple(snapshot)
        await self._writer.run(lambda each: each.execute(SQL["save_snapshot"], values).fetchall())
