"""The part of the log's contract on `recorded_at`."""
# ruff: noqa: D102 - test names replace docstrings

from datetime import timedelta

import pytest

from fait._clock import ManualClock
from fait._events.append import Until
from fait._store.ports.log import Log
from fait.testing.contract.store import START, Opener, StoreContract, added, everything, write

__all__ = ["RecordingTimeContract"]


class RecordingTimeContract(StoreContract):
    """The contract of `recorded_at` with clocks that jump."""

    async def test_recorded_at_is_the_time_of_the_append(self, log: Log, clock: ManualClock) -> None:
        clock.moment = START + timedelta(microseconds=1)
        await added(log, write("a", 2))

        assert [event.recorded_at for event in (await log.read_stream("a"))[0]] == [clock.moment] * 2

    async def test_recorded_at_never_decreases_when_the_clock_does(self, log: Log, clock: ManualClock) -> None:
        for hours in (0, 2, -5, 1, -1, 7):
            clock.advance(hours=hours)
            await added(log, write("a"), write(f"b{hours}"))

        offsets = [event.recorded_at - START for event in (await log.read_stream("a"))[0]]
        assert offsets == [timedelta(hours=hours) for hours in (0, 2, 2, 2, 2, 4)]

    async def test_recorded_at_never_decreases_across_handles(
        self, log: Log, opener: Opener, clock: ManualClock
    ) -> None:
        if not log.features.shared:
            pytest.skip("the store has one handle")
        await added(log, write("a"))
        clock.advance(hours=-1)
        async with opener() as other:
            await added(other.log, write("a"))

        assert [event.recorded_at for event in (await log.read_stream("a"))[0]] == [START, START]

    @pytest.mark.parametrize("seconds", [-1, -60])
    async def test_recorded_at_of_the_log_does_not_decrease_with_a_small_step_of_the_clock(
        self, log: Log, clock: ManualClock, seconds: int
    ) -> None:
        await added(log, write("a"))
        clock.advance(seconds=seconds)
        await added(log, write("b"), write("c"))

        assert [event.recorded_at for event in await everything(log)] == [START] * 3

    @pytest.mark.parametrize("others", [["b"], ["b", "c", "d"]])
    async def test_event_of_a_wrong_clock_changes_no_time_of_another_stream(
        self, log: Log, clock: ManualClock, others: list[str]
    ) -> None:
        for stream in others:
            await added(log, write(stream))
        clock.advance(days=365)
        await added(log, write("a"))
        clock.advance(days=-364)
        now = clock.moment
        await added(log, *(write(stream) for stream in (*others, "new")))
        await added(log, write("a"))

        for stream in others:
            assert [event.recorded_at for event in (await log.read_stream(stream))[0]] == [START, now]
        assert [event.recorded_at for event in (await log.read_stream("new"))[0]] == [now]
        assert [event.recorded_at for event in (await log.read_stream("a"))[0]] == [START + timedelta(days=365)] * 2
        for stream in others:
            assert len(await log.read_stream(stream, until=Until(recorded_at=now))) == 2

    async def test_clock_that_jumps_back_changes_only_streams_without_later_events(
        self, log: Log, clock: ManualClock
    ) -> None:
        await added(log, write("a"))
        clock.advance(hours=-2)
        await added(log, write("a"), write("b"))

        assert [event.recorded_at for event in (await log.read_stream("a"))[0]] == [START, START]
        assert [event.recorded_at for event in (await log.read_stream("b"))[0]] == [START - timedelta(hours=2)]
