"""Wrong arguments are usage errors on every backend, before anything is sent."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from msgspec import Struct

import fait
from fait import NewEvents, System, UsageError
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
