"""The connection is lost at every point of an append: the verdict is right, and the events are stored exactly once."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from uuid import uuid4

import pytest

from fait._errors import StoreUnavailable
from fait._events.append import (
    AppendCondition,
    Appended,
    AppendResult,
    ConditionFailed,
    IdConflict,
    StreamWrite,
    VersionConflict,
)
from fait._events.query import Query
from fait._store.open import Store, open_store
from fait._store.postgres import appender, connection
from tests.faults.appends import ANY, KINDS, NO_STREAM, Append, append_of, event, ids, stored, whole, write
from tests.faults.wire import MOMENTS, Moment, Proxy
from tests.servers.postgres import PostgresServer


class Line:
    """A store that is reached through a proxy."""

    def __init__(self, server: PostgresServer, proxy: Proxy, schema: str, store: Store) -> None:
        self.url, self.proxy, self.schema, self.store = server.url, proxy, schema, store

    async def append(self, append: Append) -> AppendResult:
        return await self.store.log.append(*append)

    async def stored(self, *appends: Append) -> list[tuple[str, str, int]]:
        return await stored(self.url, self.schema, [each for append in appends for each in ids(append)])

    async def whole(self) -> None:
        await whole(self.url, self.schema)


@pytest.fixture
def pool() -> int:
    """With so few connections there is one lane."""
    return 4


@pytest.fixture
async def line(postgres_servers: Callable[..., PostgresServer], pool: int) -> AsyncIterator[Line]:
    server, schema = postgres_servers(), f"lost_{uuid4().hex}"
    async with Proxy(server.port) as proxy:
        store = await open_store(proxy.url(schema=schema, pool=pool))
        try:
            await store.log.append([write("kept-1", count=3)])
            yield Line(server, proxy, schema, store)
        finally:
            await store.close()


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("kind", KINDS)
async def test_an_append_is_stored_once_wherever_the_line_is_cut(line: Line, kind: str, moment: Moment) -> None:
    append = append_of(kind, "kept-1", 3)
    line.proxy.cuts.append(moment)

    verdict = await line.append(append)

    assert isinstance(verdict, Appended)
    assert not line.proxy.cuts
    found = await line.stored(append)
    assert sorted(each for each, _, _ in found) == sorted(ids(append))
    last = {stream: version for _, stream, version in found}
    assert verdict.versions == tuple(last[each.stream] for each in append[0])
    await line.whole()


@pytest.mark.parametrize("first", MOMENTS)
@pytest.mark.parametrize("second", MOMENTS)
async def test_cut_twice_it_is_stored_once(line: Line, first: Moment, second: Moment) -> None:
    append = append_of("any", "kept-1", 3)
    line.proxy.cuts.extend([first, second])

    assert isinstance(await line.append(append), Appended)

    assert len(await line.stored(append)) == 1
    await line.whole()


@pytest.mark.parametrize("moment", MOMENTS)
async def test_a_loser_is_told_the_truth_wherever_the_line_is_cut(line: Line, moment: Moment) -> None:
    taken = event()
    await line.append(([StreamWrite("kept-2", (taken, event("fault.sold", "seat:9")), NO_STREAM)], None))
    late = AppendCondition((Query(types=("fault.sold",), tags=("seat:9",)),), 0)
    losers: list[tuple[Append, type]] = [
        (([write("kept-1", expected=1)], None), VersionConflict),
        (([write("kept-1"), write("kept-2", expected=1)], None), VersionConflict),
        (([write("sold-1")], late), ConditionFailed),
        (([StreamWrite("kept-3", (taken,), NO_STREAM)], None), IdConflict),
    ]
    for append, verdict in losers:
        line.proxy.cuts.append(moment)
        assert isinstance(await line.append(append), verdict)
        assert len(await line.stored(append)) == (verdict is IdConflict)
    await line.whole()


@pytest.mark.parametrize("kinds", [("any", "on-tags"), ("any", "any", "streams")], ids=lambda kinds: kinds[-1])
@pytest.mark.parametrize("pool", [4, 10], ids=["one-lane", "two-lanes"])
@pytest.mark.parametrize("moment", MOMENTS)
async def test_a_batch_of_callers_is_stored_once_wherever_the_line_is_cut(
    line: Line, moment: Moment, kinds: Sequence[str]
) -> None:
    appends = [append_of(kind, f"{kind}-{number}", 0) for number in range(2, 34) for kind in kinds]
    refused: Append = ([write("kept-1", expected=1)], None)
    line.proxy.cuts.extend([moment, moment])

    verdicts = await asyncio.gather(*(line.append(each) for each in [*appends, refused]))

    assert verdicts[-1] == VersionConflict("kept-1", 1, 3)
    assert all(isinstance(each, Appended) for each in verdicts[:-1])
    assert len(await line.stored(*appends)) == sum(len(ids(each)) for each in appends)
    assert await line.stored(refused) == []
    await line.whole()


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(appender, "RECONNECT_TIMEOUT_S", 0.5)


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize("moment", MOMENTS)
async def test_a_server_that_stays_away_leaves_the_outcome_unknown(line: Line, moment: Moment) -> None:
    append = append_of("any", "kept-1", 3)
    line.proxy.cuts.append(moment)
    line.proxy.away = True

    with pytest.raises(StoreUnavailable) as raised:
        await asyncio.wait_for(line.append(append), 30)

    assert raised.value.outcome == "unknown"
    line.proxy.away = False
    assert isinstance(await line.append(append), Appended)  # the same ids settle it
    assert len(await line.stored(append)) == 1


@pytest.mark.usefixtures("short")
async def test_a_server_that_was_away_before_has_written_nothing(line: Line) -> None:
    append = append_of("any", "kept-1", 3)
    line.proxy.leave()
    await asyncio.sleep(0.05)  # the client hears of it

    with pytest.raises(StoreUnavailable) as raised:
        await asyncio.wait_for(line.append(append), 30)

    assert raised.value.outcome == "not_written"
    assert await line.stored(append) == []
    line.proxy.away = False
    assert isinstance(await line.append(append), Appended)


@pytest.mark.usefixtures("short")
async def test_each_append_of_a_flush_is_told_its_own_outcome(line: Line) -> None:
    """Here the second flush takes many calls, one after another, and the server leaves after the first of them."""
    first: Append = ([write("first-1")], None)
    others: list[Append] = []
    for n in range(8):
        others += [([write(f"one-{n}")], None), ([write(f"two-{n}")], None)]
        others += [([write(f"three-{n}"), write(f"four-{n}")], None)]
    line.proxy.away_after = 2

    appending = asyncio.gather(*(line.append(each) for each in (first, *others)), return_exceptions=True)
    outcomes = await asyncio.wait_for(appending, 4)

    assert all(isinstance(each, Appended) for each in outcomes[:3])
    assert len(await line.stored(first, *others[:2])) == 3
    assert all(isinstance(each, StoreUnavailable) for each in outcomes[3:])
    assert await line.stored(*others[2:]) == []
    assert {each.outcome for each in outcomes[4:]} == {"not_written"}


@pytest.mark.usefixtures("short")
async def test_unknown_outcome_of_batch_is_kept_by_individual_retry(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is stored, and the answer lost; sent again it is refused, as its id is taken; then the server is away."""
    append, take = append_of("any", "kept-1", 3), connection.Database.acquire

    async def taken(database: connection.Database) -> connection.PostgresConnection:
        if line.proxy.away:
            raise ConnectionRefusedError
        return await take(database)

    monkeypatch.setattr(connection.Database, "acquire", taken)
    line.proxy.cuts.append("answered")
    line.proxy.away_after = 1

    with pytest.raises(StoreUnavailable) as raised:
        await asyncio.wait_for(line.append(append), 30)

    assert raised.value.outcome == "unknown"
    assert len(await line.stored(append)) == 1


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(appender, "RECONNECT_TIMEOUT_S", 0.3)
    monkeypatch.setattr(appender, "RESPONSE_TIMEOUT_S", 0.5)
    monkeypatch.setattr(connection, "CONNECT_TIMEOUT_S", 0.3)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("kind", ["any", "many"])
async def test_a_line_that_is_dead_without_a_word_is_noticed(
    line: Line, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if kind == "many":
        monkeypatch.setattr(appender, "MIN_BULK_EVENTS", 5)
    append = append_of(kind, "kept-1", 3)
    line.proxy.silent = True

    with pytest.raises(StoreUnavailable) as raised:
        await asyncio.wait_for(line.append(append), 30)

    assert raised.value.outcome == "unknown"
    line.proxy.leave()
    line.proxy.silent = line.proxy.away = False
    assert isinstance(await line.append(append), Appended)
    assert len(await line.stored(append)) == len(ids(append))


BULK = [
    (request, moment)
    for request in (b"BEGIN", b"CREATE TEMP", b"COPY", b"fait_append_bulk_1($1", b"COMMIT")
    for moment in MOMENTS
    if request != b"COPY" or moment in ("before", "unanswered")  # what it says first is that it may be sent
]


@pytest.mark.parametrize("expected", [3, ANY])
@pytest.mark.parametrize(("request_", "moment"), BULK)
async def test_a_bulk_append_is_stored_once_wherever_the_line_is_cut(
    line: Line, request_: bytes, moment: Moment, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(appender, "MIN_BULK_EVENTS", 5)
    append: Append = ([StreamWrite("kept-1", tuple(event("fault.tagged", "seat:1") for _ in range(7)), expected)], None)
    line.proxy.request = request_
    line.proxy.cuts.append(moment)

    verdict = await line.append(append)

    assert isinstance(verdict, Appended)
    assert verdict.versions == (10,)
    assert not line.proxy.cuts
    assert len(await line.stored(append)) == 7
    await line.whole()


async def test_connections_that_the_server_ends_while_they_are_idle_are_replaced(line: Line) -> None:
    head = await line.store.log.head()
    waiting = asyncio.create_task(line.store.log.wait_for_events(head))
    await asyncio.sleep(0.1)
    line.proxy.say_farewell()
    await asyncio.sleep(0.05)  # it is heard, and the connection is still there

    with suppress(StoreUnavailable):
        await line.store.log.read(head)
    assert isinstance(await line.append(append_of("any", "kept-1", 3)), Appended)

    await asyncio.wait_for(waiting, 30)
    assert [each.stream for each in (await line.store.log.read(head)).events] == ["kept-1"]


async def test_readers_continue_after_reconnect(line: Line) -> None:
    head = await line.store.log.head()
    waiting = asyncio.create_task(line.store.log.wait_for_events(head))
    await asyncio.sleep(0.1)
    line.proxy.leave()
    await asyncio.sleep(0.1)
    line.proxy.away = False

    await line.append(append_of("any", "kept-1", 3))

    await asyncio.wait_for(waiting, 30)
    page = await line.store.log.read(head)
    assert [each.stream for each in page.events] == ["kept-1"]
