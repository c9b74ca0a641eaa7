"""`running`, `settle` and the faults: each fault makes a careless test fail that passes without it."""

import time
from collections.abc import Callable
from typing import Any

import pytest

import fait
from fait.testing import running
from fait.testing.contract.turns import turns
from fait.testing.faults import conflicts, crash_after_commit, redelivery, slow_subscriptions, store_unavailable
from tests.testing.bank import (
    Account,
    Add,
    Balance,
    Counted,
    Deposited,
    Opened,
    counter,
    shared_counter,
    with_time,
)


@pytest.fixture(params=["memory", "sqlite"])
def url(request: pytest.FixtureRequest, store_url: Callable[[str], str]) -> str:
    return store_url(request.param)


def bank() -> fait.App:
    app = fait.App("bank")
    app.include(Account, Balance, counter, shared_counter, with_time)
    return app


async def test_settle_follows_caused_events_until_there_are_none(url: str) -> None:
    app = bank()

    @app.on(Counted)
    async def count_on(event: Counted, ctx: fait.Context) -> None:
        await turns()
        if event.amount < 5:
            await ctx.publish(Counted(event.amount + 1), stream="counter-1")

    async with running(app, url) as t:
        await t.publish(Counted(1), stream="counter-1")
        await t.settle()

        assert [each.event.amount for each in await t.read("counter-1")] == [1, 2, 3, 4, 5]


async def test_settle_on_empty_log_and_without_subscriptions_returns() -> None:
    async with running(fait.App("empty")) as t:
        await t.settle()
    async with running(bank()) as t:
        await t.settle(await t.publish(Deposited(1), stream="account-1"))


async def test_settle_raises_a_table_of_subscriptions_with_the_error_as_cause(url: str) -> None:
    app = bank()

    @app.on(Deposited, on_failure=fait.FailurePolicy(attempts=None))
    async def send(event: Deposited) -> None:
        raise ConnectionError("the mail server does not answer")

    async with running(app, url, settle=False) as t:
        await t.publish(Deposited(1), stream="account-1")
        with pytest.raises(fait.NotSettled) as caught:
            await t.settle(timeout_s=0.3)

    lines = [line.split() for line in caught.value.statuses]
    assert lines == [
        ["balance", "position", "1", "lag", "0", "live"],
        ["send", "position", "1", "lag", "0", "failing", "ConnectionError"],
    ]
    assert all(line in str(caught.value) for line in caught.value.statuses)
    assert repr(caught.value.__cause__) == "ConnectionError('the mail server does not answer')"
    assert (caught.value.subscription, caught.value.position, caught.value.target) == ("send", 0, 1)


@pytest.mark.parametrize(
    ("then", "shown", "said"),
    [
        (
            "park",
            "live        ConnectionError, 1 key parked",
            "cannot reach position 1 by waiting: its key 'account-1' is",
        ),
        ("stop", "paused", "did not reach position 1 within"),
    ],
)
async def test_settle_does_not_wait_for_a_subscription_that_has_failed(then: Any, shown: str, said: str) -> None:
    app = bank()

    @app.on(Deposited, on_failure=fait.FailurePolicy(attempts=2, then=then))
    async def send(event: Deposited) -> None:
        raise ConnectionError

    started = time.monotonic()
    async with running(app, settle=False) as t:
        await t.publish(Deposited(1), stream="account-1")
        with pytest.raises(fait.NotSettled, match=shown) as caught:
            await t.settle(timeout_s=60)
    assert time.monotonic() - started < 20
    assert said in str(caught.value)
    assert "within 60 s" not in str(caught.value)
    assert "timeout_s" not in str(caught.value)


async def test_failure_of_a_handler_fails_a_test_that_does_not_look() -> None:
    app = bank()

    @app.on(Deposited, on_failure=fait.FailurePolicy(attempts=1))
    async def send(event: Deposited) -> None:
        raise ConnectionError

    with pytest.raises(fait.NotSettled):
        async with running(app) as t:
            await t.publish(Deposited(1), stream="account-1")


async def test_failed_event_is_handled_again_almost_immediately() -> None:
    app, attempts = bank(), list[int]()

    @app.on(Deposited, on_failure=fait.FailurePolicy(initial_s=60, max_s=60))
    async def send(event: Deposited, ctx: fait.Context) -> None:
        attempts.append(ctx.attempt)
        if ctx.attempt < 3:
            raise ConnectionError

    async with running(app) as t:
        await t.publish(Deposited(1), stream="account-1")
        await t.settle()
    assert attempts == [1, 2, 3]


async def test_clock_of_running_app_stands_still_until_it_is_advanced() -> None:
    clock = fait.ManualClock(fait.now())
    async with running(bank(), clock=clock) as t:
        await t.transact(Account.open, "1", "ada")
        await t.transact(Account.deposit, "1", 5)
        with pytest.raises(fait.Rejected, match="too new"):
            await t.transact(Account.withdraw, "1", 5)
        clock.advance(days=1)
        await t.transact(Account.withdraw, "1", 5)


# Faults


class Mailer(fait.Aggregate, category="mailer"):
    sent: int = 0

    def send(self, letters: list[str]) -> None:
        letters.append("hello")
        self.emit(Deposited(1))

    def evolve(self, event: Deposited) -> None:
        self.sent += 1


async def test_conflict_detects_a_command_with_effects(url: str) -> None:
    app = bank()
    app.include(Mailer)
    async with running(app, url) as t:
        await t.transact(Mailer.send, "1", [])
        with conflicts(t), pytest.raises(fait.UsageError, match="changed"):
            await t.transact(Mailer.send, "1", [])


async def test_decisions_are_made_again_after_conflicts(url: str) -> None:
    async with running(bank(), url) as t:
        with conflicts(t, 2):
            result = await t.decide(counter, "1", Add(3))
        assert (result.attempts, result.version) == (3, 1)
        with conflicts(t, 2):
            shared = await t.decide(shared_counter, Add(4))
        assert (shared.attempts, shared.version) == (3, 1)
        with conflicts(t):
            await t.publish(Counted(1), stream="counter-9")  # it has no conflicts
            with pytest.raises(fait.WrongExpectedVersion):
                await t.using(expected=1).decide(counter, "1", Add(3))
        assert (await t.using(expected=1).decide(counter, "1", Add(3))).attempts == 1


async def test_handler_is_called_again_after_a_conflict() -> None:
    app, calls = bank(), list[int]()

    @app.on(Opened)
    async def give_bonus(event: Opened, ctx: fait.Context) -> None:
        calls.append(1)
        await ctx.transact(Account.deposit, ctx.envelope.stream_id, 10)

    async with running(app) as t:
        await t.transact(Account.open, "1", "ada")
        await t.settle()
        with conflicts(t, 2):
            await t.publish(Opened("bob", fait.now()), stream="account-2")  # without a conflict
            await t.settle()
        assert (await t.load(Account, "2")).balance == 10
    assert sum(calls) == 1 + 3


async def careless_deposit(t: fait.Client, attempts: int = 2) -> None:
    """Repeat a call without a key if the store does not answer."""
    for _ in range(attempts):
        try:
            await t.transact(Account.deposit, "1", 10)
            return
        except fait.StoreUnavailable:
            pass


async def test_crash_after_commit_detects_a_repetition_without_a_key(url: str) -> None:
    async with running(bank(), url) as t:
        await careless_deposit(t)
        assert (await t.load(Account, "1")).balance == 10
        with crash_after_commit(t):
            await careless_deposit(t)
        assert (await t.load(Account, "1")).balance == 30  # instead of 20

        with crash_after_commit(t):
            await careless_deposit(t.using(key="request-7"))
        assert (await t.load(Account, "1")).balance == 40


async def test_outcome_after_a_crash_is_unknown_and_the_next_append_succeeds() -> None:
    async with running(bank()) as t:
        with crash_after_commit(t):
            with pytest.raises(fait.StoreUnavailable) as caught:
                await t.transact(Account.deposit, "1", 10)
            await t.transact(Account.deposit, "1", 10)
        assert caught.value.outcome == "unknown"
        assert (await t.load(Account, "1")).balance == 20


async def test_redelivery_detects_events_appended_through_the_system(url: str) -> None:
    app, system = bank(), list[fait.System]()

    @app.on(Opened)
    async def give_bonus(event: Opened, ctx: fait.Context) -> None:
        await system[0].publish(Deposited(10), stream="account-bonus")
        await ctx.publish(Deposited(1), stream="account-once")

    async with running(app, url) as t:
        system.append(t)
        await t.transact(Account.open, "1", "ada")
        await t.settle()
        assert await balances(t) == {"1": 0, "bonus": 10, "once": 1}
        with redelivery(t, times=2):
            await t.transact(Account.open, "2", "bob")
            await t.settle()
        assert await balances(t) == {"1": 0, "2": 0, "bonus": 40, "once": 2}


async def balances(t: fait.System) -> dict[str, int]:
    return {row.id: row.balance for row in await t.find(Balance)}


async def test_unavailable_store_detects_a_caller_that_ignores_it(url: str) -> None:
    async with running(bank(), url) as t:
        await careless_deposit(t, attempts=1)
        with store_unavailable(t):
            await careless_deposit(t, attempts=1)
        assert (await t.load(Account, "1")).balance == 10  # instead of 20
        with store_unavailable(t, times=1):
            await careless_deposit(t)
        await t.settle()
        assert await balances(t) == {"1": 20}


async def test_slow_subscription_detects_a_query_that_does_not_wait_for_its_write(url: str) -> None:
    async with running(bank(), url) as t:
        with slow_subscriptions(t, delay_s=0.3):
            result = await t.transact(Account.deposit, "1", 10)
            assert await t.get(Balance, "1") is None
            row: Any = await t.get(Balance, "1", after=result)
    assert row.balance == 10


async def test_faults_end_with_their_block() -> None:
    async with running(bank()) as t:
        append, record = t._store.log.append, t._store.recorder.record
        with conflicts(t), store_unavailable(t), redelivery(t):
            pass
        assert (t._store.log.append, t._store.recorder.record) == (append, record)
