"""Processes whose handler appends are killed (-9) at random times: its events are stored once for each event."""

import asyncio
import random
from collections import Counter as Counts
from collections.abc import Callable

import pytest

import fait
from tests.crash.appending import Echoed, appending_app
from tests.crash.counting import Counted
from tests.crash.processes import Child

EVENTS = 300
KILLS = 6


@pytest.mark.parametrize("backend", ["sqlite", "postgresql"])
async def test_events_of_handler_are_stored_once_although_its_processes_are_killed(
    backend: str, store_url: Callable[[str], str]
) -> None:
    url, chance, children = store_url(backend), random.Random(1), list[Child]()
    async with appending_app().open(url, run="elsewhere") as system:
        await system.append(fait.NewEvents("source-1", [Counted(1)] * EVENTS))
        try:
            children += [Child("-m", "tests.crash.appending", url) for _ in range(2)]
            for number in range(KILLS):
                await _until_echoed(system, (number + 1) * EVENTS // (KILLS + 2))
                await asyncio.sleep(chance.random() * 0.05)
                children[-2].kill()
                children[-1].kill()
                children += [Child("-m", "tests.crash.appending", url) for _ in range(2)]
            await _until_echoed(system, EVENTS)
        finally:
            for child in children:
                child.kill()
        events = [each async for each in system.events()]

    sources = [each.id for each in events if each.category == "source"]
    echoes = Counts(each.event.id for each in events if isinstance(each.event, Echoed))
    counts = Counts(each.metadata.causation_id for each in events if each.stream == "counter-total")
    assert echoes == counts == dict.fromkeys(sources, 1)


async def _until_echoed(system: fait.System, count: int) -> None:
    async with asyncio.timeout(60):
        while True:
            streams = await system.store.log.streams(category="echo")
            if sum(each.version for each in streams) >= count:
                return
            await asyncio.sleep(0.01)
