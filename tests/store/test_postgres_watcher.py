"""What is known of the log's end: news comes without being looked for, and a mark that falls back changes nothing."""

import asyncio
from collections.abc import Callable
from typing import Any, cast

import pytest

from fait.store.open import open_store
from fait.store.postgres import watcher
from fait.store.postgres.connection import Database
from fait.store.postgres.watcher import Watcher
from fait.testing.contract.store import added, write
from tests.faults.load import until


async def test_news_of_other_processes_comes_without_being_looked_for(
    postgres_url: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watcher, "LOOK_S", 60.0)
    url = postgres_url()
    reader, writer = await open_store(url), await open_store(url)
    announcer = vars(reader.log)["_watcher"].announcer
    try:
        waiting = asyncio.create_task(reader.log.changed(0))
        await until(lambda: announcer.hears)
        await added(writer.log, write("a"))
        await asyncio.wait_for(waiting, 10)  # by looking, perhaps: until now it looked often

        waiting = asyncio.create_task(reader.log.changed(1))
        await asyncio.sleep(0.1)
        await added(writer.log, write("a"))
        await asyncio.wait_for(waiting, 5)
    finally:
        await reader.close()
        await writer.close()


class Marks:
    """A database that tells marks, and where the log ends."""

    def __init__(self, *told: tuple[int, int]) -> None:
        self._told = list(told)

    async def fetch(self, statement: str) -> list[tuple[int, int]]:
        assert statement == "mark"
        return [self._told.pop(0)]


async def test_a_mark_that_lies_below_an_earlier_one_is_no_restored_database() -> None:
    known = Watcher(cast("Database", cast("Any", Marks((5, 5), (3, 6), (7, 7)))), "channel")

    assert [await known.mark(beyond) for beyond in (0, 5, 6)] == [5, 5, 7]
