"""The high-water mark: notifications, polling, and the new events that are fetched with the mark."""

import asyncio
import gc
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime, timedelta, timezone
from typing import Any, cast

import msgspec
import pytest

import fait
from fait._clock import ManualClock
from fait._errors import StoreUnavailable
from fait._events.append import Page
from fait._events.envelope import EncodedEvent, RecordedEvent
from fait._events.query import EVERYTHING, Query
from fait._store.open import open_store
from fait._store.ports.log import Log
from fait._store.ports.store import Store
from fait._store.postgres import high_water_mark
from fait._store.postgres import tail_cache as recent
from fait._store.postgres.append_protocol import single_arguments
from fait._store.postgres.connection import Database, LogMoved
from fait._store.postgres.high_water_mark import HighWaterMark
from fait._store.postgres.tail_cache import TailCache
from fait._store.postgres.url_options import parse_url
from fait._subscriptions.feed import follow
from fait.testing.contract.store import START, added, new, write
from fait.testing.contract.turns import let_readers_wait, turns
from tests.faults.load import until


async def test_notification_of_another_process_wakes_reader(
    postgres_url: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(high_water_mark, "POLL_INTERVAL_S", 60.0)
    url = postgres_url()
    reader, writer = await open_store(url), await open_store(url)
    notifier = vars(reader.log)["_high_water_mark"].notifier
    try:
        waiting = asyncio.create_task(reader.log.wait_for_events(0))
        await until(lambda: notifier.is_listening)
        await added(writer.log, write("a"))
        await asyncio.wait_for(waiting, 30)  # perhaps by polling: the poll interval was short until now

        waiting = asyncio.create_task(reader.log.wait_for_events(1))
        await let_readers_wait(reader.log)
        await added(writer.log, write("a"))
        await asyncio.wait_for(waiting, 30)
    finally:
        await reader.close()
        await writer.close()


class Marks:
    """A database that returns the given marks and heads; a mark of None is a failure."""

    def __init__(self, *marks: tuple[int | None, int]) -> None:
        self._marks = list(marks)
        self.epoch_id = "epoch"
        self.options = parse_url("postgresql://host/database", "postgresql://host/database")

    async def fetch(self, statement: str, *_values: Any) -> list[tuple[int, int, int]]:
        assert statement in ("high_water_mark", "read_tail")
        mark, end = self._marks.pop(0)
        if mark is None:
            raise StoreUnavailable("the server is unreachable.")
        return [(mark, end, 0)]


def database_of(store: Store) -> Database:
    return vars(store)["_database"]


def cached_events(log: Log) -> list[RecordedEvent]:
    mark: HighWaterMark = vars(log)["_high_water_mark"]
    return vars(mark.tail_cache)["_events"]


def tracker(*marks: tuple[int | None, int]) -> HighWaterMark:
    mark = HighWaterMark(cast("Database", cast("Any", Marks(*marks))), "channel")
    vars(mark.notifier)["start"] = lambda: None
    return mark


async def test_lower_mark_is_not_reported_as_restored_database() -> None:
    mark = tracker((5, 5), (3, 6), (7, 7))

    assert [await mark.refresh(beyond) for beyond in (0, 5, 6)] == [5, 5, 7]


async def test_append_after_restore_does_not_advance_mark() -> None:
    mark = tracker((8, 8), *[(3, 3)] * 99)
    assert await mark.refresh(beyond=0) == 8
    waiting = asyncio.create_task(mark.wait(8))
    await until(lambda: vars(mark)["_moved"])
    vars(mark)["_waiters"] += 1  # a reader that has not been woken yet

    mark.advance_to(stored_at(9), asyncio.get_running_loop().time(), 1)
    await asyncio.sleep(0)

    assert mark.position == 8
    with pytest.raises(LogMoved, match=r"decreased from 8 to 3.*fait log adopt --in-place"):
        await waiting
    await mark.close()


async def test_failed_poll_is_repeated() -> None:
    mark = tracker((5, 5), (None, 0), (6, 6))
    waiting = asyncio.create_task(mark.wait(5))
    await until(lambda: mark.position == 5)

    mark.report(6)

    await asyncio.wait_for(waiting, 30)
    await mark.close()


async def test_failed_query_whose_caller_was_canceled_is_not_reported_by_asyncio() -> None:
    mark, answer, reported = tracker(), asyncio.Event(), list[str]()
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context["message"]))

    async def fail(statement: str, *values: Any) -> None:
        await answer.wait()
        raise StoreUnavailable("the server is unreachable.")

    vars(vars(mark)["_database"])["fetch"] = fail
    reading = asyncio.create_task(mark.fetch())
    await turns()
    reading.cancel()
    await asyncio.wait([reading])
    answer.set()
    await turns()
    del mark, reading
    gc.collect()

    assert reported == []


async def test_notification_is_sent_without_synchronous_commit(
    postgres_url: Callable[..., str],
) -> None:
    store = await open_store(postgres_url())
    database = database_of(store)
    try:
        async with database.connection() as connection:
            told = await connection.fetchval(database.sql["notify"], "channel", "1")
            left = await connection.fetchval("SHOW synchronous_commit")
    finally:
        await store.close()

    assert (told, left) == ("off", "on")


class Following:
    """A reader at the end of a log, and the statements that its process sends."""

    def __init__(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        self.log = store.log
        self.asked: list[str] = []
        database = database_of(store)
        fetch = database.fetch

        async def counted(statement: str, *values: Any) -> list[Any]:
            self.asked.append(statement)
            return await fetch(statement, *values)

        monkeypatch.setattr(database, "fetch", counted)

    async def caught_up(self, to: int, query: Query = EVERYTHING, after: int = 0) -> Page:
        """Wait until the mark reaches a position, and return the page that ends there."""
        await asyncio.wait_for(self.log.wait_for_events(to - 1), 30)
        return await self.log.read(after, query=query)


@pytest.fixture
async def stores(postgres_url: Callable[..., str]) -> AsyncIterator[tuple[Store, Store]]:
    """One to append, one to read."""
    url = postgres_url()
    stores = await open_store(url, clock=ManualClock(START)), await open_store(url)
    yield stores
    for store in stores:
        await store.close()


async def test_one_query_serves_all_waiting_readers(
    stores: tuple[Store, Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    writer, reader = stores[0], Following(stores[1], monkeypatch)
    await added(writer.log, write("a"))
    await reader.caught_up(1)
    waiting = [asyncio.create_task(reader.caught_up(2, after=1)) for _ in range(5)]
    about = vars(reader.log)["_high_water_mark"]
    await until(lambda: about._waiters == 5 and about._fetching.done())  # a query in flight could return the new events
    reader.asked.clear()

    await added(writer.log, write("a"))
    pages = await asyncio.gather(*waiting)

    assert {(page.position, len(page.events), page.more) for page in pages} == {(2, 1, False)}
    assert set(reader.asked) == {"read_tail"}


async def unanswered(_statement: str, *_values: Any) -> list[Any]:
    """A server that sends no notifications any more."""
    return await asyncio.Future()


EASTERN = datetime(2023, 5, 6, 7, tzinfo=timezone(timedelta(hours=2)))


@pytest.mark.parametrize(
    "event",
    [
        msgspec.structs.replace(
            new("mail", tags=("x", "y"), data='{"text": "Grüße"}'), metadata='{"by":1}', expires=True
        ),
        msgspec.structs.replace(new(), occurred_at=EASTERN),
    ],
)
async def test_reader_gets_event_of_own_process_without_query(
    stores: tuple[Store, Store], monkeypatch: pytest.MonkeyPatch, event: EncodedEvent
) -> None:
    other, here = stores[1], Following(stores[0], monkeypatch)
    for name in ("POLL_INTERVAL_S", "MAX_MARK_AGE_S"):
        monkeypatch.setattr(high_water_mark, name, 60.0)
    await added(here.log, write("a"))
    await here.caught_up(1)
    about = vars(here.log)["_high_water_mark"]
    waiting = asyncio.create_task(here.caught_up(2, after=1))
    await until(lambda: about._waiters and about._fetching.done())
    monkeypatch.setattr(database_of(stores[0]), "fetch", unanswered)
    await added(here.log, write("a", [event]))
    page = await asyncio.wait_for(waiting, 30)

    expected = msgspec.structs.replace(await other.log.read(1), revisions=page.revisions)  # known to some readers only
    assert repr(page) == repr(expected)  # times in UTC, too


async def test_appender_continues_before_waiting_readers(
    stores: tuple[Store, Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    log, order = stores[0].log, list[str]()
    await added(log, write("a"))
    await asyncio.wait_for(log.wait_for_events(0), 30)

    async def wait() -> None:
        await log.wait_for_events(1)
        order.append("woken")

    about, waiting = vars(log)["_high_water_mark"], asyncio.create_task(wait())
    await until(lambda: about._waiters and about._fetching.done())
    monkeypatch.setattr(database_of(stores[0]), "fetch", unanswered)

    await log.append([write("a")])
    order.append("appended")
    await asyncio.wait_for(waiting, 30)

    assert order == ["appended", "woken"]


async def test_append_makes_mark_as_recent_as_its_call() -> None:
    mark = tracker((8, 8), (10, 10))
    assert await mark.refresh(beyond=0) == 8
    vars(mark).update(_waiters=1, _fetched_at=0.0)

    mark.advance_to(stored_at(9), asyncio.get_running_loop().time() - 1, 1)
    await asyncio.sleep(0)

    assert mark.position == 9
    assert await mark.refresh(beyond=0) == 10  # events that other processes have appended since


async def test_appended_event_does_not_seem_to_wait_since_the_last_report() -> None:
    mark, timeout_s = tracker((8, 8)), high_water_mark.REPORTED_POSITION_TIMEOUT_S
    assert await mark.refresh(beyond=0) == 8
    vars(mark).update(_waiters=1, _reported_at=asyncio.get_running_loop().time() - timeout_s)

    mark.advance_to(stored_at(9), asyncio.get_running_loop().time(), 1)

    assert mark.position == 8  # until the readers continue
    assert not mark._is_held_back()


async def test_mark_knows_the_revisions_of_registrations_before_an_appended_event() -> None:
    mark = tracker((8, 8), (10, 10))
    assert await mark.refresh(beyond=0) == 8
    unknown = mark.revisions(8)
    vars(mark).update(_waiters=1, _revisions=3, _revisions_position=8)

    known = [mark.revisions(8), mark.revisions(9)]
    mark.advance_to(stored_at(9), asyncio.get_running_loop().time(), 4)

    assert (unknown, known) == (None, [3, None])
    assert [mark.revisions(8), mark.revisions(9), mark.revisions(10)] == [4, 4, None]


async def test_append_above_open_append_does_not_advance_mark(
    stores: tuple[Store, Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    other, here = stores[1], Following(stores[0], monkeypatch)
    await added(here.log, write("a"))
    await here.caught_up(1)
    waiting = asyncio.create_task(here.caught_up(2, after=1))
    about = vars(here.log)["_high_water_mark"]
    await until(lambda: about._waiters and about._fetching.done())
    async with database_of(other).transaction() as connection:
        values = single_arguments(([write("b")], None), None, lock_timeout_ms=None)
        await connection.fetch(database_of(other).sql["append_one"], *values)
        assert (await added(here.log, write("a"))).position == 3

        done, _ = await asyncio.wait([waiting], timeout=0.1)
        assert not done
    page = await waiting

    assert [event.position for event in page.events] == [2, 3]


async def test_response_in_flight_is_not_reported_as_restored_database(
    stores: tuple[Store, Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    log, database = stores[0].log, database_of(stores[0])
    await added(log, write("a"))
    await asyncio.wait_for(log.wait_for_events(0), 30)
    about, fetch = vars(log)["_high_water_mark"], database.fetch
    read, told = asyncio.Event(), asyncio.Event()

    async def slow(statement: str, *values: Any) -> list[Any]:
        rows = await fetch(statement, *values)
        if statement == "read_tail":
            read.set()
            await told.wait()
        return rows

    waiting = asyncio.create_task(log.wait_for_events(1))
    await until(lambda: about._waiters and about._fetching.done())
    monkeypatch.setattr(database, "fetch", slow)
    asked = asyncio.create_task(about.refresh(beyond=1))
    await read.wait()

    await added(log, write("a"))
    await asyncio.wait_for(waiting, 30)
    told.set()

    assert await asked == 2


def test_event_appended_during_query_is_cached_once() -> None:
    cache = TailCache()
    one, two, three = (stored_at(position) for position in (1, 2, 3))
    cache.extend(1, [one])
    cache.extend(2, [two])

    cache.extend(3, [two, three])

    assert cache.between(0, 3) == [one, two, three]


def stored_at(position: int) -> RecordedEvent:
    return RecordedEvent(position, "a", position, "thing-happened", 1, str(position), "{}", "{}", (), START, START)


EVENTS = [
    (f"{category}-{number}", new(type, tags=tags, data='{"text":"Grüße"}'))
    for number, (category, type, tags) in enumerate(
        itertools.product(["order", "orders", "order-line"], ["a", "b"], [(), ("x",), ("x", "y")])
    )
]
QUERIES = [
    Query(types, tags, category)
    for types in ((), ("a",), ("a", "b"), ("c",))
    for tags in ((), ("x",), ("y", "x"), ("z",))
    for category in (None, "order", "orders", "line")
]


async def test_page_from_cache_equals_page_from_database(
    stores: tuple[Store, Store], postgres_url: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    writer, reader = stores[0], Following(stores[1], monkeypatch)
    for number, (stream, event) in enumerate(EVENTS):
        await added(writer.log, write(stream, [msgspec.structs.replace(event, expires=number % 3 == 0)]))
        await reader.caught_up(number + 1)
    monkeypatch.setattr(high_water_mark, "MAX_MARK_AGE_S", 60.0)
    await reader.log.head()
    reader.asked.clear()

    cases = list(itertools.product(QUERIES, (1, 2, 9, len(EVENTS) - 1), (3, 1000)))
    kept = [await reader.log.read(after, query=query, limit=limit) for query, after, limit in cases]
    asked = len(reader.asked)
    vars(reader.log)["_high_water_mark"].tail_cache = TailCache()
    read = [await reader.log.read(after, query=query, limit=limit) for query, after, limit in cases]

    assert kept == read
    assert asked < len(cases) < len(reader.asked)


@pytest.mark.parametrize(("bound", "value"), [("MAX_CACHED_EVENTS", 3), ("MAX_CACHED_BYTES", 20)])
async def test_events_beyond_cache_limits_are_read_from_database(
    stores: tuple[Store, Store], monkeypatch: pytest.MonkeyPatch, bound: str, value: int
) -> None:
    for module in (high_water_mark, recent):
        monkeypatch.setattr(module, bound, value)
    writer, reader = stores[0], Following(stores[1], monkeypatch)
    seen = list[RecordedEvent]()
    for count in (1, 2, 2, 9, 1, 1, 1, 1, 4, 2):
        last = await added(writer.log, write("a", count))
        seen += (await reader.caught_up(last.position, after=len(seen))).events
        assert len(cached_events(reader.log)) <= 3

    assert [event.version for event in seen] == list(range(1, 25))
    assert {"read_tail", "read_log"} <= set(reader.asked)


async def test_expired_events_are_evicted_from_cache(
    stores: tuple[Store, Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    writer, reader = stores[0], Following(stores[1], monkeypatch)
    mail = [msgspec.structs.replace(new("mail"), expires=True) for _ in range(2)]
    for number, event in enumerate([new(), *mail, new()]):
        await added(writer.log, write("a", [event]))
        await reader.caught_up(number + 1)
    assert len((await reader.log.read(1)).events) == 3

    await writer.log.expire("mail", START.replace(year=2025), 4, limit=1)
    monkeypatch.setattr(high_water_mark, "MAX_MARK_AGE_S", 0.0)
    assert [event.type for event in (await reader.log.read(1)).events] == ["mail", "thing-happened"]

    monkeypatch.setattr(high_water_mark, "MAX_MARK_AGE_S", 60.0)  # no query between the expiry and the read
    await reader.log.expire("mail", START.replace(year=2025), 4)
    assert [event.type for event in (await reader.log.read(2)).events] == ["thing-happened"]


@pytest.mark.parametrize("part", ["data", "metadata", "tags"])
async def test_read_tail_and_tail_cache_count_every_part_of_an_event(stores: tuple[Store, Store], part: str) -> None:
    text = "x" * 300_000  # compressed, it takes a few kilobytes
    value = {"data": f'"{text}"', "metadata": f'{{"actor":"{text}"}}', "tags": (f"kind:{text}",)}[part]
    event = msgspec.structs.replace(new(), **{part: value})
    await added(stores[0].log, write("a"))
    await added(stores[0].log, write("a", [event]))

    rows = await database_of(stores[0]).fetch("read_tail", 1, 10, recent.MAX_CACHED_BYTES, None)
    assert [(row["mark"], row["position"]) for row in rows] == [(2, None)]

    cache = TailCache()
    cache.extend(2, (await stores[0].log.read(1)).events)
    assert cache.between(1, 2) is None


async def test_read_tail_returns_all_events_or_none(stores: tuple[Store, Store]) -> None:
    await added(stores[0].log, write("a", 5))

    async def sent(most: int, room: int) -> tuple[int, list[int]]:
        rows = await database_of(stores[0]).fetch("read_tail", 2, most, room, None)
        return rows[0]["mark"], [row["position"] for row in rows if row["position"] is not None]

    assert [await sent(3, 1000), await sent(2, 1000), await sent(3, 25), await sent(3, 1)] == [
        (5, [3, 4, 5]),
        (5, []),
        (5, []),
        (5, []),
    ]


async def read_by_tag(log: Log) -> list[int]:
    return [event.position for event in (await log.read(0, query=Query(tags=("a:1",)))).events]


async def read_to_head(log: Log) -> list[int]:
    return [event.position async for page in follow(log, 0, live=False) for event in page.events]


async def read_head(log: Log) -> list[int]:
    return list(range(1, await log.head() + 1))


@pytest.mark.parametrize("read", [read_by_tag, read_to_head, read_head])
async def test_append_acknowledged_in_other_process_is_read_immediately(
    stores: tuple[Store, Store], monkeypatch: pytest.MonkeyPatch, read: Callable[[Log], Awaitable[list[int]]]
) -> None:
    monkeypatch.setattr(high_water_mark, "MAX_MARK_AGE_S", 60.0)
    reader, other = stores[0].log, stores[1].log
    await added(other, write("a", [new(tags=("a:1",))]))
    assert await read(reader) == [1]

    for position in (2, 3):
        await added(other, write("a", [new(tags=("a:1",))]))
        assert await read(reader) == list(range(1, position + 1))


@fait.event("mark.counted")
class Counted:
    pass


async def test_wait_reaches_append_acknowledged_in_other_process_before(
    postgres_url: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(high_water_mark, "MAX_MARK_AGE_S", 60.0)
    url, app, handled = postgres_url(), fait.App("waits"), list[int]()

    @app.on(Counted)
    async def handle(event: Counted) -> None:
        await turns(100)
        handled.append(1)

    async with app.open(url) as system, app.open(url, run="elsewhere") as other:
        for count in (1, 2, 3):
            await other.publish(Counted(), stream="mark-1")
            await system.wait()
            assert len(handled) == count
