"""Questions about the past: answers that are final never change, whatever clocks and imports do."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fait
from fait._store.open import BACKENDS

T0 = datetime(2024, 1, 1, tzinfo=UTC)
STEP = timedelta(minutes=1)
DAY = timedelta(days=1)


@fait.event("past.noted")
class Noted:
    number: int


class Notes(fait.Aggregate, category="notes"):
    numbers: list[int] = fait.field(default_factory=list[int])

    def evolve(self, event: Noted) -> None:
        self.numbers.append(event.number)


app = fait.App("past")
app.include(Notes)

Happening = tuple[int, int, int | None]  # the clock's step, in minutes; a stream; minutes from T0 when it occurred

happenings = st.lists(
    st.tuples(
        st.sampled_from([0, 0, 1, 2, 60, -1, -90]),
        st.integers(0, 2),
        st.none() | st.integers(-3, 3),
    ),
    min_size=1,
    max_size=12,
)


async def opened(url: str, run: Callable[[fait.System, fait.ManualClock], Awaitable[None]]) -> None:
    clock = fait.ManualClock(T0)
    async with app.open(url, clock=clock) as system:
        await run(system, clock)


def check(url: str, run: Callable[[fait.System, fait.ManualClock], Awaitable[None]]) -> None:
    asyncio.run(opened(url, run))


async def happen(system: fait.System, clock: fait.ManualClock, number: int, happening: Happening) -> None:
    minutes, stream, occurred = happening
    clock.advance(minutes=minutes)
    occurred_at = None if occurred is None else T0 + occurred * STEP
    await system.publish(Noted(number), stream=f"notes-{stream}", occurred_at=occurred_at)


async def known(system: fait.System, at: datetime) -> list[list[int]]:
    return [(await system.load(Notes, str(stream), at=at)).numbers for stream in range(3)]


@pytest.mark.parametrize("backend", sorted(BACKENDS))
@given(happenings)
@settings(max_examples=25, deadline=None)
def test_what_was_known_before_the_last_recorded_moment_never_changes(
    backend: str, store_url: Callable[[str], str], story: list[Happening]
) -> None:
    async def run(system: fait.System, clock: fait.ManualClock) -> None:
        final: dict[datetime, list[list[int]]] = {}
        for number, happening in enumerate(story):
            await happen(system, clock, number, happening)
            events = [each async for each in system.events()]
            for moment in {each.recorded_at for each in events if each.recorded_at < events[-1].recorded_at}:
                final.setdefault(moment, await known(system, moment))
        for moment, answer in final.items():
            assert await known(system, moment) == answer

    check(store_url(backend), run)


@pytest.mark.parametrize("backend", sorted(BACKENDS))
@given(happenings)
@settings(max_examples=25, deadline=None)
def test_recorded_moments_never_go_back_and_positions_agree_with_them(
    backend: str, store_url: Callable[[str], str], story: list[Happening]
) -> None:
    async def run(system: fait.System, clock: fait.ManualClock) -> None:
        for number, happening in enumerate(story):
            await happen(system, clock, number, happening)
        events = [each async for each in system.events()]
        moments = [each.recorded_at for each in events]
        assert moments == sorted(moments)
        for each in events:
            last = max(other.position for other in events if other.recorded_at <= each.recorded_at)
            for stream in range(3):
                at = await system.load(Notes, str(stream), at=each.recorded_at)
                position = await system.load(Notes, str(stream), position=last)
                assert at.numbers == position.numbers

    check(store_url(backend), run)


@pytest.mark.parametrize("backend", sorted(BACKENDS))
@given(happenings, st.integers(-4, 70))
@settings(max_examples=25, deadline=None)
def test_what_was_true_then_is_the_facts_that_had_occurred_in_the_order_of_versions(
    backend: str, store_url: Callable[[str], str], story: list[Happening], minutes: int
) -> None:
    async def run(system: fait.System, clock: fait.ManualClock) -> None:
        for number, happening in enumerate(story):
            await happen(system, clock, number, happening)
        moment = T0 + minutes * STEP
        for stream in range(3):
            events = await system.read(f"notes-{stream}")
            expected = [each.event.number for each in events if each.occurred_at <= moment]
            assert (await system.load(Notes, str(stream), as_of=moment)).numbers == expected

    check(store_url(backend), run)


async def test_a_log_imported_today_knew_nothing_yesterday_though_it_was_true_then() -> None:
    clock = fait.ManualClock(T0)
    async with app.open("memory:", clock=clock) as system:
        await system.publish(Noted(1), stream="notes-1", occurred_at=T0 - 300 * DAY)

        assert (await system.load(Notes, "1", at=T0 - DAY)).numbers == []
        assert (await system.load(Notes, "1", as_of=T0 - DAY)).numbers == [1]
        assert (await system.load(Notes, "1", at=T0)).numbers == [1]


async def test_events_of_one_moment_are_all_known_at_it() -> None:
    async with app.open("memory:", clock=fait.ManualClock(T0)) as system:
        await system.append(fait.NewEvents("notes-1", [Noted(1), Noted(2)]))
        await system.publish(Noted(3), stream="notes-1")

        assert (await system.load(Notes, "1", at=T0)).numbers == [1, 2, 3]
        assert (await system.load(Notes, "1", at=T0 - timedelta(microseconds=1))).numbers == []
