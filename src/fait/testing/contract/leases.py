"""Contract of leases: one worker at a time, and work of a former worker is rejected."""
# ruff: noqa: D102 - a test is documented by its name

import asyncio

import pytest
from msgspec.structs import replace

from fait._store.ports.leases import Lease, Range, Worker
from fait._store.ports.registrations import RangeKey, Registration
from fait._store.ports.store import Store
from fait._store.ports.tables import Column, Row, RowChange, SortOrder, Table
from fait._store.ports.unit_of_work import HandlerStatement, RangeMove, UnitOfWork
from fait.testing.contract.store import Opener, StoreContract, added, soon, write
from fait.testing.contract.turns import let_readers_wait

__all__ = [
    "NOTES", "WORDS", "LeaseContract", "acquired", "acquired_key", "merge", "owned", "prepared",
    "range_of", "recorded", "refused", "registration_of", "split", "state", "work_of",
]  # fmt: skip

NOTES = Table("notes", (Column("id", "integer", False), Column("text", "text", True)), "id", (("text",),))
WORDS = Table("words", (Column("word", "text", False), Column("count", "integer", False)), "word")


class LeaseContract(StoreContract):
    """The contract of the port `Leases`."""

    async def test_opening_state_is_what_the_ports_return(self, store: Store) -> None:
        empty = await store.opening_state([NOTES, WORDS])
        await store.log.append([write("a-1", 3)])
        await store.registrations.register(registration_of("free", "hash"), 1)
        await store.registrations.register(
            replace(registration_of("typed"), kind="reactor", handled_types=("a", "b")), 2
        )
        await store.tables.create_table(NOTES)
        await acquired(store, "s")

        state = await store.opening_state([NOTES, WORDS])

        assert (empty.registrations, empty.ranges, empty.last_position, empty.expired_position) == ([], [], 0, 0)
        assert empty.tables == frozenset()
        assert state.registrations == await store.registrations.registrations()
        assert state.ranges == await store.leases.ranges()
        assert (state.last_position, state.expired_position) == (await store.log.last_position(), 0)
        assert state.tables <= {"notes"}

    async def test_new_range_is_free(self, store: Store) -> None:
        await store.registrations.register(registration_of("s"), 7)

        current = await range_of(store, "s")

        assert (current.position, current.worker, current.heartbeat) == (7, "", None)
        assert await store.leases.ranges() == [current]
        assert await store.leases.range(RangeKey("never")) is None

    async def test_acquire_sets_worker_and_increases_fencing_token(self, store: Store) -> None:
        await store.registrations.register(replace(registration_of("s"), handled_types=("a", "b")), 7)
        seen = await range_of(store, "s")

        lease = await acquired(store, "s")

        assert lease == Lease(RangeKey("s"), "me", lease.fencing_token, 7, 1, ("a", "b"), frontier=7)
        assert lease.fencing_token > seen.fencing_token
        assert await range_of(store, "s") == Range(RangeKey("s"), 7, "me", lease.fencing_token, 1, frontier=7)

    async def test_concurrent_acquires_succeed_once(self, store: Store) -> None:
        await store.registrations.register(registration_of("s"), 0)
        workers = [f"worker-{n}" for n in range(16)]
        for each in workers:
            await store.leases.heartbeat(Worker(each))
        seen = await range_of(store, "s")

        leases = await asyncio.gather(*(acquire(store, seen, each) for each in workers))

        [lease] = [each for each in leases if each is not None]
        current = await range_of(store, "s")
        assert (current.worker, current.fencing_token) == (lease.worker, lease.fencing_token)

    async def test_range_of_registered_worker_cannot_be_acquired(self, store: Store) -> None:
        lease = await acquired(store, "s")
        await store.leases.heartbeat(Worker("you"))

        assert await acquire(store, await range_of(store, "s"), "you") is None
        assert await store.leases.heartbeat(Worker("me")) == [lease.key]

    async def test_range_of_expired_worker_can_be_acquired(self, store: Store) -> None:
        lease = await acquired(store, "s")
        await store.leases.heartbeat(Worker("you"))
        seen = await range_of(store, "s")
        assert seen.heartbeat is not None

        await store.leases.expire("me", seen.heartbeat)

        assert (await range_of(store, "s")).heartbeat is None
        successor = await acquire(store, seen, "you")
        assert successor is not None
        assert successor.fencing_token > lease.fencing_token

    async def test_expire_after_another_heartbeat_changes_nothing(self, store: Store) -> None:
        await acquired(store, "s")
        seen = await range_of(store, "s")
        assert seen.heartbeat is not None
        await store.leases.heartbeat(Worker("me"))

        await store.leases.expire("me", seen.heartbeat)

        current = await range_of(store, "s")
        assert current.heartbeat is not None
        assert current.heartbeat > seen.heartbeat

    async def test_unregistered_worker_cannot_acquire(self, store: Store) -> None:
        await store.registrations.register(registration_of("s"), 0)

        assert await acquire(store, await range_of(store, "s"), "me") is None
        assert (await range_of(store, "s")).worker == ""

    async def test_acquire_of_range_that_changed_fails(self, store: Store) -> None:
        await store.registrations.register(registration_of("s"), 0)
        await store.leases.heartbeat(Worker("you"))
        seen = await range_of(store, "s")
        await store.leases.release(await acquired(store, "s"))

        assert await acquire(store, seen, "you") is None

    async def test_reacquire_by_worker_increases_fencing_token(self, store: Store) -> None:
        lease = await acquired(store, "s")
        seen = await range_of(store, "s")
        await store.leases.heartbeat(Worker("me"))

        again = await acquire(store, seen, "me")

        assert again is not None
        assert again.fencing_token > lease.fencing_token
        await refused(store, work_of(lease, 5))

    async def test_acquire_with_other_definition_or_epoch_fails(self, store: Store) -> None:
        await store.registrations.register(registration_of("s", "hash"), 0)
        await store.leases.heartbeat(Worker("me"))
        seen = await range_of(store, "s")

        assert await store.leases.acquire(seen, "me", "other", "epoch") is None
        assert await store.leases.acquire(seen, "me", "hash", "other") is None
        assert await store.leases.acquire(seen, "me", "hash", "epoch") is not None

    async def test_heartbeat_returns_ranges_of_worker_only(self, store: Store) -> None:
        for name, worker in (("a", "me"), ("b", "you"), ("c", "me")):
            await acquired(store, name, worker)
        yours = await range_of(store, "b")

        assert sorted(key.subscription for key in await store.leases.heartbeat(Worker("me"))) == ["a", "c"]
        assert await store.leases.heartbeat(Worker("unknown")) == []
        assert await range_of(store, "b") == yours

    async def test_work_of_former_owner_is_rejected(self, store: Store) -> None:
        old = await prepared(store)
        await store.leases.release(old)
        successor = await acquired(store, "s", "you")

        await refused(store, work_of(old, 5, (RowChange(NOTES, [(1, "old")]),)))
        await recorded(store, work_of(successor, 6, (RowChange(NOTES, [(1, "new")]),)))

        assert await state(store) == (6, [(1, "new")], [])

    async def test_deregister_frees_ranges_of_worker_only(self, store: Store) -> None:
        lease, yours = await acquired(store, "a"), await acquired(store, "b", "you")

        await store.leases.deregister("me")

        free = await range_of(store, "a")
        assert (free.worker, free.heartbeat) == ("", None)
        assert free.fencing_token > lease.fencing_token
        assert await store.leases.heartbeat(Worker("you")) == [yours.key]
        assert await acquire(store, free, "me") is None

    async def test_release_frees_one_range_only(self, store: Store) -> None:
        lease, other = await acquired(store, "a"), await acquired(store, "b")

        await store.leases.release(lease)

        free = await range_of(store, "a")
        assert (free.worker, await store.leases.heartbeat(Worker("me"))) == ("", [other.key])
        assert free.fencing_token > lease.fencing_token

    async def test_release_of_lost_lease_changes_nothing(self, store: Store) -> None:
        old = await acquired(store, "a")
        again = await acquire(store, await range_of(store, "a"), "me")

        await store.leases.release(old)

        current = await range_of(store, "a")
        assert again is not None
        assert (current.worker, current.fencing_token) == ("me", again.fencing_token)

    async def test_fencing_token_after_forget_is_not_reused(self, store: Store) -> None:
        old, seen = await prepared(store), await range_of(store, "s")
        await store.registrations.forget("s")
        new = await acquired(store, "s", "you")

        assert await acquire(store, seen, "me") is None
        assert new.fencing_token > old.fencing_token
        assert new.revision > old.revision
        await refused(store, work_of(old, 5, (RowChange(NOTES, [(1, "old")]),)))
        assert await state(store) == (0, [], [])

    async def test_fencing_token_after_rename_is_not_reused(self, store: Store) -> None:
        first = await acquired(store, "new")
        again = None
        for _ in range(3):
            again = await acquire(store, await range_of(store, "new"), "me")
        await store.registrations.forget("new")
        await acquired(store, "old")

        await store.registrations.rename("old", "new")

        assert again is not None
        assert (await range_of(store, "new")).fencing_token > again.fencing_token > first.fencing_token

    async def test_page_counts_the_changes_of_registrations_before_its_events(
        self, store: Store, opener: Opener
    ) -> None:
        if not store.log.features.shared:
            pytest.skip("the store is not shared, as its features say")
        await store.registrations.register(replace(registration_of("s"), handled_types=("a",)), 0)
        async with opener() as other:
            for revision, waits in enumerate((True, True, False, True), 2):
                after = await store.log.head()
                reader = asyncio.create_task(store.log.wait_for_events(after)) if waits else None
                await let_readers_wait(store.log)
                await other.registrations.widen("s", (f"type-{revision}",))
                last = await added(other.log, write("a"))
                async with soon():
                    await (reader or store.log.head())
                page = await store.log.read(after)

                assert page.position == last.position
                assert page.revisions in {revision, None}

    async def test_accepted_definition_keeps_the_stored_types_if_the_caller_says_so(self, store: Store) -> None:
        registrations, types = store.registrations, list[tuple[str, ...]]()
        await registrations.register(replace(registration_of("s"), handled_types=("a", "b")), 0)

        for accepted, keeps_types in ((("c",), True), (("b",), False), ((), True), (("a",), True)):
            declared = replace(registration_of("s", "new"), handled_types=accepted)
            await registrations.accept(declared, keeps_types=keeps_types)
            stored = await registrations.registration("s")
            assert stored is not None
            types.append(stored.handled_types)

        assert types == [("a", "b", "c"), ("b",), (), ()]
        assert (stored.definition_hash, stored.revision) == ("new", 5)

    async def test_parts_of_a_definition_are_kept_until_the_definition_is_replaced(self, store: Store) -> None:
        registrations = store.registrations
        await registrations.register(replace(registration_of("a", "1"), handled_types=("t",)), 0, '{"a": 1}')
        await registrations.register(registration_of("a", "2"), 0, "another")
        await registrations.widen("a", ("t", "u"))
        await registrations.register(registration_of("none"), 0)

        kept = await registrations.definition("a")
        await registrations.rename("a", "b")
        renamed = [await registrations.definition(name) for name in ("a", "b", "none", "never")]
        await registrations.accept(registration_of("b", "3"), "accepted")

        assert (kept, renamed) == ('{"a": 1}', ["", '{"a": 1}', "", ""])
        assert await registrations.definition("b") == "accepted"
        await registrations.forget("b")
        assert await registrations.definition("b") == ""
        await registrations.register(registration_of("b", "4"), 0, "new")
        assert await registrations.definition("b") == "new"


def registration_of(subscription: str, definition_hash: str = "") -> Registration:
    """Return a registration of the app "app"."""
    return Registration(subscription, "app", "read_model", definition_hash, (), "log", "epoch")


async def owned(store: Store, lease: Lease, key: RangeKey) -> Lease:
    """Return the lease of a range that the worker of a lease owns after a split or a merge, as it is stored."""
    now = await store.leases.range(key)
    assert now is not None
    assert now.worker == lease.worker
    return replace(
        lease, key=key, fencing_token=now.fencing_token, position=now.position, high=now.high, frontier=now.frontier
    )


async def split(store: Store, lease: Lease, middle: int) -> tuple[Lease, Lease]:
    """Split a range, and return the leases of its halves."""
    assert await store.leases.split(lease, middle)
    return await owned(store, lease, lease.key), await owned(store, lease, replace(lease.key, low=middle))


async def merge(store: Store, lower: Lease, upper: Lease) -> Lease:
    """Merge ranges, and return the lease of the whole."""
    assert await store.leases.merge(lower, upper)
    return await owned(store, lower, lower.key)


async def range_of(store: Store, subscription: str) -> Range:
    """Return the range of a subscription."""
    current = await store.leases.range(RangeKey(subscription))
    assert current is not None
    return current


async def acquired_key(store: Store, key: RangeKey, worker: str) -> Lease:
    """Register a worker and acquire a range for it."""
    await store.leases.heartbeat(Worker(worker))
    seen = await store.leases.range(key)
    assert seen is not None
    lease = await acquire(store, seen, worker)
    assert lease is not None
    return lease


async def acquire(store: Store, seen: Range, worker: str) -> Lease | None:
    """Acquire a range for a worker that runs the registered definition."""
    return await store.leases.acquire(seen, worker, "", "epoch")


async def acquired(store: Store, name: str, worker: str = "me") -> Lease:
    """Register a subscription at position 0 and a worker, unless they exist, and acquire the range."""
    await store.registrations.register(registration_of(name), 0)
    await store.leases.heartbeat(Worker(worker))
    lease = await acquire(store, await range_of(store, name), worker)
    assert lease is not None
    return lease


async def prepared(store: Store) -> Lease:
    """Create two tables and the subscription "s" at position 0; return its lease."""
    await store.tables.create_table(NOTES)
    await store.tables.create_table(WORDS)
    return await acquired(store, "s")


def work_of(
    lease: Lease, position: int, rows: tuple[RowChange, ...] = (), statements: tuple[HandlerStatement, ...] = ()
) -> UnitOfWork:
    """Return work under a lease."""
    return UnitOfWork(RangeMove(lease.key, lease.fencing_token, lease.revision, position), rows, statements)


async def state(store: Store) -> tuple[int, list[Row], list[Row]]:
    """Return the position of "s" and the rows of both tables."""
    notes = await store.tables.select(NOTES, order=[SortOrder("id")])
    return (await range_of(store, "s")).position, notes, await store.tables.select(WORDS, order=[SortOrder("word")])


async def recorded(store: Store, work: UnitOfWork) -> None:
    """Record work, and expect that it is not rejected."""
    assert await store.recorder.record(work) == "recorded"


async def refused(store: Store, work: UnitOfWork) -> None:
    """Record work, and expect that it is rejected."""
    assert await store.recorder.record(work) == "refused"
