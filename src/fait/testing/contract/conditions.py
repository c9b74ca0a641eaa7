"""The contract of append conditions: a condition fails if an event after its position matches one of its queries."""
# ruff: noqa: D102, S311 - test names replace docstrings; random numbers are seeded, not secret

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
from fait._store.ports.log import Log, StreamInfo
from fait.testing.contract.store import Opener, StoreContract, added, everything, new, outcome_of, write

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
"""Queries, and the letters of the events of `_four_events` that they match."""


async def _four_events(log: Log) -> dict[str, RecordedEvent]:
    """Append four events, each to its own stream; return them by letter."""
    for stream, type, tags in (
        ("one-1", "x", ("t:1",)),
        ("one-2", "y", ("t:2", "t:1")),
        ("two-1", "x", ("t:2",)),
        ("two-2", "z", ()),
    ):
        await added(log, write(stream, [new(type, tags=tags)]))
    return dict(zip("abcd", await everything(log), strict=True))


class ConditionContract(StoreContract):
    """The contract of `Log.append` with a condition."""

    # When a condition fails

    @pytest.mark.parametrize(("queries", "letters"), CASES)
    async def test_condition_fails_with_the_matching_events_in_order(
        self, log: Log, queries: tuple[Query, ...], letters: str
    ) -> None:
        stored = await _four_events(log)
        head = await log.head()

        result = await log.append([write("other")], AppendCondition(queries, 0))

        if letters:
            assert result == ConditionFailed(tuple(stored[letter] for letter in letters), head)
            assert await everything(log) == list(stored.values())
        else:
            assert isinstance(result, Appended)

    @pytest.mark.parametrize(("queries", "letters"), CASES)
    async def test_condition_ignores_events_up_to_its_position(
        self, log: Log, queries: tuple[Query, ...], letters: str
    ) -> None:
        stored = await _four_events(log)

        for letter, event in stored.items():
            later = tuple(stored[each] for each in letters if each > letter)

            result = await log.append([write("other")], AppendCondition(queries, event.position))

            if later:
                assert isinstance(result, ConditionFailed)
                assert result.events == later
            else:
                assert isinstance(result, Appended)
                return  # the new event may match the next condition

    async def test_condition_after_the_head_holds(self, log: Log) -> None:
        await _four_events(log)

        result = await log.append([write("other")], AppendCondition((EVERYTHING,), await log.head() + 100))

        assert isinstance(result, Appended)

    async def test_condition_holds_on_an_empty_log(self, log: Log) -> None:
        assert isinstance(await log.append([write("a")], AppendCondition((EVERYTHING,), 0)), Appended)

    async def test_append_is_not_failed_by_its_own_events_but_the_next_append_is(self, log: Log) -> None:
        seats = (Query(tags=("seat:1",)),)
        first = await log.append([write("a", [new(tags=("seat:1",)) for _ in range(2)])], AppendCondition(seats, 0))
        assert isinstance(first, Appended)

        assert outcome_of(await log.append([write("b")], AppendCondition(seats, 0))) == "condition failed"
        assert (
            outcome_of(await log.append([write("b")], AppendCondition(seats, first.position - 1))) == "condition failed"
        )
        assert outcome_of(await log.append([write("b")], AppendCondition(seats, first.position))) == "appended"

    @pytest.mark.parametrize("conditional", [False, True])
    async def test_condition_fails_on_events_of_any_append_of_any_handle(
        self, log: Log, opener: Opener, conditional: bool
    ) -> None:
        other = Query(("never",))
        async with opener() as second:
            for writer in (log, second.log) if log.features.shared else (log,):
                head = await log.head()
                writes = [write("a"), write("b", [new(), new(tags=("t:1",))]), write("c")]
                await writer.append(writes, AppendCondition((other,), head) if conditional else None)

                result = await log.append([write("d")], AppendCondition((Query(tags=("t:1",)),), head))

                assert isinstance(result, ConditionFailed)
                assert [(event.stream, event.tags) for event in result.events] == [("b", ("t:1",))]
                assert result.position == await log.head()

    # The result

    @pytest.mark.parametrize("queries", [(Query(tags=("t:1",)),), (Query(tags=("t:1",)), Query(("rare",)))])
    async def test_failed_condition_has_all_matching_events_up_to_its_position(
        self, log: Log, queries: tuple[Query, ...]
    ) -> None:
        for n in range(5):
            events = [new(tags=("t:1",)) for _ in range(PAGE_SIZE // 2)]
            await added(log, write("a", [*events, new("rare" if n % 2 else "other")]))
        await added(log, write("b"))
        matching = [event for event in await everything(log) if any(query.matches(event) for query in queries)]
        assert len(matching) > 2 * PAGE_SIZE

        returned: list[RecordedEvent] = []
        after = 0
        result = await log.append([write("other")], AppendCondition(queries, after))
        while isinstance(result, ConditionFailed):
            assert list(result.events) == [e for e in matching if after < e.position <= result.position]
            returned += result.events
            after = result.position
            result = await log.append([write("other")], AppendCondition(queries, after))

        assert returned == matching
        assert isinstance(result, Appended)

    async def test_failed_condition_writes_nothing(self, log: Log) -> None:
        await _four_events(log)
        events, streams = await everything(log), await log.streams()
        tagged = [new(tags=("t:1", "t:9")), new(tags=("t:9",))]
        writes = [write("one-1", tagged), write("new-1", 3), write("two-2")]

        result = await log.append(writes, AppendCondition((Query(("z",)),), events[0].position))

        assert outcome_of(result) == "condition failed"
        assert await everything(log) == events
        assert await log.streams() == streams
        assert await everything(log, Query(tags=("t:9",))) == []
        assert await log.find([event.id for each in writes for event in each.events]) == []
        assert (await added(log, *writes)).versions == (3, 3, 2)

    async def test_id_conflict_precedes_condition_which_precedes_version_conflict(self, log: Log) -> None:
        writes = [write("a", [new(tags=("t:1",))], 0), write("b", 1, 0)]
        first = await added(log, *writes)
        fails = AppendCondition((Query(tags=("t:1",)),), 0)
        holds = AppendCondition((Query(tags=("t:1",)),), first.position)
        mixed = [write("a", [*writes[0].events, new()])]
        wrong = [write("a", 1, 0), write("c")]

        assert await log.append(writes, fails) == Appended(first.position, first.versions, repeated=True)
        assert await log.append(writes, holds) == Appended(first.position, first.versions, repeated=True)
        assert await log.append(mixed, fails) == await log.append(mixed, holds) == IdConflict(writes[0].events[0].id)
        twice = [new(id=new_id())] * 2
        assert await log.append([write("c", twice)], fails) == IdConflict(twice[0].id)
        for each in (wrong, wrong[:1]):
            assert outcome_of(await log.append(each, fails)) == "condition failed"
            assert await log.append(each, holds) == VersionConflict("a", 0, 1)
        assert await log.streams() == [StreamInfo("a", 1), StreamInfo("b", 1)]

    async def test_canceled_conditional_append_can_be_repeated_with_the_same_ids(self, log: Log) -> None:
        for turns in range(12):
            seat = Query(tags=(f"seat:{turns}",))
            writes = [write(f"a-{turns}", [new(tags=seat.tags)]), write(f"b-{turns}")]
            condition = AppendCondition((seat,), 0)
            task = asyncio.create_task(log.append(writes, condition))
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

            assert isinstance(await log.append(writes, condition), Appended)
            assert len(await everything(log, seat)) == 1

    # Concurrent appends

    async def test_concurrent_appends_with_one_condition_store_one(self, log: Log) -> None:
        condition = AppendCondition((Query(tags=("seat:1",)),), await log.head())
        appends = [[write(f"booking-{n}", [new(tags=("seat:1",))])] for n in range(40)]

        results = await asyncio.gather(*(log.append(writes, condition) for writes in appends))

        assert sorted(map(outcome_of, results)) == ["appended"] + ["condition failed"] * 39
        assert len(await everything(log)) == 1
        stored = next(n for n, result in enumerate(results) if isinstance(result, Appended))
        assert outcome_of(await log.append(appends[stored], condition)) == "repeated"

    async def test_concurrent_conditional_appends_of_several_handles_store_one(self, log: Log, opener: Opener) -> None:
        async with opener() as second, opener() as third:
            logs = [log, second.log, third.log] if log.features.shared else [log]
            condition = AppendCondition((Query(("sold",), ("seat:1",)),), 0)
            appends = [[write(f"booking-{n}", [new("sold", tags=("seat:1",))])] for n in range(60)]

            results = await asyncio.gather(
                *(logs[n % len(logs)].append(writes, condition) for n, writes in enumerate(appends))
            )

            assert sorted(map(outcome_of, results)) == ["appended"] + ["condition failed"] * 59
            assert len(await everything(log)) == 1

    async def test_condition_sees_events_of_the_same_group_commit(self, log: Log) -> None:
        seat = Query(("sold",), ("seat:1",))

        results = await asyncio.gather(
            log.append([write("first")]),  # the others are committed together after it
            log.append([write("a", [new("sold", tags=seat.tags)])]),
            log.append([write("b", [new("sold", tags=seat.tags)])], AppendCondition((seat,), 0)),
            log.append([write("c")], AppendCondition((seat,), 0)),
        )

        assert [outcome_of(each) for each in results] == [
            "appended",
            "appended",
            "condition failed",
            "condition failed",
        ]

    @pytest.mark.parametrize("seed", range(4))
    async def test_concurrent_results_agree_with_the_order_of_the_log(
        self, log: Log, opener: Opener, seed: int
    ) -> None:
        rng = random.Random(seed)
        async with opener() as second:
            logs = [log, second.log] if log.features.shared else [log]

            async def append(number: int) -> tuple[AppendCondition | None, list[StreamWrite], AppendResult]:
                for _ in range(rng.randrange(5)):
                    await asyncio.sleep(0)
                writes = [write(f"s-{n}", [_random_event(rng)]) for n in rng.sample(range(8), rng.randint(1, 2))]
                condition = None
                if rng.random() < 0.7:
                    after = max(0, await log.head() - rng.randrange(3))
                    condition = AppendCondition(_random_queries(rng), after)
                return condition, writes, await logs[number % len(logs)].append(writes, condition)

            appends = await asyncio.gather(*(append(number) for number in range(120)))
        stored = await everything(log)

        assert {"appended", "condition failed"} == {outcome_of(result) for *_, result in appends}
        for condition, writes, result in appends:
            _check(stored, condition, writes, result)


def _random_event(rng: random.Random) -> EncodedEvent:
    return new(rng.choice("xyz"), tags=tuple(f"t:{n}" for n in range(3) if rng.random() < 0.4))


def _random_queries(rng: random.Random) -> tuple[Query, ...]:
    def one() -> Query:
        tags = tuple(f"t:{n}" for n in rng.sample(range(3), rng.randint(0, 2)))
        return Query(tuple(rng.sample("xyz", rng.randint(0 if tags else 1, 2))), tags)

    return tuple(one() for _ in range(rng.randint(1, 2)))


def _check(
    stored: Sequence[RecordedEvent],
    condition: AppendCondition | None,
    writes: Sequence[StreamWrite],
    result: AppendResult,
) -> None:
    """Check the result of a concurrent append against the complete log."""
    ids = {event.id for each in writes for event in each.events}
    own = [event.position for event in stored if event.id in ids]
    if condition is None:
        assert isinstance(result, Appended)
        return
    end = min(own) - 1 if isinstance(result, Appended) else getattr(result, "position", 0)
    matching = [
        event
        for event in stored
        if condition.after < event.position <= end and any(query.matches(event) for query in condition.queries)
    ]
    if isinstance(result, Appended):
        assert matching == []
    else:
        assert isinstance(result, ConditionFailed)
        assert list(result.events) == matching != []
        assert own == []
