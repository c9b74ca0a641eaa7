"""The part of the contract of `Leases` on ranges that are split and merged, and of `Registrations` on pauses."""
# ruff: noqa: D102 - a test is documented by its name

import asyncio
from datetime import timedelta
from typing import Any

from msgspec.structs import replace

from fait._clock import ManualClock
from fait._store.ports.leases import Lease, RegisteredWorker, Worker
from fait._store.ports.registrations import SLOTS, RangeKey, slot_of
from fait._store.ports.store import Store
from fait._store.ports.unit_of_work import MAX_PENDING, RangeMove, UnitOfWork
from fait.testing.contract.leases import (
    NOTES,
    acquire,
    acquired,
    acquired_key,
    merge,
    prepared,
    range_of,
    recorded,
    refused,
    registration_of,
    split,
    work_of,
)
from fait.testing.contract.store import StoreContract

__all__ = ["RangeContract"]

MIDDLE = SLOTS // 2
SLOTS_OF_KEYS = {"": 58288, "order-1": 2991, "a": 51863, "größe-1": 19994, "𝄞": 58393}


class RangeContract(StoreContract):
    """The contract of `Leases` and `Registrations` on several ranges of a subscription."""

    def test_slot_of_key_is_the_same_in_every_version(self) -> None:
        assert {key: slot_of(key) for key in SLOTS_OF_KEYS} == SLOTS_OF_KEYS

    async def test_record_stores_frontier_and_pending_positions(self, store: Store) -> None:
        lease = await acquired(store, "s")

        await recorded(store, _work_of(lease, 9, (4, 7)))

        current = await range_of(store, "s")
        assert (current.position, current.frontier, current.finished) == (3, 9, 3)
        again = await acquire(store, current, "me")
        assert again is not None
        assert (again.position, again.frontier, again.pending) == (3, 9, (4, 7))
        await recorded(store, _work_of(again, 9))
        current = await range_of(store, "s")
        assert (current.position, current.frontier) == (9, 9)

    async def test_as_many_pending_positions_as_allowed_are_stored(self, store: Store) -> None:
        lease, pending = await acquired(store, "s"), tuple(range(1, 2 * MAX_PENDING, 2))

        await recorded(store, _work_of(lease, 2 * MAX_PENDING, pending))

        again = await acquire(store, await range_of(store, "s"), "me")
        assert again is not None
        assert (again.position, again.pending) == (0, pending)

    async def test_owner_reports_health_and_another_worker_does_not(self, store: Store) -> None:
        lease = await acquired(store, "s")

        await store.leases.report(lease, '{"a": 1}')
        await store.leases.report(replace(lease, fencing_token=lease.fencing_token - 1), "old")
        await store.leases.report(replace(lease, worker="you"), "other")

        current = await range_of(store, "s")
        assert (current.health, current.fencing_token, current.position) == ('{"a": 1}', lease.fencing_token, 0)

    async def test_release_keeps_health_and_record_removes_it(self, store: Store) -> None:
        lease = await acquired(store, "s")
        await store.leases.report(lease, "{}")
        await store.leases.release(lease)
        assert (await range_of(store, "s")).health == "{}"

        await recorded(store, work_of(await acquired(store, "s"), 0))

        assert (await range_of(store, "s")).health == ""

    async def test_halves_have_what_the_range_has_and_greater_tokens(self, store: Store) -> None:
        whole = await acquired(store, "s")
        await recorded(store, _work_of(whole, 9, (4,)))
        await store.leases.report(whole, "{}")

        lower, upper = await split(store, whole, MIDDLE)

        assert (lower.key, lower.high) == (whole.key, MIDDLE)
        assert (upper.key, upper.high) == (RangeKey("s", low=MIDDLE), SLOTS)
        for half in (lower, upper):
            assert half.fencing_token > whole.fencing_token
            stored = await store.leases.range(half.key)
            assert stored is not None
            assert (stored.high, stored.worker, stored.fencing_token) == (half.high, "me", half.fencing_token)
            assert (stored.position, stored.frontier, stored.health) == (3, 9, "{}")
        assert [each.key for each in await store.leases.ranges()] == [lower.key, upper.key]
        assert await store.leases.heartbeat(Worker("me")) in ([lower.key, upper.key], [upper.key, lower.key])
        await refused(store, _work_of(whole, 10))
        await recorded(store, _work_of(lower, 10))
        await recorded(store, _work_of(upper, 12, (11,)))
        assert [each.position for each in await store.leases.ranges()] == [10, 10]

    async def test_both_halves_have_the_pending_positions_of_the_range(self, store: Store) -> None:
        whole = await acquired(store, "s")
        await recorded(store, _work_of(whole, 9, (4, 6)))

        halves = await split(store, whole, MIDDLE)

        assert [(await acquired_key(store, each.key, "me")).pending for each in halves] == [(4, 6), (4, 6)]

    async def test_lost_lease_splits_and_merges_nothing(self, store: Store) -> None:
        old = await acquired(store, "s")
        whole = await acquired(store, "s")

        assert not await store.leases.split(old, MIDDLE)
        assert not await store.leases.split(replace(whole, worker="you"), MIDDLE)
        assert [each.fencing_token for each in await store.leases.ranges()] == [whole.fencing_token]

        lower, upper = await split(store, whole, MIDDLE)
        for key in (lower.key, upper.key):
            seen = await store.leases.range(key)
            assert seen is not None
            again = await acquire(store, seen, "me")
            assert again is not None
            assert not await store.leases.merge(lower, upper)
            lower, upper = (again, upper) if key == lower.key else (lower, again)
        assert len(await store.leases.ranges()) == 2

    async def test_range_is_split_only_inside(self, store: Store) -> None:
        lower, upper = await split(store, await acquired(store, "s"), MIDDLE)

        for lease, middle in ((lower, 0), (lower, MIDDLE), (lower, MIDDLE + 1), (upper, MIDDLE), (upper, SLOTS)):
            assert not await store.leases.split(lease, middle)
        assert len(await store.leases.ranges()) == 2

    async def test_merged_range_has_the_frontier_of_both_and_a_new_token(self, store: Store) -> None:
        whole = await acquired(store, "s")
        await recorded(store, _work_of(whole, 9))
        lower, upper = await split(store, whole, MIDDLE)

        merged = await merge(store, lower, upper)

        assert merged.fencing_token > max(lower.fencing_token, upper.fencing_token)
        [stored] = await store.leases.ranges()
        assert (stored.key, stored.high, stored.position, stored.frontier) == (whole.key, SLOTS, 9, 9)
        for half in (lower, upper):
            await refused(store, _work_of(half, 10))
        await recorded(store, _work_of(merged, 10))
        assert (await acquired_key(store, whole.key, "me")).pending == ()

    async def test_ranges_at_different_frontiers_are_not_merged(self, store: Store) -> None:
        lower, upper = await split(store, await acquired(store, "s"), MIDDLE)
        await recorded(store, _work_of(lower, 9))

        assert not await store.leases.merge(lower, upper)

        await recorded(store, _work_of(upper, 9))
        assert await store.leases.merge(lower, upper)

    async def test_only_neighbors_of_one_worker_are_merged(self, store: Store) -> None:
        first, upper = await split(store, await acquired(store, "s"), MIDDLE)
        second, third = await split(store, upper, MIDDLE + 1)

        assert not await store.leases.merge(first, third)
        assert not await store.leases.merge(second, first)
        assert not await store.leases.merge(first, first)
        await store.leases.release(second)
        yours = await acquired_key(store, second.key, "you")
        assert not await store.leases.merge(first, yours)
        assert len(await store.leases.ranges()) == 3

    async def test_ranges_with_pending_positions_are_not_merged(self, store: Store) -> None:
        whole = await acquired(store, "s")
        await recorded(store, _work_of(whole, 9, (4, 9)))
        lower, upper = await split(store, whole, MIDDLE)

        assert not await store.leases.merge(lower, upper)
        await recorded(store, _work_of(lower, 9))
        assert not await store.leases.merge(lower, upper)
        await recorded(store, _work_of(lower, 9, (9,)))
        await recorded(store, _work_of(upper, 9))
        assert not await store.leases.merge(lower, upper)
        await recorded(store, _work_of(lower, 9))
        assert await store.leases.merge(lower, upper)

    async def test_fencing_token_after_merge_and_split_is_not_reused(self, store: Store) -> None:
        lower, upper = await split(store, await acquired(store, "s"), MIDDLE)
        for _ in range(5):
            upper = await acquired_key(store, upper.key, "me")
        merged = await merge(store, lower, upper)

        again = await split(store, merged, MIDDLE)

        assert min(each.fencing_token for each in again) > upper.fencing_token
        await refused(store, _work_of(upper, 9))

    async def test_reset_leaves_one_range_with_a_new_token(self, store: Store) -> None:
        lower, upper = await split(store, await prepared(store), MIDDLE)
        await recorded(store, _work_of(lower, 9, (4,)))
        await store.leases.report(lower, "{}")
        upper = await acquired_key(store, upper.key, "me")

        await store.registrations.reset(registration_of("s"), NOTES, 2)

        [current] = await store.leases.ranges()
        assert (current.key, current.high, current.position, current.frontier) == (RangeKey("s"), SLOTS, 2, 2)
        assert current.health == ""
        assert current.fencing_token > upper.fencing_token
        assert (await acquired_key(store, current.key, "me")).pending == ()
        for half in (lower, upper):
            await refused(store, _work_of(half, 9))

    async def test_forgotten_subscription_has_no_registration_and_no_range(self, store: Store) -> None:
        lease = await acquired(store, "s")
        await store.registrations.forget("s")
        await store.registrations.forget("never")

        assert await store.registrations.registrations() == []
        assert await store.registrations.retired() == ["s"]
        assert await store.leases.ranges() == []
        assert [each.worker.id for each in await store.leases.workers()] == [lease.worker]
        await refused(store, _work_of(lease, 5))

    async def test_registration_after_forget_has_one_range_with_a_new_token(self, store: Store) -> None:
        lower, upper = await split(store, await acquired(store, "s"), MIDDLE)
        await recorded(store, _work_of(lower, 9, (4,)))
        upper = await acquired_key(store, upper.key, "me")
        await store.registrations.forget("s")

        await store.registrations.register(registration_of("s"), 3)

        [current] = await store.leases.ranges()
        assert (current.key, current.high, current.position, current.frontier) == (RangeKey("s"), SLOTS, 3, 3)
        assert current.fencing_token > upper.fencing_token
        assert (await acquired_key(store, current.key, "me")).pending == ()
        for half in (lower, upper):
            await refused(store, _work_of(half, 9))

    async def test_renamed_subscription_keeps_its_ranges(self, store: Store) -> None:
        used = await acquired_key(store, (await split(store, await acquired(store, "new"), MIDDLE))[1].key, "me")
        await store.registrations.forget("new")
        lower, upper = await split(store, await acquired(store, "old"), 7)
        await recorded(store, _work_of(lower, 9, (4,)))
        await store.leases.report(lower, "{}")
        await recorded(store, _work_of(upper, 5))

        await store.registrations.rename("old", "new")

        ranges = await store.leases.ranges()
        assert [(each.key, each.high, each.position, each.frontier, each.health) for each in ranges] == [
            (RangeKey("new"), 7, 3, 9, "{}"),
            (RangeKey("new", low=7), SLOTS, 5, 5, ""),
        ]
        assert {each.worker for each in ranges} == {""}
        assert min(each.fencing_token for each in ranges) > used.fencing_token
        assert (await acquired_key(store, RangeKey("new"), "me")).pending == (4,)
        for lease in (lower, upper):
            await refused(store, _work_of(lease, 10))

    async def test_accept_and_deregister_free_all_ranges(self, store: Store) -> None:
        lower, upper = await split(store, await acquired(store, "s"), MIDDLE)
        await store.registrations.accept(registration_of("s"))
        freed = await store.leases.ranges()
        leases = [await acquired_key(store, each.key, "me") for each in freed]
        await store.leases.deregister("me")

        assert [each.worker for each in freed] == ["", ""]
        assert [each.worker for each in await store.leases.ranges()] == ["", ""]
        for lease in (lower, upper, *leases):
            await refused(store, _work_of(lease, 9))

    async def test_concurrent_splits_and_resets_leave_ranges_without_gaps(self, store: Store) -> None:
        lease = await prepared(store)
        for _ in range(5):
            results = await asyncio.gather(
                store.leases.split(lease, MIDDLE),
                store.leases.split(lease, MIDDLE + 1),
                store.registrations.reset(registration_of("s"), NOTES, 2),
                store.leases.split(lease, MIDDLE + 2),
            )

            assert sum(each is True for each in results) <= 1
            ranges = await store.leases.ranges()
            assert [(each.key.low, each.high, each.worker) for each in ranges] == [(0, SLOTS, "")]
            lease = await acquired(store, "s")

    async def test_concurrent_merges_succeed_once(self, store: Store) -> None:
        lower, upper = await split(store, await acquired(store, "s"), MIDDLE)

        results = await asyncio.gather(*(store.leases.merge(lower, upper) for _ in range(4)))

        assert sum(results) == 1
        assert len(await store.leases.ranges()) == 1

    # Workers

    async def test_workers_are_listed_with_what_they_have_registered(self, store: Store, clock: ManualClock) -> None:
        first = Worker("b", "shop", "host", 7, "1.0", {"s": "hash"})
        told: dict[str, Any] = {"runs": {"t": "other", "u": None}, "calls": {"t": 35.2}, "backlogs": {"u": 2**40}}
        started_at = clock.now()
        await store.leases.heartbeat(first)
        clock.advance(seconds=1)
        await store.leases.heartbeat(Worker("B"))
        await store.leases.heartbeat(changed := replace(first, **told))

        assert await store.leases.workers() == [
            RegisteredWorker(Worker("B", runs={}), 1, started_at + timedelta(seconds=1)),
            RegisteredWorker(changed, 2, started_at),
        ]

    # Pauses

    async def test_paused_subscription_is_not_acquired_and_its_work_is_refused(self, store: Store) -> None:
        lower, upper = await split(store, await acquired(store, "s"), MIDDLE)

        assert await store.registrations.pause("s", by="ops", reason="maintenance")

        registration = await store.registrations.registration("s")
        assert registration is not None
        assert registration.paused
        ranges = await store.leases.ranges()
        assert [each.worker for each in ranges] == ["", ""]
        assert [await acquire(store, each, "me") for each in ranges] == [None, None]
        for lease in (lower, upper):
            await refused(store, _work_of(lease, 9))

        assert await store.registrations.resume("s", by="ops", reason="done")
        assert await acquire(store, ranges[0], "me") is not None
        assert registration != await store.registrations.registration("s") == registration_of("s")

    async def test_pause_and_resume_that_change_nothing_are_not_recorded(
        self, store: Store, clock: ManualClock
    ) -> None:
        await store.registrations.register(registration_of("s"), 0)
        registrations = store.registrations

        assert not await registrations.pause("never", by="ops", reason="")
        assert not await registrations.resume("s", by="ops", reason="")
        assert await registrations.pause("s", by="ops", reason="why")
        assert not await registrations.pause("s", by="ops", reason="")

        [action] = await store.failures.actions()
        assert (action.at, action.action, action.subscription) == (clock.now(), "pause", "s")
        assert (action.details, action.by, action.reason) == ("{}", "ops", "why")

    async def test_rename_and_accept_keep_a_pause(self, store: Store) -> None:
        await store.registrations.register(registration_of("old"), 0)
        await store.registrations.pause("old", by="ops", reason="")

        await store.registrations.rename("old", "new")
        await store.registrations.accept(registration_of("new", "hash"))

        registration = await store.registrations.registration("new")
        assert registration is not None
        assert registration.paused

    async def test_moves_of_several_ranges_at_the_same_time_are_recorded_or_refused_each(self, store: Store) -> None:
        leases = [await prepared(store), *[await acquired(store, name) for name in ("other", "third", "fourth")]]
        stale = replace(leases[1], fencing_token=leases[1].fencing_token - 1)
        changed = replace(leases[2], revision=leases[2].revision + 1)
        works = [work_of(each, 5) for each in (leases[0], stale, changed, leases[3])]

        results = await asyncio.gather(*(store.recorder.record(each) for each in works))

        assert results == ["recorded", "refused", "refused", "recorded"]
        positions = [(await range_of(store, each.key.subscription)).position for each in leases]
        assert positions == [5, 0, 0, 5]


def _work_of(lease: Lease, frontier: int, pending: tuple[int, ...] = ()) -> UnitOfWork:
    move = RangeMove(lease.key, lease.fencing_token, lease.revision, frontier, pending)
    return replace(work_of(lease, frontier), move=move)
