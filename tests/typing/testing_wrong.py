"""A user's mistakes in tests: each marked line must be rejected by both type checkers."""

from typing import Self

import fait
from fait.testing import given, handled, recorded


@fait.event("wrongly-tested.counted")
class Counted:
    amount: int


class Counter(fait.Aggregate, category="counter"):
    total: int = 0

    def count(self, amount: int) -> None:
        self.emit(Counted(amount))

    def evolve(self, event: Counted) -> None:
        self.total += event.amount


class Other(fait.Aggregate, category="other"):
    def run(self) -> None: ...

    def evolve(self, event: Counted) -> None: ...


class Totals(fait.ReadModel, key="id"):
    id: str

    @classmethod
    def evolve(cls, row: Self | None, event: Counted, envelope: fait.Envelope) -> Self | None:
        return row


def test_mistakes() -> None:
    given(Counter, Counted(1)).when(Counter.count, "ten")  # E: amount is an int
    given(Counter, Counted(1)).when(Other.run)  # E: a command of another aggregate
    given(Counter).when(Counter.count, 1).state(lambda counter: counter.sum == 1)  # E: no such field
    given(Counter).when(Counter.count, 1).rejected(ValueError)  # E: no rejection
    given(Totals, Counted(1)).when(Counter.count, 1)  # E: read models have no commands
    given(Totals, Counted(1)).rows(Counter())  # E: not a row


async def test_handler() -> None:
    def handler(event: Counted) -> None: ...

    await handled(handler, Counted(1))  # E: the event is not recorded
    await handled(handler, recorded(Counted(1)), given=[Counted(1)])  # E: without a stream
