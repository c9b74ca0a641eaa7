"""A projection maintains a read model: it folds events into rows, and writes rows and checkpoint in one transaction.

A batch costs one read and one write, regardless of the number of events: the rows that it changes are read together,
folded in memory and written together.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, cast

from fait._errors import UsageError
from fait._events.codec import Codec, Decode, DecodeTable, decode_recorded
from fait._events.envelope import Envelope, RecordedEvent
from fait._store.ports.tables import RowChange, Tables
from fait._subscriptions.failure import as_exception, must_wait
from fait._subscriptions.read_model import ReadModelDefinition, key_text
from fait._subscriptions.subscription import FailedKey, Outcome, ProcessingContext, SubscriptionDefinition, Tenure

__all__ = ["Projection"]

Evolve = Callable[[Any, Any, Envelope[Any]], Any]
"""Returns the row that follows from a row, an event and its envelope."""


class Projection:
    """The subscription of one read model. It is named after the table."""

    def __init__(self, model: ReadModelDefinition, codec: Codec, tables: Tables) -> None:
        self._handled = codec.registry.handled_types(model.events)
        # fault: policy-of-read-model-ignored
        policy = model.policy
        self.definition = SubscriptionDefinition(
            name=model.name,
            kind="read_model",
            handled_types=self._handled.query.types,
            ignored_types=codec.registry.ignored_types(self._handled),
            definition_hash=model.definition_hash(codec.registry),
            parts=partial(model.definition_parts, codec.registry),
            may_expire=codec.registry.may_expire(self._handled),
            table=model.table,
            policy=policy,
            order_key="stream" if model.keyed_by_stream else "own",
        )
        self._model = model
        self._decoders: DecodeTable = defaultdict(dict)
        self._codec = codec
        self._tables = tables

    def key_of(self, event: RecordedEvent) -> str | None:
        """Return the stream, if the rows are keyed by stream."""
        return event.stream if self._model.keyed_by_stream else None

    def keys_of(self, event: RecordedEvent) -> Collection[str]:
        """Return the keys of the rows that an event changes; none if they cannot be found: then no key fails."""
        try:
            return self._keys_of(event)
        except (Exception, SystemExit):
            return ()

    def _keys_of(self, event: RecordedEvent) -> set[str]:
        if self._model.keyed_by_stream:
            return {event.stream}
        converted = self._codec.convert(self._handled, [event])
        return {key_text(key) for key, _ in self._changes_by_key(self._with_decoders(converted))}

    async def begin(self, tenure: Tenure) -> None:
        """Do nothing: it needs only the store."""

    async def handle(self, events: Sequence[RecordedEvent], context: ProcessingContext) -> Outcome:
        """Fold events into the table."""
        try:
            change = await self._fold(events, context.is_concerned)
            return Outcome(len(events), rows=(change,) if change.upserts or change.deletes else ())
        except (Exception, SystemExit) as error:
            if len(events) > 1 or self._model.keyed_by_stream or must_wait(error, self.definition.policy):
                raise
            return await self._fold_each_key(events, context, error)

    async def _fold_each_key(
        self, events: Sequence[RecordedEvent], context: ProcessingContext, error: BaseException
    ) -> Outcome:
        """Fold one event, which failed, for each of its keys; raise the error if its keys cannot be found."""
        keys = self._keys_of(events[0])
        rows, failed = list[RowChange](), list[FailedKey]()
        for each in sorted(key for key in keys if context.is_concerned(key)):
            try:
                rows.append(await self._fold(events, each.__eq__))
            except (Exception, SystemExit) as error_of_key:
                # fault: outage-of-a-key-is-its-failure
                if must_wait(error_of_key, self.definition.policy):
                    raise
                failed.append(FailedKey(each, events[0], as_exception(error_of_key)))
        if not failed:
            raise error
        return Outcome(1, rows=rows, failed_keys=failed)

    async def _fold(self, recorded_events: Sequence[RecordedEvent], is_concerned: Callable[[str], bool]) -> RowChange:
        definition, evolve = self._model, cast("Any", self._model.cls).evolve
        events = self._with_decoders(self._codec.convert(self._handled, recorded_events))
        if definition.keyed_by_stream:
            streams = dict.fromkeys([event.stream for event, _ in events])
            key_by_stream = {stream: definition.key_of_stream(stream) for stream in streams}
            keys = list(dict.fromkeys(key_by_stream.values()))
            evolve_all = partial(_evolve_streams, evolve, events, key_by_stream)
        else:
            changes = [each for each in self._changes_by_key(events) if is_concerned(key_text(each[0]))]
            keys = list(dict.fromkeys(key for key, _ in changes))
            evolve_all = partial(_evolve_keys, evolve, changes)
        if not keys:  # those of the events belong to other ranges
            return RowChange(definition.table)
        key_index = definition.table.index_of(definition.key)
        stored = {row[key_index]: row for row in await self._tables.rows(definition.table, keys)}
        # fault: fold-without-stored-rows
        rows: dict[Any, Any] = {key: definition.from_row(stored[key]) if key in stored else None for key in keys}
        evolve_all(rows)
        upserts = [self._to_row(key, row, events) for key, row in rows.items() if row is not None]
        definition.check_rows(upserts)
        deletes = [key for key, row in rows.items() if row is None and key in stored]
        return RowChange(definition.table, upserts, deletes)

    def _changes_by_key(self, events: Sequence[tuple[RecordedEvent, Decode]]) -> Iterator[tuple[Any, Envelope[Any]]]:
        """Yield the keys according to `key_of` and the event for each, decoded again so that rows share no list."""
        for event, decode in events:
            envelope = _decode(event, decode)
            for number, key in enumerate(self._model.keys_of(envelope)):
                # fault: rows-share-an-event
                yield key, _decode(event, decode) if number else envelope

    def _with_decoders(self, events: Sequence[RecordedEvent]) -> list[tuple[RecordedEvent, Decode]]:
        """Return the events that are not ignored, each with its decoder."""
        try:  # a call for each event would take longer than the rest
            return self._find_decoders(events)
        except KeyError:
            for each in events:
                self._add_decoder(each)
            return self._find_decoders(events)

    def _find_decoders(self, events: Sequence[RecordedEvent]) -> list[tuple[RecordedEvent, Decode]]:
        decoders = self._decoders
        return [(each, decode) for each in events if (decode := decoders[each.type][each.schema_version]) is not None]

    def _add_decoder(self, event: RecordedEvent) -> None:
        if event.schema_version not in self._decoders[event.type]:
            self._decoders[event.type][event.schema_version] = self._codec.decoder_for(
                self._handled, event.type, event.schema_version, event.stream, event.version
            )

    def _to_row(self, key: Any, instance: Any, events: Sequence[tuple[RecordedEvent, Decode]]) -> Any:
        """Return the instance that `evolve` returned for a key as a row; raise `UsageError` if it is wrong."""
        definition = self._model
        if isinstance(instance, definition.cls) and getattr(instance, definition.key) == key:
            return definition.to_row(instance)
        name, event = definition.cls.__name__, self._describe_event(key, events)
        if not isinstance(instance, definition.cls):
            problem = (
                f"an instance of {type(instance).__name__} for {event}. Return the row it was given, a new "
                f"{name}, or None to delete the row."
            )
        elif definition.keyed_by_stream:
            problem = (
                f"a row with another {definition.key!r} for {event}: the key of the event's row is the stream's id. "
                "Return the row it was given, or define key_of(cls, event, envelope)."
            )
        else:
            problem = (
                f"a row with another {definition.key!r} for {event} than key_of returned. Return the row it was given, "
                "or a new one with that key."
            )
        raise UsageError(f"{name}.evolve returned {problem} Nothing was written.")

    def _describe_event(self, key: Any, events: Sequence[tuple[RecordedEvent, Decode]]) -> str:
        """Describe the last of the events that changed a row, for an error; only the stream tells which one it was."""
        for event, _ in reversed(events):
            if self._model.keyed_by_stream and self._model.key_of_stream(event.stream) == key:
                return f"event {event.version} of stream {event.stream!r}"
        return f"an event from position {events[0][0].position} to {events[-1][0].position}"


def _evolve_streams(
    evolve: Evolve,
    events: Iterable[tuple[RecordedEvent, Decode]],
    key_by_stream: Mapping[str, Any],
    rows: dict[Any, Any],
) -> None:
    """Fold events into the rows of their streams, each decoded just before: so the memory of the last one is reused."""
    for recorded_event, decode in events:
        try:  # a call of `decode_recorded` for each event would take longer
            event = decode(recorded_event.data)
        except Exception:
            event = decode_recorded(decode, recorded_event)  # says what is wrong
        key = key_by_stream[recorded_event.stream]
        rows[key] = evolve(rows[key], event, Envelope(event, recorded_event))


def _evolve_keys(evolve: Evolve, changes: Iterable[tuple[Any, Envelope[Any]]], rows: dict[Any, Any]) -> None:
    """Fold events into the rows of their keys."""
    for key, envelope in changes:
        rows[key] = evolve(rows[key], envelope.event, envelope)


def _decode(event: RecordedEvent, decode: Decode) -> Envelope[Any]:
    return Envelope(decode_recorded(decode, event), event)
