"""Whether an append whose event ids are taken is the same append, made before: the one rule of all backends."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from fait._events.append import Appended, IdConflict, StreamWrite

__all__ = ["resolve_duplicate"]


class EventPlace(Protocol):
    """Where an event is stored."""

    @property
    def stream(self) -> str:
        """Its stream."""
        ...

    @property
    def version(self) -> int:
        """Its place in it."""
        ...

    @property
    def position(self) -> int:
        """Its place in the log."""
        ...


def resolve_duplicate(writes: Sequence[StreamWrite], stored: Mapping[str, EventPlace]) -> Appended | IdConflict:
    """The answer to an append of which some ids are taken, given where those are stored.

    It is a repetition if every event is stored, in the stream it is meant for, in the same order and without others
    between.
    """
    ids = [event.id for write in writes for event in write.events]
    versions: list[int] = []
    for write in writes:
        found = [stored.get(event.id) for event in write.events]
        first = found[0].version if found[0] else 0
        for place, event in enumerate(found):
            if event is None or event.stream != write.stream or event.version != first + place:
                taken = next((each for each in ids if each in stored), None)
                return IdConflict(taken or next(each for each in ids if ids.count(each) > 1))
        versions.append(first + len(found) - 1)
    return Appended(max(event.position for event in stored.values()), tuple(versions), repeated=True)
