"""Loading past states: results that are final never change, whatever clocks and imports do."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fait
from fait._store.open import backend_names

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

Happening = tuple[int, int, int | None]  # minutes to advance the clock; a stream; occurred_at in minutes after T0


def happenings_with(steps: list[int]) -> st.SearchStrategy[list[Happening]]:
    happening = st.tuples(st.sampled_from(steps), st.integers(0, 2), st.none() | st.integers(-3, 3))
    return st.lists(happening, min_size=1, max_size=12)


happenings = happenings_with([0, 0, 1, 2, 60, -1, -90])
happenings_without_jumps = happenings_with([0, 0, 1, 2, 60])


async def run_opened(url: str, run: Callable[[fait.System, fait.ManualClock], Awaitable[None]]) -> None:
    clock = fait.ManualClock(T0)
    async with app.open(url, clock=clock) as system:
        await run(system, clock)


def check(url: str, run: Callable[[fait.System, fait.ManualClock], Awaitable[None]]) -> None:
    asyncio.run(run_opened(url, run))


async def happen(system: fait.System, clock: fait.ManualClock, number: int, happening: Happening) -> None:
    minutes, stream, occurred = happening
    clock.advance(minutes=minutes)
    occurred_at = None if occurred is None else T0 + occurred * STEP
    await system.publish(Noted(number), stream=f"notes-{stream}", occurred_at=occurred_at)


async def states_at(system: fait.System, at: datetime) -> list[list[int]]:
    return [(await system.load(Notes, str(stream), at=at)).numbers for stream in range(3)]


@pytest.mark.parametrize("backend", sorted(backend_names()))
@given(happenings_without_jumps)
@settings(max_examples=25, deadline=None)
def test_states_at_a_time_before_the_last_event_never_change(
    backend: str, store_url: Callable[[str], str], story: list[Happening]
) -> None:
    async def run(system: fait.System, clock: fait.ManualClock) -> None:
        final: dict[datetime, list[list[int]]] = {}
        for number, happening in enumerate(story):
            await happen(system, clock, number, happening)
            events = [each async for each in system.events()]
            for time in {each.recorded_at for each in events if each.recorded_at < events[-1].recorded_at}:
                final.setdefault(time, await states_at(system, time))
        for time, states in final.items():
            assert await states_at(system, time) == states

    check(store_url(backend), run)


@pytest.mark.parametrize("backend", sorted(backend_names()))
@given(happenings_without_jumps)
@settings(max_examples=25, deadline=None)
def test_recorded_at_never_decreases_and_agrees_with_positions(
    backend: str, store_url: Callable[[str], str], story: list[Happening]
) -> None:
    async def run(system: fait.System, clock: fait.ManualClock) -> None:
        for number, happening in enumerate(story):
            await happen(system, clock, number, happening)
        events = [each async for each in system.events()]
        times = [each.recorded_at for each in events]
        assert times == sorted(times)
        for each in events:
            last = max(other.position for other in events if other.recorded_at <= each.recorded_at)
            for stream in range(3):
                at = await system.load(Notes, str(stream), at=each.recorded_at)
                position = await system.load(Notes, str(stream), position=last)
                assert at.numbers == position.numbers

    check(store_url(backend), run)


@pytest.mark.parametrize("backend", sorted(backend_names()))
@given(happenings, st.integers(-4, 70))
@settings(max_examples=25, deadline=None)
def test_as_of_folds_the_events_that_had_occurred_in_order_of_versions(
    backend: str, store_url: Callable[[str], str], story: list[Happening], minutes: int
) -> None:
    async def run(system: fait.System, clock: fait.ManualClock) -> None:
        for number, happening in enumerate(story):
            await happen(system, clock, number, happening)
        time = T0 + minutes * STEP
        for stream in range(3):
            events = await system.read(f"notes-{stream}")
            expected = [each.event.number for each in events if each.occurred_at <= time]
            assert (await system.load(Notes, str(stream), as_of=time)).numbers == expected

    check(store_url(backend), run)


async def test_imported_event_is_included_by_as_of_but_not_by_at() -> None:
    clock = fait.ManualClock(T0)
    async with app.open("memory:", clock=clock) as system:
        await system.publish(Noted(1), stream="notes-1", occurred_at=T0 - 300 * DAY)

        assert (await system.load(Notes, "1", at=T0 - DAY)).numbers == []
        assert (await system.load(Notes, "1", as_of=T0 - DAY)).numbers == [1]
        assert (await system.load(Notes, "1", at=T0)).numbers == [1]


async def test_at_includes_all_events_recorded_at_that_time() -> None:
    async with app.open("memory:", clock=fait.ManualClock(T0)) as system:
        await system.append(fait.NewEvents("notes-1", [Noted(1), Noted(2)]))
        await system.publish(Noted(3), stream="notes-1")

        assert (await system.load(Notes, "1", at=T0)).numbers == [1, 2, 3]
        assert (await system.load(Notes, "1", at=T0 - timedelta(microseconds=1))).numbers == []
