"""Facts are decided events on their way to the log: for which stream, expected how, belonging to what else."""

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
    """Events for one stream.

    Attributes:
        stream: its name.
        events: at least one.
        expected: the version it must be at, or "no_stream", "exists", "any".
        tags: the other things these events belong to, as "kind:id".
        occurred_at: when they became true; None = when they are recorded.
    """

    stream: str
    events: Sequence[object]
    expected: Expected = "any"
    tags: Sequence[str] = ()
    occurred_at: datetime | None = None


def event_ids(scope: str, key: str | None, event_id: str | None = None) -> Callable[[], str]:
    """Where an append's event ids come from: the caller, its key, or chance."""
    if event_id is not None:
        return iter([check_event_id(event_id)]).__next__
    if key is None:
        return new_id
    places = iter(range(1 << 30))
    return lambda: event_id_for_key(scope, key, next(places))


def encode_writes(codec: Codec, facts: Iterable[NewEvents], ids: Callable[[], str], metadata: str) -> list[StreamWrite]:
    """The facts as a log takes them, each event encoded and proven."""
    return [
        StreamWrite(
            check_stream(each.stream),
            tuple(
                codec.encode(event, id=ids(), metadata=metadata, tags=each.tags, occurred_at=each.occurred_at)
                for event in each.events
            ),
            expected_number(each.expected),
        )
        for each in facts
    ]
