"""Facts are decided events on their way to the log: for which stream, expected how, belonging to what else."""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime

from msgspec import Struct

from fait._clock import new_id
from fait._decisions.transact import key_id
from fait._events.append import Write
from fait._events.codec import Codec, check_event_id
from fait._events.stream import check_stream
from fait._events.version import Expected, expected_number

__all__ = ["Facts", "ids_for", "writes_of"]


class Facts(Struct, frozen=True):
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


def ids_for(scope: str, key: str | None, event_id: str | None = None) -> Callable[[], str]:
    """Where an append's event ids come from: the caller, its key, or chance."""
    if event_id is not None:
        return iter([check_event_id(event_id)]).__next__
    if key is None:
        return new_id
    places = iter(range(1 << 30))
    return lambda: key_id(scope, key, next(places))


def writes_of(codec: Codec, facts: Iterable[Facts], ids: Callable[[], str], metadata: str) -> list[Write]:
    """The facts as a log takes them, each event encoded and proven."""
    return [
        Write(
            check_stream(each.stream),
            tuple(
                codec.new(event, id=ids(), metadata=metadata, tags=each.tags, occurred_at=each.occurred_at)
                for event in each.events
            ),
            expected_number(each.expected),
        )
        for each in facts
    ]
