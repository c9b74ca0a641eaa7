"""Random changes of ranges: they cover all hashes, no fencing token is used twice, and no lost lease has an effect."""

import asyncio
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import Struct
from msgspec.structs import replace

from fait._store.open import backend_names, open_store
from fait._store.ports.leases import Lease, Worker
from fait._store.ports.registrations import SLOTS, RangeKey
from fait._store.ports.store import Store
from fait._store.ports.unit_of_work import RangeMove, UnitOfWork
from fait.testing.contract.leases import NOTES, owned, registration_of, split
from tests.property.test_log import EXAMPLES

WORKERS = ("a", "b")
CHANGES = (
    "acquire", "acquire", "acquire", "split", "split", "split", "merge", "merge", "record", "record", "release",
    "expire", "use a lost lease", "use a lost lease", "accept", "pause", "reset", "forget", "rename",
)  # fmt: skip


class Part(Struct):
    """A range as it must be.

    Attributes:
        lease: the last lease of the range; None if it was released or freed.
    """

    low: int
    high: int
    frontier: int = 0
    pending: tuple[int, ...] = ()
    worker: str = ""
    lease: Lease | None = None

    @property
    def position(self) -> int:
        return self.pending[0] - 1 if self.pending else self.frontier


class Ranges:
    """The ranges of one subscription as they must be, and the store that has them."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.name = "s"
        self.parts = [Part(0, SLOTS)]
        self.workers = set[str]()
        self.lost = list[Lease]()
        self.tokens = dict[tuple[str, int], int]()

    def hold(self, part: Part, lease: Lease) -> None:
        """Note a new lease, which must have a token that no lease of its key has had."""
        key = (self.name, lease.key.low)
        assert lease.fencing_token > self.tokens.get(key, 0)
        self.tokens[key] = lease.fencing_token
        assert (lease.key.low, lease.high, lease.frontier) == (part.low, part.high, part.frontier)
        assert (lease.position, lease.pending) == (part.position, part.pending)
        part.lease, part.worker = lease, lease.worker

    def lose(self, *parts: Part) -> None:
        """Note that leases are lost."""
        self.lost += [each.lease for each in parts if each.lease]
        for each in parts:
            each.lease, each.worker = None, ""

    async def check(self) -> None:
        """Compare all ranges with those that there must be."""
        stored = await self.store.leases.ranges()
        assert [(each.key, each.high, each.position, each.frontier, each.worker) for each in stored] == [
            (RangeKey(self.name, low=part.low), part.high, part.position, part.frontier, part.worker)
            for part in self.parts
        ]
        assert {each.health for each in stored} == {""}

    async def change(self, change: str, n: int, m: int) -> None:
        """Make a change, of which both numbers choose the details."""
        index = n % len(self.parts)
        part = self.parts[index]
        match change:
            case "acquire":
                await self.acquire(part, WORKERS[m % 2])
            case "split" if part.lease and part.high - part.low > 1:
                await self.split(part, part.lease, part.low + 1 + m % (part.high - part.low - 1))
            case "merge" if index:
                await self.merge(self.parts[index - 1], part)
            case "record" if part.lease:
                pending = tuple(part.frontier + 1 + each for each in range(4) if m % 2 and m >> each & 1)
                await self.record(part, part.lease, part.frontier + 4, pending)
            case "release" if part.lease:
                await self.store.leases.release(part.lease)
                self.lose(part)
            case "expire":
                await self.expire(WORKERS[m % 2])
            case "use a lost lease" if self.lost:
                await self.use_lost(self.lost[m % len(self.lost)])
            case "accept" | "pause" | "reset" | "forget" | "rename":
                await self.change_registration(change)
            case _:
                pass

    async def acquire(self, part: Part, worker: str) -> None:
        if worker not in self.workers:
            await self.store.leases.heartbeat(Worker(worker))
            self.workers.add(worker)
        seen = await self.store.leases.range(RangeKey(self.name, low=part.low))
        assert seen is not None
        lease = await self.store.leases.acquire(seen, worker, "", "epoch")

        assert (lease is not None) == (part.worker in ("", worker) or part.worker not in self.workers)
        if lease is not None:
            self.lose(part)
            self.hold(part, lease)

    async def split(self, part: Part, lease: Lease, middle: int) -> None:
        halves = await split(self.store, lease, middle)

        self.lose(part)
        upper = Part(middle, part.high, part.frontier, part.pending)
        part.high = middle
        self.parts.insert(self.parts.index(part) + 1, upper)
        for each, half in zip((part, upper), halves, strict=True):
            self.hold(each, replace(half, pending=each.pending))

    async def merge(self, lower: Part, upper: Part) -> None:
        if lower.lease is None or upper.lease is None:
            return
        can_merge = lower.worker == upper.worker and lower.frontier == upper.frontier
        can_merge = can_merge and not lower.pending and not upper.pending
        first = lower.lease
        assert await self.store.leases.merge(first, upper.lease) == can_merge
        if can_merge:
            self.lose(lower, upper)
            lower.high = upper.high
            self.parts.remove(upper)
            self.hold(lower, replace(await owned(self.store, first, first.key), pending=()))

    async def record(self, part: Part, lease: Lease, frontier: int, pending: tuple[int, ...]) -> None:
        move = RangeMove(lease.key, lease.fencing_token, lease.revision, frontier, pending)
        assert await self.store.recorder.record(UnitOfWork(move)) == "recorded"
        part.frontier, part.pending = frontier, pending

    async def expire(self, worker: str) -> None:
        """Let a worker expire. Its leases are valid until another worker acquires the ranges."""
        heartbeats = {each.worker.id: each.heartbeat for each in await self.store.leases.workers()}
        await self.store.leases.expire(worker, heartbeats.get(worker, 0))
        self.workers.discard(worker)

    async def use_lost(self, lease: Lease) -> None:
        leases = self.store.leases
        move = RangeMove(lease.key, lease.fencing_token, lease.revision, 1_000_000)
        assert await self.store.recorder.record(UnitOfWork(move)) == "refused"
        await leases.report(lease, "lost")
        assert not await leases.split(lease, (lease.key.low + lease.high) // 2)
        for other in [each.lease for each in self.parts if each.lease]:
            assert not await leases.merge(lease, other)
            assert not await leases.merge(other, lease)
        await leases.release(lease)

    async def change_registration(self, change: str) -> None:
        registrations, registration = self.store.registrations, registration_of(self.name)
        self.lose(*self.parts)
        if change == "accept":
            await registrations.accept(registration)
        elif change == "pause":
            assert await registrations.pause(self.name, by="ops", reason="")
            assert await registrations.resume(self.name, by="ops", reason="")
        elif change == "rename":
            previous, self.name = self.name, "t" if self.name == "s" else "s"
            await registrations.rename(previous, self.name)
        else:
            await self.start_again(change)

    async def start_again(self, change: str) -> None:
        registrations, registration = self.store.registrations, registration_of(self.name)
        if change == "reset":
            await registrations.reset(registration, NOTES, 0)
        else:
            await registrations.forget(self.name)
            await registrations.register(registration, 0)
        self.parts = [Part(0, SLOTS)]


@pytest.mark.parametrize("backend", sorted(backend_names()))
def test_ranges_cover_all_hashes_and_lost_leases_have_no_effect(backend: str, store_url: Callable[[str], str]) -> None:
    number = st.integers(0, SLOTS)

    @settings(
        max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), derandomize=backend != "memory"
    )
    @given(st.lists(st.tuples(st.sampled_from(CHANGES), number, number), max_size=40))
    def check(changes: list[tuple[str, int, int]]) -> None:
        asyncio.run(_check(store_url(backend), changes))

    check()


async def _check(url: str, changes: list[tuple[str, int, int]]) -> None:
    store = await open_store(url)
    try:
        await store.registrations.register(registration_of("s"), 0)
        ranges = Ranges(store)
        for each in changes:
            await ranges.change(*each)
            await ranges.check()
    finally:
        await store.close()
