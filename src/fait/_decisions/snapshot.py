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

from fait._decisions.decider import Model, Policy
from fait._decisions.fold_hash import fingerprint
from fait._errors import DeclarationError, StoreUnavailable
from fait._events.event import event_type
from fait._events.registry import Registry
from fait._events.type_inspection import survey
from fait._telemetry import logger

__all__ = ["PROVEN", "Keeper", "Kept", "Snapshot", "Snapshots", "state_decoder"]

S = TypeVar("S")

PROVEN: Final = 0.001
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
    fold: str
    state: str


class Keeper(Protocol):
    """The verbs of a ledger that snapshots need."""

    async def snapshots(self, streams: Sequence[str]) -> list[Snapshot]:
        """Those of the streams' snapshots that there are."""
        ...

    async def keep(self, snapshot: Snapshot) -> None:
        """Keep a snapshot in place of its stream's last one."""
        ...


class Kept(Struct):
    """A state to begin at, if the stream still has that event at that version."""

    state: Any
    version: int
    event_id: str


class _Fold(Struct, frozen=True):
    """What is worked out once for each fold."""

    fingerprint: str
    decode: Callable[[str], Any]


class Snapshots:
    """Finds the snapshots of an app's folds, and takes new ones.

    Attributes:
        chance: gives a number from 0 to 1, which says whether a load proves its snapshot.
    """

    def __init__(self, keeper: Keeper, registry: Registry) -> None:
        import random  # slow to import, and needed once a system is open

        self._keeper = keeper
        self._registry = registry
        self.chance: Callable[[], float] = random.random
        self._folds: dict[object, _Fold] = {}
        self._taking: dict[str, asyncio.Task[None]] = {}
        self._unfit: set[str] = set()

    async def find(self, model: Model[Any], ids: Mapping[str, str]) -> dict[str, Kept]:
        """States to begin at, by stream.

        Args:
            model: whose.
            ids: of the things, by stream.
        """
        assert model.snapshots is not None
        fold = self._fold(model, model.snapshots)
        try:
            stored = await self._keeper.snapshots(list(ids))
        except StoreUnavailable as problem:
            logger.warning("snapshots cannot be read, so streams are folded from their first event: %s", problem)
            return {}
        found: dict[str, Kept] = {}
        for each in stored:
            if each.fold != fold.fingerprint:
                logger.debug("the snapshot of %s was made by another fold and is not used", each.stream)
                continue
            try:
                state = model.snapshots.restored(fold.decode(each.state), ids[each.stream])
            except Exception as problem:  # the state's own code may run in here
                logger.error("the snapshot of %s cannot be read: %s", each.stream, type(problem).__name__)
                continue
            found[each.stream] = Kept(state, each.version, each.event_id)
        return found

    def doubted(self) -> bool:
        """Whether this load is one of those that prove their snapshot."""
        return self.chance() < PROVEN

    def taken(self, model: Model[S], stream: str, state: S, version: int, event_id: str) -> Snapshot | None:
        """A state as it is now, to be kept later; None if that cannot be, or is under way already."""
        assert model.snapshots is not None
        if stream in self._taking or stream in self._unfit:
            return None
        fold = self._fold(model, model.snapshots)
        text = _exact(state, fold)
        if text is None:
            self._unfit.add(stream)
            logger.error("the state of %s does not read back from JSON as it is, so no snapshot is kept", stream)
            return None
        return Snapshot(stream, version, event_id, fold.fingerprint, text)

    def begin(self, snapshot: Snapshot | None) -> None:
        """Keep a snapshot in the background; one at a time of each stream."""
        if snapshot is not None and snapshot.stream not in self._taking:
            task = asyncio.create_task(self._keep(snapshot), name="fait-snapshot")
            self._taking[snapshot.stream] = task
            task.add_done_callback(lambda _: self._taking.pop(snapshot.stream))

    async def close(self) -> None:
        """Wait for those under way."""
        await asyncio.gather(*self._taking.values())

    async def _keep(self, snapshot: Snapshot) -> None:
        try:
            await self._keeper.keep(snapshot)
        except StoreUnavailable as problem:
            logger.warning("the snapshot of %s was not kept: %s", snapshot.stream, problem)
        except Exception:
            logger.exception("the snapshot of %s was not kept", snapshot.stream)

    def _fold(self, model: Model[Any], policy: Policy) -> _Fold:
        key = (policy.evolve, policy.initial)
        if key not in self._folds:
            decode = state_decoder(policy)
            state = policy.state or _returned(policy)
            print_ = fingerprint(policy.evolve, policy.initial, state, model.events, self._registry)
            self._folds[key] = _Fold(print_, decode)
        return self._folds[key]


def _exact(state: object, fold: _Fold) -> str | None:
    """The state as JSON, if it reads back as an equal one."""
    try:
        text = _encode(state).decode()
        return text if fold.decode(text) == state else None
    except Exception:  # a load does not fail because its state cannot be kept
        return None


def state_decoder(policy: Policy) -> Callable[[str], Any]:
    """Reads a state from JSON. Raises `DeclarationError` if JSON cannot hold every state of that type exactly."""
    state = policy.state or _returned(policy)
    # A record is looked at itself, so that its annotations are resolved; any other type as the field of one.
    record: Any = policy.state or msgspec.defstruct("State", [("state", state)])

    def scope(cls: type) -> Mapping[str, Any] | None:
        declared = event_type(cls)
        if policy.state is not None and issubclass(policy.state, cls) and hasattr(cls, "evolve"):
            return policy.names
        return declared.scope if declared else None

    problems = survey(record, scope).problems
    if problems:
        raise DeclarationError(
            f"{_where(policy)} has snapshot_every, but JSON does not hold its state exactly: "
            + "; ".join(f"{each.cls.__name__}.{each.field}: {each.why} (do: {each.do})" for each in problems)
        )
    try:
        return msgspec.json.Decoder(state).decode
    except Exception as problem:  # its types are whatever annotations evaluate to
        raise DeclarationError(f"{_where(policy)} has snapshot_every, but no decoder can be built: {problem}") from None


def _returned(policy: Policy) -> Any:
    """What a decider's `evolve` returns."""
    try:
        returned = typing.get_type_hints(policy.evolve, include_extras=True).get("return")
    except NameError as missing:
        raise DeclarationError(
            f"{_where(policy)}: an annotation names {missing.name}, which is not known at run time"
        ) from None
    if returned is None:
        raise DeclarationError(f"{_where(policy)} has snapshot_every: annotate the type of the state it returns")
    return returned


def _where(policy: Policy) -> str:
    return (policy.state or policy.evolve).__qualname__
