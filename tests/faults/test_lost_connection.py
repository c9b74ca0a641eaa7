"""The connection is lost at each point of an append: its result is correct, and its events are stored exactly once."""

import asyncio
import time
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
from fait._store.open import open_store
from fait._store.ports.store import Store
from fait._store.postgres import appender, connection
from tests.faults.appends import (
    ANY,
    KINDS,
    NO_STREAM,
    Append,
    append_of,
    assert_versions_contiguous,
    event,
    ids,
    stored,
    write,
)
from tests.faults.wire import CUT_POINTS, CutPoint, Proxy
from tests.servers.postgres import PostgresServer


class Line:
    """A store that is reached through a proxy."""

    def __init__(self, server: PostgresServer, proxy: Proxy, schema: str, store: Store) -> None:
        self.url, self.proxy, self.schema, self.store = server.url, proxy, schema, store

    async def append(self, append: Append) -> AppendResult:
        return await self.store.log.append(*append)

    async def stored(self, *appends: Append) -> list[tuple[str, str, int]]:
        return await stored(self.url, self.schema, [each for append in appends for each in ids(append)])

    async def assert_versions_contiguous(self) -> None:
        await assert_versions_contiguous(self.url, self.schema)


@pytest.fixture
def pool() -> int:
    """With 4 connections, batches use one connection."""
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


@pytest.mark.parametrize("moment", CUT_POINTS)
@pytest.mark.parametrize("kind", KINDS)
async def test_append_with_lost_connection_is_stored_once(line: Line, kind: str, moment: CutPoint) -> None:
    append = append_of(kind, "kept-1", 3)
    line.proxy.cuts.append(moment)

    result = await line.append(append)

    assert isinstance(result, Appended)
    assert not line.proxy.cuts
    found = await line.stored(append)
    assert sorted(each for each, _, _ in found) == sorted(ids(append))
    last = {stream: version for _, stream, version in found}
    assert result.versions == tuple(last[each.stream] for each in append[0])
    await line.assert_versions_contiguous()


@pytest.mark.parametrize("first", CUT_POINTS)
@pytest.mark.parametrize("second", CUT_POINTS)
async def test_append_with_two_lost_connections_is_stored_once(line: Line, first: CutPoint, second: CutPoint) -> None:
    append = append_of("any", "kept-1", 3)
    line.proxy.cuts.extend([first, second])

    assert isinstance(await line.append(append), Appended)

    assert len(await line.stored(append)) == 1
    await line.assert_versions_contiguous()


@pytest.mark.parametrize("moment", CUT_POINTS)
async def test_rejected_append_with_lost_connection_gets_its_reason(line: Line, moment: CutPoint) -> None:
    taken = event()
    await line.append(([StreamWrite("kept-2", (taken, event("fault.sold", "seat:9")), NO_STREAM)], None))
    late = AppendCondition((Query(types=("fault.sold",), tags=("seat:9",)),), 0)
    rejected_appends: list[tuple[Append, type]] = [
        (([write("kept-1", expected=1)], None), VersionConflict),
        (([write("kept-1"), write("kept-2", expected=1)], None), VersionConflict),
        (([write("sold-1")], late), ConditionFailed),
        (([StreamWrite("kept-3", (taken,), NO_STREAM)], None), IdConflict),
    ]
    for append, result in rejected_appends:
        line.proxy.cuts.append(moment)
        assert isinstance(await line.append(append), result)
        assert len(await line.stored(append)) == (result is IdConflict)
    await line.assert_versions_contiguous()


@pytest.mark.parametrize("kinds", [("any", "on-tags"), ("any", "any", "streams")], ids=lambda kinds: kinds[-1])
@pytest.mark.parametrize("pool", [4, 10], ids=["one-connection", "two-connections"])
@pytest.mark.parametrize("moment", CUT_POINTS)
async def test_batch_with_lost_connection_is_stored_once(line: Line, moment: CutPoint, kinds: Sequence[str]) -> None:
    appends = [append_of(kind, f"{kind}-{number}", 0) for number in range(2, 34) for kind in kinds]
    refused: Append = ([write("kept-1", expected=1)], None)
    line.proxy.cuts.extend([moment, moment])

    results = await asyncio.gather(*(line.append(each) for each in [*appends, refused]))

    assert results[-1] == VersionConflict("kept-1", 1, 3)
    assert all(isinstance(each, Appended) for each in results[:-1])
    assert len(await line.stored(*appends)) == sum(len(ids(each)) for each in appends)
    assert await line.stored(refused) == []
    await line.assert_versions_contiguous()


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(appender, "RECONNECT_TIMEOUT_S", 0.5)


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize("moment", CUT_POINTS)
async def test_append_without_reconnect_has_unknown_outcome(line: Line, moment: CutPoint) -> None:
    append = append_of("any", "kept-1", 3)
    line.proxy.cuts.append(moment)
    line.proxy.unreachable = True

    with pytest.raises(StoreUnavailable) as raised:
        await asyncio.wait_for(line.append(append), 30)

    assert raised.value.outcome == "unknown"
    line.proxy.unreachable = False
    assert isinstance(await line.append(append), Appended)  # the repetition has the same event ids
    assert len(await line.stored(append)) == 1


@pytest.mark.usefixtures("short")
async def test_append_to_unreachable_server_is_not_written(line: Line) -> None:
    append = append_of("any", "kept-1", 3)
    line.proxy.disconnect()
    await asyncio.sleep(0.05)  # the client notices

    with pytest.raises(StoreUnavailable) as raised:
        await asyncio.wait_for(line.append(append), 30)

    assert raised.value.outcome == "not_written"
    assert await line.stored(append) == []
    line.proxy.unreachable = False
    assert isinstance(await line.append(append), Appended)


@pytest.mark.usefixtures("short")
async def test_each_append_of_flush_gets_its_own_outcome(line: Line) -> None:
    """The second flush takes many calls, one after another; the server becomes unreachable after the first of them."""
    first: Append = ([write("first-1")], None)
    others: list[Append] = []
    for n in range(8):
        others += [([write(f"one-{n}")], None), ([write(f"two-{n}")], None)]
        others += [([write(f"three-{n}"), write(f"four-{n}")], None)]
    line.proxy.unreachable_after = 2

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
    """The batch is stored and its response lost; the repetition finds its id stored; then the server is unreachable."""
    append, take = append_of("any", "kept-1", 3), connection.Database.acquire

    async def taken(database: connection.Database) -> connection.PostgresConnection:
        if line.proxy.unreachable:
            raise ConnectionRefusedError
        return await take(database)

    monkeypatch.setattr(connection.Database, "acquire", taken)
    line.proxy.cuts.append("answered")
    line.proxy.unreachable_after = 1

    with pytest.raises(StoreUnavailable) as raised:
        await asyncio.wait_for(line.append(append), 30)

    assert raised.value.outcome == "unknown"
    assert len(await line.stored(append)) == 1


@pytest.fixture
def short_timeouts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(appender, "RECONNECT_TIMEOUT_S", 0.3)
    monkeypatch.setattr(appender, "RESPONSE_TIMEOUT_S", 0.5)
    monkeypatch.setattr(connection, "CONNECT_TIMEOUT_S", 0.3)


@pytest.mark.usefixtures("short_timeouts")
@pytest.mark.parametrize("kind", ["any", "many"])
async def test_silent_connection_raises_after_response_timeout(
    line: Line, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if kind == "many":
        monkeypatch.setattr(appender, "MIN_BULK_EVENTS", 5)
    append, started = append_of(kind, "kept-1", 3), time.monotonic()
    line.proxy.silent = True

    with pytest.raises(StoreUnavailable) as raised:
        await asyncio.wait_for(line.append(append), 30)

    assert raised.value.outcome == "unknown"
    assert time.monotonic() - started < 10  # 0.5 s, 0.3 s for a connection, and a loaded machine
    line.proxy.disconnect()
    line.proxy.silent = line.proxy.unreachable = False
    assert isinstance(await line.append(append), Appended)
    assert len(await line.stored(append)) == len(ids(append))


@pytest.mark.parametrize("kind", KINDS)
async def test_append_on_one_silent_connection_is_stored_on_another(
    line: Line, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(appender, "RESPONSE_TIMEOUT_S", 2)  # a busy machine needs the rest of it for the second attempt
    append = append_of(kind, "kept-1", 3)
    line.proxy.silence()

    assert isinstance(await asyncio.wait_for(line.append(append), 30), Appended)

    assert len(await line.stored(append)) == len(ids(append))


def test_append_on_dead_line_is_answered_within_18_s() -> None:
    """The documentation says so: a response timeout, and either a second one or a timeout for a new connection."""
    small = appender.RESPONSE_TIMEOUT_S + 100_000 / appender.MIN_BYTES_PER_S
    assert small + max(small, connection.CONNECT_TIMEOUT_S) <= 18
    assert 2 * connection.KEEPALIVE_IDLE_S <= 15


BULK = [
    (request, moment)
    for request in (b"BEGIN", b"CREATE TEMP", b"COPY", b"fait_append_bulk_1($1", b"COMMIT")
    for moment in CUT_POINTS
    if request != b"COPY"
    or moment in ("before", "unanswered")  # the server's first response to COPY only permits sending
]


@pytest.mark.parametrize("expected", [3, ANY])
@pytest.mark.parametrize(("request_", "moment"), BULK)
async def test_bulk_append_with_lost_connection_is_stored_once(
    line: Line, request_: bytes, moment: CutPoint, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(appender, "MIN_BULK_EVENTS", 5)
    append: Append = ([StreamWrite("kept-1", tuple(event("fault.tagged", "seat:1") for _ in range(7)), expected)], None)
    line.proxy.request = request_
    line.proxy.cuts.append(moment)

    result = await line.append(append)

    assert isinstance(result, Appended)
    assert result.versions == (10,)
    assert not line.proxy.cuts
    assert len(await line.stored(append)) == 7
    await line.assert_versions_contiguous()


async def test_idle_connections_terminated_by_server_are_replaced(line: Line) -> None:
    head = await line.store.log.head()
    waiting = asyncio.create_task(line.store.log.wait_for_events(head))
    await asyncio.sleep(0.1)
    line.proxy.announce_shutdown()
    await asyncio.sleep(0.05)  # the message has arrived, and the connection is still open

    with suppress(StoreUnavailable):
        await line.store.log.read(head)
    assert isinstance(await line.append(append_of("any", "kept-1", 3)), Appended)

    await asyncio.wait_for(waiting, 30)
    assert [each.stream for each in (await line.store.log.read(head)).events] == ["kept-1"]


async def test_readers_continue_after_reconnect(line: Line) -> None:
    head = await line.store.log.head()
    waiting = asyncio.create_task(line.store.log.wait_for_events(head))
    await asyncio.sleep(0.1)
    line.proxy.disconnect()
    await asyncio.sleep(0.1)
    line.proxy.unreachable = False

    await line.append(append_of("any", "kept-1", 3))

    await asyncio.wait_for(waiting, 30)
    page = await line.store.log.read(head)
    assert [each.stream for each in page.events] == ["kept-1"]
