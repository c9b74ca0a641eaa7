"""Appends that wait together go together, and each gets what is its own; here without any store behind them."""

import asyncio
import os
import sys
from collections.abc import Sequence

import pytest

from fait._errors import StoreUnavailable, UsageError
from fait._events.append import AppendCondition, StreamWrite, VersionConflict
from fait._store.group_commit import (
    LARGE_APPEND_EVENTS,
    LOCK_TIMEOUT,
    MAX_BATCH_BYTES,
    MAX_BATCH_EVENTS,
    AppendOutcome,
    GroupCommit,
    PendingAppend,
)
from tests.store.asked import Asked, Backend, expecting, position_of, stored, turn, write


async def test_an_idle_append_is_flushed_at_once_and_alone() -> None:
    asked = Asked()
    condition = AppendCondition((), 7)
    append = asyncio.create_task(asked.coalescer.append([write("a")], condition))
    await asyncio.sleep(0)  # the task's first step, no timer

    assert asked.backend.streams == [["a"]]
    assert asked.backend.batches[0][0].condition is condition
    await asked.backend.answer(0)
    assert await append == position_of("a")


async def test_what_gathers_during_a_flush_goes_together_and_each_gets_its_own_verdict() -> None:
    asked = Asked()
    appends = [await asked(write(name)) for name in "abcd"]
    assert asked.backend.streams == [["a"]]

    await asked.backend.answer(0)
    assert asked.backend.streams == [["a"], ["b", "c", "d"]]
    conflict = VersionConflict("c", 1, 2)
    await asked.backend.answer(1, position_of("b"), conflict, position_of("d"))

    assert [await append for append in appends] == [position_of("a"), position_of("b"), conflict, position_of("d")]


async def test_there_are_no_more_flushes_at_a_time_than_lanes_and_they_share_evenly() -> None:
    asked = Asked(max_batches=2, min_overlapping_appends=1)
    for name in "abcdef":
        await asked(write(name))
    assert asked.backend.streams == [["a"], ["b"]]

    await asked.backend.answer(1)
    assert asked.backend.streams[2:] == [["c", "d", "e"]]
    await asked(write("g"))
    assert len(asked.backend.batches) == 3
    await asked.backend.answer(0)
    assert asked.backend.streams[3:] == [["f", "g"]]
    await asked.backend.answer_all()


async def test_few_do_not_go_beside_a_flush_but_with_the_next() -> None:
    asked = Asked(max_batches=2, min_overlapping_appends=3)
    for name in "abc":
        await asked(write(name))
    assert asked.backend.streams == [["a"]]

    await asked(write("d"))
    assert asked.backend.streams[1:] == [["b", "c", "d"]]
    await asked(write("e"))
    await asked.backend.answer(0)
    assert len(asked.backend.batches) == 2
    await asked.backend.answer(1)
    assert asked.backend.streams[2:] == [["e"]]
    await asked.backend.answer_all()


async def test_what_is_left_of_a_share_is_worth_another_lane_or_goes_along() -> None:
    asked = Asked(max_batches=2, min_overlapping_appends=3)
    for name in "abcdefghi":
        await asked(write(name))
    assert asked.backend.streams == [["a"], ["b", "c", "d"]]

    for flush in (0, 1):  # in one turn
        asked.backend.answers[flush].set_result(stored(asked.backend.batches[flush]))
    await turn()

    assert asked.backend.streams[2:] == [["e", "f", "g", "h", "i"]]
    await asked.backend.answer_all()


async def test_a_large_append_goes_alone_and_few_need_not_wait_for_it() -> None:
    asked = Asked(max_batches=2)
    for writes in (write("a"), write("large", LARGE_APPEND_EVENTS)):
        await asked(writes)
    assert asked.backend.streams == [["a"], ["large"]]

    await asked(write("b"))
    await asked(write("larger", LARGE_APPEND_EVENTS))
    await asked(write("c"))
    await asked.backend.answer(0)
    assert asked.backend.streams[2:] == [["b"]]
    await asked.backend.answer(2)
    assert asked.backend.streams[3:] == [["larger"]]
    await asked.backend.answer(1)
    assert asked.backend.streams[4:] == [["c"]]
    await asked.backend.answer_all()


async def test_with_one_lane_a_large_append_shares_the_commit() -> None:
    asked = Asked()
    for writes in (write("a"), write("b"), write("large", LARGE_APPEND_EVENTS)):
        await asked(writes)

    await asked.backend.answer(0)

    assert asked.backend.streams[1:] == [["b", "large"]]
    await asked.backend.answer_all()


async def test_as_long_as_one_has_a_condition_flushes_go_one_after_another() -> None:
    asked = Asked(max_batches=2, min_overlapping_appends=1)
    await asked(write("a"))
    await asked(write("b"), condition=AppendCondition((), 7))
    await asked(write("c"))
    assert asked.backend.streams == [["a"]]

    await asked.backend.answer(0)
    assert asked.backend.streams[1:] == [["b", "c"]]
    await asked(write("d"))
    assert len(asked.backend.batches) == 2
    await asked.backend.answer(1)
    await asked(write("e"))
    assert asked.backend.streams[2:] == [["d"], ["e"]]
    await asked.backend.answer_all()


async def test_requests_on_one_stream_are_never_under_way_together_and_stay_in_order() -> None:
    asked = Asked(max_batches=2, min_overlapping_appends=1)
    first = await asked(write("a"))
    for writes in ([write("a", 2)], [write("b"), write("a")], [write("b", 3)], [write("c")]):
        await asked(*writes)
    assert asked.backend.streams == [["a"], ["c"]]  # b waits behind the append of b and a, which waits for a

    await asked.backend.answer(0)
    assert first.done()
    await asked.backend.answer(2)
    await asked.backend.answer(3)
    await asked.backend.answer_all()
    flushed = [[(each.writes[0].stream, each.events) for each in batch] for batch in asked.backend.batches]
    assert flushed == [[("a", 1)], [("c", 1)], [("a", 2)], [("b", 2)], [("b", 3)]]


async def test_those_who_expect_the_same_version_of_a_stream_go_together() -> None:
    asked = Asked(max_batches=1)
    await asked(write("busy"))
    for one in (write("a"), expecting("b", 3), expecting("b", 3), expecting("b", 4), expecting("b", 3), write("a")):
        await asked(one)
    await asked.backend.answer(0)
    assert asked.backend.streams == [["busy"], ["a", "b", "b"]]  # what follows the 4 waits behind it

    await asked.backend.answer(1)
    await asked.backend.answer_all()
    assert asked.backend.streams[2:] == [["b", "a"], ["b"]]


async def test_a_stream_is_free_when_the_last_of_those_who_share_it_has_its_answer() -> None:
    asked = Asked(max_batches=1)
    for _ in range(3):
        await asked(expecting("b", 3))
    await asked.backend.answer(0)
    await asked.backend.answer(1, LOCK_TIMEOUT, LOCK_TIMEOUT)
    assert asked.backend.streams == [["b"], ["b", "b"], ["b"], ["b"]]  # each alone

    await asked(write("b"))
    await asked.backend.answer(2)
    assert len(asked.backend.batches) == 4
    await asked.backend.answer(3)
    assert asked.backend.streams[4:] == [["b"]]


async def test_who_has_an_answer_and_asks_again_at_once_goes_with_those_who_waited() -> None:
    asked = Asked(max_batches=1)

    async def twice() -> None:
        await asked.coalescer.append([write("a")])
        await asked.coalescer.append([write("d")])

    one = asyncio.create_task(twice())
    await turn()
    for name in ("b", "c"):
        await asked(write(name))

    await asked.backend.answer(0)
    await asked.backend.answer(1)

    await one
    assert asked.backend.streams == [["a"], ["b", "c", "d"]]


@pytest.mark.parametrize("several", [1, 20])
async def test_what_waits_for_one_stream_costs_no_more_when_more_of_it_waits(several: int) -> None:
    def flush(batch: Sequence[PendingAppend]) -> "asyncio.Future[Sequence[AppendOutcome]]":
        answer = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(answer.set_result, stored(batch))
        return answer

    async def calls(appends: int) -> float:
        coalescer, taken = GroupCommit(flush), 0

        def count(*_: object) -> None:
            nonlocal taken
            taken += 1

        sys.setprofile(count)
        try:
            await asyncio.gather(*(coalescer.append([write(f"s-{n % several}")]) for n in range(appends)))
        finally:
            sys.setprofile(None)
        return taken / appends

    assert await calls(800) < 1.5 * await calls(100)


async def test_where_flushes_run_one_after_another_streams_may_repeat() -> None:
    asked = Asked(disjoint_streams=False)
    for stream in "abbab":
        await asked(write(stream))
    await asked.backend.answer(0)

    assert asked.backend.streams == [["a"], ["b", "b", "a", "b"]]
    await asked.backend.answer_all()


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
async def test_a_batch_is_bounded_by_events_and_bytes_and_what_is_larger_goes_alone(
    large: StreamWrite, batches: list[list[str]]
) -> None:
    asked = Asked()
    await asked(write("first"))
    for each in (write("a"), large, write("b")):
        await asked(each)
    await asked.backend.answer_all()

    assert asked.backend.streams[1:] == batches


async def test_who_meets_a_lock_runs_alone_while_the_others_go_on() -> None:
    asked = Asked()
    await asked(write("first"))
    appends = {name: await asked(write(name)) for name in ("a", "locked", "stuck", "b")}
    await asked.backend.answer(0)
    await asked.backend.answer(1, position_of("a"), LOCK_TIMEOUT, LOCK_TIMEOUT, position_of("b"))

    assert asked.backend.streams[2:] == [["locked"], ["stuck"]]
    assert [name for name, append in appends.items() if append.done()] == ["a", "b"]
    behind = await asked(write("locked", 2))
    for name in ("c", "d", "e"):
        await asked(write(name))
    assert asked.backend.streams[4:] == [["c"]], "one lane, however many run alone"
    await asked.backend.answer(4)
    assert asked.backend.streams[5:] == [["d", "e"]]
    assert not behind.done()

    await asked.backend.answer(2)
    await asked.backend.answer(5)
    assert asked.backend.streams[6:] == [["locked"]]
    await asked.backend.answer(6)
    assert [append.done() for append in (appends["locked"], behind, appends["stuck"])] == [True, True, False]
    await asked.backend.answer_all()


async def test_a_batch_that_fails_is_run_again_one_by_one_and_each_gets_its_own_error() -> None:
    asked = Asked()
    await asked(write("first"))
    appends = [await asked(write(name)) for name in "abc"]
    await asked.backend.answer(0)
    await asked.backend.answer(1, ValueError("all"))

    assert asked.backend.streams[2:] == [["a"], ["b"], ["c"]]
    problems = ValueError("b"), StoreUnavailable("c")
    await asked.backend.answer(2)
    await asked.backend.answer(3, problems[0])
    await asked.backend.answer(4, problems[1])
    assert await asyncio.gather(*appends, return_exceptions=True) == [position_of("a"), *problems]
    assert len(asked.backend.batches) == 5


async def test_what_may_have_been_written_is_not_run_again() -> None:
    asked = Asked()
    await asked(write("first"))
    appends = [await asked(write(name)) for name in "ab"]
    await asked.backend.answer(0)
    lost = StoreUnavailable("the connection broke.", "unknown")
    await asked.backend.answer(1, lost)

    assert await asyncio.gather(*appends, return_exceptions=True) == [lost, lost]
    assert asked.backend.streams == [["first"], ["a", "b"]]


async def test_a_flush_that_is_cancelled_is_an_unknown_outcome() -> None:
    asked = Asked()
    append = await asked(write("a"))
    asked.backend.answers[0].cancel()

    with pytest.raises(StoreUnavailable) as problem:
        await append
    assert problem.value.outcome == "unknown"


async def test_a_flush_that_cannot_even_begin_is_an_error_of_each() -> None:
    problems = [ValueError(f"bad {n}") for n in range(4)]
    raised = iter(problems)
    backend = Backend()

    def flush(batch: Sequence[PendingAppend]) -> "asyncio.Future[Sequence[AppendOutcome]]":
        if len(backend.batches):
            raise next(raised)
        return backend.flush(batch)

    coalescer = GroupCommit(flush)
    first, *others = [asyncio.create_task(coalescer.append([write(name)])) for name in ("first", "a", "b")]
    await turn()
    await backend.answer(0)

    assert await first == position_of("first")
    assert await asyncio.gather(*others, return_exceptions=True) == problems[1:3]  # the first was the batch's


async def test_when_the_store_failed_nobody_is_run_again() -> None:
    asked = Asked()
    await asked(write("first"))
    appends = [await asked(write("a")), await asked(write("b"))]
    await asked.backend.answer(0)
    closed = StoreUnavailable("closed.")
    await asked.backend.answer(1, closed)

    assert await asyncio.gather(*appends, return_exceptions=True) == [closed, closed]
    assert len(asked.backend.batches) == 2


async def test_cancelled_before_its_flush_an_append_is_dropped() -> None:
    asked = Asked()
    await asked(write("first"))
    append, _ = await asked(write("a")), await asked(write("b"))
    append.cancel()
    with pytest.raises(asyncio.CancelledError) as cancelled:
        await append
    await asked.backend.answer_all()

    assert asked.backend.streams == [["first"], ["b"]]
    assert not hasattr(cancelled.value, "__notes__")


async def test_cancelled_during_its_flush_an_append_says_so_and_harms_nobody() -> None:
    asked = Asked()
    await asked(write("first"))
    append, other = await asked(write("a")), await asked(write("b"))
    await asked.backend.answer(0)
    append.cancel()
    with pytest.raises(asyncio.CancelledError) as cancelled:
        await append
    behind = await asked(write("a"))
    assert asked.backend.streams == [["first"], ["a", "b"]]
    await asked.backend.answer_all()

    assert "may have been written" in cancelled.value.__notes__[0]
    assert (await other, await behind) == (position_of("b"), position_of("a"))


async def test_cancelled_during_its_flush_an_append_is_not_run_again() -> None:
    asked = Asked()
    await asked(write("first"))
    append, other, third = [await asked(write(name)) for name in "abc"]
    await asked.backend.answer(0)
    append.cancel()
    await turn()
    await asked.backend.answer(1, LOCK_TIMEOUT, LOCK_TIMEOUT, position_of("c"))
    await asked.backend.answer(2)

    assert asked.backend.streams[2:] == [["b"]]
    assert (await other, await third) == (position_of("b"), position_of("c"))


@pytest.mark.parametrize("limit", [{"max_queued_events": 10}, {"max_queued_bytes": 10}])
async def test_without_room_appends_wait_in_order(limit: dict[str, int]) -> None:
    def sized(stream: str, size: int) -> StreamWrite:
        return write(stream, size) if "max_queued_events" in limit else write(stream, 1, size)

    asked = Asked(**limit)
    await asked(sized("first", 6))
    for name, size in (("a", 4), ("b", 7), ("c", 1), ("d", 11), ("e", 1)):
        await asked(sized(name, size))

    await asked.backend.answer(0)
    await asked.backend.answer(1)
    assert asked.backend.streams == [["first"], ["a"], ["b", "c"]]  # c had room beside a, but b was there before it
    await asked.backend.answer(2)
    assert asked.backend.streams[3:] == [["d"]]  # larger than all the room: it enters when that is empty
    await asked.backend.answer(3)
    assert asked.backend.streams[4:] == [["e"]]
    await asked.backend.answer_all()


async def test_who_is_let_in_stays_before_who_comes_later() -> None:
    asked = Asked(max_queued_events=2)
    await asked(write("first", 2))
    await asked(write("s", 1, size=1))
    asked.backend.answers[0].set_result([position_of("first")])
    later = asyncio.create_task(asked.coalescer.append([write("s", 1, size=2)]))  # comes in the turn that makes room
    await turn()
    await asked.backend.answer_all()
    await later

    assert [batch[0].size_bytes for batch in asked.backend.batches] == [0, 1, 2]


async def test_cancelled_while_it_waits_for_room_an_append_takes_none() -> None:
    asked = Asked(max_queued_events=10)
    await asked(write("first", 6))
    large, small = await asked(write("large", 9)), await asked(write("small", 4))
    large.cancel()
    await turn()
    await asked.backend.answer(0)
    assert asked.backend.streams == [["first"], ["small"]]
    await asked.backend.answer_all()

    assert small.done()
    await asked(write("again", 5))
    await asked(write("fills", 5))  # all the room is there again
    await asked(write("waits", 1))
    await asked.backend.answer(2)
    assert asked.backend.streams[2:] == [["again"], ["fills", "waits"]]
    await asked.backend.answer_all()


async def test_when_one_gives_up_its_place_those_behind_it_move_up_at_once() -> None:
    asked = Asked(max_queued_events=10, max_batches=2, min_overlapping_appends=1)
    await asked(write("first", 6))
    large, _ = await asked(write("large", 9)), await asked(write("small", 4))
    assert asked.backend.streams == [["first"]]
    large.cancel()
    await turn()

    assert asked.backend.streams == [["first"], ["small"]]
    await asked.backend.answer_all()


async def test_a_process_forked_from_the_one_that_opened_it_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = Asked()
    here = os.getpid()
    monkeypatch.setattr(os, "getpid", lambda: here + 1)

    with pytest.raises(UsageError, match="fork"):
        await asked.coalescer.append([write("a")])
    assert asked.backend.batches == []


def test_another_event_loop_is_refused() -> None:
    async def opened() -> Asked:
        return Asked()

    asked = asyncio.run(opened())

    async def append() -> None:
        with pytest.raises(UsageError, match="event loop"):
            await asked.coalescer.append([write("a")])

    asyncio.run(append())
    assert asked.backend.batches == []
