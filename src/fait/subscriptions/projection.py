"""A projection keeps a read model: it folds events into rows, and writes rows and checkpoint in one transaction.

A batch costs one read and one write, whatever the number of its events: the rows it touches are read together,
folded in memory, and written together.
"""

from collections.abc import Iterator, Sequence
from typing import Any, cast

from fait.errors import UsageError
from fait.events.append import Page
from fait.events.codec import Codec, Reader, undecodable
from fait.events.envelope import Recorded, StoredEvent
from fait.store.ledger import Ledger, RowChange, Work
from fait.subscriptions.processor import Desk
from fait.subscriptions.read_model import Shape

__all__ = ["Projection"]


class Projection:
    """The subscription of one read model. Its name is the table's."""

    start = "beginning"

    def __init__(self, shape: Shape, codec: Codec, ledger: Ledger) -> None:
        self.shape = shape
        self.name = shape.name
        self.fingerprint = shape.fingerprint
        self._taken = codec.registry.taken(shape.events)
        self._readers: dict[tuple[str, int], Reader | None] = {}
        self.query = self._taken.query
        self._codec = codec
        self._ledger = ledger

    async def handle(self, page: Page, desk: Desk) -> None:
        """Fold a page into the table."""
        change = await self._fold(page)
        await desk.record(Work(self.name, desk.position, page.position, desk.fence, rows=(change,)))

    async def _fold(self, page: Page) -> RowChange:
        shape, evolve = self.shape, cast("Any", self.shape.cls).evolve
        touched = [(key, at) for at in self._decoded(page.events) for key in shape.keys_of(at)]
        keys = list(dict.fromkeys(key for key, _ in touched))
        stored = {row[shape.table.index_of(shape.key)]: row for row in await self._ledger.rows(shape.table, keys)}
        rows: dict[Any, Any] = {key: shape.from_row(stored[key]) if key in stored else None for key in keys}
        for key, at in touched:
            rows[key] = evolve(rows[key], at.event, at)
        upserts = [self._row(key, row) for key, row in rows.items() if row is not None]
        return RowChange(shape.table, upserts, [key for key, row in rows.items() if row is None and key in stored])

    def _decoded(self, events: Sequence[StoredEvent]) -> Iterator[Recorded[Any]]:
        readers = self._readers
        for stored in events:
            try:
                reader = readers[stored.type, stored.schema]
            except KeyError:
                kind = (stored.type, stored.schema)
                reader = self._codec.reader_for(self._taken, *kind, stored.stream, stored.version)
                readers[kind] = reader
            if reader is not None:
                try:
                    event = reader(stored.data)
                except Exception as problem:
                    raise undecodable(problem, stored.stream, stored.version, stored.type) from None
                yield Recorded(event, stored)

    def _row(self, key: Any, instance: Any) -> Any:
        if not isinstance(instance, self.shape.cls) or getattr(instance, self.shape.key) != key:
            raise UsageError(
                f"{self.shape.cls.__name__}.evolve must return the row of the key it was given ({self.shape.key}), or "
                f"None"
            )
        return self.shape.to_row(instance)
