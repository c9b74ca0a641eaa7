"""What every log promises of append conditions: they hold if nothing that they mean came after their position."""
# ruff: noqa: D102, S311 - the name of a test is its sentence; chance is seeded, not secret

import asyncio
import random
from collections.abc import Sequence

import pytest

from fait._clock import new_id
from fait._events.append import (
    PAGE_SIZE,
    AppendCondition,
    Appended,
    AppendResult,
    ConditionFailed,
    IdConflict,
    StreamWrite,
    VersionConflict,
)
from fait._events.envelope import EncodedEvent, RecordedEvent
from fait._events.query import EVERYTHING, Query
from fait._store.log import Log, StreamInfo
from fait.testing.contract.store import Opener, StoreContract, added, everything, new, told, write

__all__ = ["ConditionContract"]

CASES: list[tuple[tuple[Query, ...], str]] = [
    ((Query(("x",)),), "ac"),
    ((Query(("x", "z")),), "acd"),
    ((Query(tags=("t:1",)),), "ab"),
    ((Query(tags=("t:1", "t:2")),), "b"),
    ((Query(tags=("t:2", "t:2")),), "bc"),
    ((Query(("x",), ("t:2",)),), "c"),
    ((Query(("x", "y"), ("t:1", "t:2")),), "b"),
    ((Query(category="one"),), "ab"),
    ((Query(("x",), category="two"),), "c"),
    ((Query((), ("t:2",), "one"),), "b"),
    ((EVERYTHING,), "abcd"),
    ((Query(("never",)),), ""),
    ((Query(tags=("t:1", "never")),), ""),
    ((Query(category="on"),), ""),
    ((Query(("z",)), Query(tags=("t:1",))), "abd"),
    ((Query(tags=("t:2",)), Query(("x",)), Query(("y",))), "abc"),
    ((Query(("never",)), Query(("y",), ("t:2",))), "b"),
    ((), ""),
]
"""Queries, and which of the events below they mean."""


async def _four(log: Log) -> dict[str, RecordedEvent]:
    """Four events, each of its own stream, by a letter."""
    for stream, type, tags in (
        ("one-1", "x", ("t:1",)),
        ("one-2", "y", ("t:2", "t:1")),
        ("two-1", "x", ("t:2",)),
        ("two-2", "z", ()),
    ):
        await added(log, write(stream, [new(type, tags=tags)]))
    return dict(zip("abcd", await everything(log), strict=True))


class ConditionContract(StoreContract):
    """The promises of `Log.append` with a condition."""

    # What fails it

    @pytest.mark.parametrize(("queries", "meant"), CASES)
    async def test_it_fails_with_the_events_that_any_of_its_queries_means_in_order(
        self, log: Log, queries: tuple[Query, ...], meant: str
    ) -> None:
        stored = await _four(log)
        head = await log.head()

        verdict = await log.append([write("other")], AppendCondition(queries, 0))

        if meant:
            assert verdict == ConditionFailed(tuple(stored[letter] for letter in meant), head)
            assert await everything(log) == list(stored.values())
        else:
            assert isinstance(verdict, Appended)

    @pytest.mark.parametrize(("queries", "meant"), CASES)
    async def test_what_is_at_or_below_its_position_is_ignored(
        self, log: Log, queries: tuple[Query, ...], meant: str
    ) -> None:
        stored = await _four(log)

        for letter, known in stored.items():
            later = tuple(stored[each] for each in meant if each > letter)

            verdict = await log.append([write("other")], AppendCondition(queries, known.position))

            if later:
                assert isinstance(verdict, ConditionFailed)
                assert verdict.events == later
            else:
                assert isinstance(verdict, Appended)
                return  # everything is another thing now

    async def test_a_position_beyond_the_head_is_one_that_nothing_came_after(self, log: Log) -> None:
        await _four(log)

        verdict = await log.append([write("other")], AppendCondition((EVERYTHING,), await log.head() + 100))

        assert isinstance(verdict, Appended)

    async def test_on_an_empty_log_every_condition_holds(self, log: Log) -> None:
        assert isinstance(await log.append([write("a")], AppendCondition((EVERYTHING,), 0)), Appended)

    async def test_its_own_events_do_not_fail_an_append_and_fail_the_next(self, log: Log) -> None:
        seats = (Query(tags=("seat:1",)),)
        first = await log.append([write("a", [new(tags=("seat:1",)) for _ in range(2)])], AppendCondition(seats, 0))
        assert isinstance(first, Appended)

        assert told(await log.append([write("b")], AppendCondition(seats, 0))) == "condition failed"
        assert told(await log.append([write("b")], AppendCondition(seats, first.position - 1))) == "condition failed"
        assert told(await log.append([write("b")], AppendCondition(seats, first.position))) == "appended"

    @pytest.mark.parametrize("conditional", [False, True])
    async def test_any_append_fails_it_on_its_own_condition_or_without_one_alone_or_among_others(
        self, log: Log, opener: Opener, conditional: bool
    ) -> None:
        other = Query(("never",))
        async with opener() as second:
            for writer in (log, second.log) if log.features.shared else (log,):
                known = await log.head()
                asked = [write("a"), write("b", [new(), new(tags=("t:1",))]), write("c")]
                await writer.append(asked, AppendCondition((other,), known) if conditional else None)

                verdict = await log.append([write("d")], AppendCondition((Query(tags=("t:1",)),), known))

                assert isinstance(verdict, ConditionFailed)
                assert [(event.stream, event.tags) for event in verdict.events] == [("b", ("t:1",))]
                assert verdict.position == await log.head()

    # Its answer

    @pytest.mark.parametrize("queries", [(Query(tags=("t:1",)),), (Query(tags=("t:1",)), Query(("rare",)))])
    async def test_its_answers_are_complete_up_to_their_position_however_many_events_they_mean(
        self, log: Log, queries: tuple[Query, ...]
    ) -> None:
        for n in range(5):
            events = [new(tags=("t:1",)) for _ in range(PAGE_SIZE // 2)]
            await added(log, write("a", [*events, new("rare" if n % 2 else "unasked")]))
        await added(log, write("b"))
        meant = [event for event in await everything(log) if any(query.matches(event) for query in queries)]
        assert len(meant) > 2 * PAGE_SIZE

        seen: list[RecordedEvent] = []
        known = 0
        verdict = await log.append([write("other")], AppendCondition(queries, known))
        while isinstance(verdict, ConditionFailed):
            assert list(verdict.events) == [e for e in meant if known < e.position <= verdict.position]
            seen += verdict.events
            known = verdict.position
            verdict = await log.append([write("other")], AppendCondition(queries, known))

        assert seen == meant
        assert isinstance(verdict, Appended)

    async def test_nothing_is_written_when_it_fails(self, log: Log) -> None:
        await _four(log)
        before, listed = await everything(log), await log.streams()
        tagged = [new(tags=("t:1", "t:9")), new(tags=("t:9",))]
        asked = [write("one-1", tagged), write("new-1", 3), write("two-2")]

        verdict = await log.append(asked, AppendCondition((Query(("z",)),), before[0].position))

        assert told(verdict) == "condition failed"
        assert await everything(log) == before
        assert await log.streams() == listed
        assert await everything(log, Query(tags=("t:9",))) == []
        assert await log.find([event.id for each in asked for event in each.events]) == []
        assert (await added(log, *asked)).versions == (3, 3, 2)

    async def test_taken_ids_answer_before_it_and_it_answers_before_a_wrong_version(self, log: Log) -> None:
        asked = [write("a", [new(tags=("t:1",))], 0), write("b", 1, 0)]
        first = await added(log, *asked)
        fails = AppendCondition((Query(tags=("t:1",)),), 0)
        holds = AppendCondition((Query(tags=("t:1",)),), first.position)
        mixed = [write("a", [*asked[0].events, new()])]
        wrong = [write("a", 1, 0), write("c")]

        assert await log.append(asked, fails) == Appended(first.position, first.versions, repeated=True)
        assert await log.append(asked, holds) == Appended(first.position, first.versions, repeated=True)
        assert await log.append(mixed, fails) == await log.append(mixed, holds) == IdConflict(asked[0].events[0].id)
        twice = [new(id=new_id())] * 2
        assert await log.append([write("c", twice)], fails) == IdConflict(twice[0].id)
        for writes in (wrong, wrong[:1]):
            assert told(await log.append(writes, fails)) == "condition failed"
            assert await log.append(writes, holds) == VersionConflict("a", 0, 1)
        assert await log.streams() == [StreamInfo("a", 1), StreamInfo("b", 1)]

    async def test_cancelled_it_is_settled_by_the_same_ids(self, log: Log) -> None:
        for turns in range(12):
            seat = Query(tags=(f"seat:{turns}",))
            asked = [write(f"a-{turns}", [new(tags=seat.tags)]), write(f"b-{turns}")]
            condition = AppendCondition((seat,), 0)
            task = asyncio.create_task(log.append(asked, condition))
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

            assert isinstance(await log.append(asked, condition), Appended)
            assert len(await everything(log, seat)) == 1

    # Many at once

    async def test_of_racers_on_several_handles_one_wins(self, log: Log, opener: Opener) -> None:
        async with opener() as second, opener() as third:
            logs = [log, second.log, third.log] if log.features.shared else [log]
            condition = AppendCondition((Query(("sold",), ("seat:1",)),), 0)
            asked = [[write(f"booking-{n}", [new("sold", tags=("seat:1",))])] for n in range(60)]

            verdicts = await asyncio.gather(
                *(logs[n % len(logs)].append(writes, condition) for n, writes in enumerate(asked))
            )

            assert sorted(map(told, verdicts)) == ["appended"] + ["condition failed"] * 59
            assert len(await everything(log)) == 1

    async def test_a_condition_sees_what_is_stored_together_with_it(self, log: Log) -> None:
        seat = Query(("sold",), ("seat:1",))

        verdicts = await asyncio.gather(
            log.append([write("first")]),  # those after it go together, once it is stored
            log.append([write("a", [new("sold", tags=seat.tags)])]),
            log.append([write("b", [new("sold", tags=seat.tags)])], AppendCondition((seat,), 0)),
            log.append([write("c")], AppendCondition((seat,), 0)),
        )

        assert [told(each) for each in verdicts] == ["appended", "appended", "condition failed", "condition failed"]

    @pytest.mark.parametrize("seed", range(4))
    async def test_concurrent_verdicts_are_right_about_what_came_before_them(
        self, log: Log, opener: Opener, seed: int
    ) -> None:
        chance = random.Random(seed)
        async with opener() as second:
            logs = [log, second.log] if log.features.shared else [log]

            async def append(number: int) -> tuple[AppendCondition | None, list[StreamWrite], AppendResult]:
                for _ in range(chance.randrange(5)):
                    await asyncio.sleep(0)
                writes = [write(f"s-{n}", [_any_event(chance)]) for n in chance.sample(range(8), chance.randint(1, 2))]
                known = max(0, await log.head() - chance.randrange(3)) if chance.random() < 0.7 else None
                condition = None if known is None else AppendCondition(_any_queries(chance), known)
                return condition, writes, await logs[number % len(logs)].append(writes, condition)

            made = await asyncio.gather(*(append(number) for number in range(120)))
        stored = await everything(log)

        assert {"appended", "condition failed"} == {told(verdict) for *_, verdict in made}
        for condition, writes, verdict in made:
            _check(stored, condition, writes, verdict)


def _any_event(chance: random.Random) -> EncodedEvent:
    return new(chance.choice("xyz"), tags=tuple(f"t:{n}" for n in range(3) if chance.random() < 0.4))


def _any_queries(chance: random.Random) -> tuple[Query, ...]:
    def one() -> Query:
        tags = tuple(f"t:{n}" for n in chance.sample(range(3), chance.randint(0, 2)))
        return Query(tuple(chance.sample("xyz", chance.randint(0 if tags else 1, 2))), tags)

    return tuple(one() for _ in range(chance.randint(1, 2)))


def _check(
    stored: Sequence[RecordedEvent],
    condition: AppendCondition | None,
    writes: Sequence[StreamWrite],
    verdict: AppendResult,
) -> None:
    """Whether a verdict is right, now that everything is known."""
    ids = {event.id for each in writes for event in each.events}
    own = [event.position for event in stored if event.id in ids]
    if condition is None:
        assert isinstance(verdict, Appended)
        return
    end = min(own) - 1 if isinstance(verdict, Appended) else getattr(verdict, "position", 0)
    came = [
        event
        for event in stored
        if condition.after < event.position <= end and any(query.matches(event) for query in condition.queries)
    ]
    if isinstance(verdict, Appended):
        assert came == []
    else:
        assert isinstance(verdict, ConditionFailed)
        assert list(verdict.events) == came != []
        assert own == []
