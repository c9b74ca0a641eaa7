"""The history of a decision on one stream: an aggregate's command or a decider's decision.

Its events are loaded and folded, from a snapshot if there is one. After a conflict the stream is loaded again, because
the decision may have changed the state.
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Generic, TypeVar

from fait._clock import freeze
from fait._decisions.decider import DecidedEvent, FoldDefinition
from fait._decisions.idempotency import Basis, Intention
from fait._decisions.load import LoadedState, Loader
from fait._errors import WrongExpectedVersion
from fait._events.append import AppendResult, StreamWrite, Until, VersionConflict
from fait._events.codec import Codec
from fait._events.version import expected_number, is_expected

__all__ = ["StreamHistory"]

S = TypeVar("S")
R = TypeVar("R")


class StreamHistory(Generic[S, R]):
    """The events of a stream as a loaded state, and a decision on it: implements `History`.

    Args:
        loader: loads the stream.
        definition: the fold of the stream.
        stream: name of the stream.
        decide: returns the value and the new events for a state, which it may change.

    Attributes:
        stream: name of the stream.
        loaded: the state that was loaded last; the decision may have changed it.
        condition: None, because the version at which the stream was loaded is the write's expected version.
    """

    condition = None
    loaded: LoadedState[S]

    def __init__(
        self,
        loader: Loader,
        definition: FoldDefinition[S],
        stream: str,
        decide: Callable[[S], tuple[R, Sequence[DecidedEvent]]],
    ) -> None:
        self._loader = loader
        self._definition = definition
        self._decide = decide
        self.stream = stream

    @property
    def version(self) -> int:
        """Version at which the stream was loaded."""
        return self.loaded.version

    @property
    def position(self) -> int:
        """Position of the last event of the stream."""
        return self.loaded.position

    async def refresh(self) -> None:
        """Load the stream."""
        self.loaded = await self._loader.load(self._definition, self.stream)

    def decide(self, intention: Intention, now: datetime) -> tuple[R, Sequence[StreamWrite]]:
        """Decide on the loaded state, and encode the new events.

        Raises:
            WrongExpectedVersion: the stream is not at the version that the options require.
        """
        version, expected = self.loaded.version, intention.options.expected
        if expected is not None and not is_expected(expected_number(expected), version):
            raise WrongExpectedVersion(self.stream, expected, version)
        with freeze(now):
            value, events = self._decide(self.loaded.state)
        return value, _encode(self._loader.codec, events, self.stream, version, intention)

    async def decide_again(self, basis: Basis, now: datetime) -> tuple[R, int]:
        """Decide on the state at an earlier version; `fait.now()` returns `now`."""
        past = await self._loader.load(self._definition, self.stream, Until(version=basis.version))
        with freeze(now):
            value, events = self._decide(past.state)
        return value, len(events)

    def absorb(self, conflict: AppendResult) -> bool:
        """Return whether this is a version conflict. It carries no events: the next attempt loads the stream again."""
        return isinstance(conflict, VersionConflict)


def _encode(
    codec: Codec, events: Iterable[DecidedEvent], stream: str, version: int, intention: Intention
) -> list[StreamWrite]:
    """Return the events that were decided on a stream at a version as a write; no events give no write."""
    ids, metadata = intention.event_ids(), intention.metadata
    encoded = [
        codec.encode(each.event, id=next(ids), metadata=metadata, tags=each.tags, data=each.data) for each in events
    ]
    return [StreamWrite(stream, tuple(encoded), version)] if encoded else []
