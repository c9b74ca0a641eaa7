"""Hypothesis strategies: `events_of` and `histories` for the events of an application; the others for backends.

Those for backends generate appends and reads, with few streams and ids, for frequent conflicts. Needs hypothesis.
"""

from datetime import UTC, datetime, timedelta

from hypothesis import strategies as st

from fait._events.append import StreamWrite, Until
from fait._events.envelope import EncodedEvent
from fait._events.query import Query
from fait._events.version import ANY, EXISTS
from fait.testing.event_strategies import events_of, histories

__all__ = [
    "CATEGORIES",
    "STREAMS",
    "TAGS",
    "TYPES",
    "events_of",
    "histories",
    "new_events",
    "queries",
    "times",
    "untils",
    "writes",
]

CATEGORIES = ("order", "customer", "ä")
"""Categories of `STREAMS`."""

STREAMS = ("order-1", "order-2", "order", "customer-1", "ä-𝄞", "order-line-1")
TYPES = ("placed", "paid", "größe")
TAGS = ("customer:1", "customer:2", "ä")


def times() -> st.SearchStrategy[datetime]:
    """Times of one day, in UTC."""
    first = datetime(2024, 1, 15, 12, tzinfo=UTC)
    return st.timedeltas(timedelta(0), timedelta(days=1)).map(first.__add__)


@st.composite
def new_events(draw: st.DrawFn, ids: st.SearchStrategy[str]) -> EncodedEvent:
    """Encoded events of any type, with or without tags, expiring or not."""
    return EncodedEvent(
        type=draw(st.sampled_from(TYPES)),
        schema_version=draw(st.integers(1, 3)),
        id=draw(ids),
        data=draw(st.sampled_from(['{"n":1}', ' {"ä": "\\ud83d\\ude00 😀"} ', "[]"])),
        tags=tuple(draw(st.lists(st.sampled_from(TAGS), max_size=2))),
        occurred_at=draw(st.none() | times()),
        expires=draw(st.booleans()),
    )


@st.composite
def writes(draw: st.DrawFn, ids: st.SearchStrategy[str]) -> list[StreamWrite]:
    """Appends to one to three streams; their expected versions may or may not hold."""
    streams = draw(st.lists(st.sampled_from(STREAMS), min_size=1, max_size=3, unique=True))
    expected = st.sampled_from([ANY, ANY, ANY, EXISTS]) | st.integers(0, 6)
    return [
        StreamWrite(stream, tuple(draw(st.lists(new_events(ids), min_size=1, max_size=3))), draw(expected))
        for stream in streams
    ]


def queries() -> st.SearchStrategy[Query]:
    """Queries that match some of these events."""
    return st.builds(
        Query,
        types=st.lists(st.sampled_from(TYPES), max_size=2).map(tuple),
        tags=st.lists(st.sampled_from(TAGS), max_size=2).map(tuple),
        category=st.none() | st.sampled_from(CATEGORIES),
    )


def untils(head: int) -> st.SearchStrategy[Until]:
    """Limits for reading a stream, in a log with this head."""
    return st.builds(
        Until,
        version=st.none() | st.integers(0, 8),
        position=st.none() | st.integers(0, head + 1),
        recorded_at=st.none() | times(),
    )
