"""Processes are killed (-9) at random times: no acknowledged event is lost, order is kept, effects happen once."""

import random
from collections import defaultdict
from functools import partial
from pathlib import Path

import apsw

import fait
from fait._events.append import Page
from tests.crash.counting import Counted, Counter, Totals, counting_app, reacting_app
from tests.crash.processes import Child, program, until

KILLS = 50
PROCESSES = 4


async def test_four_appending_processes_killed_fifty_times_lose_nothing_acknowledged(tmp_path: Path) -> None:
    seed = random.randrange(1 << 30)
    print("seed", seed)
    chance, url = random.Random(seed), f"sqlite:///{tmp_path}/killed.db"
    started = 0

    def start() -> Child:
        nonlocal started
        started += 1
        return Child(program("counting.py"), "append", url, str(started))

    children, dead = [start() for _ in range(PROCESSES)], list[Child]()
    try:
        for _ in range(KILLS):
            victim = chance.randrange(PROCESSES)
            until(partial(children[victim].has_printed, chance.randrange(1, 60)))
            children[victim].kill()
            dead.append(children[victim])
            children[victim] = start()
    finally:
        for child in children:
            child.kill()
    acknowledged = [line.split() for child in (*dead, *children) for line in child.lines]
    assert len(acknowledged) > KILLS
    await _check(url, acknowledged)


async def _check(url: str, acknowledged: list[list[str]]) -> None:
    async with counting_app().open(url, lease_s=0.5) as system:
        events = [each async for each in system.events()]
        by_key = {each.metadata.key: each for each in events}
        assert len(by_key) == len(events)
        for key, position, stream, version in acknowledged:
            stored = by_key[key]
            assert (stored.position, stored.stream, stored.version) == (int(position), stream, int(version))
        versions: defaultdict[str, list[int]] = defaultdict(list)
        for each in events:
            versions[each.stream].append(each.version)
        assert all(found == list(range(1, len(found) + 1)) for found in versions.values())
        positions = [each.position for each in events]
        assert positions == sorted(set(positions))
        await _read_model_is_a_fresh_fold(system, events)


async def _read_model_is_a_fresh_fold(system: fait.System, events: list[fait.Envelope]) -> None:
    last = fait.WriteResult(None, "", 0, events[-1].position)
    rows = {row.counter: row for row in await system.find(Totals, after=last, timeout_s=20, limit=10_000)}
    totals: defaultdict[str, list[int]] = defaultdict(list)
    for each in events:
        totals[each.stream_id].append(each.event.by)
    assert {name: (row.total, row.events) for name, row in rows.items()} == {
        name: (sum(found), len(found)) for name, found in totals.items()
    }
    for name in list(totals)[:5]:
        assert (await system.load(Counter, name)).total == sum(totals[name])


async def test_reactor_causes_each_effect_once_although_a_process_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "effects.db"
    url, count = f"sqlite:///{path}", 1000
    async with reacting_app().open(url, run="elsewhere") as system:
        # without a unique key, so that a repeated effect is visible
        apsw.Connection(str(path)).execute("CREATE TABLE effects (event_id TEXT, position INTEGER)")
        await system.append(fait.NewEvents("counter-1", [Counted(1)] * count))
        children = [Child(program("counting.py"), "react", url)]
        try:
            until(lambda: _effects(path) > 0)
            children.append(Child(program("counting.py"), "react", url))
            until(lambda: children[1].has_printed() and _effects(path) > 100)
            children[0].kill()  # the owner of the lease: the other process started after the first effects
            assert _effects(path) < count
            until(lambda: _effects(path) == count)
        finally:
            for child in children:
                child.kill()
        page: Page = await system.store.log.read(0)
        expected = [(event.id, event.position) for event in page.events]
        assert len(expected) == count
        found = apsw.Connection(str(path)).execute("SELECT event_id, position FROM effects ORDER BY rowid").fetchall()
        assert found == expected


def _effects(path: Path) -> int:
    return apsw.Connection(str(path)).execute("SELECT count(*) FROM effects").get
