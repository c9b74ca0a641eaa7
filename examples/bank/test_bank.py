"""The tests of the bank: decisions, and a whole bank in memory."""

import asyncio
from decimal import Decimal

import fait
from examples.bank.app import Account, AccountOpened, MoneyDeposited, MoneyWithdrawn, StatementLine, balance_at, bank
from fait.testing import given, running


def test_withdrawal_above_the_balance_is_rejected() -> None:
    case = given(Account, AccountOpened("ada"), MoneyDeposited(Decimal(10), "salary"))
    case.when(Account.withdraw, Decimal(11), "rent").rejected("the balance is 10")
    case.when(Account.withdraw, Decimal(10), "rent").then(MoneyWithdrawn(Decimal(10), "rent"))


def test_statement_has_a_line_for_each_payment_and_a_past_balance_can_be_read(fait_clock: fait.ManualClock) -> None:
    async def pay_and_read() -> None:
        async with running(bank, clock=fait_clock) as system:
            await system.transact(Account.open, "7", "ada")
            await system.transact(Account.deposit, "7", Decimal(100), "salary")
            payday = fait_clock.now()
            fait_clock.advance(days=1)
            rent = await system.transact(Account.withdraw, "7", Decimal(30), "rent")

            lines = await system.find(StatementLine, account_id="7", order_by="position", after=rent)
            assert [(line.text, line.amount) for line in lines] == [("salary", 100), ("rent", -30)]
            assert rent.value == 70
            assert await balance_at(system, "7", payday) == 100

    asyncio.run(pay_and_read())
