"""A small bank, on which the testing kit is tested: an aggregate, a decider, a boundary and read models."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal

import msgspec

import fait


@fait.event("bank.opened", version=2)
class Opened:
    owner: str
    opened_at: datetime


@fait.upcast("bank.opened", 1)
def with_time(data: dict[str, object]) -> dict[str, object]:
    return {**data, "opened_at": "2020-01-01T00:00:00Z"}


@fait.event("bank.deposited")
class Deposited:
    amount: int


@fait.event("bank.withdrawn")
class Withdrawn:
    amount: int


class Overdrawn(fait.Rejected):
    pass


class Account(fait.Aggregate, category="account"):
    owner: str = ""
    opened_at: datetime | None = None
    balance: int = 0

    def open(self, owner: str) -> None:
        if self.owner:
            raise fait.Rejected("the account is open")
        self.emit(Opened(owner, fait.now()))

    def deposit(self, amount: int) -> int:
        if amount <= 0:
            raise fait.Rejected("deposit something")
        self.emit(Deposited(amount))
        return self.balance

    def withdraw(self, amount: int) -> None:
        if amount > self.balance:
            raise Overdrawn(f"the balance is {self.balance}")
        if self.opened_at is None or fait.now() < self.opened_at + timedelta(days=1):
            raise fait.Rejected("the account is too new")
        self.emit(Withdrawn(amount), tags=["kind:cash"])

    def evolve(self, event: Opened | Deposited | Withdrawn) -> None:
        match event:
            case Opened():
                self.owner, self.opened_at = event.owner, event.opened_at
            case Deposited():
                self.balance += event.amount
            case Withdrawn():
                self.balance -= event.amount


class Add(msgspec.Struct):
    amount: int


@fait.event("bank.counted")
class Counted:
    amount: int
    price: Decimal = Decimal(0)


def decide(command: Add, state: int) -> Sequence[Counted]:
    if state + command.amount > 10:
        raise fait.Rejected("at most 10")
    return [Counted(command.amount)] if command.amount else []


def evolve(state: int, event: Counted) -> int:
    return state + event.amount


counter = fait.Decider(category="counter", initial=int, decide=decide, evolve=evolve)


def decide_shared(command: Add, state: int) -> Sequence[fait.NewEvents]:
    return [fait.NewEvents("counter-2", decide(command, state), tags=["tens:0", "all:1"])] if command.amount else []


shared_counter = fait.Boundary(
    name="shared",
    depends_on=lambda _: fait.Query(tags=("all:1",)),
    initial=int,
    decide=decide_shared,
    evolve=evolve,
)


class Balance(fait.ReadModel, key="id"):
    id: str
    balance: int = 0

    @classmethod
    def evolve(
        cls, row: "Balance | None", event: Opened | Deposited | Withdrawn, envelope: fait.Envelope
    ) -> "Balance | None":
        row = row or cls(id=envelope.stream_id)
        if isinstance(event, Deposited):
            row.balance += event.amount
        if isinstance(event, Withdrawn):
            row.balance -= event.amount
        return row


class Owner(fait.ReadModel, key="id"):
    """Each row depends on all streams: the last owner."""

    id: int
    owner: str

    @classmethod
    def key_of(cls, event: Opened, envelope: fait.Envelope) -> int:
        return 1

    @classmethod
    def evolve(cls, row: "Owner | None", event: Opened, envelope: fait.Envelope) -> "Owner | None":
        return cls(id=1, owner=event.owner)
