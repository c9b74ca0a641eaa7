"""Decides whether an append with stored event ids is a repetition. All backends share this rule."""

from collections.abc import Mapping, Sequence

from msgspec import Struct

from fait._events.append import Appended, IdConflict, StreamWrite
from fait._events.envelope import EncodedEvent, RecordedEvent
from fait._events.json_equality import same_json

__all__ = ["ExistingEvent", "resolve_duplicate"]


class ExistingEvent(Struct):
    """A stored event with the id of an event to append: the fields of `RecordedEvent` that say whether it is the same.

    The types in Python are those of `RecordedEvent`.
    """

    id: str
    stream: str
    version: int
    position: int
    type: str
    schema_version: int
    data: str
    tags: tuple[str, ...]


def resolve_duplicate(
    writes: Sequence[StreamWrite], stored: Mapping[str, ExistingEvent] | Mapping[str, RecordedEvent]
) -> Appended | IdConflict:
    """Return the result of an append of which some event ids are stored, or occur twice.

    The append is a repetition if all its events are stored in their streams, in the same order and consecutively, with
    the same type, tags and data. Times and metadata may differ: a repeated call often has others. The type may be
    stored under another name, as before it was renamed. Data of another name or schema version is not compared.

    Args:
        writes: the append.
        stored: the stored event of each event id that is stored.
    """
    ids = [event.id for write in writes for event in write.events]
    versions: list[int] = []
    for write in writes:
        first = stored.get(write.events[0].id)
        for version, event in enumerate(write.events, first.version if first else 0):
            existing = stored.get(event.id)
            if (
                existing is None
                or (existing.stream, existing.version) != (write.stream, version)
                or not _is_same(event, existing)
            ):
                conflict = next((each for each in ids if each in stored), None)
                return IdConflict(conflict or next(each for each in ids if ids.count(each) > 1))
        versions.append(first.version + len(write.events) - 1 if first else 0)
    return Appended(max(each.position for each in stored.values()), tuple(versions), repeated=True)


def _is_same(event: EncodedEvent, existing: ExistingEvent | RecordedEvent) -> bool:
    """Return whether an event states the same fact as a stored one. A set of tags has no order."""
    if set(event.tags) != set(existing.tags):
        return False
    if event.type != existing.type:
        # fault: duplicate-type-unchecked
        # fault: duplicate-under-former-name-refused
        return existing.type in event.other_types
    # fault: duplicate-data-unchecked
    return event.schema_version != existing.schema_version or same_json(event.data, existing.data)
