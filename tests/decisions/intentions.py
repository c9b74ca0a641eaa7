"""Calls under an idempotency key, one for each entrance and difference: which of them state the same intention?"""

from collections.abc import Awaitable, Callable
from typing import Any

from msgspec import Struct

import fait
from fait._decisions.client import Client

Call = Callable[[Client], Awaitable[fait.WriteResult[Any]]]


@fait.event("wallet.filled")
class Filled:
    amount: float
    marks: frozenset[str] = frozenset()


@fait.event("wallet.emptied")
class Emptied:
    amount: float
    marks: frozenset[str] = frozenset()


class Wallet(fait.Aggregate, category="wallet"):
    total: float = 0

    def fill(self, amount: float, *, marks: frozenset[str] = frozenset()) -> float:
        self.emit(Filled(amount, marks))
        return self.total

    def empty(self, amount: float) -> None:
        self.emit(Emptied(amount))

    def fill_twice(self, amount: float) -> None:
        self.emit(Filled(amount))
        self.emit(Filled(amount))

    def look(self, hint: object = None) -> float:
        return self.total

    def fill_once(self) -> bool:
        """Emit an event only in the first call of a wallet."""
        if self.version == 0:
            self.emit(Filled(1))
        return self.version == 0

    def evolve(self, event: Filled | Emptied) -> None:
        self.total += event.amount if isinstance(event, Filled) else -event.amount


class Purse(fait.Aggregate, category="purse"):
    def fill(self, amount: float) -> None:
        self.emit(Filled(amount))

    def evolve(self, event: Filled) -> None: ...


class Fill(Struct, frozen=True):
    amount: float


def _filled(command: Fill, state: None) -> list[Filled]:
    return [Filled(command.amount)]


def _keep(state: None, event: Filled) -> None: ...


def _filled_streams(command: Fill, state: None) -> list[fait.NewEvents]:
    filled = [Filled(command.amount)] if command.amount else []
    return [fait.NewEvents(stream, filled) for stream in ("wallet-2", "wallet-1")] if filled else []


def _initial() -> None: ...


decider = fait.Decider(category="wallet", initial=_initial, decide=_filled, evolve=_keep)
boundary = fait.Boundary(
    name="fill-both",
    depends_on=lambda command: fait.Query(tags=("none:1",)),
    initial=_initial,
    decide=_filled_streams,
    evolve=_keep,
)


def _events(stream: str, *events: object, **options: Any) -> fait.NewEvents:
    return fait.NewEvents(stream, list(events), **options)


INTENTIONS: dict[str, list[Call]] = {
    "command": [
        lambda c: c.transact(Wallet.fill, "1", 5),
        lambda c: c.transact(Wallet.fill, "1", 5.0),
        lambda c: c.transact(Wallet.fill, "1", amount=5, marks=frozenset()),
    ],
    "other argument": [lambda c: c.transact(Wallet.fill, "1", 6)],
    "true": [lambda c: c.transact(Wallet.look, "1", True)],
    "1": [lambda c: c.transact(Wallet.look, "1", 1), lambda c: c.transact(Wallet.look, "1", hint=1.0)],
    "set as argument": [lambda c: c.transact(Wallet.fill, "1", 5, marks=frozenset("abc"))],
    "other set": [lambda c: c.transact(Wallet.fill, "1", 5, marks=frozenset("abd"))],
    "other id": [lambda c: c.transact(Wallet.fill, "2", 5)],
    "other command": [lambda c: c.transact(Wallet.empty, "1", 5)],
    "other aggregate": [lambda c: c.transact(Purse.fill, "1", 5)],
    "two events": [lambda c: c.transact(Wallet.fill_twice, "1", 5)],
    "no events": [lambda c: c.transact(Wallet.look, "1"), lambda c: c.transact(Wallet.look, "1", None)],
    "no events, other id": [lambda c: c.transact(Wallet.look, "2")],
    "decider": [lambda c: c.decide(decider, "1", Fill(5))],
    "decider, other id": [lambda c: c.decide(decider, "2", Fill(5))],
    "boundary": [lambda c: c.decide(boundary, Fill(5))],
    "boundary, no events": [lambda c: c.decide(boundary, Fill(0))],
    "publish": [
        lambda c: c.publish(Filled(5), stream="wallet-1"),
        lambda c: c.append(_events("wallet-1", Filled(5.0))),
        lambda c: c.publish(fait.Untyped("wallet.filled", {"marks": [], "amount": 5}), stream="wallet-1"),
    ],
    "publish, other value": [lambda c: c.publish(Filled(6), stream="wallet-1")],
    "publish, other type": [lambda c: c.publish(Emptied(5), stream="wallet-1")],
    "publish, other stream": [lambda c: c.publish(Filled(5), stream="wallet-2")],
    "publish, tags": [
        lambda c: c.publish(Filled(5), stream="wallet-1", tags={"a:1", "b:1", "c:1"}),
        lambda c: c.publish(Filled(5), stream="wallet-1", tags=["c:1", "b:1", "a:1"], occurred_at=fait.now()),
    ],
    "append of two": [lambda c: c.append(_events("wallet-1", Filled(5), Filled(5)))],
    "append of three": [lambda c: c.append(_events("wallet-1", Filled(5), Filled(5), Filled(5)))],
    "append to two streams": [
        lambda c: c.append(_events("wallet-1", Filled(5)), _events("wallet-2", Filled(5))),
        lambda c: c.append(_events("wallet-2", Filled(5)), _events("wallet-1", Filled(5), expected="any")),
    ],
}
"""Calls that state one intention, by what distinguishes it from the others."""

app = fait.App("purses")
app.include(Wallet)
app.include(Purse)
app.include(boundary)
