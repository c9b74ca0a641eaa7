"""A snapshot is the state of a stream at a version, kept so that loading need not begin at the first event.

It is no fact. It can be made again from the events, and may be deleted at any time. It is used only if today's fold is
the one that made it (`fingerprint`), and if the event it ends with is still in the stream, so that neither changed
code nor a restored log is ever mixed with what was kept before. Now and then one is folded again, to prove it.
"""

import asyncio
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol, TypeVar

import msgspec
from msgspec import Struct

from fait._decisions.decider import FoldDefinition, SnapshotPolicy
from fait._decisions.fold_hash import fold_hash
from fait._errors import DeclarationError, StoreUnavailable
from fait._events.event import event_type
from fait._events.registry import Registry
from fait._events.type_inspection import inspect_types
from fait._telemetry import logger

__all__ = ["VERIFIED_SHARE", "LoadedSnapshot", "Snapshot", "SnapshotStore", "Snapshots", "state_decoder"]

S = TypeVar("S")

VERIFIED_SHARE: Final = 0.001
"""How many of the loads that begin at a snapshot are compared with a fold from the first event."""

_encode = msgspec.json.Encoder(decimal_format="string").encode


class Snapshot(Struct, frozen=True):
    """The state of a stream, as a store keeps it.

    Attributes:
        stream: its name.
        version: of the last event in it.
        event_id: of that event; a stream without it is not the one that this was made from.
        fold: fingerprint of the code that made it.
        state: JSON text.
    """

    stream: str
    version: int
    event_id: str
    fold_hash: str
    state: str


class SnapshotStore(Protocol):
    """The verbs of a ledger that snapshots need."""

    async def load_snapshots(self, streams: Sequence[str]) -> list[Snapshot]:
        """Those of the streams' snapshots that there are."""
        ...

    async def save_snapshot(self, snapshot: Snapshot) -> None:
        """Keep a snapshot in place of its stream's last one."""
        ...


class LoadedSnapshot(Struct):
    """A state to begin at, if the stream still has that event at that version."""

    state: Any
    version: int
    event_id: str


class _Fold(Struct, frozen=True):
    """What is worked out once for each fold."""

    hash: str
    decode: Callable[[str], Any]


class Snapshots:
    """Finds the snapshots of an app's folds, and takes new ones.

    Attributes:
        chance: gives a number from 0 to 1, which says whether a load proves its snapshot.
    """

    def __init__(self, keeper: SnapshotStore, registry: Registry) -> None:
        import random  # slow to import, and needed once a system is open

        self._store = keeper
        self._registry = registry
        self.random: Callable[[], float] = random.random
        self._folds: dict[object, _Fold] = {}
        self._saving: dict[str, asyncio.Task[None]] = {}
        self._unsupported_streams: set[str] = set()

    async def find(self, model: FoldDefinition[Any], ids: Mapping[str, str]) -> dict[str, LoadedSnapshot]:
        """States to begin at, by stream.

        Args:
            model: whose.
            ids: of the things, by stream.
        """
        assert model.snapshots is not None
        fold = self._fold(model, model.snapshots)
        try:
            stored = await self._store.load_snapshots(list(ids))
        except StoreUnavailable as problem:
            logger.warning("snapshots cannot be read, so streams are folded from their first event: %s", problem)
            return {}
        found: dict[str, LoadedSnapshot] = {}
        for each in stored:
            if each.fold_hash != fold.hash:
                logger.debug("the snapshot of %s was made by another fold and is not used", each.stream)
                continue
            try:
                state = model.snapshots.on_restore(fold.decode(each.state), ids[each.stream])
            except Exception as problem:  # the state's own code may run in here
                logger.error("the snapshot of %s cannot be read: %s", each.stream, type(problem).__name__)
                continue
            found[each.stream] = LoadedSnapshot(state, each.version, each.event_id)
        return found

    def should_verify(self) -> bool:
        """Whether this load is one of those that prove their snapshot."""
        return self.random() < VERIFIED_SHARE

    def create(self, model: FoldDefinition[S], stream: str, state: S, version: int, event_id: str) -> Snapshot | None:
        """A state as it is now, to be kept later; None if that cannot be, or is under way already."""
        assert model.snapshots is not None
        if stream in self._saving or stream in self._unsupported_streams:
            return None
        fold = self._fold(model, model.snapshots)
        text = _encode_exactly(state, fold)
        if text is None:
            self._unsupported_streams.add(stream)
            logger.error("the state of %s does not read back from JSON as it is, so no snapshot is kept", stream)
            return None
        return Snapshot(stream, version, event_id, fold.hash, text)

    def save_later(self, snapshot: Snapshot | None) -> None:
        """Keep a snapshot in the background; one at a time of each stream."""
        if snapshot is not None and snapshot.stream not in self._saving:
            task = asyncio.create_task(self._save(snapshot), name="fait-snapshot")
            self._saving[snapshot.stream] = task
            task.add_done_callback(lambda _: self._saving.pop(snapshot.stream))

    async def close(self) -> None:
        """Wait for those under way."""
        await asyncio.gather(*self._saving.values())

    async def _save(self, snapshot: Snapshot) -> None:
        try:
            await self._store.save_snapshot(snapshot)
        except StoreUnavailable as problem:
            logger.warning("the snapshot of %s was not kept: %s", snapshot.stream, problem)
        except Exception:
            logger.exception("the snapshot of %s was not kept", snapshot.stream)

    def _fold(self, model: FoldDefinition[Any], policy: SnapshotPolicy) -> _Fold:
        # fault: snapshot-of-another-fold
        key = (policy.evolve, policy.initial)
        if key not in self._folds:
            decode = state_decoder(policy)
            state = policy.state or _state_type(policy)
            print_ = fold_hash(policy.evolve, policy.initial, state, model.events, self._registry)
            self._folds[key] = _Fold(print_, decode)
        return self._folds[key]


def _encode_exactly(state: object, fold: _Fold) -> str | None:
    """The state as JSON, if it reads back as an equal one."""
    try:
        text = _encode(state).decode()
        return text if fold.decode(text) == state else None
    except Exception:  # a load does not fail because its state cannot be kept
        return None


def state_decoder(policy: SnapshotPolicy) -> Callable[[str], Any]:
    """Reads a state from JSON. Raises `DeclarationError` if JSON cannot hold every state of that type exactly."""
    state = policy.state or _state_type(policy)
    # A record is looked at itself, so that its annotations are resolved; any other type as the field of one.
    record: Any = policy.state or msgspec.defstruct("State", [("state", state)])

    def scope(cls: type) -> Mapping[str, Any] | None:
        declared = event_type(cls)
        if policy.state is not None and issubclass(policy.state, cls) and hasattr(cls, "evolve"):
            return policy.local_names
        return declared.scope if declared else None

    problems = inspect_types(record, scope).problems
    if problems:
        raise DeclarationError(
            f"{_name_of(policy)} has snapshot_every, but JSON does not hold its state exactly: "
            + "; ".join(f"{each.cls.__name__}.{each.field}: {each.reason} (do: {each.advice})" for each in problems)
        )
    try:
        return msgspec.json.Decoder(state).decode
    except Exception as problem:  # its types are whatever annotations evaluate to
        raise DeclarationError(
            f"{_name_of(policy)} has snapshot_every, but no decoder can be built: {problem}"
        ) from None


def _state_type(policy: SnapshotPolicy) -> Any:
    """What a decider's `evolve` returns."""
    try:
        returned = typing.get_type_hints(policy.evolve, include_extras=True).get("return")
    except NameError as missing:
        raise DeclarationError(
            f"{_name_of(policy)}: an annotation names {missing.name}, which is not known at run time"
        ) from None
    if returned is None:
        raise DeclarationError(f"{_name_of(policy)} has snapshot_every: annotate the type of the state it returns")
    return returned


def _name_of(policy: SnapshotPolicy) -> str:
    return (policy.state or policy.evolve).__qualname__
