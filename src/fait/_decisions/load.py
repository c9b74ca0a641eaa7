"""Loading is folding: a stream becomes state, page by page, from its first event or from a snapshot.

However long a stream is, one page of its events is in memory.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import islice
from typing import Final, Generic, Protocol, TypeVar

import msgspec
from msgspec import Struct

from fait._decisions.decider import FoldDefinition
from fait._decisions.snapshot import LoadedSnapshot, Snapshot, Snapshots
from fait._events.append import PAGE_SIZE, Until
from fait._events.codec import Codec, Decode, DecodeTable, decode_error
from fait._events.envelope import EventSlice
from fait._events.stream import stream_name
from fait._telemetry import logger

__all__ = ["MAX_STREAMS_PER_READ", "HistoryReader", "LoadedState", "Loader"]

S = TypeVar("S")

MAX_STREAMS_PER_READ: Final = 500
"""How many streams are asked for at a time."""

_PRESENT: Final = Until()


class HistoryReader(Protocol):
    """The verbs of a log that loading needs."""

    async def history(self, stream: str, *, after: int = 0, limit: int = ..., until: Until = ...) -> list[EventSlice]:
        """What a fold needs of a stream's events, in order."""
        ...

    async def histories(
        self, streams: Sequence[tuple[str, int]], *, limit: int = ...
    ) -> list[tuple[str, list[EventSlice]]]:
        """The same of several streams, one after another."""
        ...


class LoadedState(Struct, Generic[S]):
    """A folded stream.

    Attributes:
        state: the fold of its events.
        version, position, event_id: of the last of them.
        due: the same as a snapshot, if it is time to keep one.
    """

    state: S
    version: int = 0
    position: int = 0
    event_id: str = ""
    new_snapshot: Snapshot | None = None


class Loader:
    """Folds streams of a log."""

    def __init__(self, log: HistoryReader, codec: Codec, snapshots: Snapshots | None) -> None:
        self._log = log
        self._codec = codec
        self._readers: defaultdict[tuple[type, ...], DecodeTable] = defaultdict(lambda: defaultdict(dict))
        self.snapshots = snapshots

    async def load(
        self, model: FoldDefinition[S], id: str, until: Until = _PRESENT, as_of: datetime | None = None
    ) -> LoadedState[S]:
        """Fold a stream. With `as_of`, only facts that were true by then, in the order of versions."""
        stream, fresh = stream_name(model.category, id), LoadedState(model.initial(id))
        if self.snapshots is None or model.snapshots is None or as_of is not None:
            return await self._fold_rest(model, stream, fresh, until, as_of)
        kept = (await self.snapshots.find(model, {stream: id})).get(stream)
        begun = await self._resume_from_snapshot(model, stream, kept, until) if kept else None
        if kept is None or begun is None:
            loaded, since = await self._fold_rest(model, stream, fresh, until), 0
        elif self.snapshots.should_verify() and (told := await self._verify_snapshot(model, stream, begun, fresh)):
            loaded, since = told, -model.snapshots.every  # to be replaced at once
        else:
            loaded, since = begun, kept.version
        if until == _PRESENT and loaded.version - since >= model.snapshots.every:
            loaded.new_snapshot = self.snapshots.create(model, stream, loaded.state, loaded.version, loaded.event_id)
        return loaded

    async def load_many(self, model: FoldDefinition[S], ids: Iterable[str]) -> dict[str, LoadedState[S]]:
        """Fold many streams as they are now, with few requests; not all as of one moment."""
        found: dict[str, LoadedState[S]] = {}
        rest = iter(dict.fromkeys(ids))
        while some := list(islice(rest, MAX_STREAMS_PER_READ)):
            found.update(await self._load_group(model, {stream_name(model.category, id): id for id in some}))
        return found

    async def _load_group(self, model: FoldDefinition[S], ids: dict[str, str]) -> dict[str, LoadedState[S]]:
        loaded = {stream: LoadedState(model.initial(id)) for stream, id in ids.items()}
        kept = await self.snapshots.find(model, ids) if self.snapshots and model.snapshots else {}
        unlike = set[str]()
        rest = list(ids)
        while rest:
            asked = [(each, kept[each].version - 1 if each in kept else loaded[each].version) for each in rest]
            page = await self._log.histories(asked, limit=PAGE_SIZE)
            for stream, events in page:
                if stream not in kept:
                    self._fold(model, loaded[stream], events, stream)
                elif begun := self._apply_to_snapshot(model, kept.pop(stream), events, stream):
                    loaded[stream] = begun
                else:
                    unlike.add(stream)
            full = sum(len(events) for _, events in page) == PAGE_SIZE
            rest = [each for each in rest[rest.index(page[-1][0]) :] if each not in unlike] if full else []
        for stream in unlike | kept.keys():
            loaded[stream] = await self.load(model, ids[stream])
        return {id: loaded[stream] for stream, id in ids.items()}

    async def _resume_from_snapshot(
        self, model: FoldDefinition[S], stream: str, kept: LoadedSnapshot, until: Until
    ) -> LoadedState[S] | None:
        """Fold what comes after a snapshot; None if it is beyond the limits, or of another stream of that name."""
        page = await self._log.history(stream, after=kept.version - 1, limit=PAGE_SIZE, until=until)
        begun = self._apply_to_snapshot(model, kept, page, stream)
        return begun if begun is None or len(page) < PAGE_SIZE else await self._fold_rest(model, stream, begun, until)

    async def _verify_snapshot(
        self, model: FoldDefinition[S], stream: str, begun: LoadedState[S], fresh: LoadedState[S]
    ) -> LoadedState[S] | None:
        """The same version as all its events tell it, if that is not what the snapshot led to."""
        told = await self._fold_rest(model, stream, fresh, Until(version=begun.version))
        if told.state == begun.state:
            return None
        name = model.snapshots and model.snapshots.evolve.__qualname__
        logger.error("the snapshot of %s is not what %s makes of its events; it is replaced", stream, name)
        return told

    async def _fold_rest(
        self, model: FoldDefinition[S], stream: str, loaded: LoadedState[S], until: Until, as_of: datetime | None = None
    ) -> LoadedState[S]:
        """Fold what comes after what is folded already."""
        if as_of is not None:
            until = msgspec.structs.replace(until, occurred_at=as_of)
        while True:
            page = await self._log.history(stream, after=loaded.version, limit=PAGE_SIZE, until=until)
            self._fold(model, loaded, page, stream)
            if len(page) < PAGE_SIZE:
                return loaded

    def _apply_to_snapshot(
        self, model: FoldDefinition[S], kept: LoadedSnapshot, events: Sequence[EventSlice], stream: str
    ) -> LoadedState[S] | None:
        """What these events add to a snapshot, if they begin with the one that it ends with."""
        if not events or events[0][2] != kept.event_id:
            return None
        begun: LoadedState[S] = LoadedState(kept.state, kept.version, events[0][1], kept.event_id)
        self._fold(model, begun, events[1:], stream)
        return begun

    def _fold(
        self, model: FoldDefinition[S], loaded: LoadedState[S], events: Sequence[EventSlice], stream: str
    ) -> None:
        state, evolve = loaded.state, model.evolve
        kind, kind_schema, reader = "", 0, None
        for version, _, _, name, schema, data in events:
            if schema != kind_schema or name != kind:  # kinds come in runs: ask once for each
                kind, kind_schema, reader = name, schema, self._reader(model, name, schema, stream, version)
            if reader is not None:
                try:
                    event = reader(data)
                except Exception as problem:
                    raise decode_error(problem, stream, version, name) from None
                state = evolve(state, event)
        if events:
            loaded.state = state
            loaded.version, loaded.position, loaded.event_id, *_ = events[-1]

    def _reader(self, model: FoldDefinition[S], name: str, schema: int, stream: str, version: int) -> Decode | None:
        readers = self._readers[model.events]
        if schema not in readers[name]:
            taken = self._codec.registry.handled_types(model.events)
            readers[name][schema] = self._codec.decoder_for(taken, name, schema, stream, version)
        return readers[name][schema]
