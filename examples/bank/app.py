"""A bank: accounts, their statements, and what the balance was at a time."""

from datetime import datetime
from decimal import Decimal
from typing import Self

import fait


@fait.event("bank.account-opened")
class AccountOpened:
    owner: str


@fait.event("bank.money-deposited")
class MoneyDeposited:
    amount: Decimal
    text: str


@fait.event("bank.money-withdrawn")
class MoneyWithdrawn:
    amount: Decimal
    text: str


class Account(fait.Aggregate, category="account"):
    owner: str | None = None
    balance: Decimal = Decimal(0)

    def open(self, owner: str) -> None:
        if self.owner is not None:
            raise fait.Rejected("this account is open")
        self.emit(AccountOpened(owner))

    def deposit(self, amount: Decimal, text: str) -> Decimal:
        if self.owner is None:
            raise fait.Rejected("there is no such account")
        self.emit(MoneyDeposited(amount, text))
        return self.balance

    def withdraw(self, amount: Decimal, text: str) -> Decimal:
        if amount > self.balance:
            raise fait.Rejected(f"the balance is {self.balance}")
        self.emit(MoneyWithdrawn(amount, text))
        return self.balance

    def evolve(self, event: AccountOpened | MoneyDeposited | MoneyWithdrawn) -> None:
        match event:
            case AccountOpened():
                self.owner = event.owner
            case MoneyDeposited():
                self.balance += event.amount
            case MoneyWithdrawn():
                self.balance -= event.amount


class StatementLine(fait.ReadModel, key="position", indexes=[("account_id", "position")]):
    position: int  # of the event: an account has many lines, so its id is not the key
    account_id: str
    booked_at: datetime
    text: str
    amount: Decimal

    @classmethod
    def key_of(cls, event: MoneyDeposited | MoneyWithdrawn, envelope: fait.Envelope) -> int:
        return envelope.position

    @classmethod
    def evolve(cls, row: Self | None, event: MoneyDeposited | MoneyWithdrawn, envelope: fait.Envelope) -> Self:
        return cls(
            position=envelope.position,
            account_id=envelope.stream_id,
            booked_at=envelope.recorded_at,
            text=event.text,
            amount=event.amount if isinstance(event, MoneyDeposited) else -event.amount,
        )


bank = fait.App("bank")
bank.include(Account, StatementLine)


async def balance_at(system: fait.System, account_id: str, at: datetime) -> Decimal:
    return (await system.load(Account, account_id, at=at)).balance
