"""Whatever is asked in whatever order: every backend answers as the log in memory does."""

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
from fait._store.open import BACKENDS, open_store
from fait.testing.strategies import CATEGORIES, STREAMS, TYPES, queries, untils, writes

REFERENCE = "memory"
THOROUGH = "FAIT_EXAMPLES" in os.environ
EXAMPLES = int(os.environ.get("FAIT_EXAMPLES", "30"))

# Some of few ids, so that they are taken.
FRESH = st.uuids(version=4).map(str)
IDS = st.one_of(FRESH, FRESH, FRESH, st.integers(1, 12).map(lambda number: str(UUID(int=number))))
LIMITS = st.integers(1, 9)


class SameAnswers(RuleBasedStateMachine):
    """A log beside the one in memory, both asked the same. Subclasses say where it is."""

    fresh: Callable[[], str]
    one_clock = True  # whether moments never go back in the whole log, and not only in each stream

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.url = self.fresh()
        self.clock = ManualClock(datetime(2024, 1, 15, 18, tzinfo=UTC))
        self.known = self.run(open_store("memory:", clock=self.clock))
        self.asked = self.run(self.opened())
        self.appended: list[list[StreamWrite]] = []
        self.places: list[int] = []

    def run(self, asking: Any) -> Any:
        return self.runner.run(asking)

    async def opened(self) -> Any:
        return await open_store(self.url, clock=self.clock)

    def teardown(self) -> None:
        self.run(self.asked.close())
        self.runner.close()

    def same(self, verb: str, *values: Any, **named: Any) -> Any:
        """Ask both logs, and compare what they say."""
        expected = self.run(getattr(self.known.log, verb)(*values, **named))
        found = self.run(getattr(self.asked.log, verb)(*self.there(values, verb), **self.there(named, verb)))
        if verb == "append":
            self.note_places()
        assert self.here(found) == expected
        return expected

    # Positions may have gaps: they are compared by their order.

    def note_places(self) -> None:
        page = self.run(self.asked.log.read(self.places[-1] if self.places else 0))
        self.places += [event.position for event in page.events]

    def there(self, asked: Any, verb: str) -> Any:
        """What is asked of the log in memory, with the other one's positions."""
        match asked:
            case Until(position=int()):
                return msgspec.structs.replace(asked, position=self.place(asked.position))
            case dict():
                return {name: self.there(value, verb) for name, value in asked.items()}
            case (int() as after,) if verb == "read":
                return (self.place(after),)
            case _:
                return asked

    def place(self, number: int) -> int:
        """The other log's position of the event with this number, or of one that does not exist yet."""
        beyond = number - len(self.places)
        return 0 if not number else self.places[number - 1] if beyond <= 0 else (self.places or [0])[-1] + beyond

    def here(self, answer: Any) -> Any:
        """An answer of the other log, with the positions of the one in memory."""
        match answer:
            case int():
                return bisect_right(self.places, answer) + max(0, answer - (self.places or [0])[-1])
            case list():
                return [self.here(each) for each in answer]
            case (version, position, *rest):
                return (version, self.here(position), *rest)
            case Page(events, position):
                return msgspec.structs.replace(answer, events=self.here(events), position=self.here(position))
            case Appended() | RecordedEvent():
                return msgspec.structs.replace(answer, position=self.here(answer.position))
            case _:
                return answer

    @rule(several=st.lists(writes(IDS), min_size=1, max_size=4))
    def append(self, several: list[list[StreamWrite]]) -> None:
        for asked in several:
            if isinstance(self.same("append", asked), Appended):
                self.appended.append(asked)

    @precondition(lambda self: self.appended)
    @rule(data=st.data())
    def append_again(self, data: st.DataObject) -> None:
        asked = data.draw(st.sampled_from(self.appended))
        if data.draw(st.booleans()):
            asked = data.draw(st.permutations(asked))
        if data.draw(st.booleans()):
            first = asked[0]
            events = data.draw(st.permutations(first.events)) if data.draw(st.booleans()) else first.events[:1]
            asked = [
                StreamWrite(data.draw(st.sampled_from([first.stream, "other-1"])), tuple(events), first.expected),
                *asked[1:],
            ]
        self.same("append", asked)

    @rule(minutes=st.integers(-600, 600))
    def wind_the_clock(self, minutes: int) -> None:
        if minutes > 0 or self.one_clock:
            self.clock.moment += timedelta(minutes=minutes)

    @rule(data=st.data(), limit=LIMITS)
    def read_streams(self, data: st.DataObject, limit: int) -> None:
        for stream in STREAMS:
            after, until = data.draw(st.integers(0, 5)), data.draw(untils(self.same("head")))
            for verb in ("read_stream", "history"):
                self.same(verb, stream, after=after, limit=limit, until=until)
        several = data.draw(st.permutations(STREAMS))
        self.same("histories", [(stream, data.draw(st.integers(0, 5))) for stream in several], limit=limit)

    @rule(data=st.data(), asked=st.lists(queries(), min_size=1, max_size=4), limit=LIMITS)
    def read_pages(self, data: st.DataObject, asked: list[Query], limit: int) -> None:
        for query in asked:
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
        behind, before = data.draw(st.integers(0, self.same("head"))), self.clock.moment - timedelta(hours=hours)
        after, more = 0, True
        while more:
            expected = self.run(self.known.log.expire(type, before, behind, after=after, limit=limit))
            found = self.run(
                self.asked.log.expire(type, before, self.place(behind), after=self.place(after), limit=limit)
            )
            assert msgspec.structs.replace(found, position=self.here(found.position)) == expected
            after, more = expected.position, expected.more
        self.same("expired_position")
        found = self.run(self.asked.log.oldest_messages(self.place(behind)))
        assert [msgspec.structs.replace(each, position=self.here(each.position)) for each in found] == self.run(
            self.known.log.oldest_messages(behind)
        )

    @rule()
    def reopen(self) -> None:
        self.run(self.asked.close())
        self.asked = self.run(self.opened())

    @invariant()
    def both_end_at_the_same_position(self) -> None:
        self.same("head")


@pytest.mark.timeout(0 if THOROUGH else 60)
@pytest.mark.parametrize("backend", [name for name in BACKENDS if name != REFERENCE])
def test_a_log_answers_as_the_reference_does(backend: str, store_url: Callable[[str], str]) -> None:
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
            # By chance, and made small, only for those who ask for more: that may take minutes.
            derandomize=not THOROUGH,
            phases=tuple(Phase) if THOROUGH else (Phase.generate,),
            print_blob=True,
        ),
    )
