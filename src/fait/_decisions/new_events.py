"""New events of a decision or an append, and their encoding as stream writes."""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime

from msgspec import Struct

from fait._clock import new_id
from fait._decisions.transact import event_id_for_key
from fait._events.append import StreamWrite
from fait._events.codec import Codec, check_event_id
from fait._events.stream import check_stream
from fait._events.version import Expected, expected_number

__all__ = ["NewEvents", "encode_writes", "event_ids"]


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
    tags: Sequence[str] = ()
    occurred_at: datetime | None = None


def event_ids(scope: str, key: str | None, event_id: str | None = None) -> Callable[[], str]:
    """Return a function that gives the next event id of an append.

    Args:
        scope: where the key is valid: the name of a stream or of a boundary.
        key: the idempotency key that the ids are derived from; None: the ids are random.
        event_id: the id of the append's only event, chosen by the caller; it takes precedence over the key.
    """
    if event_id is not None:
        return iter([check_event_id(event_id)]).__next__
    if key is None:
        return new_id
    indexes = iter(range(1 << 30))
    return lambda: event_id_for_key(scope, key, next(indexes))


def encode_writes(
    codec: Codec, new_events: Iterable[NewEvents], ids: Callable[[], str], metadata: str
) -> list[StreamWrite]:
    """Validate and encode new events as stream writes."""
    return [
        StreamWrite(
            check_stream(each.stream),
            tuple(
                codec.encode(event, id=ids(), metadata=metadata, tags=each.tags, occurred_at=each.occurred_at)
                for event in each.events
            ),
            expected_number(each.expected),
        )
        for each in new_events
    ]
