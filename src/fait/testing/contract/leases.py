"""Contract of leases: one owner at a time, and work of a former owner is rejected."""
# ruff: noqa: D102 - a test is documented by its name

import asyncio

import pytest

from fait._errors import LeaseLost
from fait._store.ports.leases import Lease
from fait._store.ports.tables import Column, Row, RowChange, SortOrder, Table
from fait._store.ports.unit_of_work import UnitOfWork
from fait.testing.contract.store import StoreContract

__all__ = ["NOTES", "WORDS", "LeaseContract", "checkpoint_at", "owned", "prepared", "refused", "state"]

NOTES = Table("notes", (Column("id", "integer", False), Column("text", "text", True)), "id", (("text",),))
WORDS = Table("words", (Column("word", "text", False), Column("count", "integer", False)), "word")


class LeaseContract(StoreContract):
    """The part of the `Ledger` contract that concerns leases."""

    async def test_unacquired_lease_has_no_owner(self, ledger: Ledger) -> None:
        lease = await ledger.lease("s")

        assert (lease.name, lease.owner) == ("s", "")

    async def test_acquire_sets_owner_and_increases_fencing_token(self, ledger: Ledger) -> None:
        seen = await ledger.lease("s")

        acquired = await ledger.acquire(seen, "me")

        assert acquired is not None
        assert acquired.owner == "me"
        assert acquired.fencing_token > seen.fencing_token
        assert await ledger.lease("s") == acquired

    async def test_concurrent_acquires_succeed_once(self, ledger: Ledger) -> None:
        for _ in range(3):
            seen = await ledger.lease("s")

            acquired = await asyncio.gather(*(ledger.acquire(seen, f"owner-{n}") for n in range(16)))

            leases = [each for each in acquired if each is not None]
            assert leases == [await ledger.lease("s")]

    async def test_acquire_after_heartbeat_of_owner_fails(self, ledger: Ledger) -> None:
        mine = await ledger.acquire(await ledger.lease("s"), "me")
        seen = await ledger.lease("s")

        assert await ledger.heartbeat("me") == ["s"]

        assert await ledger.acquire(seen, "you") is None
        current = await ledger.lease("s")
        assert mine is not None
        assert (current.owner, current.fencing_token) == ("me", mine.fencing_token)
        assert current.heartbeat != mine.heartbeat

    async def test_reacquire_by_owner_after_its_heartbeat_succeeds(self, ledger: Ledger) -> None:
        await ledger.acquire(await ledger.lease("s"), "me")
        seen = await ledger.lease("s")
        await ledger.heartbeat("me")
        after_heartbeat = await ledger.lease("s")

        again = await ledger.acquire(seen, "me")

        assert again is not None
        assert again == await ledger.lease("s")
        assert again.fencing_token > seen.fencing_token
        assert again.heartbeat != after_heartbeat.heartbeat
        assert await ledger.acquire(seen, "me") is None

    async def test_heartbeat_covers_all_leases_of_owner_only(self, ledger: Ledger) -> None:
        for name, owner in (("a", "me"), ("b", "you"), ("c", "me")):
            await ledger.acquire(await ledger.lease(name), owner)
        yours = await ledger.lease("b")

        assert sorted(await ledger.heartbeat("me")) == ["a", "c"]
        assert await ledger.heartbeat("unknown") == []
        assert await ledger.lease("b") == yours

    async def test_work_of_former_owner_is_rejected(self, ledger: Ledger) -> None:
        old = await prepared(ledger)
        acquired = await ledger.acquire(await ledger.lease("s"), "you")
        assert acquired is not None

        await refused(ledger, UnitOfWork("s", 0, 5, old, (RowChange(NOTES, [(1, "old")]),)))
        await ledger.record(UnitOfWork("s", 0, 6, acquired.fencing_token, (RowChange(NOTES, [(1, "new")]),)))

        assert await state(ledger) == (6, [(1, "new")], [])

    async def test_release_all_frees_leases_of_owner_only(self, ledger: Ledger) -> None:
        for name, owner in (("a", "me"), ("b", "you")):
            await ledger.acquire(await ledger.lease(name), owner)
        before = await ledger.lease("a")

        await ledger.release_all("me")

        free = await ledger.lease("a")
        assert free.owner == ""
        assert await ledger.acquire(before, "late") is None
        assert (await ledger.lease("b")).owner == "you"
        assert await ledger.heartbeat("me") == []
        acquired = await ledger.acquire(free, "you")
        assert acquired is not None
        assert acquired.fencing_token > before.fencing_token

    async def test_release_frees_one_lease_only(self, ledger: Ledger) -> None:
        for name in ("a", "b"):
            await ledger.acquire(await ledger.lease(name), "me")
        before = await ledger.lease("a")

        await ledger.release(before)

        free = await ledger.lease("a")
        assert free.owner == ""
        assert await ledger.acquire(before, "late") is None
        assert await ledger.heartbeat("me") == ["b"]
        acquired = await ledger.acquire(free, "you")
        assert acquired is not None
        assert acquired.fencing_token > before.fencing_token

    async def test_release_after_heartbeat_frees_lease(self, ledger: Ledger) -> None:
        acquired = await ledger.acquire(await ledger.lease("a"), "me")
        assert acquired is not None
        await ledger.heartbeat("me")

        await ledger.release(acquired)

        assert (await ledger.lease("a")).owner == ""

    async def test_release_of_lost_lease_changes_nothing(self, ledger: Ledger) -> None:
        unacquired = await ledger.lease("a")
        await ledger.release(unacquired)
        assert await ledger.lease("a") == unacquired
        old = await ledger.acquire(unacquired, "me")
        assert old is not None
        for owner in ("you", "me"):
            acquired = await ledger.acquire(await ledger.lease("a"), owner)

            await ledger.release(old)

            assert await ledger.lease("a") == acquired

    async def test_acquire_of_lease_read_before_forget_fails(self, ledger: Ledger) -> None:
        seen = await owned(ledger, "s")
        await ledger.forget_subscription("s")

        assert await ledger.acquire(seen, "late") is None

    async def test_fencing_token_after_forget_is_not_reused(self, ledger: Ledger) -> None:
        old = await prepared(ledger)
        await ledger.forget_subscription("s")
        await owned(ledger, "s", "you")

        await refused(ledger, UnitOfWork("s", 0, 5, old, (RowChange(NOTES, [(1, "old")]),)))

        assert await state(ledger) == (0, [], [])


def checkpoint_at(subscription: str, position: int, definition_hash: str = "") -> Checkpoint:
    """Return a checkpoint of the app "app"."""
    return Checkpoint(subscription, "app", position, "log", "epoch", definition_hash)


async def owned(ledger: Ledger, name: str, owner: str = "me") -> Lease:
    """Start a subscription at position 0 and acquire its lease."""
    await ledger.start_checkpoint(checkpoint_at(name, 0))
    acquired = await ledger.acquire(await ledger.lease(name), owner)
    assert acquired is not None
    return acquired


async def prepared(ledger: Ledger) -> int:
    """Create two tables and the subscription "s" at position 0; return its fencing token."""
    await ledger.create_table(NOTES)
    await ledger.create_table(WORDS)
    return (await owned(ledger, "s")).fencing_token


async def state(ledger: Ledger) -> tuple[int, list[Row], list[Row]]:
    """Return the position of "s" and the rows of both tables."""
    checkpoint = await ledger.checkpoint("s")
    assert checkpoint is not None
    notes = await ledger.select(NOTES, order=[SortOrder("id")])
    return checkpoint.position, notes, await ledger.select(WORDS, order=[SortOrder("word")])


async def refused(ledger: Ledger, work: UnitOfWork) -> None:
    """Record work, and expect that it is rejected."""
    with pytest.raises(LeaseLost):
        await ledger.record(work)
