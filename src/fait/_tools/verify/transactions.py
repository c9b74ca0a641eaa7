"""A process that acts as a user's program: it runs its own transactions, some of them with an outbox.

outbox    writes a row and adds an event in one transaction, keeps it open for a while, and commits or rolls back
foreign   holds a transaction that writes, but not to the log
rows      reports the rows that the outbox transactions stored
"""

import asyncio
import random
import sys
import time
from typing import Final
from uuid import uuid4

from fait._events.envelope import Untyped
from fait._tools.verify.plan import CLOSED, OUTBOX, SHARED_STREAMS, Plan
from fait._tools.verify.process import RETRY_DELAY_S, ParentMessages, main, send
from fait._tools.verify.sessions import Session, open_session

__all__ = ["ForeignTransaction", "OutboxWriter", "list_rows"]

MAX_OPEN_S: Final = 0.02
"""Maximum time a transaction stays open after its event was added."""

MAX_PAUSE_S: Final = 0.06
"""Maximum pause between two transactions."""

ROLLBACK_RATIO: Final = 0.3
"""Fraction of transactions that are rolled back."""

FOREIGN_HOLD_S: Final = 0.1
"""Duration of a foreign transaction that blocks all other writers."""

FOREIGN_PAUSE_S: Final = 0.9
"""Pause after a foreign transaction."""


class OutboxWriter:
    """Runs transactions one after another. Each writes a row and an event with the same key."""

    def __init__(self, plan: Plan, name: str, messages: ParentMessages) -> None:
        self._plan = plan
        self._name = name
        self._messages = messages
        self._random = random.Random(f"{plan.seed} {name}")  # noqa: S311 - reproducible, not secret
        self._warning = ""

    async def run(self) -> None:
        """Run transactions until stopped. A lost connection is reopened."""
        session = await _connect(self._plan, self._messages)
        send("ready")
        while session and not self._messages.stopped:
            try:
                await self._transact(session)
            except Exception as error:  # of any driver; the outcome of the transaction is unknown
                send("error", type(error).__name__, str(error))
                await session.close()
                session = await _connect(self._plan, self._messages)
            if session and session.warning and not self._warning:
                self._warning = session.warning
                send("warning", self._warning)
            await self._messages.wait(timeout_s=self._random.random() * MAX_PAUSE_S)
        if session:
            await session.close()

    async def _transact(self, session: Session) -> None:
        key, own_stream = str(uuid4()), f"outbox-{self._name}"
        shared = self._random.random() < 0.3
        stream = f"shared-{self._random.randrange(SHARED_STREAMS)}" if shared else own_stream
        closes_gate = self._random.random() < 0.3
        tags = [f"gate:{int(time.monotonic() * 2)}"] if closes_gate else []
        commit = self._random.random() >= ROLLBACK_RATIO
        await session.begin()
        await session.run("insert_row", key)
        event = Untyped(CLOSED if closes_gate else OUTBOX, {"key": key})
        await session.add(event, stream, tags, key if self._random.random() < 0.5 else None)
        await asyncio.sleep(self._random.random() * MAX_OPEN_S)
        await session.end(commit=commit or "commit-rollback" in self._plan.faults)
        if commit:
            send("stored", time.monotonic(), stream, None, [key])
            return
        send("rolled back", time.monotonic(), [key])
        if "row-without-event" in self._plan.faults:
            await session.begin()
            await session.run("insert_row", key)
            await session.end(commit=True)


class ForeignTransaction:
    """Holds a transaction open, from before the first event until stopped."""

    def __init__(self, plan: Plan, messages: ParentMessages) -> None:
        self._plan = plan
        self._messages = messages

    async def run(self) -> None:
        """Create the table for the rows of the outbox transactions, then hold a transaction."""
        session = await open_session(self._plan)
        await session.begin()
        await session.run("create_rows")
        await session.end(commit=True)
        send("ready")
        while not self._messages.stopped:
            try:
                await self._hold(session)
            except Exception as error:  # of any driver
                send("error", type(error).__name__, str(error))
                await session.close()
                session = await _connect(self._plan, self._messages) or session
        await session.close()

    async def _hold(self, session: Session) -> None:
        await session.begin()
        await session.run("create_foreign")
        await session.run("insert_foreign")
        await self._messages.wait(timeout_s=None if session.concurrent_writes else FOREIGN_HOLD_S)
        await session.end(commit=False)
        await self._messages.wait(timeout_s=FOREIGN_PAUSE_S)


async def list_rows(plan: Plan, _: ParentMessages) -> None:
    """Send the keys of all rows to the parent, in chunks."""
    session = await open_session(plan)
    await session.begin()
    keys = [row[0] for row in await session.run("list_rows")]
    await session.end(commit=False)
    await session.close()
    for start in range(0, len(keys), 1000):
        send("rows", keys[start : start + 1000])


async def _connect(plan: Plan, messages: ParentMessages) -> Session | None:
    """Open a session; after an error, try again until the stop message."""
    while not messages.stopped:
        try:
            return await open_session(plan)
        except Exception as error:  # of any driver
            send("error", type(error).__name__, str(error))
        await messages.wait(timeout_s=RETRY_DELAY_S)
    return None


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["outbox", name]:
            main(lambda plan, messages: OutboxWriter(plan, name, messages).run())
        case ["foreign"]:
            main(lambda plan, messages: ForeignTransaction(plan, messages).run())
        case _:
            main(list_rows)
