"""Callers that append during a fault, readers that follow the log, and the checks after the fault."""

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence

import asyncpg

from fait._errors import StoreUnavailable
from fait._events.append import Appended, VersionConflict
from fait._events.envelope import RecordedEvent
from fait._store.open import open_store
from fait._store.ports.log import Log
from fait._store.ports.store import Store
from tests.faults.appends import append_of, assert_versions_contiguous, ids

CALLERS = 64
UNCONDITIONAL = ("any", "any", "any", "many", "streams", "exact")
"""Kinds of appends whose batches overlap on two connections."""

WITH_CONDITIONS = (*UNCONDITIONAL, "on-tags")
"""Kinds of appends whose batches are sent one after another, because some have a condition."""


async def until(is_so: Callable[[], object], timeout_s: float = 30.0) -> None:
    """Wait until a condition holds that another task or process establishes."""
    for _ in range(round(timeout_s * 100)):
        if is_so():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("the condition did not hold in time")


class Follower:
    """A reader at the end of a log.

    Attributes:
        seen: the delivered events, in order.
    """

    def __init__(self, log: Log) -> None:
        self.seen: list[RecordedEvent] = []
        self.task = asyncio.create_task(self._follow(log), name="follower")

    async def _follow(self, log: Log) -> None:
        position = 0
        while True:
            try:
                page = await log.read(position)
                self.seen += page.events
                position = page.position
                if not page.more:
                    await log.wait_for_events(position)
            except StoreUnavailable:
                await asyncio.sleep(0.05)


class Load:
    """The results of the callers' appends, by event id, and the events that readers received.

    Attributes:
        stored: acknowledged events: stream and, for the last event of a stream, its version; otherwise 0.
        refused: ids of events that were not stored, according to the result.
        unknown: ids of events whose outcome is unknown.
        problems: errors that appends raised.
        most_flushes: maximum number of concurrent flushes, including individual retries.
        followers: two readers: one with its own store, one on the store of the callers.
    """

    def __init__(self, store: Store, reader: Store, kinds: Sequence[str], seed: int) -> None:
        self.stored: dict[str, tuple[str, int]] = {}
        self.refused: set[str] = set()
        self.unknown: set[str] = set()
        self.problems: list[StoreUnavailable] = []
        self.most_flushes = 0
        self.followers = [Follower(each.log) for each in (reader, store)]
        self._store, self._kinds = store, kinds
        self._chance = random.Random(seed)
        self._ended = asyncio.Event()

    async def more(self, count: int = 50) -> None:
        """Wait until this number of further events is acknowledged."""
        enough = len(self.stored) + count
        await until(lambda: len(self.stored) >= enough)

    async def call(self, caller: int) -> None:
        while not self._ended.is_set():
            stream = f"shared-{self._chance.randrange(5)}" if self._chance.random() < 0.3 else f"own-{caller}"
            append = append_of(self._chance.choice(self._kinds), stream, self._chance.randrange(20))
            self.most_flushes = max(self.most_flushes, len(vars(vars(self._store.log)["_group_commit"])["_flushes"]))
            try:
                result = await self._store.log.append(*append)
            except StoreUnavailable as problem:
                self.problems.append(problem)
                (self.refused if problem.outcome == "not_written" else self.unknown).update(ids(append))
                continue
            if isinstance(result, Appended):
                for write, version in zip(append[0], result.versions, strict=True):
                    self.stored |= {each.id: (write.stream, 0) for each in write.events}
                    self.stored[write.events[-1].id] = (write.stream, version)
            else:
                assert isinstance(result, VersionConflict), result
                self.refused.update(ids(append))
            await asyncio.sleep(self._chance.random() * 0.002)

    def end(self) -> None:
        self._ended.set()

    async def check(self, url: str, schema: str) -> None:
        """Assert that no acknowledged event is lost or stored twice, and that readers received the log, in order."""
        connection = await asyncpg.connect(url)
        try:
            rows = await connection.fetch(
                f'SELECT position, id::text, stream, version FROM "{schema}".fait_all_events ORDER BY position'
            )
        finally:
            await connection.close()
        found = {row["id"]: row for row in rows}
        assert {each for each in self.stored if each not in found} == set()
        for each, (stream, version) in self.stored.items():
            assert found[each]["stream"] == stream
            assert version in (0, found[each]["version"])
        assert self.refused.isdisjoint(found)
        assert max(Counter(row["id"] for row in rows).values()) == 1
        assert set(found) <= set(self.stored) | self.unknown
        await assert_versions_contiguous(url, schema)
        for follower in self.followers:
            await until(lambda follower=follower: len(follower.seen) >= len(rows) or follower.task.done())
            if follower.task.done():
                follower.task.result()
            given = [(each.position, each.id) for each in follower.seen]
            assert given == [(row["position"], row["id"]) for row in rows]


@contextlib.asynccontextmanager
async def load(server_url: str, schema: str, kinds: Sequence[str] = UNCONDITIONAL) -> AsyncIterator[Load]:
    """Run many callers and two readers; at the end, compare their results with the stored events."""
    seed = random.randrange(1 << 30)
    print("seed", seed)
    store, reader = [await open_store(f"{server_url}?schema={schema}") for _ in range(2)]
    going = Load(store, reader, kinds, seed)
    callers = [asyncio.create_task(going.call(caller)) for caller in range(CALLERS)]
    try:
        yield going
        going.end()
        await asyncio.gather(*callers)
        assert going.most_flushes > 1 or kinds != UNCONDITIONAL
        await going.check(server_url, schema)
    finally:
        tasks = [*callers, *(each.task for each in going.followers)]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await store.close()
        await reader.close()
