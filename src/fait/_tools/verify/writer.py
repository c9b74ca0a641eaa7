"""A process that appends: on streams of its own and on contended ones, with versions expected and with conditions."""

import asyncio
import random
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from fait._clock import new_id
from fait._errors import FaitError, StoreUnavailable
from fait._events.append import AppendCondition, Appended, AppendResult, ConditionFailed, StreamWrite, VersionConflict
from fait._events.envelope import EncodedEvent
from fait._events.query import Query
from fait._events.version import ANY
from fait._store.log import Log
from fait._store.open import open_store
from fait._tools.verify.plan import BOOKED, CLOSED, ENTERED, PLAIN, SHARED, SOLD, TURN, Plan
from fait._tools.verify.process import FLUSH_INTERVAL_S, ParentMessages, main, report
from fait._tools.verify.report import WRONG_ANSWER

__all__ = ["WriterProcess"]

MAX_THINK_TIME_S: Final = 0.04
"""How long a caller pauses between two appends, at most."""

REPEATED: Final = 0.02
"""How many appends are sent once more, as after an answer that got lost."""

PLANTED: Final = 0.02

Attempt = tuple[list[StreamWrite], AppendCondition | None]


class WriterProcess:
    """Says what its callers were told: a line for each append."""

    def __init__(self, plan: Plan, name: str, orders: ParentMessages) -> None:
        self._plan = plan
        self._name = name
        self._orders = orders
        self._chance = random.Random(f"{plan.seed} {name}")  # noqa: S311 - to be repeated, not to be secret
        self._versions: defaultdict[str, int] = defaultdict(int)

    async def run(self) -> None:
        """Append until told to end."""
        store = await open_store(self._plan.url, create=False)
        report("ready")
        await asyncio.gather(*(self._call(store.log, caller) for caller in range(self._plan.callers)))
        await store.close()

    async def _call(self, log: Log, caller: int) -> None:
        count = 0
        while not self._orders.arrived:
            count += 1
            own = f"own-{self._name}-{caller}-{count // 50}"
            try:
                await self._send(log, *await self._next(log, own))
            except FaitError as problem:  # of a read: nothing was asked for
                report("error", type(problem).__name__, str(problem))
                await asyncio.sleep(FLUSH_INTERVAL_S)
            await asyncio.sleep(self._chance.random() * MAX_THINK_TIME_S)

    async def _next(self, log: Log, own: str) -> Attempt:
        chance, shared = self._chance.random(), f"shared-{self._chance.randrange(SHARED)}"
        if chance < 0.5:
            return [self._write(own)], None
        if chance < 0.75:
            return [self._write(shared)], None
        if chance < 0.82:
            return [self._write(stream) for stream in sorted((own, shared))], None
        return await self._conditional(log, own)

    def _write(self, stream: str) -> StreamWrite:
        expected = self._versions[stream] if self._chance.random() < 0.5 else ANY
        return StreamWrite(stream, tuple(_event(PLAIN) for _ in range(self._chance.choice((1, 1, 2, 3)))), expected)

    async def _conditional(self, log: Log, own: str) -> Attempt:
        """What everybody tries to have at the same moment, as all processes read the same clock."""
        moment, kind = time.monotonic(), self._chance.choice(("seat", "turn", "room", "gate"))
        if kind == "seat":  # sold once
            seat = f"seat:{int(moment * 20)}"
            return [StreamWrite(own, (_event(SOLD, seat),), ANY)], AppendCondition((Query((SOLD,), (seat,)),), 0)
        if kind == "turn":  # taken once, and told by its type alone
            turn = f"{TURN}-{int(moment * 4)}"
            return [StreamWrite(own, (_event(turn),), ANY)], AppendCondition((Query((turn,)),), 0)
        if kind == "room":  # for a few
            room = f"room:{int(moment * 4)}"
            booked = Query((BOOKED,), (room,))
            page = await log.read(0, query=booked)
            if len(page.events) < 3:
                return [StreamWrite(own, (_event(BOOKED, room),), ANY)], AppendCondition((booked,), page.position)
            return [self._write(own)], None
        gate = f"gate:{int(moment * 2)}"  # open to whoever has seen all that a transaction of somebody else did to it
        closed = Query((CLOSED,), (gate,))
        page = await log.read(0, query=closed)
        entered = _event(ENTERED, gate, data={"after": page.position})
        return [StreamWrite(own, (entered,), ANY)], AppendCondition((closed,), page.position)

    async def _send(self, log: Log, writes: Sequence[StreamWrite], condition: AppendCondition | None) -> None:
        plants = self._plan.faults
        if "ack" in plants and self._chance.random() < PLANTED:
            return self._tell(writes, condition, Appended(0, tuple(1 for _ in writes)), again=False)
        sent = None if "condition" in plants else condition
        verdict, again = await self._answer(log, writes, sent)
        if verdict is None:
            return None
        self._tell(writes, condition, verdict, again=again)
        if isinstance(verdict, Appended) and self._chance.random() < REPEATED:
            repeated, _ = await self._answer(log, writes, sent)
            if repeated not in (None, msgspec.structs.replace(verdict, repeated=True)):
                report("fault", WRONG_ANSWER, f"{verdict}, and when repeated, {repeated}")
        return None

    async def _answer(
        self, log: Log, writes: Sequence[StreamWrite], condition: AppendCondition | None
    ) -> tuple[AppendResult | None, bool]:
        """The verdict, and whether it may be the second: after an unknown outcome, the same ids settle it."""
        unknown = False
        while True:
            try:
                return await log.append(writes, condition), unknown
            except StoreUnavailable as problem:
                report("error", type(problem).__name__, str(problem))
                unknown = unknown or problem.outcome == "unknown"
                if not unknown:
                    report("refused", _names(writes))
                if not unknown or self._orders.arrived:
                    return None, unknown
                await asyncio.sleep(FLUSH_INTERVAL_S)

    def _tell(
        self, writes: Sequence[StreamWrite], condition: AppendCondition | None, verdict: AppendResult, *, again: bool
    ) -> None:
        match verdict:
            case Appended(_, versions, repeated) if again or not repeated:
                for write, version in zip(writes, versions, strict=True):
                    self._versions[write.stream] = version
                    report("stored", time.monotonic(), write.stream, version, [each.id for each in write.events])
            case VersionConflict(stream, expected, actual) if expected not in (ANY, actual):
                self._versions[stream] = actual
                report("refused", _names(writes))
            case ConditionFailed(events) if condition and any(condition.queries[0].matches(each) for each in events):
                report("refused", _names(writes))
            case _:
                report("fault", WRONG_ANSWER, repr(verdict))


def _event(type: str, *tags: str, data: Any = None) -> EncodedEvent:
    return EncodedEvent(type, 1, new_id(), msgspec.json.encode(data or {"amount": 1}).decode(), "{}", tags)


def _names(writes: Sequence[StreamWrite]) -> list[str]:
    return [each.id for write in writes for each in write.events]


if __name__ == "__main__":
    main(lambda plan, orders: WriterProcess(plan, sys.argv[1], orders).run())
