"""Appends, results and cancellations in any order: each append gets its result, each stream keeps its order."""

import asyncio
from collections import defaultdict

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from fait._events.append import AppendCondition, AppendResult
from fait._store import group_commit
from fait._store.group_commit import LOCK_TIMEOUT, PendingAppend
from tests.store.group_commit_harness import Harness, expecting, position_of, turn, write


class AnyOrder(RuleBasedStateMachine):
    """Appends, results and cancellations in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.harness = self.runner.run(self.opened())
        self.backend = self.harness.backend
        self.appends: list[tuple[list[str], asyncio.Task[AppendResult]]] = []

    async def opened(self) -> Harness:
        return Harness(max_batches=2, min_overlapping_appends=2, max_queued_events=8)

    def running(self) -> list[int]:
        return [n for n, future in enumerate(self.backend.futures) if not future.done()]

    @rule(streams=st.lists(st.sampled_from("abcd"), min_size=1, max_size=3, unique=True), events=st.integers(1, 4))
    def append(self, streams: list[str], events: int) -> None:
        ordered = [write(each, events, size=len(self.appends) + 1) for each in streams]
        self.appends.append((streams, self.runner.run(self.harness.append(*ordered))))

    @rule(stream=st.sampled_from("abcd"), version=st.integers(0, 1))
    def append_expecting(self, stream: str, version: int) -> None:
        task = self.harness.append(expecting(stream, version, size=len(self.appends) + 1))
        self.appends.append(([stream], self.runner.run(task)))

    @rule(stream=st.sampled_from("abcd"))
    def append_with_condition(self, stream: str) -> None:
        task = self.harness.append(write(stream, size=len(self.appends) + 1), condition=AppendCondition((), 7))
        self.appends.append(([stream], self.runner.run(task)))

    @precondition(lambda self: self.running())
    @rule(data=st.data())
    def finish(self, data: st.DataObject) -> None:
        flush = data.draw(st.sampled_from(self.running()))
        batch = self.backend.batches[flush]
        if len(batch) > 1 and data.draw(st.integers(0, 3)) == 0:
            self.runner.run(self.backend.finish(flush, ValueError()))
            return
        outcomes = [
            LOCK_TIMEOUT if len(batch) > 1 and data.draw(st.booleans()) else position_of(each.writes[0].stream)
            for each in batch
        ]
        self.runner.run(self.backend.finish(flush, *outcomes))

    @precondition(lambda self: self.appends)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        _, append = data.draw(st.sampled_from(self.appends))
        append.cancel()
        self.runner.run(turn())

    @invariant()
    def concurrent_batches_share_a_stream_only_with_one_expected_version(self) -> None:
        expected = defaultdict[str, list[int]](list)
        for each in (each for n in self.running() for batch in [self.backend.batches[n]] for each in batch):
            for one in each.writes:
                expected[one.stream].append(one.expected)
        for versions in expected.values():
            assert len(versions) == 1 or versions == [abs(versions[0])] * len(versions)

    @invariant()
    def flushes_are_limited_to_max_batches(self) -> None:
        batches = [self.backend.batches[n] for n in self.running()]
        assert sum(not batch[0].retry_individually for batch in batches) <= 2

    @invariant()
    def each_stream_is_flushed_in_order(self) -> None:
        for stream in "abcd":
            flushed = [append for batch in self.backend.batches for append in batch if _has(append, stream)]
            order = [
                len(each.writes[0].events[0].data) for each in flushed if not _is_retry_with_expected_version(each)
            ]
            assert order == sorted(order)

    def teardown(self) -> None:
        self.runner.run(self.backend.finish_all())
        for streams, append in self.appends:
            assert append.done()
            assert append.cancelled() or append.result() == position_of(streams[0])
        before = len(self.backend.batches)
        self.runner.run(self.harness.append(write("all", 8)))  # all capacity and a slot are free
        assert len(self.backend.batches) == before + 1
        self.runner.run(self.backend.finish_all())
        self.runner.close()


def _is_retry_with_expected_version(append: PendingAppend) -> bool:
    return append.retry_individually and append.writes[0].expected >= 0


def _has(append: PendingAppend, stream: str) -> bool:
    return any(write.stream == stream for write in append.writes)


def test_each_append_gets_its_result_and_each_stream_keeps_its_order(
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
