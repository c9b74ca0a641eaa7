"""The contract of the port `Log`."""
# ruff: noqa: D102, S311 - test names replace docstrings; random numbers are seeded, not secret

import asyncio
import random
from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone

import pytest

from fait._clock import ManualClock, new_id
from fait._errors import UsageError
from fait._events.append import (
    AppendCondition,
    Appended,
    ConditionFailed,
    IdConflict,
    StreamWrite,
    Until,
    VersionConflict,
)
from fait._events.envelope import EncodedEvent, RecordedEvent
from fait._events.query import EVERYTHING, Query
from fait._events.version import Expected, expected_number
from fait._store.ports.log import Log, StreamInfo
from fait.testing.contract.arguments import ArgumentContract
from fait.testing.contract.epochs import EpochContract
from fait.testing.contract.pages import PageContract
from fait.testing.contract.recording_times import RecordingTimeContract
from fait.testing.contract.repetition import RepetitionContract
from fait.testing.contract.sizes import SizeContract
from fait.testing.contract.store import START, Opener, added, everything, new, outcome_of, soon, write
from fait.testing.contract.turns import let_readers_wait

__all__ = ["LogContract"]

EXPECTATIONS: dict[int, set[Expected]] = {
    0: {"any", "no_stream", 0},
    1: {"any", "exists", 1},
    2: {"any", "exists", 2},
}
"""The expected versions that hold for a stream at each version."""

NAMES = [
    "order-ä",
    "order-a\u0308",
    "order-Ä",
    "Order-1",
    "order-1",
    "order- 1 ",
    "order-1\n2\t3",
    "order-'; DROP TABLE fait_events; --",
    'order-"%_\\\\*?[a]',
    "order-\u202eעברית",
    "order-日本語",
    "order-👩‍👩‍👧",
    "order-\uffee",
    "order-𝄞",
    "x",
    "-".join("order") + "-" + "z" * 400,
]
"""Stream names that a store must distinguish and return unchanged."""

DATA = [
    '{"n":1}',
    ' { "n" : 1.0 } ',
    '{"b":1,"a":2,"a":3}',
    '"\\u00e9é\\ud83d\\ude00😀"',
    "1e400",
    "123456789012345678901",
]


class LogContract(
    EpochContract, ArgumentContract, SizeContract, PageContract, RecordingTimeContract, RepetitionContract
):
    """The contract of `Log`, except conditions and expiry."""

    # Expected versions

    @pytest.mark.parametrize("expected", ["any", "no_stream", "exists", 0, 1, 2, 3])
    @pytest.mark.parametrize("actual", [0, 1, 2])
    async def test_append_is_stored_only_if_its_expected_version_holds(
        self, log: Log, actual: int, expected: Expected
    ) -> None:
        if actual:
            await added(log, write("order-1", actual))
        head = await log.head()

        result = await log.append([write("order-1", 2, expected)])

        if expected in EXPECTATIONS[actual]:
            assert isinstance(result, Appended)
            assert (result.versions, result.repeated) == ((actual + 2,), False)
            assert len((await log.read_stream("order-1"))[0]) == actual + 2
        else:
            assert result == VersionConflict("order-1", expected_number(expected), actual)
            assert len((await log.read_stream("order-1"))[0]) == actual
            assert await log.head() == head

    async def test_concurrent_appends_with_one_expected_version_store_one(self, log: Log) -> None:
        await added(log, write("seat-1", 3))

        results = await asyncio.gather(*(log.append([write("seat-1", 1, 3)]) for _ in range(64)))

        assert sorted(map(outcome_of, results)) == ["appended"] + ["conflict"] * 63
        assert [event.version for event in (await log.read_stream("seat-1"))[0]] == [1, 2, 3, 4]

    async def test_concurrent_appends_of_several_handles_store_one(self, log: Log, opener: Opener) -> None:
        self._skip_unless_shared(log)
        async with opener() as other, opener() as third:
            logs = [log, other.log, third.log]

            results = await asyncio.gather(*(logs[n % 3].append([write("seat-1", 1, 0)]) for n in range(60)))

        assert sorted(map(outcome_of, results)) == ["appended"] + ["conflict"] * 59

    async def test_concurrent_appends_each_get_their_own_result(self, log: Log) -> None:
        old = new()
        await added(log, write("old", [old]))
        appends = [
            ([write(f"good-{n}", 2, "no_stream")], "appended") if n % 4 == 0
            else ([write(f"free-{n}"), write("old", 1, 7)], "conflict") if n % 4 == 1
            else ([write(f"taken-{n}", [new(), old])], "duplicate") if n % 4 == 2
            else ([write("old", [old], 0)], "repeated")
            for n in range(80)
        ]  # fmt: skip

        results = await asyncio.gather(*(log.append(writes) for writes, _ in appends))

        assert [outcome_of(result) for result in results] == [outcome for _, outcome in appends]
        good = {f"good-{n}": 2 for n in range(0, 80, 4)}
        assert {each.stream: each.version for each in await log.streams()} == {"old": 1, **good}

    # Several streams

    async def test_append_to_several_streams_keeps_the_given_order(self, log: Log) -> None:
        await added(log, write("b"))

        result = await added(log, write("b", 2, 1), write("a", 1, 0), write("c", 3))

        stored = (await everything(log))[1:]
        assert result.versions == (3, 1, 3)
        assert [(event.stream, event.version) for event in stored] == [
            ("b", 2), ("b", 3), ("a", 1), ("c", 1), ("c", 2), ("c", 3)
        ]  # fmt: skip
        assert result.position == stored[-1].position == await log.head()

    @pytest.mark.parametrize("wrong", [0, 1, 2])
    async def test_append_to_several_streams_with_one_wrong_version_stores_nothing(self, log: Log, wrong: int) -> None:
        await added(log, write("s-0"), write("s-1"), write("s-2"))
        before = await everything(log)
        writes = [write(f"s-{n}", 2, 7 if n == wrong else 1) for n in range(3)]

        result = await log.append([*writes, write("s-3")])

        assert result == VersionConflict(f"s-{wrong}", 7, 1)
        assert await everything(log) == before
        assert await log.streams() == [StreamInfo(f"s-{n}", 1) for n in range(3)]

    async def test_version_conflict_names_the_first_wrong_stream(self, log: Log) -> None:
        result = await log.append([write("right"), write("b-wrong", 1, 2), write("a-wrong", 1, "exists")])

        assert result == VersionConflict("b-wrong", 2, 0)

    async def test_append_without_events_or_with_a_repeated_stream_is_refused(self, log: Log) -> None:
        for writes in ([], [write("a", 0)], [write("a"), write("b", 0)], [write("a"), write("b"), write("a")]):
            with pytest.raises(UsageError):
                await log.append(writes)

        assert await log.head() == 0

    # Conditions

    async def test_condition_fails_if_a_later_event_matches(self, log: Log) -> None:
        for stream, type, tag in (("a", "x", "t:1"), ("b", "y", "t:1"), ("a", "y", "t:2"), ("c", "x", "t:2")):
            await added(log, write(stream, [new(type, tags=(tag,))]))
        stored = await everything(log)
        x_of_1, y_of_2 = Query(("x",), ("t:1",)), Query(("y",), ("t:2",))

        for queries in ((), (x_of_1,), (y_of_2,), (x_of_1, y_of_2), (Query(category="b"), y_of_2), (EVERYTHING,)):
            for after in [0, *(event.position for event in stored)]:
                matching = [e for e in stored if e.position > after and any(query.matches(e) for query in queries)]

                result = await log.append([write("other")], AppendCondition(queries, after))

                assert isinstance(result, ConditionFailed if matching else Appended), (queries, after)
                if isinstance(result, ConditionFailed):
                    assert list(result.events) == matching
                    assert result.position >= matching[-1].position
                stored = await everything(log)
        assert len(stored) == 4 + len((await log.read_stream("other"))[0])

    # Repeated appends

    async def test_repeated_append_returns_the_stored_result(self, log: Log) -> None:
        writes = [write("a", 2, "no_stream"), write("b", 3, "no_stream")]
        first = await added(log, *writes)
        await added(log, write("a"), write("b"), write("c"))
        before = await everything(log)

        again = await log.append(writes)

        assert again == Appended(first.position, first.versions, repeated=True)
        assert await everything(log) == before

    async def test_repeated_append_is_recognized_with_any_expected_version(self, log: Log) -> None:
        events = [new(), new()]
        first = await added(log, write("a", events))

        for expected in ("any", "no_stream", "exists", 0, 1, 2, 9):
            again = await log.append([write("a", events, expected)])

            assert again == Appended(first.position, (2,), repeated=True), expected

    async def test_concurrent_repetitions_of_an_append_store_it_once(self, log: Log) -> None:
        writes = [write("a", 2, "no_stream"), write("b", 1, "no_stream")]

        results = await asyncio.gather(*(log.append(writes) for _ in range(32)))

        assert sorted(map(outcome_of, results)) == ["appended"] + ["repeated"] * 31
        assert len(await everything(log)) == 3

    @pytest.mark.parametrize(
        ("streams", "conflict"),
        [
            ({"a": "123x"}, "1"),
            ({"a": "x1"}, "1"),
            ({"a": "1x2"}, "1"),
            ({"b": "12"}, "1"),
            ({"a": "21"}, "2"),
            ({"a": "13"}, "1"),
            ({"a": "14"}, "1"),
            ({"a": "12", "c": "x"}, "1"),
            ({"a": "12", "c": "4"}, "1"),
            ({"c": "x", "b": "4", "a": "yz"}, "4"),
            ({"a": "xyx"}, "x"),
            ({"a": "xy", "c": "zx"}, "x"),
            ({"a": "11"}, "1"),
        ],
    )
    async def test_append_with_an_id_stored_otherwise_returns_id_conflict(
        self, log: Log, streams: dict[str, str], conflict: str
    ) -> None:
        ids: defaultdict[str, str] = defaultdict(new_id)
        await added(log, write("a", [new(id=ids[each]) for each in "123"]), write("b", [new(id=ids["4"])]))
        before = await everything(log)

        result = await log.append(
            [write(stream, [new(id=ids[each]) for each in events]) for stream, events in streams.items()]
        )

        assert result == IdConflict(ids[conflict])
        assert await everything(log) == before
        assert await log.streams() == [StreamInfo("a", 3), StreamInfo("b", 1)]

    async def test_canceled_append_can_be_repeated_with_the_same_ids(self, log: Log) -> None:
        for turns in range(12):
            writes = [write(f"a-{turns}", 2, "no_stream"), write(f"b-{turns}", 1, "no_stream")]
            task = asyncio.create_task(log.append(writes))
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

            repeated = await added(log, *writes)

            assert repeated.versions == (2, 1)
            assert len((await log.read_stream(f"a-{turns}"))[0]) == 2

    # Versions, positions, times

    async def test_versions_have_no_gaps_and_positions_increase_despite_rejections(self, log: Log) -> None:
        rng, streams = random.Random(5), ["a", "b", "c"]
        positions: list[int] = []
        for _ in range(60):
            expected: list[Expected] = ["any", "exists", 0, 1, 2]
            writes = [
                write(stream, rng.randint(1, 3), rng.choice(expected))
                for stream in rng.sample(streams, rng.randint(1, 3))
            ]
            result = await log.append(writes)
            if isinstance(result, Appended):
                positions.append(result.position)

        stored = await everything(log)

        assert positions == sorted(set(positions))
        assert [event.position for event in stored] == sorted({event.position for event in stored})
        for stream in streams:
            versions = [event.version for event in stored if event.stream == stream]
            assert versions == list(range(1, len(versions) + 1))

    async def test_occurred_at_defaults_to_recorded_at(self, log: Log) -> None:
        east = timezone(timedelta(hours=5, minutes=30))
        given = [
            None, START - timedelta(days=400, microseconds=1), START + timedelta(days=400), START.astimezone(east),
            datetime(1, 1, 2, tzinfo=east), datetime(9999, 12, 30, tzinfo=east),
        ]  # fmt: skip
        await added(log, write("a", [new(occurred_at=each) for each in given]))

        stored = (await log.read_stream("a"))[0]

        assert [event.occurred_at for event in stored] == [each or START for each in given]

    async def test_times_are_returned_in_utc(self, log: Log) -> None:
        east = timezone(timedelta(hours=5, minutes=30))
        await added(log, write("a", [new(occurred_at=START.astimezone(east)), new()]))

        times = [time for event in await everything(log) for time in (event.recorded_at, event.occurred_at)]

        assert {time.utcoffset() for time in times} == {timedelta(0)}

    # Values

    async def test_event_is_read_as_it_was_appended(self, log: Log) -> None:
        tags = ("customer:ä", "order:1", "customer:ä", "'\"%_[]")
        events = [EncodedEvent("größe'; --", 3, new_id(), data, ' {"key": "😀"} ', tags, START) for data in DATA]
        await added(log, StreamWrite("a", tuple(events), 0))

        stored = await everything(log)

        assert [
            EncodedEvent(e.type, e.schema_version, e.id, e.data, e.metadata, e.tags, e.occurred_at) for e in stored
        ] == events
        assert (await log.read_stream("a"))[0] == stored
        assert await log.find([event.id for event in events]) == stored

    async def test_streams_with_similar_names_are_distinct(self, log: Log) -> None:
        for index, name in enumerate(NAMES):
            await added(log, write(name, [new(tags=(name,))], "no_stream"), write(f"twin-{index}"))

        for name in NAMES:
            assert [event.stream for event in (await log.read_stream(name))[0]] == [name]
            assert [event.stream for event in await everything(log, Query(tags=(name,)))] == [name]
        listed = [each.stream for each in await log.streams() if not each.stream.startswith("twin-")]
        assert listed == sorted(NAMES)

    # Reading a stream

    async def test_missing_stream_is_empty(self, log: Log) -> None:
        await added(log, write("order-1"))

        assert (await log.read_stream("order-2"))[0] == []
        assert (await log.read_stream("order"))[0] == []

    async def test_read_stream_respects_after_limit_and_until(self, log: Log, clock: ManualClock) -> None:
        rng = random.Random(3)
        for _ in range(6):
            occurred_at = START + timedelta(hours=rng.randint(0, 6))
            await added(log, write("a", [new(occurred_at=occurred_at)]), write("b", 2))
            clock.advance(hours=1)
        history = (await log.read_stream("a"))[0]

        for _ in range(150):
            after, limit = rng.randint(0, 7), rng.randint(1, 7)
            until = Until(
                rng.choice([None, 1, 3, 6, 9]),
                rng.choice([None, 1, *(event.position + rng.randint(-1, 1) for event in history)]),
                *(rng.choice([None, *(START + timedelta(minutes=30 * n) for n in range(-1, 13))]) for _ in range(2)),
            )

            events = (await log.read_stream("a", after=after, limit=limit, until=until))[0]

            assert events == [event for event in history if event.version > after and _within(event, until)][:limit]

    async def test_until_recorded_at_reads_the_longest_prefix(self, log: Log, clock: ManualClock) -> None:
        for hours in (0, 0, 2, -1, 3):
            clock.advance(hours=hours)
            await added(log, write("a"))

        async def count_until(offset: timedelta) -> int:
            return len((await log.read_stream("a", until=Until(recorded_at=START + offset)))[0])

        tick = timedelta(microseconds=1)
        assert await count_until(-tick) == 0
        assert await count_until(timedelta(0)) == 2
        assert await count_until(timedelta(hours=2) - tick) == 2
        assert await count_until(timedelta(hours=2)) == 4
        assert await count_until(timedelta(hours=4)) == 5

    # Reading the log

    async def test_empty_log_has_no_events_and_head_0(self, log: Log) -> None:
        page = await log.read(0)

        assert (page.events, page.position, page.more, await log.head()) == ([], 0, False, 0)

    async def test_page_has_its_position_and_whether_there_may_be_more(self, log: Log) -> None:
        await added(log, write("a", [new("odd"), new("even"), new("odd"), new("even"), new("last")]))
        positions = [event.position for event in await everything(log)]

        async def page(after: int, limit: int, query: Query = EVERYTHING) -> tuple[list[int], int, bool]:
            read = await log.read(after, query=query, limit=limit)
            return [event.position for event in read.events], read.position, read.more

        assert await page(0, 2) == (positions[:2], positions[1], True)
        assert await page(positions[1], 3) == (positions[2:], positions[4], True)
        assert await page(positions[4], 3) == ([], positions[4], False)
        assert await page(0, 6) == (positions, positions[4], False)
        assert await page(0, 1, Query(("even",))) == ([positions[1]], positions[1], True)
        assert await page(positions[1], 2, Query(("even",))) == ([positions[3]], positions[4], False)
        assert await page(0, 2, Query(("never",))) == ([], positions[4], False)
        assert await page(positions[4] + 10, 2) == ([], positions[4] + 10, False)

    async def test_query_matches_any_type_all_tags_and_the_category(self, log: Log) -> None:
        stored = await self._mixed_events(log)

        for query in _queries():
            assert await everything(log, query) == [event for event in stored if query.matches(event)], query

    @pytest.mark.parametrize("limit", [1, 2, 3, 7, 10, 11])
    async def test_pages_contain_each_event_once(self, log: Log, limit: int) -> None:
        stored = await self._mixed_events(log)

        for query in _queries():
            events = await everything(log, query, limit=limit)

            assert events == [event for event in stored if query.matches(event)], query

    async def test_category_ends_before_the_first_hyphen(self, log: Log) -> None:
        await added(
            log, *(write(name) for name in ("order", "order-1", "order-1-2", "orders-1", "orde", "order-line-1"))
        )

        async def in_category(category: str) -> tuple[list[str], list[str]]:
            read = [event.stream for event in await everything(log, Query(category=category))]
            return read, [each.stream for each in await log.streams(category=category)]

        orders = ["order", "order-1", "order-1-2", "order-line-1"]
        assert await in_category("order") == (orders, orders)
        assert await in_category("orders") == (["orders-1"], ["orders-1"])
        assert await log.streams(category="order-line") == []

    async def test_find_returns_events_by_id_in_order_of_position(self, log: Log) -> None:
        await added(log, write("a", 3), write("b", 3))
        stored = await everything(log)
        ids = [event.id for event in stored]

        assert await log.find([ids[4], new_id(), ids[0], ids[4], ids[2]]) == [stored[0], stored[2], stored[4]]
        assert await log.find([]) == []

    async def test_streams_are_listed_by_name_with_their_versions(self, log: Log) -> None:
        names = ["a", "a-1", "a-10", "a-2", "b-1", "ä-1", "\uffee", "𝄞"]
        for index, name in enumerate(reversed(names)):
            await added(log, write(name, index + 1))
        listed = [StreamInfo(name, len(names) - index) for index, name in enumerate(names)]

        assert await log.streams() == listed
        assert await log.streams(after="a-10", limit=3) == listed[3:6]
        assert await log.streams(after="a-11") == listed[3:]
        assert await log.streams(category="a", after="a", limit=2) == listed[1:3]
        assert await log.streams(after="𝄞") == []

    # Waiting for events

    async def test_wait_for_events_returns_immediately_if_there_are_events(self, log: Log, opener: Opener) -> None:
        await added(log, write("a", 2))

        async with soon():
            await log.wait_for_events(0)
            if log.features.shared:
                async with opener() as other:
                    await other.log.wait_for_events(0)

    async def test_append_wakes_all_waiting_readers(self, log: Log) -> None:
        await added(log, write("a"))
        head = await log.head()
        waiters = [asyncio.create_task(log.wait_for_events(head)) for _ in range(5)]
        await let_readers_wait(log)
        assert not any(waiter.done() for waiter in waiters)

        await added(log, write("a"))

        async with soon():
            await asyncio.gather(*waiters)

    async def test_append_wakes_readers_of_other_handles(self, log: Log, opener: Opener) -> None:
        self._skip_unless_shared(log)
        async with opener() as other:
            for _ in range(3):
                waiter = asyncio.create_task(other.log.wait_for_events(await log.head()))
                await let_readers_wait(other.log)
                result = await added(log, write("a"))
                async with soon():
                    await waiter
                assert (await other.log.read(0)).position == result.position

    async def test_live_reader_sees_concurrent_appends_in_order(self, log: Log) -> None:
        await self._check_live_reader(log, [log])

    async def test_live_reader_sees_appends_of_other_handles_in_order(self, log: Log, opener: Opener) -> None:
        self._skip_unless_shared(log)
        async with opener() as one, opener() as two:
            await self._check_live_reader(log, [one.log, two.log])

    # Reopening

    async def test_identity_is_the_same_after_reopening(self, opener: Opener) -> None:
        async with opener() as store:
            identity = store.log.identity
            assert identity.log_id
            assert identity.epoch_id
            self.skip_unless_durable(store.log)
        async with opener() as store:
            assert store.log.identity == identity

    async def test_appended_events_exist_after_reopening(self, opener: Opener) -> None:
        writes = [write("a", [new(tags=("t:1",))], 0), write("b", 2, 0)]
        async with opener() as store:
            self.skip_unless_durable(store.log)
            result = await added(store.log, *writes)
            stored = await everything(store.log)
        async with opener() as store:
            assert await everything(store.log) == stored
            assert await everything(store.log, Query(tags=("t:1",))) == stored[:1]
            assert await store.log.append(writes) == Appended(result.position, (1, 2), repeated=True)
            assert (await added(store.log, write("b", 1, 2))).position > result.position

    def _skip_unless_shared(self, log: Log) -> None:
        if not log.features.shared:
            pytest.skip("the store is not shared, as its features say")

    async def _mixed_events(self, log: Log) -> list[RecordedEvent]:
        """Append 21 events of several types, tags and categories, and return them."""
        for n in range(21):
            tags = tuple(tag for tag, every in (("t:2", 2), ("t:3", 3), ("t:ä", 7)) if n % every == 0)
            await added(log, write(f"{'abc'[n % 3]}-{n % 4}", [new(f"type-{n % 5}", tags=tags)]))
        return await everything(log)

    async def _check_live_reader(self, log: Log, writers: Sequence[Log]) -> None:
        """Read during concurrent appends: the reader must see exactly the final log, in order."""
        total = 8 * 20 * 3

        async def append(number: int) -> None:
            for _ in range(20):
                await added(writers[number % len(writers)], write(f"own-{number}", 2), write("all", 1))

        async def read() -> list[RecordedEvent]:
            seen: list[RecordedEvent] = []
            position = 0
            while len(seen) < total:
                await log.wait_for_events(position)
                page = await log.read(position, limit=7)
                seen += page.events
                position = page.position
            return seen

        async with asyncio.timeout(15), asyncio.TaskGroup() as tasks:
            reading = tasks.create_task(read())
            for number in range(8):
                tasks.create_task(append(number))
        seen = reading.result()
        assert seen == await everything(log)
        assert [event.version for event in seen if event.stream == "all"] == list(range(1, 161))


def _within(event: RecordedEvent, until: Until) -> bool:
    return (
        (until.version is None or event.version <= until.version)
        and (until.position is None or event.position <= until.position)
        and (until.recorded_at is None or event.recorded_at <= until.recorded_at)
        and (until.occurred_at is None or event.occurred_at <= until.occurred_at)
    )


def _queries() -> list[Query]:
    return [
        EVERYTHING,
        *(Query(types) for types in (("type-1",), ("type-0", "type-3"), ("never",))),
        *(Query(tags=tags) for tags in (("t:2",), ("t:2", "t:3"), ("t:ä", "t:2"), ("t:3", "t:3"), ("never",))),
        *(Query(category=category) for category in ("a", "b", "never")),
        Query(("type-0", "type-1"), ("t:2",)),
        Query(("type-0", "type-1"), ("t:2",), "a"),
        Query((), ("t:2", "t:3"), "c"),
    ]
