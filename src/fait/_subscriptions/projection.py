"""A projection keeps a read model: it folds events into rows, and writes rows and checkpoint in one transaction.

A batch costs one read and one write, whatever the number of its events: the rows it touches are read together,
folded in memory, and written together.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any, cast

from fait._errors import UsageError
from fait._events.append import Page
from fait._events.codec import Codec, Decode, DecodeTable, decode_error
from fait._events.envelope import Envelope, RecordedEvent
from fait._store.ledger import Ledger, RowChange, UnitOfWork
from fait._subscriptions.processor import ProcessingContext
from fait._subscriptions.read_model import ReadModelDefinition

__all__ = ["Projection"]


class Projection:
    """The subscription of one read model. Its name is the table's."""

    start = "beginning"

    def __init__(self, shape: ReadModelDefinition, codec: Codec, ledger: Ledger) -> None:
        self.definition = shape
        self.name = shape.name
        self.definition_hash = shape.definition_hash
        self._handled = codec.registry.handled_types(shape.events)
        self.may_expire = codec.registry.may_expire(self._handled)
        self._decoders: DecodeTable = defaultdict(dict)
        self.query = self._handled.query
        self._codec = codec
        self._ledger = ledger

    async def handle(self, page: Page, context: ProcessingContext) -> None:
        """Fold a page into the table."""
        change = await self._fold(page)
        await context.record(
            UnitOfWork(self.name, context.position, page.position, context.fencing_token, rows=(change,))
        )

    async def _fold(self, page: Page) -> RowChange:
        shape, evolve = self.definition, cast("Any", self.definition.cls).evolve
        events = [(stored, reader) for stored in page.events if (reader := self._decoder(stored)) is not None]
        if shape.keyed_by_stream:  # rows are known before any event is decoded: each lives only while it is folded
            key_of = {stream: shape.key_of_stream(stream) for stream in {stored.stream: None for stored, _ in events}}
            keys = list(dict.fromkeys(key_of.values()))
            touched = ((key_of[at.recorded_event.stream], at) for at in _decoded(events))
        else:
            touched = [(key, at) for at in _decoded(events) for key in shape.keys_of(at)]
            keys = list(dict.fromkeys(key for key, _ in touched))
        stored = {row[shape.table.index_of(shape.key)]: row for row in await self._ledger.rows(shape.table, keys)}
        # fault: fold-without-stored-rows
        rows: dict[Any, Any] = {key: shape.from_row(stored[key]) if key in stored else None for key in keys}
        for key, at in touched:
            rows[key] = evolve(rows[key], at.event, at)
        upserts = [self._row(key, row) for key, row in rows.items() if row is not None]
        return RowChange(shape.table, upserts, [key for key, row in rows.items() if row is None and key in stored])

    def _decoder(self, stored: RecordedEvent) -> Decode | None:
        name, schema = stored.type, stored.schema_version
        try:
            return self._decoders[name][schema]
        except KeyError:
            reader = self._codec.decoder_for(self._handled, name, schema, stored.stream, stored.version)
            self._decoders[name][schema] = reader
            return reader

    def _row(self, key: Any, instance: Any) -> Any:
        if not isinstance(instance, self.definition.cls) or getattr(instance, self.definition.key) != key:
            raise UsageError(
                f"{self.definition.cls.__name__}.evolve must return the row of the key it was given ({self.definition.key}), or "
                f"None"
            )
        return self.definition.to_row(instance)


def _decoded(events: Iterable[tuple[RecordedEvent, Decode]]) -> Iterator[Envelope[Any]]:
    for stored, reader in events:
        try:
            event = reader(stored.data)
        except Exception as problem:
            raise decode_error(problem, stored.stream, stored.version, stored.type) from None
        yield Envelope(event, stored)
