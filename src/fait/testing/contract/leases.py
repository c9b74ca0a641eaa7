"""What every ledger promises of leases: one owner at a time, and who is not it any more records nothing."""
# ruff: noqa: D102 - the name of a test is its sentence

import asyncio

import pytest

from fait._errors import LeaseLost
from fait._store.ledger import Checkpoint, Column, Lease, Ledger, Row, RowChange, SortOrder, Table, UnitOfWork
from fait.testing.contract.store import StoreContract

__all__ = ["NOTES", "WORDS", "LeaseContract", "checkpoint_at", "owned", "prepared", "refused", "state"]

NOTES = Table("notes", (Column("id", "integer", False), Column("text", "text", True)), "id", (("text",),))
WORDS = Table("words", (Column("word", "text", False), Column("count", "integer", False)), "word")


class LeaseContract(StoreContract):
    """The promises of `Ledger` that are about leases."""

    async def test_a_lease_that_nobody_took_has_no_owner(self, ledger: Ledger) -> None:
        lease = await ledger.lease("s")

        assert (lease.name, lease.owner) == ("s", "")

    async def test_taking_a_lease_makes_its_owner_and_another_fence(self, ledger: Ledger) -> None:
        seen = await ledger.lease("s")

        taken = await ledger.acquire(seen, "me")

        assert taken is not None
        assert taken.owner == "me"
        assert taken.fencing_token > seen.fencing_token
        assert await ledger.lease("s") == taken

    async def test_of_many_who_take_a_lease_one_does(self, ledger: Ledger) -> None:
        for _ in range(3):
            seen = await ledger.lease("s")

            taken = await asyncio.gather(*(ledger.acquire(seen, f"owner-{n}") for n in range(16)))

            won = [each for each in taken if each is not None]
            assert won == [await ledger.lease("s")]

    async def test_an_owner_who_shows_life_keeps_the_lease(self, ledger: Ledger) -> None:
        mine = await ledger.acquire(await ledger.lease("s"), "me")
        seen = await ledger.lease("s")

        assert await ledger.heartbeat("me") == ["s"]

        assert await ledger.acquire(seen, "thief") is None
        now = await ledger.lease("s")
        assert mine is not None
        assert (now.owner, now.fencing_token) == ("me", mine.fencing_token)
        assert now.heartbeat != mine.heartbeat

    async def test_its_own_sign_of_life_keeps_no_owner_from_taking_a_lease_anew(self, ledger: Ledger) -> None:
        await ledger.acquire(await ledger.lease("s"), "me")
        seen = await ledger.lease("s")
        await ledger.heartbeat("me")
        beaten = await ledger.lease("s")

        again = await ledger.acquire(seen, "me")

        assert again is not None
        assert again == await ledger.lease("s")
        assert again.fencing_token > seen.fencing_token
        assert again.heartbeat != beaten.heartbeat
        assert await ledger.acquire(seen, "me") is None

    async def test_a_sign_of_life_is_for_all_leases_of_its_owner_and_no_others(self, ledger: Ledger) -> None:
        for name, owner in (("a", "me"), ("b", "you"), ("c", "me")):
            await ledger.acquire(await ledger.lease(name), owner)
        yours = await ledger.lease("b")

        assert sorted(await ledger.heartbeat("me")) == ["a", "c"]
        assert await ledger.heartbeat("nobody") == []
        assert await ledger.lease("b") == yours

    async def test_work_of_a_former_owner_is_refused(self, ledger: Ledger) -> None:
        old = await prepared(ledger)
        taken = await ledger.acquire(await ledger.lease("s"), "you")
        assert taken is not None

        await refused(ledger, UnitOfWork("s", 0, 5, old, (RowChange(NOTES, [(1, "old")]),)))
        await ledger.record(UnitOfWork("s", 0, 6, taken.fencing_token, (RowChange(NOTES, [(1, "new")]),)))

        assert await state(ledger) == (6, [(1, "new")], [])

    async def test_released_leases_are_free_at_once_and_only_those_of_the_owner(self, ledger: Ledger) -> None:
        for name, owner in (("a", "me"), ("b", "you")):
            await ledger.acquire(await ledger.lease(name), owner)
        before = await ledger.lease("a")

        await ledger.release_all("me")

        free = await ledger.lease("a")
        assert free.owner == ""
        assert await ledger.acquire(before, "late") is None
        assert (await ledger.lease("b")).owner == "you"
        assert await ledger.heartbeat("me") == []
        taken = await ledger.acquire(free, "you")
        assert taken is not None
        assert taken.fencing_token > before.fencing_token

    async def test_a_lease_that_is_given_back_is_free_at_once_and_its_owner_keeps_the_others(
        self, ledger: Ledger
    ) -> None:
        for name in ("a", "b"):
            await ledger.acquire(await ledger.lease(name), "me")
        before = await ledger.lease("a")

        await ledger.release(before)

        free = await ledger.lease("a")
        assert free.owner == ""
        assert await ledger.acquire(before, "late") is None
        assert await ledger.heartbeat("me") == ["b"]
        taken = await ledger.acquire(free, "you")
        assert taken is not None
        assert taken.fencing_token > before.fencing_token

    async def test_a_lease_can_be_given_back_after_a_sign_of_life(self, ledger: Ledger) -> None:
        taken = await ledger.acquire(await ledger.lease("a"), "me")
        assert taken is not None
        await ledger.heartbeat("me")

        await ledger.release(taken)

        assert (await ledger.lease("a")).owner == ""

    async def test_a_lease_that_is_not_ours_any_more_cannot_be_given_back(self, ledger: Ledger) -> None:
        never = await ledger.lease("a")
        await ledger.release(never)
        assert await ledger.lease("a") == never
        old = await ledger.acquire(never, "me")
        assert old is not None
        for owner in ("you", "me"):
            taken = await ledger.acquire(await ledger.lease("a"), owner)

            await ledger.release(old)

            assert await ledger.lease("a") == taken

    async def test_a_lease_seen_before_it_was_forgotten_cannot_be_taken(self, ledger: Ledger) -> None:
        seen = await owned(ledger, "s")
        await ledger.forget_subscription("s")

        assert await ledger.acquire(seen, "late") is None

    async def test_a_fence_is_not_given_again_after_a_subscription_was_forgotten(self, ledger: Ledger) -> None:
        old = await prepared(ledger)
        await ledger.forget_subscription("s")
        await owned(ledger, "s", "somebody new")

        await refused(ledger, UnitOfWork("s", 0, 5, old, (RowChange(NOTES, [(1, "old")]),)))

        assert await state(ledger) == (0, [], [])


def checkpoint_at(subscription: str, position: int, shape: str = "") -> Checkpoint:
    """A checkpoint of some log."""
    return Checkpoint(subscription, "app", position, "log", 1, shape)


async def owned(ledger: Ledger, name: str, owner: str = "me") -> Lease:
    """Start a subscription at 0 and take its lease."""
    await ledger.start_checkpoint(checkpoint_at(name, 0))
    taken = await ledger.acquire(await ledger.lease(name), owner)
    assert taken is not None
    return taken


async def prepared(ledger: Ledger) -> int:
    """Two tables, and the subscription "s" at 0; gives the fence."""
    await ledger.create_table(NOTES)
    await ledger.create_table(WORDS)
    return (await owned(ledger, "s")).fencing_token


async def state(ledger: Ledger) -> tuple[int, list[Row], list[Row]]:
    """What `_prepared` made, as it is now."""
    checkpoint = await ledger.checkpoint("s")
    assert checkpoint is not None
    notes = await ledger.select(NOTES, order=[SortOrder("id")])
    return checkpoint.position, notes, await ledger.select(WORDS, order=[SortOrder("word")])


async def refused(ledger: Ledger, work: UnitOfWork) -> None:
    """Record work that must be refused."""
    with pytest.raises(LeaseLost):
        await ledger.record(work)
