"""The lane of a crashed worker, the queue of results after an unknown outcome, and the text of a stored failure."""

import asyncio
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import pytest
from msgspec.structs import replace

import fait
from fait._clock import SystemClock
from fait._events.append import MAX_PAGE_BYTES, PAGE_SIZE
from fait._events.query import Query
from fait._store.memory.log import MemoryLog
from fait._store.ports.leases import Lease
from fait._store.ports.registrations import RangeKey
from fait._store.ports.unit_of_work import MAX_PENDING
from fait._subscriptions.error_text import MAX_TRACEBACK_CHARS
from fait._subscriptions.failed_events import FailedEvents
from fait._subscriptions.failure import describe_failure
from fait._subscriptions.lane import RangeLane
from fait._subscriptions.record_queue import JobResult, RecordQueue
from fait.testing.contract.store import added, new, write
from tests.property.test_lane import event_at, failure_at


def test_traceback_of_a_deep_recursion_is_bounded() -> None:
    def one(depth: int) -> None:
        other(depth - 1)

    def other(depth: int) -> None:
        if depth < 0:
            raise ValueError("too deep")
        one(depth - 1)

    with pytest.raises(ValueError, match="too deep") as raised:
        one(500)
    now = datetime(2026, 1, 1, tzinfo=UTC)
    failure = describe_failure(
        raised.value, event_at(1, "a"), "a", None, "retrying", subscription="send", generation=1, now=now
    )

    assert len(failure.traceback) == MAX_TRACEBACK_CHARS
    assert failure.traceback.rstrip().endswith('raise ValueError("too deep")')


def lease_of(pending: Iterable[int] = ()) -> Lease:
    return Lease(RangeKey("lane"), "w", 1, 0, 1, (), frontier=max(pending, default=0), pending=tuple(pending))


@pytest.mark.parametrize("concurrency", [1, 8])
def test_events_that_a_crashed_worker_left_unfinished_are_taken_although_they_are_many(concurrency: int) -> None:
    pending = range(1, 2 * MAX_PENDING, 2)
    lane, taken = RangeLane(lease_of(pending), lambda event: event.stream, concurrency), list[int]()
    log = [event_at(position, str(position)) for position in range(1, 2 * MAX_PENDING + 2_000)]
    while lane.capacity:
        page = [each for each in log if each.position > lane.cursor][: lane.capacity]
        lane.take(page, page[-1].position)
    while job := lane.next_job(3 * MAX_PENDING):
        taken += [each.position for each in job.events]

    assert sorted(taken)[:MAX_PENDING] == list(pending)
    assert len(lane.move({*taken[:1]}).pending) < MAX_PENDING


def test_page_that_is_longer_than_the_space_for_pending_events_is_taken_in_part() -> None:
    lane = RangeLane(lease_of(), lambda event: event.stream, 8)
    lane.take([event_at(position, str(position)) for position in range(1, MAX_PENDING + 500)], MAX_PENDING + 499)

    assert lane.cursor == MAX_PENDING
    assert len(lane.move({MAX_PENDING}).pending) == MAX_PENDING - 1


def test_events_as_large_as_a_page_are_the_last_ones_that_are_taken_until_they_are_finished() -> None:
    large = '"' + MAX_PAGE_BYTES // 2 * "x" + '"'
    lane = RangeLane(lease_of(), lambda event: event.stream, 8)
    lane.take([event_at(1, "a", large)], 1)
    has_room = lane.capacity > 0
    lane.take([event_at(2, "b", large)], 2)
    lane.fail(failure_at(event_at(2, "b")), ())
    with_both = lane.capacity
    move = lane.move({1})
    lane.recorded(move, [1])

    assert (has_room, with_both) == (True, 0)
    assert (lane.capacity, lane.size) == (PAGE_SIZE, 0)


@pytest.mark.anyio
async def test_large_events_of_a_failed_key_are_read_page_by_page() -> None:
    log = MemoryLog(SystemClock())
    events = [new("t", data=f'"{MAX_PAGE_BYTES // 5 * "x"}"') for _ in range(7)]
    await added(log, write("a", events))
    failed_events = FailedEvents(log, by_stream=True)
    failure = replace(failure_at(event_at(1, "a")), event_id=events[0].id)
    first = await failed_events.read(failure, Query(), 7, PAGE_SIZE)
    second = await failed_events.read(replace(failure, next_position=6), Query(), 7, PAGE_SIZE)

    assert [event.position for event in first.events] == [1, 2, 3, 4, 5]
    assert [event.position for event in second.events] == [6, 7]
    assert (first.position, second.position) == (5, 7)


@pytest.mark.anyio
async def test_nothing_is_remembered_of_a_failed_key_that_was_read_to_its_end() -> None:
    log = MemoryLog(SystemClock())
    events = [new("t") for _ in range(3)]
    await added(log, write("a", events))
    failed_events = FailedEvents(log, by_stream=True)
    failure = replace(failure_at(event_at(1, "a")), event_id=events[0].id)
    for next_position, up_to in ((1, 1), (1, 3), (3, 3), (4, 3)):  # with more events in the stream, and without
        await failed_events.read(failure, Query(), 3, 1)
        assert failed_events._starts == {"a": (0, 0)}
        page = await failed_events.read(replace(failure, next_position=next_position), Query(), up_to, 3)

        assert page.position == up_to
        assert failed_events._starts == {}


def test_unfinished_event_of_a_former_owner_is_recorded_when_it_is_finished_before_its_record() -> None:
    lane = RangeLane(lease_of([1]), lambda event: event.stream, 1)
    lane.take([event_at(1, "a")], 1)
    job = lane.next_job(10)
    assert job is not None
    assert not lane.has_passed_events

    lane.finish_early(job.events)

    assert lane.has_passed_events
    assert lane.move().pending == ()
    lane.recorded(lane.move(), ())
    assert not lane.has_passed_events


def test_unfinished_event_of_a_former_owner_is_recorded_when_its_key_has_failed() -> None:
    lease = replace(lease_of([1]), failures=(failure_at(event_at(1, "a")),))
    lane = RangeLane(lease, lambda event: event.stream, 1)

    lane.take([event_at(1, "a")], 1)

    assert lane.has_passed_events
    assert lane.move().pending == ()


@pytest.mark.anyio
async def test_nothing_is_recorded_after_an_unknown_outcome() -> None:
    lane, calls = RangeLane(lease_of(), lambda event: event.stream, 8), list[int]()
    lane.take([event_at(1, "a"), event_at(2, "b")], 2)

    class Recorder:
        async def record(self, work: Any) -> Any:
            calls.append(work.move.frontier)
            await asyncio.sleep(0)
            raise fait.StoreUnavailable("connection lost", "unknown")

    queue = RecordQueue(Recorder(), lane)
    works = [JobResult([event_at(position, key)]) for position, key in ((1, "a"), (2, "b"))]
    first = asyncio.create_task(queue.record(works[0]))
    await asyncio.sleep(0)
    results = await asyncio.gather(first, queue.record(works[1]), return_exceptions=True)

    assert calls == [1]
    assert [type(each) for each in results] == [fait.StoreUnavailable] * 2
