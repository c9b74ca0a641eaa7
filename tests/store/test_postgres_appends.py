"""Appends on PostgreSQL: to several streams, of many events, in batches; values sent as one text are separated."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime

import pytest

from fait._events.append import Appended, StreamWrite, VersionConflict
from fait._events.envelope import EncodedEvent
from fait._events.version import EXISTS
from fait._store.open import open_store
from fait._store.ports.log import Log
from fait._store.postgres import appender
from fait.testing.contract.store import added, everything, new_id, write


@pytest.fixture(params=["called", "copied"])
async def log(
    request: pytest.FixtureRequest, postgres_url: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Log]:
    if request.param == "copied":
        monkeypatch.setattr(appender, "MIN_BULK_EVENTS", 3)
    store = await open_store(postgres_url())
    yield store.log
    await store.close()


async def test_missing_stream_that_must_exist_rejects_whole_append(log: Log) -> None:
    await added(log, write("there"))

    verdict = await log.append([write("there", 2), write("new", 2), write("missing", 2, "exists")])

    assert verdict == VersionConflict("missing", EXISTS, 0)
    assert len(await everything(log)) == 1


async def test_rejected_append_changes_no_stream(log: Log) -> None:
    verdict = await log.append([write("a", 3), write("b", 3, 7)])

    assert verdict == VersionConflict("b", 7, 0)
    assert await log.streams() == []
    assert isinstance(await log.append([write("a", 3, 0), write("b", 3, 0)]), Appended)


SEPARATORS = ["\x1f", "\x1f0\x1e", "0\x1e\x1f", "\x1f1\x1e\x1f0", "\x1e", '"', "\\", "{}", ",", "NULL", "null", "ä€"]


@pytest.mark.parametrize("together", [True, False], ids=["of one append", "of several"])
async def test_values_with_separators_are_stored_unchanged(log: Log, together: bool) -> None:
    writes = [
        StreamWrite(
            f"odd-{odd}{number}",
            (EncodedEvent("test.odd", 1, new_id(), f'{{"n":{number}}}', tags=(odd, f"{odd}x")[: number % 3]),),
            0,
        )
        for number, odd in enumerate(SEPARATORS)
    ]

    if together:
        verdicts = [await log.append(writes)]
    else:
        await added(log, write("first"))
        verdicts = await asyncio.gather(*(log.append([each]) for each in writes))

    stored = {each.id: each for each in await everything(log)}
    assert all(isinstance(each, Appended) for each in verdicts)
    for each in writes:
        [event] = each.events
        found = stored[event.id]
        assert (found.stream, found.type, found.data, found.tags) == (each.stream, "test.odd", event.data, event.tags)


async def test_events_of_batched_appends_keep_their_order(log: Log) -> None:
    moment = datetime(2024, 1, 15, tzinfo=UTC)
    rare = EncodedEvent("test.rare", 7, new_id(), "[]", '{"actor":"a"}', ("seat:1", "seat:2"), moment, expires=True)
    await added(log, write("first"))

    verdicts = await asyncio.gather(
        log.append([write("one")]), log.append([write("three", 3)]), log.append([StreamWrite("rare", (rare,), -1)]),
        log.append([write("two", 2)]), log.append([write("late", 2, 9)]),
    )  # fmt: skip

    assert [each.versions if isinstance(each, Appended) else each for each in verdicts] == [
        (1,), (3,), (1,), (2,), VersionConflict("late", 9, 0),
    ]  # fmt: skip
    stored = [each for each in await everything(log) if each.stream != "first"]
    places = sorted((each.stream, each.version) for each in stored)
    assert places == [("one", 1), ("rare", 1), ("three", 1), ("three", 2), ("three", 3), ("two", 1), ("two", 2)]
    [found] = [each for each in stored if each.stream == "rare"]
    assert (found.type, found.schema_version, found.data, found.metadata) == ("test.rare", 7, "[]", '{"actor":"a"}')
    assert (found.tags, found.occurred_at) == (rare.tags, moment)
