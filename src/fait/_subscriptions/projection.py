"""A projection keeps a read model: it folds events into rows, and writes rows and checkpoint in one transaction.

A batch costs one read and one write, whatever the number of its events: the rows it touches are read together,
folded in memory, and written together.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any, cast

from fait._errors import UsageError
from fait._events.append import Page
from fait._events.codec import Codec, Reader, Readers, undecodable
from fait._events.envelope import Recorded, StoredEvent
from fait._store.ledger import Ledger, RowChange, Work
from fait._subscriptions.processor import Desk
from fait._subscriptions.read_model import Shape

__all__ = ["Projection"]


class Projection:
    """The subscription of one read model. Its name is the table's."""

    start = "beginning"

    def __init__(self, shape: Shape, codec: Codec, ledger: Ledger) -> None:
        self.shape = shape
        self.name = shape.name
        self.fingerprint = shape.fingerprint
        self._taken = codec.registry.taken(shape.events)
        self.expiring = codec.registry.expiring(self._taken)
        self._readers: Readers = defaultdict(dict)
        self.query = self._taken.query
        self._codec = codec
        self._ledger = ledger

    async def handle(self, page: Page, desk: Desk) -> None:
        """Fold a page into the table."""
        change = await self._fold(page)
        await desk.record(Work(self.name, desk.position, page.position, desk.fence, rows=(change,)))

    async def _fold(self, page: Page) -> RowChange:
        shape, evolve = self.shape, cast("Any", self.shape.cls).evolve
        events = [(stored, reader) for stored in page.events if (reader := self._reader(stored)) is not None]
        if shape.keyed_by_stream:  # rows are known before any event is decoded: each lives only while it is folded
            key_of = {stream: shape.key_of_stream(stream) for stream in {stored.stream: None for stored, _ in events}}
            keys = list(dict.fromkeys(key_of.values()))
            touched = ((key_of[at.stored.stream], at) for at in _decoded(events))
        else:
            touched = [(key, at) for at in _decoded(events) for key in shape.keys_of(at)]
            keys = list(dict.fromkeys(key for key, _ in touched))
        stored = {row[shape.table.index_of(shape.key)]: row for row in await self._ledger.rows(shape.table, keys)}
        rows: dict[Any, Any] = {key: shape.from_row(stored[key]) if key in stored else None for key in keys}
        for key, at in touched:
            rows[key] = evolve(rows[key], at.event, at)
        upserts = [self._row(key, row) for key, row in rows.items() if row is not None]
        return RowChange(shape.table, upserts, [key for key, row in rows.items() if row is None and key in stored])

    def _reader(self, stored: StoredEvent) -> Reader | None:
        name, schema = stored.type, stored.schema
        try:
            return self._readers[name][schema]
        except KeyError:
            reader = self._codec.reader_for(self._taken, name, schema, stored.stream, stored.version)
            self._readers[name][schema] = reader
            return reader

    def _row(self, key: Any, instance: Any) -> Any:
        if not isinstance(instance, self.shape.cls) or getattr(instance, self.shape.key) != key:
            raise UsageError(
                f"{self.shape.cls.__name__}.evolve must return the row of the key it was given ({self.shape.key}), or "
                f"None"
            )
        return self.shape.to_row(instance)


def _decoded(events: Iterable[tuple[StoredEvent, Reader]]) -> Iterator[Recorded[Any]]:
    for stored, reader in events:
        try:
            event = reader(stored.data)
        except Exception as problem:
            raise undecodable(problem, stored.stream, stored.version, stored.type) from None
        yield Recorded(event, stored)
