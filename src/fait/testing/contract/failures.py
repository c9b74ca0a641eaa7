"""The contract of `Failures`, and of the failures in a unit of work."""
# ruff: noqa: D102 - a test is documented by its name

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from msgspec.structs import replace

from fait._clock import ManualClock
from fait._store.ports.failures import Action, FailureChange, FailureRequest, FailureState, KeyFailure
from fait._store.ports.leases import Lease
from fait._store.ports.store import Store
from fait._store.ports.tables import RowChange
from fait._store.ports.unit_of_work import HandlerAppend, HandlerStatement, UnitOfWork
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
    state,
    work_of,
)
from fait.testing.contract.store import StoreContract, added, new, write

__all__ = ["FailureContract", "changing", "failing", "failure_of"]

TIME = datetime(2024, 1, 15, 12, 0, 0, 123456, tzinfo=UTC)


class FailureContract(StoreContract):
    """The contract of `Failures`, and of `Recorder` on failures."""

    async def test_recorded_failure_is_listed_and_part_of_the_lease(self, store: Store) -> None:
        lease, failure = await acquired(store, "s"), failure_of("größe-1", 4, slot=7)

        await recorded(store, failing(lease, 9, failure))

        assert await store.failures.failures() == await store.failures.failures("s") == [failure]
        assert await store.failures.failures("t") == []
        again = await acquire(store, await range_of(store, "s"), "me")
        assert again is not None
        assert again.failures == (failure,)

    async def test_range_names_the_failed_key_that_holds_it_back(self, store: Store) -> None:
        lease = await acquired(store, "s")
        await recorded(store, failing(lease, 9, failure_of("a", 7), failure_of("b", 4), failure_of("c", 5)))

        current = await range_of(store, "s")

        assert await store.leases.ranges() == [current]
        assert (current.position, current.finished) == (9, 3)
        assert (current.failed_key, current.failed_position) == ("b", 4)

    async def test_failures_belong_to_the_range_of_their_slot(self, store: Store) -> None:
        lease = await acquired(store, "s")
        failures = [failure_of("c", 4, slot=99), failure_of("b", 5, slot=100), failure_of("a", 6, slot=101)]
        await recorded(store, failing(lease, 9, *failures))

        halves = await split(store, lease, 100)

        lower, upper = [await acquired_key(store, each.key, "me") for each in halves]
        assert [lower.failures, upper.failures] == [(failures[0],), (failures[2], failures[1])]
        assert [each.finished for each in await store.leases.ranges()] == [3, 4]
        merged = await acquired_key(store, (await merge(store, lower, upper)).key, "me")
        assert [each.key for each in merged.failures] == ["a", "b", "c"]

    async def test_failure_is_replaced_and_removed(self, store: Store) -> None:
        lease, failure = await acquired(store, "s"), failure_of("a", 4)
        await recorded(store, failing(lease, 5, failure))
        parked = replace(failure, state="parked", attempts=2, last_failed_at=TIME + timedelta(seconds=1))

        await recorded(store, changing(lease, 6, FailureChange("a", ("retrying",), parked)))
        assert await store.failures.failures() == [parked]

        await recorded(store, changing(lease, 6, FailureChange("a", ("retrying", "parked"), None)))
        assert await store.failures.failures() == []
        assert (await range_of(store, "s")).finished == 6

    @pytest.mark.parametrize(
        ("stored", "expected"), [(None, ("retrying",)), ("parked", ()), ("parked", ("retrying", "redriving"))]
    )
    async def test_failure_in_unexpected_state_refuses_the_whole_work(
        self, store: Store, stored: FailureState | None, expected: tuple[FailureState, ...]
    ) -> None:
        lease = await prepared(store)
        before = [failure_of("a", 4, state=stored)] if stored else []
        await recorded(store, failing(lease, 5, *before))
        change = FailureChange("a", expected, failure_of("a", 6))
        other = FailureChange("b", (), failure_of("b", 6))

        for changes in ((change, other), (other, change), (replace(change, failure=None),)):
            work = changing(lease, 9, *changes)
            await refused(store, replace(work, rows=(RowChange(NOTES, [(1, "a")]),)))

            assert await state(store) == (5, [], [])
            assert await store.failures.failures() == before

    async def test_refused_failure_wins_over_conflicts_and_runs_no_statement(self, store: Store) -> None:
        if not store.log.features.sql:
            pytest.skip("the store runs no SQL")
        await added(store.log, write("order-1"))
        lease = await prepared(store)
        work = changing(lease, 9, FailureChange("a", ("parked",), None))
        append = HandlerAppend((("order-1", new()),), {"order-1": 0})

        await refused(store, replace(work, statements=(HandlerStatement("SELECT 1 / 0"),), append=append))

    async def test_failures_are_recorded_with_rows_statements_and_events(self, store: Store) -> None:
        lease, event = await prepared(store), new()
        work = replace(
            failing(lease, 5, failure_of("a", 4)),
            rows=(RowChange(NOTES, [(1, "a")]),),
            append=HandlerAppend((("order-1", event),), {"order-1": 0}),
        )
        if store.log.features.sql:
            insert = HandlerStatement("INSERT INTO words (word, count) VALUES ('a', 1)")
            work = replace(work, statements=(insert,))

        await recorded(store, work)

        rows = [("a", 1)] if store.log.features.sql else []
        assert await state(store) == (5, [(1, "a")], rows)
        assert [each.key for each in await store.failures.failures()] == ["a"]
        assert [each.id for each in await store.log.find([event.id])] == [event.id]

    async def test_failure_under_a_lost_lease_is_not_recorded(self, store: Store) -> None:
        lease = await acquired(store, "s")
        await store.leases.release(lease)

        await refused(store, failing(lease, 5, failure_of("a", 4)))

        assert await store.failures.failures() == []

    async def test_failures_are_listed_by_subscription_and_key(self, store: Store) -> None:
        for name in ("t", "S"):
            lease = await acquired(store, name)
            await recorded(
                store, failing(lease, 5, *(failure_of(key, 4, subscription=name) for key in ("b", "ä", "B", "a")))
            )

        listed = [(each.subscription, each.key) for each in await store.failures.failures()]

        assert listed == [(name, key) for name in ("S", "t") for key in ("B", "a", "b", "ä")]

    # Requests

    async def test_request_changes_parked_keys_and_is_recorded(self, store: Store, clock: ManualClock) -> None:
        lease = await acquired(store, "s")
        parked = [failure_of(key, 4, state="parked") for key in "abc"]
        await recorded(store, failing(lease, 9, *parked, failure_of("d", 5)))
        request = FailureRequest("s", ("a", "c"), "discarding", "ops", "why", 7)

        assert await store.failures.request(request) == 2

        expected = [
            replace(each, state="discarding", requested_by="ops", reason="why", discard_until=7)
            for each in (parked[0], parked[2])
        ]
        assert await store.failures.requested() == expected
        assert await store.failures.failures() == [expected[0], parked[1], expected[1], failure_of("d", 5)]
        details = '{"keys":["a","c"],"discard_until":7}'
        assert await store.failures.actions() == [Action(clock.now(), "discard", "s", details, "ops", "why")]
        assert (await range_of(store, "s")).fencing_token == lease.fencing_token

    async def test_request_for_a_key_that_is_not_parked_changes_nothing(self, store: Store) -> None:
        lease, failures = await acquired(store, "s"), [failure_of("a", 4, state="parked"), failure_of("b", 5)]
        await recorded(store, failing(lease, 9, *failures))

        for keys in (("a", "b"), ("a", "never")):
            assert await store.failures.request(FailureRequest("s", keys, "redriving", "ops")) == 1
        assert await store.failures.request(FailureRequest("t", ("a",), "redriving", "ops")) == 0

        assert await store.failures.failures() == failures
        assert await store.failures.requested() == await store.failures.actions() == []

    async def test_key_that_is_retried_can_be_requested_only_during_a_pause(self, store: Store) -> None:
        lease = await acquired(store, "s")
        parked, continued = failure_of("b", 5, state="parked"), failure_of("c", 6, state="redriving")
        await recorded(store, failing(lease, 9, failure_of("a", 4), parked, continued))
        await acquired(store, "t")
        await store.registrations.pause("t", by="ops", reason="why")
        request = FailureRequest("s", ("a", "b", "c"), "discarding", "ops", "why", 5)

        assert await store.failures.request(request) == 1
        await store.registrations.pause("s", by="ops", reason="why")
        assert await store.failures.request(request) == 3

        assert [each.state for each in await store.failures.requested()] == ["discarding"] * 3
        await store.registrations.resume("s", by="ops", reason="why")
        again = await acquire(store, await range_of(store, "s"), "me")
        assert again is not None
        assert [each.state for each in again.failures] == ["discarding"] * 3

    async def test_of_concurrent_requests_for_a_key_one_succeeds(self, store: Store) -> None:
        lease = await acquired(store, "s")
        await recorded(store, failing(lease, 9, *(failure_of(key, 4, state="parked") for key in "ab")))
        requests = [
            FailureRequest("s", keys, "redriving", str(n)) for n, keys in enumerate((("a", "b"), ("b", "a")) * 4)
        ]

        counts = await asyncio.gather(*map(store.failures.request, requests))

        assert sorted(counts) == [0] * 7 + [2]
        [action] = await store.failures.actions()
        assert {each.requested_by for each in await store.failures.requested()} == {action.by}

    async def test_request_is_not_overwritten_by_the_owner(self, store: Store) -> None:
        lease = await acquired(store, "s")
        await recorded(store, failing(lease, 9, failure_of("a", 4, state="parked")))
        await store.failures.request(FailureRequest("s", ("a",), "redriving", "ops"))

        await refused(store, changing(lease, 9, FailureChange("a", ("parked",), failure_of("a", 5, state="parked"))))
        await recorded(store, changing(lease, 9, FailureChange("a", ("redriving",), failure_of("a", 5))))

    async def test_last_actions_are_listed_first(self, store: Store, clock: ManualClock) -> None:
        for number in range(3):
            await store.failures.record_action("skip", "s", f"[{number}]", "ops", "why")
            clock.advance(seconds=1)

        last = Action(clock.now() - timedelta(seconds=1), "skip", "s", "[2]", "ops", "why")
        assert [each.details for each in await store.failures.actions()] == ["[2]", "[1]", "[0]"]
        assert await store.failures.actions(limit=1) == [last]

    async def test_actions_are_found_by_subscription_and_name(self, store: Store) -> None:
        recorded = [("s", "pause"), ("t", "pause"), ("s", "resume"), ("s", "pause"), ("t", "resume")]
        for number, (subscription, action) in enumerate(recorded):
            await store.failures.record_action(action, subscription, f"[{number}]", "ops", "why")

        async def found(*arguments: str | None, limit: int = 9) -> list[str]:
            return [each.details for each in await store.failures.actions(*arguments, limit=limit)]

        assert await found("s") == ["[3]", "[2]", "[0]"]
        assert await found("s", "pause") == ["[3]", "[0]"]
        assert await found("s", "pause", limit=1) == ["[3]"]
        assert await found(None, "resume") == ["[4]", "[2]"]
        assert await found("t", "rewind") == []

    # Registrations

    async def test_failures_stay_with_accept_and_move_with_rename(self, store: Store) -> None:
        lease, failure = await acquired(store, "s"), failure_of("a", 4)
        await recorded(store, failing(lease, 9, failure))

        await store.registrations.accept(registration_of("s", "hash"))
        assert await store.failures.failures() == [failure]

        await store.registrations.rename("s", "t")
        assert await store.failures.failures() == [replace(failure, subscription="t")]
        assert (await range_of(store, "t")).failed_key == "a"

    async def test_failures_go_with_forget_and_reset(self, store: Store) -> None:
        lease = await prepared(store)
        await recorded(store, failing(lease, 9, failure_of("a", 4)))
        await store.registrations.reset(registration_of("s"), NOTES, 0)
        assert await store.failures.failures() == []

        other = await acquired(store, "other")
        await recorded(store, failing(await acquired(store, "s"), 9, failure_of("a", 4)))
        await recorded(store, failing(other, 9, failure := failure_of("a", 4, subscription="other")))
        await store.registrations.forget("s")
        assert await store.failures.failures() == [failure]


def failure_of(
    key: str, position: int, *, slot: int = 0, state: FailureState | None = "retrying", subscription: str = "s"
) -> KeyFailure:
    """Return a failure of a key at a position."""
    return KeyFailure(
        subscription=subscription,
        key=key,
        slot=slot,
        state=state or "retrying",
        next_position=position,
        attempts=1,
        stream=key,
        event_id="id",
        event_type="added",
        first_failed_at=TIME,
        last_failed_at=TIME,
        error_type="ValueError",
        error="it's wrong: ä\n'\\",
        location="app.py:7 handle",
        traceback="Traceback\n  ...",
    )


def failing(lease: Lease, position: int, *failures: KeyFailure) -> UnitOfWork:
    """Return work that adds failures."""
    return changing(lease, position, *(FailureChange(each.key, (), each) for each in failures))


def changing(lease: Lease, position: int, *changes: FailureChange) -> UnitOfWork:
    """Return work that changes failures."""
    return replace(work_of(lease, position), failures=changes)
