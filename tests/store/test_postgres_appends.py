"""Appends to several streams of PostgreSQL, and of very many events: all of one is stored, or nothing."""

from collections.abc import AsyncIterator, Callable

import pytest

from fait.events.append import Appended, Conflict
from fait.events.version import EXISTS
from fait.store.log import Log
from fait.store.open import open_store
from fait.store.postgres import appender
from fait.testing.contract.store import added, everything, write


@pytest.fixture(params=["called", "copied"])
async def log(
    request: pytest.FixtureRequest, postgres_url: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Log]:
    if request.param == "copied":
        monkeypatch.setattr(appender, "MANY", 3)
    store = await open_store(postgres_url())
    yield store.log
    await store.close()


async def test_a_stream_that_must_exist_and_does_not_refuses_those_beside_it(log: Log) -> None:
    await added(log, write("there"))

    verdict = await log.append([write("there", 2), write("new", 2), write("missing", 2, "exists")])

    assert verdict == Conflict("missing", EXISTS, 0)
    assert len(await everything(log)) == 1


async def test_what_is_refused_moves_no_stream(log: Log) -> None:
    verdict = await log.append([write("a", 3), write("b", 3, 7)])

    assert verdict == Conflict("b", 7, 0)
    assert await log.streams() == []
    assert isinstance(await log.append([write("a", 3, 0), write("b", 3, 0)]), Appended)
