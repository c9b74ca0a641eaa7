"""Loads states: folds streams page by page, from the first event or from a snapshot.

At most one page of events is held in memory, regardless of the length of a stream.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Final, Generic, TypeVar

from msgspec import Struct

from fait._decisions.decider import FoldDefinition
from fait._decisions.log import HistoryReader
from fait._decisions.snapshot import LoadedSnapshot, Snapshot, Snapshots
from fait._events.append import PAGE_SIZE, Until
from fait._events.codec import Codec, Decode, DecodeTable, decode_again
from fait._events.envelope import EventSlice, RecordedEvent
from fait._events.registry import HandledTypes
from fait._events.stream import id_of, stream_name
from fait._telemetry import logger

__all__ = ["MAX_STREAMS_PER_READ", "LoadedState", "Loader"]

S = TypeVar("S")

MAX_STREAMS_PER_READ: Final = 500
"""Maximum number of streams that one query reads."""

_NO_BOUNDS: Final = Until()


class LoadedState(Struct, Generic[S]):
    """A loaded stream.

    Attributes:
        state: the fold of its events.
        version: version of the last folded event; 0 if there is none.
        position: position of the last folded event.
        event_id: id of the last folded event.
        new_snapshot: a snapshot of the state that should be saved; None if none is due.
    """

    state: S
    version: int = 0
    position: int = 0
    event_id: str = ""
    new_snapshot: Snapshot | None = None


class Loader:
    """Loads and folds streams of a log.

    Attributes:
        codec: decodes the events.
        snapshots: the snapshots of the streams; None: every load starts at the first event.
    """

    def __init__(self, log: HistoryReader, codec: Codec, snapshots: Snapshots | None = None) -> None:
        self._log = log
        self._decoders: defaultdict[tuple[type, ...], DecodeTable] = defaultdict(lambda: defaultdict(dict))
        self.codec = codec
        self.snapshots = snapshots

    async def load(self, definition: FoldDefinition[S], stream: str, until: Until = _NO_BOUNDS) -> LoadedState[S]:
        """Load and fold the events of a stream up to the bounds, in the order of versions."""
        empty = LoadedState(definition.initial(id_of(stream)))
        if self.snapshots is None or definition.snapshots is None or until.occurred_at is not None:
            loaded = await self._fold_remaining(definition, stream, empty, until)
        else:
            loaded = await self._load_from_snapshot(definition, stream, empty, until)
        if definition.set_version is not None:
            definition.set_version(loaded.state, loaded.version)
        return loaded

    async def load_many(self, definition: FoldDefinition[S], ids: Iterable[str]) -> dict[str, LoadedState[S]]:
        """Load and fold the current state of many streams with few queries; they may be of different times.

        Returns the states by id, in the order of the ids.
        """
        states: dict[str, LoadedState[S]] = {}
        remaining = iter(dict.fromkeys(ids))
        while group := list(islice(remaining, MAX_STREAMS_PER_READ)):
            streams = {stream_name(definition.category, id): id for id in group}
            loaded = await self._load_group(definition, streams)
            states.update({id: loaded[stream] for stream, id in streams.items()})
        return states

    def save_snapshot(self, snapshot: Snapshot) -> None:
        """Start saving a new snapshot in the background."""
        assert self.snapshots is not None
        self.snapshots.save_later(snapshot)

    async def _load_from_snapshot(
        self, definition: FoldDefinition[S], stream: str, empty: LoadedState[S], until: Until
    ) -> LoadedState[S]:
        """Load a stream from its snapshot if there is a valid one, and create a new snapshot if one is due."""
        assert self.snapshots is not None
        assert definition.snapshots is not None
        snapshot = (await self.snapshots.find(definition, {stream: id_of(stream)})).get(stream)
        resumed = await self._resume_from_snapshot(definition, stream, snapshot, until) if snapshot else None
        if snapshot is None or resumed is None:
            loaded, snapshot_version = await self._fold_remaining(definition, stream, empty, until), 0
        elif self.snapshots.should_verify() and (
            refolded := await self._verify_snapshot(definition, stream, resumed, empty)
        ):
            loaded, snapshot_version = refolded, -definition.snapshots.every  # a new snapshot is due immediately
        else:
            loaded, snapshot_version = resumed, snapshot.version
        if until == _NO_BOUNDS and loaded.version - snapshot_version >= definition.snapshots.every:
            loaded.new_snapshot = self.snapshots.create(
                definition, stream, loaded.state, loaded.version, loaded.event_id
            )
        return loaded

    async def _load_group(self, definition: FoldDefinition[S], ids: dict[str, str]) -> dict[str, LoadedState[S]]:
        loaded = {stream: LoadedState(definition.initial(id)) for stream, id in ids.items()}
        snapshots = await self.snapshots.find(definition, ids) if self.snapshots and definition.snapshots else {}
        invalid = set[str]()  # streams whose snapshot does not match their events
        remaining = list(ids)
        while remaining:
            starts = [
                (each, snapshots[each].version - 1 if each in snapshots else loaded[each].version) for each in remaining
            ]
            page, more = await self._log.histories(starts, limit=PAGE_SIZE)
            for stream, events in page:
                if stream not in snapshots:
                    await self._fold(definition, loaded[stream], events, stream)
                elif resumed := await self._apply_to_snapshot(definition, snapshots.pop(stream), events, stream):
                    loaded[stream] = resumed
                else:
                    invalid.add(stream)
            if not more:
                break
            remaining = [each for each in remaining[remaining.index(page[-1][0]) :] if each not in invalid]
        for stream in invalid | snapshots.keys():
            loaded[stream] = await self.load(definition, stream)
        if definition.set_version is not None:
            for each in loaded.values():
                definition.set_version(each.state, each.version)
        return loaded

    async def _resume_from_snapshot(
        self, definition: FoldDefinition[S], stream: str, snapshot: LoadedSnapshot, until: Until
    ) -> LoadedState[S] | None:
        """Fold the events after a snapshot.

        Returns None if the snapshot lies beyond `until` or does not match the stream.
        """
        page, more = await self._log.history(stream, after=snapshot.version - 1, limit=PAGE_SIZE, until=until)
        resumed = await self._apply_to_snapshot(definition, snapshot, page, stream)
        if resumed is None or not more:
            return resumed
        return await self._fold_remaining(definition, stream, resumed, until)

    async def _verify_snapshot(
        self, definition: FoldDefinition[S], stream: str, resumed: LoadedState[S], empty: LoadedState[S]
    ) -> LoadedState[S] | None:
        """Fold all events up to the same version. Returns the state if it differs from the resumed one, else None."""
        refolded = await self._fold_remaining(definition, stream, empty, Until(version=resumed.version))
        if refolded.state == resumed.state:
            return None
        logger.error(
            "snapshot differs from the fold of the stream's events; replacing it: stream=%s fold=%s version=%d",
            stream,
            definition.snapshots and definition.snapshots.evolve.__qualname__,
            resumed.version,
        )
        return refolded

    async def _fold_remaining(
        self,
        definition: FoldDefinition[S],
        stream: str,
        loaded: LoadedState[S],
        until: Until,
    ) -> LoadedState[S]:
        """Fold the events after `loaded.version` into it."""
        while True:
            page, more = await self._log.history(stream, after=loaded.version, limit=PAGE_SIZE, until=until)
            await self._fold(definition, loaded, page, stream)
            if not more:
                return loaded

    async def _apply_to_snapshot(
        self, definition: FoldDefinition[S], snapshot: LoadedSnapshot, events: Sequence[EventSlice], stream: str
    ) -> LoadedState[S] | None:
        """Fold events into a snapshot. Returns None unless the first of them is the last event of the snapshot."""
        if not events or events[0][2] != snapshot.event_id:
            return None
        resumed: LoadedState[S] = LoadedState(snapshot.state, snapshot.version, events[0][1], snapshot.event_id)
        await self._fold(definition, resumed, events[1:], stream)
        return resumed

    async def _fold(
        self, definition: FoldDefinition[S], loaded: LoadedState[S], events: Sequence[EventSlice], stream: str
    ) -> None:
        state, evolve = loaded.state, definition.evolve
        last_type, last_schema, decode = "", 0, None
        for version, _, _, type, schema, data in await self._convert(definition, events, stream):
            # Consecutive events often have one type, so look the decoder up only when the type changes.
            if schema != last_schema or type != last_type:
                last_type, last_schema = type, schema
                decode = self._decoder(definition, type, schema, stream, version)
            if decode is not None:
                try:
                    event = decode(data)
                except Exception as error:
                    event = decode_again(decode, data, error, stream, version, type)
                state = evolve(state, event)
        if events:
            loaded.state = state
            loaded.version, loaded.position, loaded.event_id, *_ = events[-1]

    async def _convert(
        self, definition: FoldDefinition[S], events: Sequence[EventSlice], stream: str
    ) -> Sequence[EventSlice]:
        """Replace the events that no decoder can read alone, because of a split or because an upcaster needs more."""
        handled = self.codec.registry.handled_types(definition.events)
        converted = handled.registry.names.converted
        if not converted or converted.isdisjoint([each[3] for each in events]):
            return events
        ids = {each[2] for each in events if self.codec.needs_conversion(handled, each[3], each[4], stream, each[0])}
        recorded = {each.id: each for each in (await self._log.find(list(ids)) if ids else ())}
        return [
            part
            for each in events
            for part in (self._parts(handled, recorded.get(each[2])) if each[2] in ids else (each,))
        ]

    def _parts(self, handled: HandledTypes, recorded: RecordedEvent | None) -> Iterator[EventSlice]:
        """Yield the events that an event is read as; none if it has expired since its slice was read."""
        # fault: event-expires-before-conversion
        for each in self.codec.convert(handled, [recorded] if recorded else []):
            yield each.version, each.position, each.id, each.type, each.schema_version, each.data

    def _decoder(
        self, definition: FoldDefinition[S], type: str, schema: int, stream: str, version: int
    ) -> Decode | None:
        decoders = self._decoders[definition.events]
        if schema not in decoders[type]:
            handled = self.codec.registry.handled_types(definition.events)
            decoders[type][schema] = self.codec.decoder_for(handled, type, schema, stream, version)
        return decoders[type][schema]
