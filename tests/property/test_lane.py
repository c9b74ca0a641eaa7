"""Random work on a lane, with crashes: every event takes effect once, in order for each key, whatever fails."""

import asyncio
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from random import Random

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from fait._events.envelope import RecordedEvent
from fait._store.ports.failures import FailureChange, KeyFailure, are_expected
from fait._store.ports.leases import Lease
from fait._store.ports.registrations import RangeKey
from fait._store.ports.unit_of_work import HandlerStatement, RecordResult, UnitOfWork
from fait._subscriptions import lane as lane_module
from fait._subscriptions import record_queue
from fait._subscriptions.lane import Job, RangeLane
from fait._subscriptions.record_queue import JobResult, RecordQueue
from fait._subscriptions.subscription import Outcome
from tests.property.test_log import EXAMPLES, THOROUGH

NOW = datetime(2026, 1, 1, tzinfo=UTC)
KEYS = "abc"
MAX_PENDING = 6
EVENTS = 30
MAX_SIZE = 40
"""Size of the events in memory above which none are taken up: ten small ones or three others."""


@pytest.fixture(autouse=True)
def _small_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lane_module, "MAX_PENDING", MAX_PENDING)
    monkeypatch.setattr(lane_module, "PAGE_SIZE", 4)
    monkeypatch.setattr(lane_module, "MAX_PAGE_BYTES", MAX_SIZE)
    monkeypatch.setattr(record_queue, "MAX_GROUPED_EVENTS", 3)


def event_at(position: int, key: str, data: str = "{}") -> RecordedEvent:
    return RecordedEvent(position, key, position, "t", 1, str(position), data, "{}", (), NOW, NOW)


class Simulation:
    """A log, the row of a range with its failures, and a worker of it that may crash."""

    def __init__(self, chance: Random, concurrency: int, batch: int) -> None:
        data = chance.choice(["{}", '{"large":1}'])
        self.log = [event_at(2 * number + 1, chance.choice(KEYS), data) for number in range(EVENTS)]
        self._mark = self.log[-1].position + chance.randrange(2)  # perhaps after an event that is not handled
        self.frontier, self.pending = 0, tuple[int, ...]()
        self.failures: dict[str, KeyFailure] = {}
        self.effects: list[int] = []
        self._chance = chance
        self._concurrency = concurrency
        self._batch = batch
        self.crash()

    def crash(self) -> None:
        """Continue as another worker."""
        position = self.pending[0] - 1 if self.pending else self.frontier
        lease = Lease(
            RangeKey("lane"), "w", 1, position, 1, (), frontier=self.frontier, pending=self.pending,
            failures=tuple(self.failures.values()),
        )  # fmt: skip
        self.lane = RangeLane(lease, lambda event: event.stream, self._concurrency)
        self.queue = RecordQueue(self, self.lane)
        self.position = 0
        self.jobs: list[tuple[Job, int]] = []  # with the frontier at their beginning

    async def record(self, work: UnitOfWork) -> RecordResult:
        """Write a unit of work to the row, as a store does. Before it answers, events may be taken."""
        self._take()
        assert are_expected(work.failures, {key: each.state for key, each in self.failures.items()})
        assert len(work.move.pending) <= MAX_PENDING
        assert work.move.frontier >= self.frontier
        self.frontier, self.pending = work.move.frontier, work.move.pending
        for each in work.failures:
            self.failures.pop(each.key, None)
            if each.failure is not None:
                self.failures[each.key] = each.failure
        self.effects += [position for each in work.statements for position in each.values]
        return "recorded"

    def _take(self) -> None:
        """Take a page, perhaps with more events than there is space for: some were handed back since it was read."""
        if limit := self.lane.capacity:
            page = [each for each in self.log if each.position > self.lane.cursor][: self._chance.randint(1, limit + 2)]
            self.lane.take(page, page[-1].position if page else self._mark)

    async def step(self) -> None:
        action = self._chance.randrange(40)
        if action == 0:
            self.crash()
        elif action < 8:
            self._take()
        elif action < 10 and self.lane.has_passed_events:
            await self.queue.record(JobResult())
        elif action < 25 and len(self.jobs) < self._concurrency:
            self._begin()
        elif self.jobs:
            count = self._chance.randint(1, len(self.jobs))
            ended = [self.jobs.pop(self._chance.randrange(len(self.jobs))) for _ in range(count)]
            await asyncio.gather(*(self._end(job, frontier, self._chance.random() < 0.3) for job, frontier in ended))

    def _begin(self) -> None:
        failed = [each for each in self.lane.failures.values() if not self.lane.is_busy(each.key)]
        job = self.lane.begin(self._chance.choice(failed)) if failed and self._chance.random() < 0.5 else None
        if job := job or self.lane.next_job(self._batch):
            self.jobs.append((job, self.lane.frontier))

    async def _end(self, job: Job, frontier: int, fails: bool) -> None:
        if job.failure is not None:
            await self._end_failed(job.failure, frontier, fails)
            self.lane.end(job)
            return
        events = job.events
        finished = self._chance.randrange(len(events)) if fails else len(events)
        changes, rest = list[FailureChange](), list(events[finished:])
        aside, lane = list[RecordedEvent](), self.lane
        if rest:
            key = rest[0].stream
            changes = [FailureChange(key, (), failure_at(rest[0]))]
            aside = [each for each in rest if each.stream == key]
            rest = [each for each in rest if each.stream != key]
        await self.queue.record(JobResult(events[:finished], outcome_of(events[:finished]), changes, aside))
        lane.end(job, rest)

    async def _end_failed(self, failure: KeyFailure, frontier: int, fails: bool) -> None:
        left = [each for each in self._events(failure.key) if failure.next_position <= each.position <= frontier]
        events = left[: self._batch]
        if fails and events:
            new = replace(failure, state="parked", next_position=events[0].position)
            await self.queue.record(JobResult((), Outcome(0), [FailureChange(failure.key, (failure.state,), new)]))
            return
        read_to = frontier if len(left) == len(events) else None
        following = (events[-1].position if events else frontier) + 1
        new = replace(failure, state="redriving", next_position=max(following, failure.next_position))
        change = FailureChange(failure.key, (failure.state,), new)
        await self.queue.record(JobResult((), outcome_of(events), [change], read_to=read_to))

    def _events(self, key: str) -> Iterator[RecordedEvent]:
        return (each for each in self.log if each.stream == key)

    def is_finished(self, event: RecordedEvent) -> bool:
        """Whether the row says that an event is finished."""
        if failure := self.failures.get(event.stream):
            return event.position < failure.next_position
        return event.position <= self.frontier and event.position not in self.pending

    def check_row(self) -> None:
        """Check that what the lane has finished is in the row, or is to be recorded."""
        if self.lane.is_idle and not self.lane.has_passed_events:
            assert self.pending == ()

    def check(self) -> None:
        self.check_row()
        finished = [each.position for each in self.log if self.is_finished(each)]
        assert sorted(self.effects) == finished
        for key in KEYS:
            positions = [each.position for each in self._events(key)]
            mine = [each for each in self.effects if each in positions]
            assert mine == sorted(mine)
        assert self.lane.position >= self.position
        self.position = self.lane.position
        passed = [each for each in self.log if each.position <= self.lane.position]
        assert all(self.is_finished(each) or each.stream in self.lane.failures for each in passed)

    async def finish(self) -> None:
        """JobResult without further failures until nothing is left."""
        for _ in range(30 * EVENTS):
            self._take()
            self._begin()
            if self.jobs:
                await self._end(*self.jobs.pop(), fails=False)
            elif self.lane.has_passed_events:
                await self.queue.record(JobResult())


class PublishingSimulation(Simulation):
    """A relay, whose broker stores the position of the live events that it has got. Records can be late."""

    def __init__(self, chance: Random, batch: int) -> None:
        self.arrived: list[int] = []
        self._stored = 0
        self._failed_once = set[str]()
        super().__init__(chance, 1, batch)

    def crash(self) -> None:
        super().crash()
        self._former = self._stored
        self._failed_before = set(self.failures)

    async def _end(self, job: Job, frontier: int, fails: bool) -> None:
        key, is_late = job.events[0].stream if job.events else "", self._chance.random() < 0.7
        if job.failure is not None:
            await self._redrive(job.failure)
            self.lane.end(job)
        elif fails and key not in self._failed_once:  # the broker refuses one message of a key
            await self._refuse(job, key)
        else:
            self._publish(job.events)
            if fails and self._chance.random() < 0.3:
                self.crash()
                return
            result = JobResult(job.events, Outcome(len(job.events)))
            if is_late:
                self.queue.record_later(result)
            else:
                await self.queue.record(result)
            self.lane.end(job)

    async def _refuse(self, job: Job, key: str) -> None:
        self._failed_once.add(key)
        aside = [each for each in job.events if each.stream == key]
        await self.queue.record(JobResult((), Outcome(0), [FailureChange(key, (), failure_at(aside[0]))], aside))
        self.lane.end(job, [each for each in job.events if each.stream != key])

    def _publish(self, events: Sequence[RecordedEvent]) -> None:
        """Publish live events, as `RangePublisher` does."""
        for each in events:
            is_failed = each.stream in self._failed_before
            if is_failed or each.position > self._stored:
                self.arrived.append(each.position)
            self._stored = self._stored if is_failed else max(self._stored, each.position)

    async def _redrive(self, failure: KeyFailure) -> None:
        if self.lane.has_unrecorded_events:
            await self.queue.record(JobResult())
        if self.lane.frontier < self._former:
            return
        left = [each for each in self._events(failure.key) if failure.next_position <= each.position]
        self.arrived += [each.position for each in left if each.position <= self.lane.frontier]
        change = FailureChange(failure.key, (failure.state,), replace(failure, next_position=self.lane.frontier + 1))
        await self.queue.record(JobResult((), Outcome(0), [change], read_to=self.lane.frontier))

    def check(self) -> None:
        self.check_row()
        assert {each.position for each in self.log if self.is_finished(each)} <= set(self.arrived)
        for key in KEYS:
            positions, first = [each.position for each in self._events(key)], list[int]()
            arrived = [each for each in self.arrived if each in positions]
            for each in arrived:
                first += [each] if each not in first else []
            assert first == positions[: len(first)]
            assert arrived == first or key in self._failed_once
        passed = [each for each in self.log if each.position <= self.lane.position]
        assert all(each.position in self.arrived or each.stream in self.lane.failures for each in passed)


def failure_at(event: RecordedEvent) -> KeyFailure:
    return KeyFailure(
        subscription="lane", key=event.stream, slot=0, state="retrying", next_position=event.position, attempts=1,
        stream=event.stream, event_id=event.id, event_type=event.type, first_failed_at=NOW, last_failed_at=NOW,
        error_type="", error="", location="", traceback="",
    )  # fmt: skip


def outcome_of(events: Sequence[RecordedEvent]) -> Outcome:
    return Outcome(len(events), statements=[HandlerStatement("", [each.position for each in events])])


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=not THOROUGH,
    phases=tuple(Phase) if THOROUGH else (Phase.generate,),
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.randoms(use_true_random=False), st.integers(1, 4), st.integers(1, 3))
def test_every_event_takes_effect_once_and_in_order_for_each_key(chance: Random, concurrency: int, batch: int) -> None:
    async def simulate() -> None:
        simulation = Simulation(chance, concurrency, batch)
        for _ in range(150):
            await simulation.step()
            simulation.check()
        await simulation.finish()
        assert sorted(simulation.effects) == [each.position for each in simulation.log]
        assert (simulation.failures, simulation.lane.size) == ({}, 0)

    asyncio.run(simulate())


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=not THOROUGH,
    phases=tuple(Phase) if THOROUGH else (Phase.generate,),
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.randoms(use_true_random=False), st.integers(1, 3))
def test_every_event_is_published_in_order_although_records_are_late(chance: Random, batch: int) -> None:
    async def simulate() -> None:
        simulation = PublishingSimulation(chance, batch)
        for _ in range(150):
            await simulation.step()
            simulation.check()
        await simulation.finish()
        assert set(simulation.arrived) == {each.position for each in simulation.log}
        assert (simulation.failures, simulation.lane.size) == ({}, 0)

    asyncio.run(simulate())
