"""Group commit: how appends are collected into batches, limited, retried and canceled; without a store."""

import asyncio
import sys
from collections.abc import Sequence

import pytest

from fait._errors import StoreUnavailable
from fait._events.append import MAX_APPEND_BYTES, AppendCondition, StreamWrite, VersionConflict
from fait._store.group_commit import (
    LARGE_APPEND_BYTES,
    LARGE_APPEND_EVENTS,
    LOCK_TIMEOUT,
    MAX_BATCH_BYTES,
    MAX_BATCH_EVENTS,
    AppendOutcome,
    GroupCommit,
    PendingAppend,
)
from tests.store.group_commit_harness import Backend, Harness, expecting, position_of, results_of, turn, write


async def test_append_to_an_idle_queue_is_flushed_immediately() -> None:
    harness = Harness()
    condition = AppendCondition((), 7)
    append = asyncio.create_task(harness.group_commit.append([write("a")], condition))
    await asyncio.sleep(0)  # the first step of its task
    await asyncio.sleep(0)  # and of the task of the flush: no timer

    assert harness.backend.streams == [["a"]]
    assert harness.backend.batches[0][0].condition is condition
    await harness.backend.finish(0)
    assert await append == position_of("a")


async def test_appends_queued_during_a_flush_share_the_next_and_get_their_own_results() -> None:
    harness = Harness()
    appends = [await harness.append(write(name)) for name in "abcd"]
    assert harness.backend.streams == [["a"]]

    await harness.backend.finish(0)
    assert harness.backend.streams == [["a"], ["b", "c", "d"]]
    conflict = VersionConflict("c", 1, 2)
    await harness.backend.finish(1, position_of("b"), conflict, position_of("d"))

    assert [await append for append in appends] == [position_of("a"), position_of("b"), conflict, position_of("d")]


async def test_flushes_are_limited_to_max_batches_and_share_the_queue_evenly() -> None:
    harness = Harness(max_batches=2, min_overlapping_appends=1)
    for name in "abcdef":
        await harness.append(write(name))
    assert harness.backend.streams == [["a"], ["b"]]

    await harness.backend.finish(1)
    assert harness.backend.streams[2:] == [["c", "d", "e"]]
    await harness.append(write("g"))
    assert len(harness.backend.batches) == 3
    await harness.backend.finish(0)
    assert harness.backend.streams[3:] == [["f", "g"]]
    await harness.backend.finish_all()


async def test_few_appends_wait_for_the_running_flush() -> None:
    harness = Harness(max_batches=2, min_overlapping_appends=3)
    for name in "abc":
        await harness.append(write(name))
    assert harness.backend.streams == [["a"]]

    await harness.append(write("d"))
    assert harness.backend.streams[1:] == [["b", "c", "d"]]
    await harness.append(write("e"))
    await harness.backend.finish(0)
    assert len(harness.backend.batches) == 2
    await harness.backend.finish(1)
    assert harness.backend.streams[2:] == [["e"]]
    await harness.backend.finish_all()


async def test_rest_of_the_queue_joins_the_batch_unless_it_fills_another() -> None:
    harness = Harness(max_batches=2, min_overlapping_appends=3)
    for name in "abcdefghi":
        await harness.append(write(name))
    assert harness.backend.streams == [["a"], ["b", "c", "d"]]

    for flush in (0, 1):  # in one turn
        harness.backend.futures[flush].set_result(results_of(harness.backend.batches[flush]))
    await turn()

    assert harness.backend.streams[2:] == [["e", "f", "g", "h", "i"]]
    await harness.backend.finish_all()


@pytest.mark.parametrize(("events", "size"), [(LARGE_APPEND_EVENTS, 0), (1, LARGE_APPEND_BYTES), (2, MAX_APPEND_BYTES)])
async def test_large_append_is_flushed_alone_and_overlaps_with_few_others(events: int, size: int) -> None:
    harness = Harness(max_batches=2)
    for writes in (write("a"), write("large", events, size)):
        await harness.append(writes)
    assert harness.backend.streams == [["a"], ["large"]]

    await harness.append(write("b"))
    await harness.append(write("larger", events, size // 2 + LARGE_APPEND_BYTES // 2))
    await harness.append(write("c"))
    await harness.backend.finish(0)
    assert harness.backend.streams[2:] == [["b"]]
    await harness.backend.finish(2)
    assert harness.backend.streams[3:] == [["larger"]]
    await harness.backend.finish(1)
    assert harness.backend.streams[4:] == [["c"]]
    await harness.backend.finish_all()


async def test_large_append_shares_the_commit_if_max_batches_is_1() -> None:
    harness = Harness()
    for writes in (write("a"), write("b"), write("large", LARGE_APPEND_EVENTS)):
        await harness.append(writes)

    await harness.backend.finish(0)

    assert harness.backend.streams[1:] == [["b", "large"]]
    await harness.backend.finish_all()


async def test_conditional_append_prevents_overlapping_flushes() -> None:
    harness = Harness(max_batches=2, min_overlapping_appends=1)
    await harness.append(write("a"))
    await harness.append(write("b"), condition=AppendCondition((), 7))
    await harness.append(write("c"))
    assert harness.backend.streams == [["a"]]

    await harness.backend.finish(0)
    assert harness.backend.streams[1:] == [["b", "c"]]
    await harness.append(write("d"))
    assert len(harness.backend.batches) == 2
    await harness.backend.finish(1)
    await harness.append(write("e"))
    assert harness.backend.streams[2:] == [["d"], ["e"]]
    await harness.backend.finish_all()


async def test_appends_to_one_stream_are_flushed_one_after_another_in_order() -> None:
    harness = Harness(max_batches=2, min_overlapping_appends=1)
    first = await harness.append(write("a"))
    for writes in ([write("a", 2)], [write("b"), write("a")], [write("b", 3)], [write("c")]):
        await harness.append(*writes)
    assert harness.backend.streams == [
        ["a"],
        ["c"],
    ]  # "b" is blocked by the append to "b" and "a", which is blocked by "a"

    await harness.backend.finish(0)
    assert first.done()
    await harness.backend.finish(2)
    await harness.backend.finish(3)
    await harness.backend.finish_all()
    flushed = [[(each.writes[0].stream, each.events) for each in batch] for batch in harness.backend.batches]
    assert flushed == [[("a", 1)], [("c", 1)], [("a", 2)], [("b", 2)], [("b", 3)]]


async def test_appends_with_one_expected_version_share_a_batch() -> None:
    harness = Harness(max_batches=1)
    await harness.append(write("busy"))
    for one in (write("a"), expecting("b", 3), expecting("b", 3), expecting("b", 4), expecting("b", 3), write("a")):
        await harness.append(one)
    await harness.backend.finish(0)
    assert harness.backend.streams == [["busy"], ["a", "b", "b"]]  # the append that expects 4 blocks those behind it

    await harness.backend.finish(1)
    await harness.backend.finish_all()
    assert harness.backend.streams[2:] == [["b", "a"], ["b"]]


async def test_stream_is_blocked_until_all_appends_sharing_it_have_results() -> None:
    harness = Harness(max_batches=1)
    for _ in range(3):
        await harness.append(expecting("b", 3))
    await harness.backend.finish(0)
    await harness.backend.finish(1, LOCK_TIMEOUT, LOCK_TIMEOUT)
    assert harness.backend.streams == [["b"], ["b", "b"], ["b"], ["b"]]  # individual retries

    await harness.append(write("b"))
    await harness.backend.finish(2)
    assert len(harness.backend.batches) == 4
    await harness.backend.finish(3)
    assert harness.backend.streams[4:] == [["b"]]


async def test_append_made_after_a_result_joins_the_next_batch() -> None:
    harness = Harness(max_batches=1)

    async def twice() -> None:
        await harness.group_commit.append([write("a")])
        await harness.group_commit.append([write("d")])

    one = asyncio.create_task(twice())
    await turn()
    for name in ("b", "c"):
        await harness.append(write(name))

    await harness.backend.finish(0)
    await harness.backend.finish(1)

    await one
    assert harness.backend.streams == [["a"], ["b", "c", "d"]]


@pytest.mark.parametrize("streams", [1, 20])
async def test_cost_per_append_does_not_grow_with_the_queue(streams: int) -> None:
    def flush(batch: Sequence[PendingAppend]) -> "asyncio.Future[Sequence[AppendOutcome]]":
        future = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(future.set_result, results_of(batch))
        return future

    async def calls_per_append(appends: int) -> float:
        group_commit, calls = GroupCommit(flush), 0

        def count(*_: object) -> None:
            nonlocal calls
            calls += 1

        sys.setprofile(count)
        try:
            await asyncio.gather(*(group_commit.append([write(f"s-{n % streams}")]) for n in range(appends)))
        finally:
            sys.setprofile(None)
        return calls / appends

    assert await calls_per_append(800) < 1.5 * await calls_per_append(100)


async def test_streams_may_repeat_in_a_batch_without_disjoint_streams() -> None:
    harness = Harness(disjoint_streams=False)
    for stream in "abbab":
        await harness.append(write(stream))
    await harness.backend.finish(0)

    assert harness.backend.streams == [["a"], ["b", "b", "a", "b"]]
    await harness.backend.finish_all()


@pytest.mark.parametrize(
    ("large", "batches"),
    [
        (write("l", MAX_BATCH_EVENTS - 1), [["a", "l"], ["b"]]),
        (write("l", MAX_BATCH_EVENTS), [["a"], ["l"], ["b"]]),
        (write("l", MAX_BATCH_EVENTS + 1), [["a"], ["l"], ["b"]]),
        (write("l", 1, MAX_BATCH_BYTES), [["a", "l", "b"]]),
        (write("l", 1, MAX_BATCH_BYTES + 1), [["a"], ["l"], ["b"]]),
    ],
)
async def test_batch_is_limited_by_events_and_bytes(large: StreamWrite, batches: list[list[str]]) -> None:
    harness = Harness()
    await harness.append(write("first"))
    for each in (write("a"), large, write("b")):
        await harness.append(each)
    await harness.backend.finish_all()

    assert harness.backend.streams[1:] == batches


async def test_append_with_lock_timeout_is_retried_alone_while_others_continue() -> None:
    harness = Harness()
    await harness.append(write("first"))
    appends = {name: await harness.append(write(name)) for name in ("a", "locked", "stuck", "b")}
    await harness.backend.finish(0)
    await harness.backend.finish(1, position_of("a"), LOCK_TIMEOUT, LOCK_TIMEOUT, position_of("b"))

    assert harness.backend.streams[2:] == [["locked"], ["stuck"]]
    assert [name for name, append in appends.items() if append.done()] == ["a", "b"]
    following = await harness.append(write("locked", 2))
    for name in ("c", "d", "e"):
        await harness.append(write(name))
    assert harness.backend.streams[4:] == [["c"]], "individual retries use no slot"
    await harness.backend.finish(4)
    assert harness.backend.streams[5:] == [["d", "e"]]
    assert not following.done()

    await harness.backend.finish(2)
    await harness.backend.finish(5)
    assert harness.backend.streams[6:] == [["locked"]]
    await harness.backend.finish(6)
    assert [append.done() for append in (appends["locked"], following, appends["stuck"])] == [True, True, False]
    await harness.backend.finish_all()


async def test_appends_of_a_failed_batch_are_retried_individually() -> None:
    harness = Harness()
    await harness.append(write("first"))
    appends = [await harness.append(write(name)) for name in "abc"]
    await harness.backend.finish(0)
    await harness.backend.finish(1, ValueError("all"))

    assert harness.backend.streams[2:] == [["a"], ["b"], ["c"]]
    errors = ValueError("b"), StoreUnavailable("c")
    await harness.backend.finish(2)
    await harness.backend.finish(3, errors[0])
    await harness.backend.finish(4, errors[1])
    assert await asyncio.gather(*appends, return_exceptions=True) == [position_of("a"), *errors]
    assert len(harness.backend.batches) == 5


async def test_batch_with_unknown_outcome_is_not_retried() -> None:
    harness = Harness()
    await harness.append(write("first"))
    appends = [await harness.append(write(name)) for name in "ab"]
    await harness.backend.finish(0)
    lost = StoreUnavailable("the connection broke.", "unknown")
    await harness.backend.finish(1, lost)

    assert await asyncio.gather(*appends, return_exceptions=True) == [lost, lost]
    assert harness.backend.streams == [["first"], ["a", "b"]]


async def test_canceled_flush_has_an_unknown_outcome() -> None:
    harness = Harness()
    append = await harness.append(write("a"))
    harness.backend.futures[0].cancel()

    with pytest.raises(StoreUnavailable) as error:
        await append
    assert error.value.outcome == "unknown"


async def test_flush_that_raises_is_retried_individually() -> None:
    errors = [ValueError(f"bad {n}") for n in range(4)]
    raised = iter(errors)
    backend = Backend()

    def flush(batch: Sequence[PendingAppend]) -> "asyncio.Future[Sequence[AppendOutcome]]":
        if len(backend.batches):
            raise next(raised)
        return backend.flush(batch)

    group_commit = GroupCommit(flush)
    first, *others = [asyncio.create_task(group_commit.append([write(name)])) for name in ("first", "a", "b")]
    await turn()
    await backend.finish(0)

    assert await first == position_of("first")
    assert await asyncio.gather(*others, return_exceptions=True) == errors[1:3]  # the first was that of the batch


async def test_batch_with_store_unavailable_is_not_retried() -> None:
    harness = Harness()
    await harness.append(write("first"))
    appends = [await harness.append(write("a")), await harness.append(write("b"))]
    await harness.backend.finish(0)
    closed = StoreUnavailable("closed.")
    await harness.backend.finish(1, closed)

    assert await asyncio.gather(*appends, return_exceptions=True) == [closed, closed]
    assert len(harness.backend.batches) == 2


async def test_append_canceled_before_its_flush_is_dropped() -> None:
    harness = Harness()
    await harness.append(write("first"))
    append, _ = await harness.append(write("a")), await harness.append(write("b"))
    append.cancel()
    with pytest.raises(asyncio.CancelledError) as canceled:
        await append
    await harness.backend.finish_all()

    assert harness.backend.streams == [["first"], ["b"]]
    assert not hasattr(canceled.value, "__notes__")


async def test_append_canceled_during_its_flush_has_a_note_and_does_not_affect_others() -> None:
    harness = Harness()
    await harness.append(write("first"))
    append, other = await harness.append(write("a")), await harness.append(write("b"))
    await harness.backend.finish(0)
    append.cancel()
    with pytest.raises(asyncio.CancelledError) as canceled:
        await append
    following = await harness.append(write("a"))
    assert harness.backend.streams == [["first"], ["a", "b"]]
    await harness.backend.finish_all()

    assert "may have been written" in canceled.value.__notes__[0]
    assert (await other, await following) == (position_of("b"), position_of("a"))


async def test_append_canceled_during_its_flush_is_not_retried() -> None:
    harness = Harness()
    await harness.append(write("first"))
    append, other, third = [await harness.append(write(name)) for name in "abc"]
    await harness.backend.finish(0)
    append.cancel()
    await turn()
    await harness.backend.finish(1, LOCK_TIMEOUT, LOCK_TIMEOUT, position_of("c"))
    await harness.backend.finish(2)

    assert harness.backend.streams[2:] == [["b"]]
    assert (await other, await third) == (position_of("b"), position_of("c"))


@pytest.mark.parametrize("limit", [{"max_queued_events": 10}, {"max_queued_bytes": 10}])
async def test_appends_over_the_limit_wait_in_order(limit: dict[str, int]) -> None:
    def sized(stream: str, size: int) -> StreamWrite:
        return write(stream, size) if "max_queued_events" in limit else write(stream, 1, size)

    harness = Harness(**limit)
    await harness.append(sized("first", 6))
    for name, size in (("a", 4), ("b", 7), ("c", 1), ("d", 11), ("e", 1)):
        await harness.append(sized(name, size))

    await harness.backend.finish(0)
    await harness.backend.finish(1)
    assert harness.backend.streams == [
        ["first"],
        ["a"],
        ["b", "c"],
    ]  # "c" would have fit next to "a", but "b" was before it
    await harness.backend.finish(2)
    assert harness.backend.streams[3:] == [["d"]]  # larger than the limit: admitted when nothing else is queued
    await harness.backend.finish(3)
    assert harness.backend.streams[4:] == [["e"]]
    await harness.backend.finish_all()


async def test_admitted_append_stays_before_later_ones() -> None:
    harness = Harness(max_queued_events=2)
    await harness.append(write("first", 2))
    await harness.append(write("s", 1, size=1))
    harness.backend.futures[0].set_result([position_of("first")])
    later = asyncio.create_task(
        harness.group_commit.append([write("s", 1, size=2)])
    )  # in the turn of the event loop that admits the other
    await turn()
    await harness.backend.finish_all()
    await later

    assert [batch[0].size_bytes for batch in harness.backend.batches] == [0, 1, 2]


async def test_append_canceled_over_the_limit_uses_no_capacity() -> None:
    harness = Harness(max_queued_events=10)
    await harness.append(write("first", 6))
    large, small = await harness.append(write("large", 9)), await harness.append(write("small", 4))
    large.cancel()
    await turn()
    await harness.backend.finish(0)
    assert harness.backend.streams == [["first"], ["small"]]
    await harness.backend.finish_all()

    assert small.done()
    await harness.append(write("again", 5))
    await harness.append(write("fills", 5))  # the whole capacity is free
    await harness.append(write("waits", 1))
    await harness.backend.finish(2)
    assert harness.backend.streams[2:] == [["again"], ["fills", "waits"]]
    await harness.backend.finish_all()


async def test_canceling_an_append_over_the_limit_admits_those_behind_it() -> None:
    harness = Harness(max_queued_events=10, max_batches=2, min_overlapping_appends=1)
    await harness.append(write("first", 6))
    large, _ = await harness.append(write("large", 9)), await harness.append(write("small", 4))
    assert harness.backend.streams == [["first"]]
    large.cancel()
    await turn()

    assert harness.backend.streams == [["first"], ["small"]]
    await harness.backend.finish_all()


async def test_flush_with_a_wrong_number_of_outcomes_fails_its_appends_and_frees_the_slot() -> None:
    calls = list[int]()

    async def flush(pending: Sequence[PendingAppend]) -> Sequence[AppendOutcome | Exception]:
        calls.append(len(pending))
        return [] if len(calls) == 1 else [position_of("b")]

    group_commit = GroupCommit(flush)
    with pytest.raises(RuntimeError, match="the flush of 1 appends returned 0 outcomes"):
        await group_commit.append([write("a")], None)

    async with asyncio.timeout(5):
        assert await group_commit.append([write("b")], None) == position_of("b")
        await group_commit.close()
