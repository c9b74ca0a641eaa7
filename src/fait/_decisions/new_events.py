"""New events of a decision or an append, and their encoding as stream writes."""

from collections.abc import Iterable, Sequence
from datetime import datetime

from msgspec import Struct

from fait._arguments import check_iterable, check_type
from fait._decisions.idempotency import Intention
from fait._events.append import StreamWrite
from fait._events.codec import Codec
from fait._events.stream import check_stream, check_tags
from fait._events.version import Expected, expected_number

__all__ = ["NewEvents", "encode_append", "encode_writes"]


class NewEvents(Struct, frozen=True):
    """New events for one stream, for `append` or decided by a boundary.

    Attributes:
        stream: name of the stream, as "category-id".
        events: at least one event, in order.
        expected: the version that the stream must have, or "no_stream", "exists" or "any".
        tags: further entities that all of these events belong to, each as "kind:id".
        occurred_at: the time the facts became true, as an aware datetime; None: the time the events are recorded.
    """

    stream: str
    events: Sequence[object]
    expected: Expected = "any"
    tags: Iterable[str] = ()
    occurred_at: datetime | None = None


def encode_append(codec: Codec, new_events: Sequence[NewEvents], intention: Intention) -> list[StreamWrite]:
    """Validate and encode new events as stream writes. Their ids do not depend on the order of the streams."""
    if len(new_events) == 1:
        return encode_writes(codec, new_events, intention)
    # fault: ids-in-order-of-arguments
    in_order = sorted(map(_check, new_events), key=lambda each: check_stream(each.stream))
    writes = {each.stream: each for each in encode_writes(codec, in_order, intention)}
    return [writes[each.stream] for each in new_events]


def encode_writes(codec: Codec, new_events: Iterable[NewEvents], intention: Intention) -> list[StreamWrite]:
    """Validate and encode new events as stream writes."""
    ids, metadata = intention.event_ids(), intention.metadata
    writes = list[StreamWrite]()
    for each in new_events:
        _check(each)
        tags = check_tags(each.tags)  # once: an iterator would be empty for the second event
        events = [
            codec.encode(event, id=next(ids), metadata=metadata, tags=tags, occurred_at=each.occurred_at)
            for event in each.events
        ]
        writes.append(StreamWrite(check_stream(each.stream), tuple(events), expected_number(each.expected)))
    return writes


def _check(new_events: NewEvents) -> NewEvents:
    if type(new_events) is not NewEvents:  # the usual case costs next to nothing
        check_type("new events", new_events, NewEvents, "NewEvents(stream, events)")
    if type(new_events.events) is not list:
        check_iterable("events", new_events.events, "a list of events")
    return new_events
