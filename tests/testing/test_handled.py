"""`handled` runs a handler as an open system does, and returns what a store would write."""

import asyncio
import time
from datetime import UTC, datetime

import pytest

import fait
from fait.testing import handled, recorded
from tests.testing.bank import Account, Deposited, Opened, Withdrawn

OPENED = Opened("ada", datetime(2024, 1, 1, tzinfo=UTC))

bank = fait.App("bank")
bank.include(Account)
bank.include(__import__("tests.testing.bank", fromlist=["with_time"]).with_time)


async def give_bonus(event: Opened, ctx: fait.Context) -> None:
    account = await ctx.load(Account, ctx.envelope.stream_id, version=ctx.envelope.version)
    await ctx.transact(Account.deposit, ctx.envelope.stream_id, 10 * ctx.attempt)
    ctx.execute("INSERT INTO bonus VALUES ($1, $2)", ctx.envelope.id, account.owner)


async def test_effects_are_the_appended_events_and_the_statements() -> None:
    event = recorded(OPENED, stream="account-7")

    effects = await handled(give_bonus, event, app=bank)

    effects.then(Deposited(10)).then(fait.NewEvents("account-7", [Deposited(10)]))
    assert effects.events[0].metadata.causation_id == event.id
    assert [(each.sql, each.values) for each in effects.statements] == [
        ("INSERT INTO bonus VALUES ($1, $2)", (event.id, "ada"))
    ]


async def test_other_events_fail_the_test() -> None:
    effects = await handled(give_bonus, recorded(OPENED, stream="account-7"), app=bank, attempt=2)

    with pytest.raises(AssertionError, match="amount: expected 10, got 20"):
        effects.then(Deposited(10))


async def test_handler_reads_given_events() -> None:
    given = [fait.NewEvents("account-7", [OPENED, Deposited(5)])]

    async def withdraw(event: Deposited, ctx: fait.Context) -> None:
        with pytest.raises(fait.Rejected, match="balance is 7"):
            await ctx.transact(Account.withdraw, "7", 8)

    (await handled(withdraw, recorded(Deposited(2), stream="account-7"), given=given, app=bank)).then()


async def test_exception_of_handler_is_raised() -> None:
    def fail(event: Withdrawn) -> None:
        raise ConnectionError("no answer")

    with pytest.raises(ConnectionError, match="no answer"):
        await handled(fail, recorded(Withdrawn(1)))


async def test_handler_that_is_too_slow_fails() -> None:
    async def wait(event: Withdrawn) -> None:
        await asyncio.Event().wait()

    started = time.monotonic()
    with pytest.raises(TimeoutError):
        await handled(wait, recorded(Withdrawn(1)), timeout_s=0.01)
    assert time.monotonic() - started < 4


def test_recorded_event_has_the_fields_of_an_envelope() -> None:
    event = recorded(
        OPENED, stream="account-7", version=3, position=9, tags=["kind:cash"], metadata=fait.Metadata(actor="ada")
    )

    assert (event.stream_id, event.version, event.position, event.tags) == ("7", 3, 9, ("kind:cash",))
    assert (event.type, event.schema_version, event.metadata.actor) == ("bank.opened", 2, "ada")
    assert event.occurred_at == event.recorded_at == datetime(2024, 1, 1, tzinfo=UTC)


def test_recorded_value_that_is_no_event_is_refused() -> None:
    with pytest.raises(fait.UsageError):
        recorded("opened")
