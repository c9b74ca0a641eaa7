"""The lifecycle of a subscription: its failure policy, and its definition, which several versions of an app share."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from itertools import count
from typing import Any, Self

import msgspec
import pytest

import fait
from fait._errors import DeclarationError, StoreUnavailable
from fait._store.open import open_store
from fait._store.ports.failures import FailureRequest
from fait._store.ports.leases import Worker
from fait._subscriptions.processor import TRANSITIONS
from fait._subscriptions.subscription import Outcome
from fait.testing.contract.processors import PositionRecorder, register_recorder, running_group, until
from fait.testing.contract.store import added, new, write

pytestmark = pytest.mark.anyio

SHARED = ["sqlite", "postgresql"]
ONCE = fait.FailurePolicy(initial_s=0.001, attempts=1, then="stop")
TWICE_THEN_SKIP = fait.FailurePolicy(initial_s=0.001, attempts=2, then="skip")


@fait.event("lamp.lit")
@dataclass(frozen=True)
class Lit:
    number: int


@fait.event("lamp.dimmed")
@dataclass(frozen=True)
class Dimmed:
    number: int


@pytest.fixture(params=["memory", *SHARED])
def url(request: pytest.FixtureRequest, store_url: Callable[[str], str]) -> str:
    return store_url(request.param)


@pytest.fixture(params=SHARED)
def shared_url(request: pytest.FixtureRequest, store_url: Callable[[str], str]) -> str:
    return store_url(request.param)


async def eventually(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(30):
        while not await condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def status_of(s: fait.System, name: str) -> fait.SubscriptionStatus:
    return next(each for each in await s.status() if each.name == name)


async def has_state(s: fait.System, name: str, state: str) -> bool:
    return (await status_of(s, name)).state == state


# The failure policy


@pytest.mark.parametrize(
    "options",
    [
        {"attempts": 0},
        {"initial_s": -1},
        {"max_s": float("nan")},
        {"initial_s": float("inf")},
        {"then": "sleep"},
        {"outages": "all"},
        {"outages": (1,)},
        {"outages": ValueError},
    ],
    ids=str,
)
def test_invalid_failure_policy_raises(options: dict[str, Any]) -> None:
    with pytest.raises(DeclarationError, match="FailurePolicy"):
        fait.FailurePolicy(**options)


async def test_skip_after_last_attempt_logs_the_event_and_handles_the_next(
    url: str, caplog: pytest.LogCaptureFixture
) -> None:
    app, attempts = fait.App("lamps"), list[tuple[int, int]]()

    @app.on(Lit, on_failure=TWICE_THEN_SKIP)
    def light(event: Lit, ctx: fait.Context) -> None:
        attempts.append((event.number, ctx.attempt))
        if event.number == 2:
            raise ValueError("no bulb")

    async with app.open(url) as s:
        for number in (1, 2, 3):
            result = await s.publish(Lit(number), stream="lamp-1")
        await s.wait(result, timeout_s=30)
        status = await status_of(s, "light")

    assert attempts == [(1, 1), (2, 1), (2, 2), (3, 1)]
    assert (status.state, status.error) == ("live", None)
    skipped = [each for each in caplog.records if "skipped" in each.getMessage()]
    assert len(skipped) == 1
    message = skipped[0].getMessage()
    assert "event failed, skipped: subscription=light" in message
    assert "stream=lamp-1 type=lamp.lit" in message
    assert skipped[0].levelno == logging.ERROR


async def test_stop_after_last_attempt_pauses_the_subscription_until_it_is_resumed(url: str) -> None:
    app, works, handled = fait.App("lamps"), False, list[int]()

    @app.on(Lit, on_failure=ONCE)
    def light(event: Lit) -> None:
        if not works:
            raise ValueError("no bulb")
        handled.append(event.number)

    async with app.open(url, lease_s=0.4) as s:
        await s.publish(Lit(1), stream="lamp-1")
        await eventually(lambda: has_state(s, "light", "paused"))
        result = await s.publish(Lit(2), stream="lamp-2")
        with pytest.raises(fait.Stale, match="It is paused\\. Continue it with fait resume light"):
            await s.wait(result, timeout_s=0.2)
        [action] = await s.store.failures.actions()
        works = True
        assert await s.store.registrations.resume("light", by="ada", reason="bulb replaced")
        await s.wait(timeout_s=30)

    assert (action.action, action.subscription, action.by) == ("pause", "light", "fait")
    assert "ValueError" in action.reason
    assert sorted(handled) == [1, 2]


async def test_redriven_event_that_fails_pauses_again_if_the_policy_is_to_stop(url: str) -> None:
    app, attempts = fait.App("lamps"), list[int]()

    @app.on(Lit, on_failure=ONCE)
    def light(event: Lit, ctx: fait.Context) -> None:
        attempts.append(ctx.attempt)
        raise ValueError("no bulb")

    async with app.open(url, lease_s=0.4) as s:
        await s.publish(Lit(1), stream="lamp-1")
        await eventually(lambda: has_state(s, "light", "paused"))
        assert await s.store.failures.request(FailureRequest("light", ("lamp-1",), "redriving", "ada")) == 1
        assert await s.store.registrations.resume("light", by="ada", reason="bulb replaced")
        await until(lambda: len(attempts) == 2)
        await eventually(lambda: has_state(s, "light", "paused"))
        [failure] = await s.store.failures.failures()

    assert (failure.state, failure.attempts, failure.requested_by) == ("retrying", 2, "")
    assert attempts == [1, 2]


async def test_unavailable_store_counts_no_attempt(url: str) -> None:
    app, attempts = fait.App("lamps"), list[int]()

    @app.on(Lit, on_failure=ONCE)
    def light(event: Lit, ctx: fait.Context) -> None:
        attempts.append(ctx.attempt)
        if len(attempts) < 3:
            raise StoreUnavailable("the database is offline.")

    async with app.open(url) as s:
        await s.wait(await s.publish(Lit(1), stream="lamp-1"), timeout_s=30)

    assert attempts == [1, 1, 1]


class Lamps(fait.ReadModel, key="lamp"):
    lamp: str
    number: int

    @classmethod
    def evolve(cls, row: Self | None, event: Lit, at: fait.Envelope) -> Self | None:
        if event.number < 0:
            raise ValueError("negative")
        return cls(lamp=at.stream_id, number=event.number)


async def test_event_that_a_read_model_cannot_fold_is_parked_and_all_others_are_folded(url: str) -> None:
    app = fait.App("lamps")
    app.include(Lamps)
    async with app.open(url, run="elsewhere") as s:
        if not s.store.log.features.shared:
            pytest.skip("a memory: store has one process")
        for number in (1, 2, -1, 4):
            result = await s.publish(Lit(number), stream=f"lamp-{number}")
    async with app.open(url) as s:
        with pytest.raises(
            fait.Stale, match=r"parked since .* Attempt 1 failed with builtins\.ValueError: negative"
        ) as raised:
            await s.wait(timeout_s=30)
        rows = await s.find(Lamps, order_by="number", after=result, number=fait.gt(0), timeout_s=30)

    assert raised.value.parked_key == "lamp--1"
    assert [row.number for row in rows] == [1, 2, 4]


async def test_failure_of_a_whole_batch_is_that_of_one_event() -> None:
    store, seen = await open_store("memory:", clock=fait.SystemClock()), list[list[int]]()
    await register_recorder(store)
    await added(store.log, write("a", [new("wanted") for _ in range(6)]))

    class Batches(PositionRecorder):
        async def handle(self, events: Any, context: Any) -> Outcome:
            positions = [each.position for each in events]
            seen.append(positions)
            if 4 in positions and context.attempt == 1:
                raise ValueError("not together")
            return Outcome(len(events))

    batches = Batches()
    batches.definition = msgspec.structs.replace(batches.definition, batch=6)
    async with running_group(batches, store, lease_s=2) as group, asyncio.timeout(30):
        while group.position < 6 or list(group.failures):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    await store.close()

    assert seen == [[1, 2, 3, 4, 5, 6], [1, 2, 3], [4, 5, 6], [4], [4], [5, 6]]


# The definition


async def test_added_event_type_waits_for_the_process_that_declares_it(shared_url: str) -> None:
    old_app, new_app, old_calls, new_calls = fait.App("lamps"), fait.App("lamps"), list[Any](), list[Any]()

    @old_app.on(Lit, name="light")
    def old_light(event: Lit) -> None:
        old_calls.append(event)

    @new_app.on(Lit, Dimmed, name="light")
    def light(event: Lit | Dimmed) -> None:
        new_calls.append(event)

    async with old_app.open(shared_url) as old:
        await old.wait(await old.publish(Lit(1), stream="lamp-1"))
        async with new_app.open(shared_url, run="elsewhere") as web:  # it widens the definition before it appends
            await old.wait(await web.publish(Lit(2), stream="lamp-1"), timeout_s=30)
            await web.publish(Dimmed(3), stream="lamp-1")
            result = await web.publish(Lit(4), stream="lamp-1")
        await eventually(lambda: has_state(old, "light", "failing"))
        with pytest.raises(fait.Stale, match="another version of the app has declared that 'light' handles it"):
            await old.wait(result, timeout_s=0.2)
        async with new_app.open(shared_url) as s:
            await s.wait(result, timeout_s=30)

    # A record under the older definition is refused, so the event that was handled at that time is redelivered.
    assert list(dict.fromkeys(old_calls)) == [Lit(1), Lit(2)]
    assert new_calls == [Dimmed(3), Lit(4)]


async def test_removed_event_type_is_handled_again_or_accepted(shared_url: str) -> None:
    wide, narrow, handled = fait.App("lamps"), fait.App("lamps"), list[Any]()

    @wide.on(Lit, Dimmed, name="light")
    def wide_light(event: Lit | Dimmed) -> None: ...

    @narrow.on(Lit, name="light")
    def light(event: Lit) -> None:
        handled.append(event)

    narrow.include(Dimmed)
    async with wide.open(shared_url):
        pass
    async with narrow.open(shared_url) as s:
        await s.publish(Dimmed(1), stream="lamp-1")
        result = await s.publish(Lit(2), stream="lamp-1")
        await eventually(lambda: has_state(s, "light", "failing"))
        assert isinstance((await status_of(s, "light")).error, fait.EventTooNew)
    assert handled == []
    async with narrow.open(shared_url, accept=["light"]) as s:
        await s.wait(result, timeout_s=30)

    assert handled == [Lit(2)]


async def test_accept_of_unknown_subscription_raises(url: str) -> None:
    with pytest.raises(fait.UsageError, match=r"has no subscription 'lights'\. Its subscriptions: none"):
        async with fait.App("lamps").open(url, accept=["lights"]):
            pass


def counted(step: int) -> tuple[fait.App, Any]:
    class Counts(fait.ReadModel, key="lamp"):
        lamp: str
        number: int = 0

        @classmethod
        def evolve(cls, row: Self | None, event: Lit, at: fait.Envelope) -> Self | None:
            return cls(lamp=at.stream_id, number=(row.number if row else 0) + step)

    app = fait.App("lamps")
    app.include(Counts)
    return app, Counts


async def test_old_code_does_not_acquire_the_lease_after_a_rebuild(shared_url: str) -> None:
    (old_app, _), (new_app, counts) = counted(1), counted(10)
    async with old_app.open(shared_url) as old:
        await old.wait(await old.publish(Lit(1), stream="lamp-1"))
        async with new_app.open(shared_url, rebuild=["counts"]) as s:
            await s.wait(await s.publish(Lit(2), stream="lamp-1"), timeout_s=30)
            assert [row.number for row in await s.find(counts)] == [20]
        result = await old.publish(Lit(3), stream="lamp-1")  # only a process with old code is left
        await eventually(lambda: has_state(old, "counts", "failing"))
        status = await status_of(old, "counts")
        async with new_app.open(shared_url) as s:
            await s.wait(result, timeout_s=30)
            assert [row.number for row in await s.find(counts)] == [30]

    assert isinstance(status.error, fait.ReadModelChanged)
    assert status.error.differences == ("the code of Counts.evolve",)


async def test_accepted_definition_continues_with_the_rows(shared_url: str) -> None:
    (old_app, _), (new_app, counts) = counted(1), counted(10)
    async with old_app.open(shared_url) as old:
        await old.wait(await old.publish(Lit(1), stream="lamp-1"))
    with pytest.raises(fait.ReadModelChanged, match=r"accept=\['counts'\]"):
        async with new_app.open(shared_url):
            pass

    async with new_app.open(shared_url, accept=["counts"]) as s:
        await s.wait(await s.publish(Lit(2), stream="lamp-1"), timeout_s=30)

        assert [row.number for row in await s.find(counts)] == [11]


async def test_crashed_worker_without_a_range_is_removed_and_a_live_one_is_not(
    shared_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fait._subscriptions.worker_observer.IDLE_WORKER_TIMEOUT_S", 0.5)
    async with fait.App("door").open(shared_url, lease_s=0.04) as s:
        leases, heartbeats = s.store.leases, count(2)
        await leases.heartbeat(Worker("alive"))
        await leases.heartbeat(Worker("crashed"))

        async def crashed_is_removed() -> bool:
            await leases.heartbeat(Worker("alive"))
            workers = {each.worker.id: each.heartbeat for each in await leases.workers()}
            assert workers["alive"] == next(heartbeats)
            return "crashed" not in workers

        await eventually(crashed_is_removed)
        assert len(await leases.workers()) == 2  # the worker of the system is the other one


def test_every_state_leads_to_the_end() -> None:
    for state in TRANSITIONS:
        reached, frontier = {state}, [state]
        while frontier:
            following = TRANSITIONS[frontier.pop()] - reached
            reached |= following
            frontier += following
        assert "stopped" in reached
