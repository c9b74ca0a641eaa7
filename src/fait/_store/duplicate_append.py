"""Decides whether an append with stored event ids is a repetition. All backends share this rule."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from fait._events.append import Appended, IdConflict, StreamWrite

__all__ = ["resolve_duplicate"]


class EventPlace(Protocol):
    """Where an event is stored."""

    @property
    def stream(self) -> str:
        """Name of its stream."""
        ...

    @property
    def version(self) -> int:
        """Its version in the stream."""
        ...

    @property
    def position(self) -> int:
        """Its position in the log."""
        ...


def resolve_duplicate(writes: Sequence[StreamWrite], stored: Mapping[str, EventPlace]) -> Appended | IdConflict:
    """Return the result of an append of which some event ids are stored, or occur twice.

    The append is a repetition if all its events are stored in their streams, in the same order and consecutively.

    Args:
        writes: the append.
        stored: for each stored event id, where it is stored.
    """
    ids = [event.id for write in writes for event in write.events]
    versions: list[int] = []
    for write in writes:
        places = [stored.get(event.id) for event in write.events]
        first = places[0].version if places[0] else 0
        for index, place in enumerate(places):
            if place is None or place.stream != write.stream or place.version != first + index:
                conflict = next((each for each in ids if each in stored), None)
                return IdConflict(conflict or next(each for each in ids if ids.count(each) > 1))
        versions.append(first + len(places) - 1)
    return Appended(max(place.position for place in stored.values()), tuple(versions), repeated=True)
