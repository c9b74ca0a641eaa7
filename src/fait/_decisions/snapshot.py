"""Snapshots: the saved state of a stream at a version, so that loading need not start at the first event.

A snapshot is a cache: it can be computed from the events and may be deleted at any time. It is used only under two
conditions. Its fold hash must be that of the current code, and the stream must still have its last event at its
version. So a snapshot is never used after a change of the fold, or in a log that was restored to an earlier time. A
small share of loads verifies its snapshot against a fold of all events.
"""

import asyncio
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol, TypeVar

import msgspec
from msgspec import Struct

from fait._decisions.decider import FoldDefinition, SnapshotPolicy
from fait._errors import DeclarationError, StoreUnavailable
from fait._events.event import event_type
from fait._events.registry import Registry
from fait._events.type_inspection import inspect_types
from fait._telemetry import logger

__all__ = [
    "SAVE_TIMEOUT_S",
    "VERIFIED_SHARE",
    "LoadedSnapshot",
    "Snapshot",
    "SnapshotStore",
    "Snapshots",
    "state_decoder",
]

S = TypeVar("S")

VERIFIED_SHARE: Final = 0.001
"""Share of the loads from a snapshot that are verified against a fold from the first event."""

SAVE_TIMEOUT_S: Final = 1.0
"""Timeout for snapshots that are being saved when the system closes."""

_encode = msgspec.json.Encoder(decimal_format="string").encode


class Snapshot(Struct, frozen=True):
    """The state of a stream at a version, as a store keeps it.

    Attributes:
        stream: name of the stream.
        version: version of the last event in the state.
        event_id: id of that event. If the stream has another event at this version, the snapshot is not used.
        fold_hash: hash of the code that computed the state.
        state: the state as JSON text.
    """

    stream: str
    version: int
    event_id: str
    fold_hash: str
    state: str


class SnapshotStore(Protocol):
    """The port for snapshots: a cache of folded streams. Rows may be deleted at any time."""

    async def load_snapshots(self, streams: Sequence[str]) -> list[Snapshot]:
        """Return the existing snapshots of these streams."""
        ...

    async def save_snapshot(self, snapshot: Snapshot) -> None:
        """Save a snapshot and replace the stream's previous one, even if that one has a higher version.

        An older snapshot is as correct as a newer one, so concurrent writers need not be ordered.
        """
        ...


class LoadedSnapshot(Struct):
    """A decoded snapshot. It is valid if the stream still has this event at this version."""

    state: Any
    version: int
    event_id: str


class _Fold(Struct, frozen=True):
    """The hash and the decoder of a fold, computed once per process."""

    hash: str
    decode: Callable[[str], Any]


class Snapshots:
    """Loads, creates and saves the snapshots of an app's folds.

    Attributes:
        random: returns a number from 0 to 1; it decides whether a load verifies its snapshot.
    """

    def __init__(self, store: SnapshotStore, registry: Registry) -> None:
        import random  # here, as it is slow to import and only an open system needs it

        self._store = store
        self._registry = registry
        self.random: Callable[[], float] = random.random
        self._folds: dict[object, _Fold] = {}
        self._saving: dict[str, asyncio.Task[None]] = {}
        self._unsupported_streams: set[str] = set()

    async def find(self, definition: FoldDefinition[Any], ids: Mapping[str, str]) -> dict[str, LoadedSnapshot]:
        """Return the usable snapshots, by stream.

        A snapshot that cannot be loaded is logged and left out: loading then starts at the first event.

        Args:
            definition: the fold of the streams; it has a snapshot policy.
            ids: the id for each stream.
        """
        assert definition.snapshots is not None
        fold = self._fold(definition, definition.snapshots)
        try:
            stored = await self._store.load_snapshots(list(ids))
        except StoreUnavailable as error:
            logger.warning("failed to load snapshots; folding streams from the first event: %s", error)
            return {}
        snapshots: dict[str, LoadedSnapshot] = {}
        for each in stored:
            if each.fold_hash != fold.hash:
                logger.debug(
                    "snapshot ignored, because it has another fold hash: stream=%s version=%d",
                    each.stream,
                    each.version,
                )
                continue
            try:
                state = definition.snapshots.on_restore(fold.decode(each.state), ids[each.stream])
            except Exception as error:  # decoding may run code of the application
                logger.error(
                    "failed to decode a snapshot; folding the stream from the first event: stream=%s version=%d: %s",
                    each.stream,
                    each.version,
                    type(error).__name__,
                )
                continue
            snapshots[each.stream] = LoadedSnapshot(state, each.version, each.event_id)
        return snapshots

    def should_verify(self) -> bool:
        """Return whether to verify the snapshot of this load; random, with probability `VERIFIED_SHARE`."""
        return self.random() < VERIFIED_SHARE

    def create(
        self, definition: FoldDefinition[S], stream: str, state: S, version: int, event_id: str
    ) -> Snapshot | None:
        """Encode the current state as a snapshot to be saved later.

        Returns:
            The snapshot; None if JSON does not represent the state exactly, or a snapshot of the stream is being saved.
        """
        assert definition.snapshots is not None
        if stream in self._saving or stream in self._unsupported_streams:
            return None
        fold = self._fold(definition, definition.snapshots)
        text = _encode_exactly(state, fold)
        if text is None:
            self._unsupported_streams.add(stream)
            logger.error(
                "failed to create a snapshot: the state is not equal after encoding to JSON and decoding: stream=%s",
                stream,
            )
            return None
        return Snapshot(stream, version, event_id, fold.hash, text)

    def save_later(self, snapshot: Snapshot | None) -> None:
        """Save a snapshot in a background task, unless one of the same stream is being saved."""
        if snapshot is not None and snapshot.stream not in self._saving:
            task = asyncio.create_task(self._save(snapshot), name="fait-snapshot")
            self._saving[snapshot.stream] = task
            task.add_done_callback(lambda _: self._saving.pop(snapshot.stream))

    async def close(self) -> None:
        """Wait until all snapshots are saved, at most `SAVE_TIMEOUT_S`: a snapshot can be lost without harm."""
        if self._saving:
            await asyncio.wait(self._saving.values(), timeout=SAVE_TIMEOUT_S)

    async def _save(self, snapshot: Snapshot) -> None:
        try:
            await self._store.save_snapshot(snapshot)
        except StoreUnavailable as error:
            logger.warning(
                "failed to save a snapshot: stream=%s version=%d: %s", snapshot.stream, snapshot.version, error
            )
        except Exception:
            logger.exception("failed to save a snapshot: stream=%s version=%d", snapshot.stream, snapshot.version)

    def _fold(self, definition: FoldDefinition[Any], policy: SnapshotPolicy) -> _Fold:
        # fault: snapshot-of-another-fold
        key = (policy.evolve, policy.initial)
        if key not in self._folds:
            from fait._decisions.definition_hash import walk_fold  # slow to import

            decode = state_decoder(policy)
            state = policy.state or _state_type(policy)
            walk = walk_fold(
                policy.evolve,
                state,
                definition.events,
                self._registry,
                initial=policy.initial,
                local_names=policy.local_names,
            )
            self._folds[key] = _Fold(walk.digest(), decode)
        return self._folds[key]


def _encode_exactly(state: object, fold: _Fold) -> str | None:
    """Return the state as JSON, or None unless it decodes to an equal state."""
    try:
        text = _encode(state).decode()
        return text if fold.decode(text) == state else None
    except Exception:  # loading must not fail because a snapshot cannot be created
        return None


def state_decoder(policy: SnapshotPolicy) -> Callable[[str], Any]:
    """Return a function that decodes a state from JSON text.

    Raises:
        DeclarationError: JSON cannot represent every state of that type exactly.
    """
    state = policy.state or _state_type(policy)
    # inspect_types resolves the annotations of a class. Any other type is wrapped as the field of one.
    record: Any = policy.state or msgspec.defstruct("State", [("state", state)])

    def scope(cls: type) -> Mapping[str, Any] | None:
        declared = event_type(cls)
        if policy.state is not None and issubclass(policy.state, cls) and hasattr(cls, "evolve"):
            return policy.local_names
        return declared.scope if declared else None

    problems = inspect_types(record, scope).problems
    if problems:
        raise DeclarationError(
            f"{_name_of(policy)} has snapshot_every, but JSON cannot represent its state exactly: "
            + "; ".join(f"{each.cls.__name__}.{each.field}: {each.reason} (fix: {each.advice})" for each in problems)
        )
    try:
        return msgspec.json.Decoder(state).decode
    except Exception as error:  # an annotation may evaluate to anything
        raise DeclarationError(
            f"{_name_of(policy)} has snapshot_every, but msgspec cannot decode its state: {error}"
        ) from None


def _state_type(policy: SnapshotPolicy) -> Any:
    """Return the return annotation of a decider's `evolve`."""
    try:
        returned = typing.get_type_hints(policy.evolve, include_extras=True).get("return")
    except NameError as error:
        raise DeclarationError(
            f"{_name_of(policy)}: an annotation refers to {error.name}, which is not defined at run time. If it is "
            "imported under TYPE_CHECKING, move the import out of that block."
        ) from None
    if returned is None:
        raise DeclarationError(
            f"{_name_of(policy)} has snapshot_every, but its evolve has no return annotation: annotate it with the "
            "type of the state"
        )
    return returned


def _name_of(policy: SnapshotPolicy) -> str:
    return policy.state.__qualname__ if policy.state else f"the decider of {policy.evolve.__qualname__}"
