"""Wrong arguments are usage errors on every backend, before anything is sent."""

from collections.abc import AsyncIterator, Callable
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from typing import Any

import pytest
from msgspec import Struct

import fait
from fait import InvalidValue, NewEvents, Query, System, UsageError
from fait._delivery.outbox.outbox import OutboxBuffer, OutboxEntry
from fait.store import AppendCondition, Until

pytestmark = pytest.mark.anyio


@fait.event("seat-booked")
class SeatBooked(Struct, frozen=True):
    """An event."""

    seat: int


class Show(fait.Aggregate, category="show"):
    """An aggregate whose command passes on its tags."""

    def book(self, tags: Any = ()) -> None:
        """Emit an event with these tags."""
        self.emit(SeatBooked(1), tags=tags)

    def evolve(self, event: SeatBooked) -> None:
        """Do nothing."""


@pytest.fixture(params=["memory", "sqlite", "postgres"])
async def s(request: pytest.FixtureRequest, store_url: Callable[[str], str]) -> AsyncIterator[System]:
    app = fait.App("tickets")
    app.include(SeatBooked, Show)
    async with app.open(store_url(request.param)) as system:
        yield system


async def events(s: System, **arguments: Any) -> list[Any]:
    return [event async for event in s.events(**arguments)]


INTEGER_ENTRANCES: dict[str, Callable[[System, Any], Any]] = {
    "load version": lambda s, n: s.load(Show, "1", version=n),
    "load position": lambda s, n: s.load(Show, "1", position=n),
    "read after": lambda s, n: s.read("show-1", after=n),
    "read limit": lambda s, n: s.read("show-1", limit=n),
    "read until version": lambda s, n: s.read("show-1", until=Until(version=n)),
    "read until position": lambda s, n: s.read("show-1", until=Until(position=n)),
    "events after": lambda s, n: events(s, after=n),
    "condition after": lambda s, n: s.store.log.append([], AppendCondition((), n)),
    "publish expected": lambda s, n: s.using(expected=n).publish(SeatBooked(1), stream="show-1"),
    "transact expected": lambda s, n: s.using(expected=n).transact(Show.book, "1"),
    "append expected": lambda s, n: s.append(NewEvents("show-1", [SeatBooked(1)], expected=n)),
}


@pytest.mark.parametrize("wrong", [-1, 1 << 63, "1", 1.0], ids=repr)
@pytest.mark.parametrize("entrance", INTEGER_ENTRANCES)
async def test_wrong_version_position_or_limit_is_usage_error(s: System, entrance: str, wrong: Any) -> None:
    with pytest.raises(UsageError, match=r"must be (an integer|a version)"):
        await INTEGER_ENTRANCES[entrance](s, wrong)
    assert await s.store.log.head() == 0


async def add_to_outbox(s: System, **arguments: Any) -> None:
    """Encode an event as an outbox does, without a database."""
    buffer = OutboxBuffer(s._loader.codec, "fait")
    entry: dict[str, Any] = {"expected": "any", "tags": (), "occurred_at": None, "id": None, "key": None, "scope": ""}
    buffer.add(OutboxEntry(SeatBooked(1), "show-1", **(entry | arguments)))


TAG_ENTRANCES: dict[str, Callable[[System, Any], Any]] = {
    "publish": lambda s, tags: s.publish(SeatBooked(1), stream="show-1", tags=tags),
    "append": lambda s, tags: s.append(NewEvents("show-1", [SeatBooked(1)], tags=tags)),
    "emit": lambda s, tags: s.transact(Show.book, "1", tags),
    "outbox": lambda s, tags: add_to_outbox(s, tags=tags),
    "query": lambda s, tags: s.query(Query(tags=tags)),
    "query of classes": lambda s, tags: s.query(Query.of(SeatBooked, tags=tags)),
    "query with types": lambda s, types: s.query(Query(types=types)),
}


@pytest.mark.parametrize("wrong", ["seat:9", "", b"ab", None, 5, (None,), (SeatBooked,), {"seat:9": 1}], ids=repr)
@pytest.mark.parametrize("entrance", TAG_ENTRANCES)
async def test_tags_or_types_that_are_no_collection_of_strings_are_usage_error(
    s: System, entrance: str, wrong: Any
) -> None:
    with pytest.raises(UsageError, match=r"must be a (collection of strings|str)"):
        await TAG_ENTRANCES[entrance](s, wrong)
    assert await s.store.log.head() == 0


@pytest.mark.parametrize("wrong", ["", "a\0", "\ud800", "a" * 501], ids=["empty", "NUL", "surrogate", "long"])
@pytest.mark.parametrize("entrance", TAG_ENTRANCES)
async def test_tag_or_type_that_cannot_be_stored_is_invalid_value(s: System, entrance: str, wrong: str) -> None:
    with pytest.raises(InvalidValue):
        await TAG_ENTRANCES[entrance](s, ["show:1", wrong])
    assert await s.store.log.head() == 0


async def test_tags_of_an_iterator_belong_to_every_event_of_the_append(s: System) -> None:
    await s.append(NewEvents("show-1", [SeatBooked(1), SeatBooked(2)], tags=iter(["a:1", "b:2"])))

    assert [each.tags for each in await s.read("show-1")] == [("a:1", "b:2")] * 2


def test_query_for_classes_is_refused_with_the_correct_call() -> None:
    types: Any = (SeatBooked,)

    with pytest.raises(UsageError, match=r"use Query\.of\(OrderPlaced"):
        Query(types=types)


@pytest.mark.parametrize("wrong", [5, "", "a\0", "order-7"], ids=repr)
def test_query_for_a_category_that_no_stream_has_is_refused(wrong: Any) -> None:
    with pytest.raises((UsageError, InvalidValue)):
        Query(category=wrong)


def test_query_with_lists_equals_query_with_tuples() -> None:
    types: Any = ["seat-booked"]

    assert Query(types, iter(["show:1"])) == Query(("seat-booked",), ("show:1",))  # type: ignore[arg-type]


class Unknown(tzinfo):
    """A time zone without an offset, which makes a datetime naive."""

    def utcoffset(self, dt: datetime | None) -> None:
        """Return None."""
        return


TIME_ENTRANCES: dict[str, Callable[[System, Any], Any]] = {
    "load at": lambda s, time: s.load(Show, "1", at=time),
    "load as_of": lambda s, time: s.load(Show, "1", as_of=time),
    "read until recorded_at": lambda s, time: s.read("show-1", until=Until(recorded_at=time)),
    "read until occurred_at": lambda s, time: s.read("show-1", until=Until(occurred_at=time)),
    "publish": lambda s, time: s.publish(SeatBooked(1), stream="show-1", occurred_at=time),
    "append": lambda s, time: s.append(NewEvents("show-1", [SeatBooked(1)], occurred_at=time)),
    "outbox": lambda s, time: add_to_outbox(s, occurred_at=time),
    "expire": lambda s, time: s.store.log.expire("seat-booked", time, 1),
    "clock": lambda s, time: fait.ManualClock(time),
}
WRONG_TIMES = {
    "naive": datetime(2024, 1, 15),
    "zone without offset": datetime(2024, 1, 15, tzinfo=Unknown()),
    "date": date(2024, 1, 15),
    "text": "2024-01-15T12:00:00Z",
    "year 0 in UTC": datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=14))),
    "year 10000 in UTC": datetime(9999, 12, 31, 23, tzinfo=timezone(-timedelta(hours=5))),
}


@pytest.mark.parametrize("wrong", WRONG_TIMES)
@pytest.mark.parametrize("entrance", TIME_ENTRANCES)
async def test_time_without_time_zone_or_outside_of_the_calendar_is_refused(
    s: System, entrance: str, wrong: str
) -> None:
    with pytest.raises((UsageError, InvalidValue), match=r"time zone|years 1 to 9999|datetime\.min"):
        await TIME_ENTRANCES[entrance](s, WRONG_TIMES[wrong])
    assert await s.store.log.head() == 0


def test_manual_clock_cannot_be_set_to_a_naive_time() -> None:
    clock = fait.ManualClock(datetime(2024, 1, 15, tzinfo=UTC))

    with pytest.raises(UsageError, match="time zone"):
        clock.moment = datetime(2024, 1, 15)


async def test_read_until_occurred_at_leaves_out_later_events(s: System) -> None:
    times = [datetime(2024, 1, day, tzinfo=UTC) for day in (3, 1, 2)]
    for seat, time in enumerate(times):
        await s.publish(SeatBooked(seat), stream="show-1", occurred_at=time)

    async def seats(time: datetime, limit: int = 9) -> list[int]:
        return [e.event.seat for e in await s.read("show-1", until=Until(occurred_at=time), limit=limit)]

    assert await seats(times[0]) == [0, 1, 2]
    assert await seats(times[2]) == [1, 2]
    assert await seats(times[2], limit=1) == [1]
    assert await seats(datetime.min.replace(tzinfo=UTC)) == []
    assert await seats(datetime.max.replace(tzinfo=UTC)) == [0, 1, 2]
