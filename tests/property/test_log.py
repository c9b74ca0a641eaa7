"""Random calls in random order: every backend returns what the memory log returns."""

import asyncio
import os
from bisect import bisect_right
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from fait._clock import ManualClock
from fait._events.append import Appended, Page, StreamWrite, Until
from fait._events.envelope import RecordedEvent
from fait._events.query import Query
from fait._store.open import backend_names, open_store
from fait.testing.strategies import CATEGORIES, STREAMS, TYPES, queries, untils, writes

REFERENCE = "memory"
THOROUGH = "FAIT_EXAMPLES" in os.environ
EXAMPLES = int(os.environ.get("FAIT_EXAMPLES", "30"))

# A quarter of the ids come from a small set, so that duplicates occur.
FRESH = st.uuids(version=4).map(str)
IDS = st.one_of(FRESH, FRESH, FRESH, st.integers(1, 12).map(lambda number: str(UUID(int=number))))
LIMITS = st.integers(1, 9)


class SameAnswers(RuleBasedStateMachine):
    """Makes the same calls to a log and to a memory log, and compares the results."""

    fresh: Callable[[], str]
    one_clock = True  # whether the clock of the last append is known to the next one, also after the store is reopened

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.url = self.fresh()
        self.clock = ManualClock(datetime(2024, 1, 15, 18, tzinfo=UTC))
        self.reference = self.run(open_store("memory:", clock=self.clock))
        self.tested = self.run(self.opened())
        self.appended: list[list[StreamWrite]] = []
        self.positions: list[int] = []

    def run(self, coroutine: Any) -> Any:
        return self.runner.run(coroutine)

    async def opened(self) -> Any:
        return await open_store(self.url, clock=self.clock)

    def teardown(self) -> None:
        self.run(self.tested.close())
        self.run(self.reference.close())
        self.runner.close()

    def same(self, method: str, *values: Any, **named: Any) -> Any:
        """Call a method of both logs, compare the results and return that of the reference."""
        expected = self.run(getattr(self.reference.log, method)(*values, **named))
        actual = self.run(
            getattr(self.tested.log, method)(*self.to_tested(values, method), **self.to_tested(named, method))
        )
        if method == "append":
            self.add_positions()
        if isinstance(actual, Page):  # a log may know the revisions, or not
            actual = msgspec.structs.replace(actual, revisions=expected.revisions)
        assert self.from_tested(actual) == expected
        return expected

    # Positions may have gaps, so they are compared by their rank.

    def add_positions(self) -> None:
        page = self.run(self.tested.log.read(self.positions[-1] if self.positions else 0))
        self.positions += [event.position for event in page.events]

    def to_tested(self, argument: Any, method: str) -> Any:
        """An argument for the reference, with the positions of the tested log."""
        match argument:
            case Until(position=int()):
                return msgspec.structs.replace(argument, position=self.position(argument.position))
            case dict():
                return {name: self.to_tested(value, method) for name, value in argument.items()}
            case (int() as after,) if method == "read":
                return (self.position(after),)
            case _:
                return argument

    def position(self, rank: int) -> int:
        """The tested log's position of the n-th event, or of one that does not exist yet."""
        missing = rank - len(self.positions)
        return 0 if not rank else self.positions[rank - 1] if missing <= 0 else (self.positions or [0])[-1] + missing

    def from_tested(self, result: Any) -> Any:
        """A result of the tested log, with the positions of the reference."""
        match result:
            case bool():
                return result
            case int():
                return bisect_right(self.positions, result) + max(0, result - (self.positions or [0])[-1])
            case list():
                return [self.from_tested(each) for each in result]
            case (list() as events, bool() as more):
                return self.from_tested(events), more
            case (version, position, *rest):
                return (version, self.from_tested(position), *rest)
            case Page(events, position):
                return msgspec.structs.replace(
                    result, events=self.from_tested(events), position=self.from_tested(position)
                )
            case Appended() | RecordedEvent():
                return msgspec.structs.replace(result, position=self.from_tested(result.position))
            case _:
                return result

    @rule(several=st.lists(writes(IDS), min_size=1, max_size=4))
    def append(self, several: list[list[StreamWrite]]) -> None:
        for stream_writes in several:
            if isinstance(self.same("append", stream_writes), Appended):
                self.appended.append(stream_writes)

    @precondition(lambda self: self.appended)
    @rule(data=st.data())
    def append_again(self, data: st.DataObject) -> None:
        stream_writes = data.draw(st.sampled_from(self.appended))
        if data.draw(st.booleans()):
            stream_writes = data.draw(st.permutations(stream_writes))
        if data.draw(st.booleans()):
            first = stream_writes[0]
            events = data.draw(st.permutations(first.events)) if data.draw(st.booleans()) else first.events[:1]
            stream_writes = [
                StreamWrite(data.draw(st.sampled_from([first.stream, "other-1"])), tuple(events), first.expected),
                *stream_writes[1:],
            ]
        self.same("append", stream_writes)

    @rule(minutes=st.integers(-600, 600))
    def set_clock(self, minutes: int) -> None:
        if minutes > 0 or self.one_clock:
            self.clock.moment += timedelta(minutes=minutes)

    @rule(data=st.data(), limit=LIMITS)
    def read_streams(self, data: st.DataObject, limit: int) -> None:
        for stream in STREAMS:
            after, until = data.draw(st.integers(0, 5)), data.draw(untils(self.same("head")))
            for method in ("read_stream", "history"):
                self.same(method, stream, after=after, limit=limit, until=until)
        several = data.draw(st.permutations(STREAMS))
        self.same("histories", [(stream, data.draw(st.integers(0, 5))) for stream in several], limit=limit)

    @rule(data=st.data(), searches=st.lists(queries(), min_size=1, max_size=4), limit=LIMITS)
    def read_pages(self, data: st.DataObject, searches: list[Query], limit: int) -> None:
        for query in searches:
            page = self.same("read", data.draw(st.integers(0, self.same("head") + 1)), query=query, limit=limit)
            while page.more:
                page = self.same("read", page.position, query=query, limit=limit)

    @rule(ids=st.lists(IDS, max_size=5))
    def find(self, ids: list[str]) -> None:
        self.same("find", ids)

    @rule(category=st.none() | st.sampled_from(CATEGORIES), after=st.just("") | st.sampled_from(STREAMS), limit=LIMITS)
    def list_streams(self, category: str | None, after: str, limit: int) -> None:
        self.same("streams", category=category, after=after, limit=limit)

    @rule(data=st.data(), type=st.sampled_from(TYPES), hours=st.integers(0, 12), limit=LIMITS)
    def expire(self, data: st.DataObject, type: str, hours: int, limit: int) -> None:
        up_to, before = data.draw(st.integers(0, self.same("head"))), self.clock.moment - timedelta(hours=hours)
        after, more = 0, True
        while more:
            expected = self.run(self.reference.log.expire(type, before, up_to, after=after, limit=limit))
            actual = self.run(
                self.tested.log.expire(type, before, self.position(up_to), after=self.position(after), limit=limit)
            )
            assert msgspec.structs.replace(actual, position=self.from_tested(actual.position)) == expected
            after, more = expected.position, expected.more
        self.same("expired_position")
        oldest = self.run(self.tested.log.oldest_messages(self.position(up_to)))
        assert [msgspec.structs.replace(each, position=self.from_tested(each.position)) for each in oldest] == self.run(
            self.reference.log.oldest_messages(up_to)
        )

    @rule()
    def reopen(self) -> None:
        self.run(self.tested.close())
        self.tested = self.run(self.opened())

    @invariant()
    def heads_are_the_same(self) -> None:
        self.same("head")


@pytest.mark.timeout(0 if THOROUGH else 600)
@pytest.mark.parametrize("backend", [name for name in backend_names() if name != REFERENCE])
def test_a_log_answers_as_the_reference_does(backend: str, store_url: Callable[[str], str]) -> None:
    store_url(backend)  # skips the test, without its server, before Hypothesis makes a machine that it does not end
    machine = type(
        backend,
        (SameAnswers,),
        {"fresh": staticmethod(lambda: store_url(backend)), "one_clock": backend != "postgresql"},
    )
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=20,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            # Random examples and shrinking may take minutes, so they run only with FAIT_EXAMPLES.
            derandomize=not THOROUGH,
            phases=tuple(Phase) if THOROUGH else (Phase.generate,),
            print_blob=True,
        ),
    )
