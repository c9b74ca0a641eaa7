"""A process that is a user's own program: it has transactions of its own, and some of them hold an event.

joined    changes a row and adds an event in one transaction, stays in it for a while, and commits or rolls back
foreign   holds a transaction that writes and has nothing to do with the log
rows      lists what is left of the joined transactions' rows
"""

import asyncio
import random
import sys
import time
from typing import Final
from uuid import uuid4

from fait._events.envelope import Untyped
from fait._tools.verify.plan import CLOSED, JOINED, SHARED, Plan
from fait._tools.verify.process import FLUSH_INTERVAL_S, ParentMessages, main, report
from fait._tools.verify.sessions import Session, open_session

__all__ = ["ForeignTransaction", "OutboxWriter", "list_rows"]

OPEN_S: Final = 0.02
"""How long a transaction stays open after its event, at most."""

PAUSED_S: Final = 0.06
"""How long until the next one, at most."""

ROLLED_BACK: Final = 0.3
"""How many are rolled back."""

HELD_S: Final = (0.1, 0.9)
"""How long a foreign transaction that keeps all others from writing is held, and the pause after it."""


class OutboxWriter:
    """One transaction after another, each with a row and an event of the same name."""

    def __init__(self, plan: Plan, name: str, orders: ParentMessages) -> None:
        self._plan = plan
        self._name = name
        self._orders = orders
        self._chance = random.Random(f"{plan.seed} {name}")  # noqa: S311 - to be repeated, not to be secret
        self._unsafe = ""

    async def run(self) -> None:
        """Go on until told to end; a lost connection is made again."""
        session = await open_session(self._plan)
        report("ready")
        while not self._orders.arrived:
            try:
                await self._transact(session)
            except Exception as problem:  # of whatever driver: it is not known whether the transaction was committed
                report("error", type(problem).__name__, str(problem))
                await session.close()
                session = await _again(self._plan, self._orders) or session
            if session.unsafe and not self._unsafe:
                self._unsafe = session.unsafe
                report("unsafe", self._unsafe)
            await self._orders.wait(timeout_s=self._chance.random() * PAUSED_S)
        await session.close()

    async def _transact(self, session: Session) -> None:
        name, own = str(uuid4()), f"joined-{self._name}"
        stream = f"shared-{self._chance.randrange(SHARED)}" if self._chance.random() < 0.3 else own
        gates = self._chance.random() < 0.3
        tags = [f"gate:{int(time.monotonic() * 2)}"] if gates else []
        commit = self._chance.random() >= ROLLED_BACK
        await session.begin()
        await session.run("insert_row", name)
        event = Untyped(CLOSED if gates else JOINED, {"name": name})
        await session.add(event, stream, tags, name if self._chance.random() < 0.5 else None)
        await asyncio.sleep(self._chance.random() * OPEN_S)
        await session.end(commit=commit or "rollback" in self._plan.faults)
        if commit:
            report("stored", time.monotonic(), stream, None, [name])
            return
        report("rolled back", time.monotonic(), [name])
        if "torn" in self._plan.faults:
            await session.begin()
            await session.run("insert_row", name)
            await session.end(commit=True)


class ForeignTransaction:
    """Holds a transaction open, from before the first event until it is told to end."""

    def __init__(self, plan: Plan, orders: ParentMessages) -> None:
        self._plan = plan
        self._orders = orders

    async def run(self) -> None:
        """Make the table for everybody's rows first, then hold."""
        session = await open_session(self._plan)
        await session.begin()
        await session.run("create_rows")
        await session.end(commit=True)
        report("ready")
        while not self._orders.arrived:
            try:
                await self._hold(session)
            except Exception as problem:  # of whatever driver
                report("error", type(problem).__name__, str(problem))
                await session.close()
                session = await _again(self._plan, self._orders) or session
        await session.close()

    async def _hold(self, session: Session) -> None:
        held_s, pause_s = HELD_S
        await session.begin()
        await session.run("create_foreign")
        await session.run("insert_foreign")
        await self._orders.wait(timeout_s=None if session.shared else held_s)
        await session.end(commit=False)
        await self._orders.wait(timeout_s=pause_s)


async def list_rows(plan: Plan, _: ParentMessages) -> None:
    """Say the names of all rows, some at a time."""
    session = await open_session(plan)
    await session.begin()
    names = [row[0] for row in await session.run("list_rows")]
    await session.end(commit=False)
    await session.close()
    for start in range(0, len(names), 1000):
        report("rows", names[start : start + 1000])


async def _again(plan: Plan, orders: ParentMessages) -> Session | None:
    while not orders.arrived:
        await orders.wait(timeout_s=FLUSH_INTERVAL_S)
        try:
            return await open_session(plan)
        except Exception as problem:  # of whatever driver
            report("error", type(problem).__name__, str(problem))
    return None


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["joined", name]:
            main(lambda plan, orders: OutboxWriter(plan, name, orders).run())
        case ["foreign"]:
            main(lambda plan, orders: ForeignTransaction(plan, orders).run())
        case _:
            main(list_rows)
