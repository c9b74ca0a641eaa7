"""Appends, answers and cancellations in whatever order: each gets its answer, and each stream keeps its order."""

import asyncio
from collections import defaultdict

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from fait._events.append import AppendCondition, AppendResult
from fait._store import group_commit
from fait._store.group_commit import LOCK_TIMEOUT, PendingAppend
from tests.store.asked import Asked, expecting, position_of, turn, write


class AnyOrder(RuleBasedStateMachine):
    """Appends, answers and cancellations in whatever order."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.asked = self.runner.run(self.opened())
        self.backend = self.asked.backend
        self.appends: list[tuple[list[str], asyncio.Task[AppendResult]]] = []

    async def opened(self) -> Asked:
        return Asked(max_batches=2, min_overlapping_appends=2, max_queued_events=8)

    def under_way(self) -> list[int]:
        return [n for n, answer in enumerate(self.backend.answers) if not answer.done()]

    @rule(streams=st.lists(st.sampled_from("abcd"), min_size=1, max_size=3, unique=True), events=st.integers(1, 4))
    def append(self, streams: list[str], events: int) -> None:
        ordered = [write(each, events, size=len(self.appends) + 1) for each in streams]
        self.appends.append((streams, self.runner.run(self.asked(*ordered))))

    @rule(stream=st.sampled_from("abcd"), version=st.integers(0, 1))
    def append_expecting(self, stream: str, version: int) -> None:
        asked = self.asked(expecting(stream, version, size=len(self.appends) + 1))
        self.appends.append(([stream], self.runner.run(asked)))

    @rule(stream=st.sampled_from("abcd"))
    def append_under_a_condition(self, stream: str) -> None:
        asked = self.asked(write(stream, size=len(self.appends) + 1), condition=AppendCondition((), 7))
        self.appends.append(([stream], self.runner.run(asked)))

    @precondition(lambda self: self.under_way())
    @rule(data=st.data())
    def answer(self, data: st.DataObject) -> None:
        flush = data.draw(st.sampled_from(self.under_way()))
        batch = self.backend.batches[flush]
        if len(batch) > 1 and data.draw(st.integers(0, 3)) == 0:
            self.runner.run(self.backend.answer(flush, ValueError()))
            return
        outcomes = [
            LOCK_TIMEOUT if len(batch) > 1 and data.draw(st.booleans()) else position_of(each.writes[0].stream)
            for each in batch
        ]
        self.runner.run(self.backend.answer(flush, *outcomes))

    @precondition(lambda self: self.appends)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        _, append = data.draw(st.sampled_from(self.appends))
        append.cancel()
        self.runner.run(turn())

    @invariant()
    def no_stream_is_under_way_twice_but_for_rivals(self) -> None:
        expected = defaultdict[str, list[int]](list)
        for each in (each for n in self.under_way() for batch in [self.backend.batches[n]] for each in batch):
            for asked in each.writes:
                expected[asked.stream].append(asked.expected)
        for versions in expected.values():
            assert len(versions) == 1 or versions == [abs(versions[0])] * len(versions)

    @invariant()
    def there_are_no_more_flushes_than_lanes(self) -> None:
        batches = [self.backend.batches[n] for n in self.under_way()]
        assert sum(not batch[0].retry_individually for batch in batches) <= 2

    @invariant()
    def each_stream_is_flushed_in_order(self) -> None:
        for stream in "abcd":
            flushed = [request for batch in self.backend.batches for request in batch if _has(request, stream)]
            order = [len(each.writes[0].events[0].data) for each in flushed if not _is_rival_run_again(each)]
            assert order == sorted(order)

    def teardown(self) -> None:
        self.runner.run(self.backend.answer_all())
        for streams, append in self.appends:
            assert append.done()
            assert append.cancelled() or append.result() == position_of(streams[0])
        before = len(self.backend.batches)
        self.runner.run(self.asked(write("all", 8)))  # the whole room is free, and so is a lane
        assert len(self.backend.batches) == before + 1
        self.runner.run(self.backend.answer_all())
        self.runner.close()


def _is_rival_run_again(request: PendingAppend) -> bool:
    return request.retry_individually and request.writes[0].expected >= 0


def _has(request: PendingAppend, stream: str) -> bool:
    return any(write.stream == stream for write in request.writes)


def test_each_gets_its_answer_and_each_stream_its_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(group_commit, "LARGE_APPEND_EVENTS", 4)
    run_state_machine_as_test(
        AnyOrder,
        settings=settings(
            max_examples=60,
            stateful_step_count=25,
            deadline=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
