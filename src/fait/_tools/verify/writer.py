"""A process that appends: to its own and to contended streams, with expected versions and append conditions."""

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
from fait._store.ports.log import Log
from fait._tools.verify.plan import BOOKED, CLOSED, ENTERED, PLAIN, SHARED_STREAMS, SOLD, TURN, Plan
from fait._tools.verify.process import RETRY_DELAY_S, ParentMessages, main, open_when_available, send
from fait._tools.verify.report import Violation

__all__ = ["WriterProcess"]

MAX_THINK_TIME_S: Final = 0.04
"""Maximum pause of a caller between two appends."""

REPEAT_RATIO: Final = 0.02
"""Fraction of appends that are sent again, as after a lost response."""

FAULT_RATIO: Final = 0.02
"""Fraction of appends that are acknowledged without being made, if that fault is injected."""

AppendCall = tuple[list[StreamWrite], AppendCondition | None]


class WriterProcess:
    """Runs concurrent callers and reports the result of each append to the parent."""

    def __init__(self, plan: Plan, name: str, messages: ParentMessages) -> None:
        self._plan = plan
        self._name = name
        self._messages = messages
        self._random = random.Random(f"{plan.seed} {name}")  # noqa: S311 - reproducible, not secret
        self._versions: defaultdict[str, int] = defaultdict(int)

    async def run(self) -> None:
        """Append until stopped."""
        store = await open_when_available(self._plan, self._messages)
        send("ready")
        await asyncio.gather(*(self._run_caller(store.log, caller) for caller in range(self._plan.callers)))
        await store.close()

    async def _run_caller(self, log: Log, caller: int) -> None:
        count = 0
        while not self._messages.stopped:
            count += 1
            own_stream = f"own-{self._name}-{caller}-{count // 50}"
            try:
                await self._append(log, *await self._next_call(log, own_stream))
            except FaitError as error:  # of a read; nothing was appended
                send("error", type(error).__name__, str(error))
                await asyncio.sleep(RETRY_DELAY_S)
            await asyncio.sleep(self._random.random() * MAX_THINK_TIME_S)

    async def _next_call(self, log: Log, own_stream: str) -> AppendCall:
        choice, shared_stream = self._random.random(), f"shared-{self._random.randrange(SHARED_STREAMS)}"
        if choice < 0.5:
            return [self._write(own_stream)], None
        if choice < 0.75:
            return [self._write(shared_stream)], None
        if choice < 0.82:
            return [self._write(stream) for stream in sorted((own_stream, shared_stream))], None
        return await self._conditional_call(log, own_stream)

    def _write(self, stream: str) -> StreamWrite:
        expected = self._versions[stream] if self._random.random() < 0.5 else ANY
        return StreamWrite(stream, tuple(_event(PLAIN) for _ in range(self._random.choice((1, 1, 2, 3)))), expected)

    async def _conditional_call(self, log: Log, stream: str) -> AppendCall:
        """Compete for a resource. Its id is made of the monotonic clock, so all processes compete for the same one."""
        now, kind = time.monotonic(), self._random.choice(("seat", "turn", "room", "gate"))
        if kind == "seat":  # one sale, selected by type and tag
            seat = f"seat:{int(now * 20)}"
            return [StreamWrite(stream, (_event(SOLD, seat),), ANY)], AppendCondition((Query((SOLD,), (seat,)),), 0)
        if kind == "turn":  # one event, selected by type alone
            turn = f"{TURN}-{int(now * 4)}"
            return [StreamWrite(stream, (_event(turn),), ANY)], AppendCondition((Query((turn,)),), 0)
        if kind == "room":  # three bookings
            room = f"room:{int(now * 4)}"
            booked = Query((BOOKED,), (room,))
            page = await log.read(0, query=booked)
            if len(page.events) < 3:
                return [StreamWrite(stream, (_event(BOOKED, room),), ANY)], AppendCondition((booked,), page.position)
            return [self._write(stream)], None
        gate = f"gate:{int(now * 2)}"  # any number of entries, until an outbox transaction closes the gate
        closed = Query((CLOSED,), (gate,))
        page = await log.read(0, query=closed)
        entered = _event(ENTERED, gate, data={"after": page.position})
        return [StreamWrite(stream, (entered,), ANY)], AppendCondition((closed,), page.position)

    async def _append(self, log: Log, writes: Sequence[StreamWrite], condition: AppendCondition | None) -> None:
        faults = self._plan.faults
        if "acknowledge-unstored" in faults and self._random.random() < FAULT_RATIO:
            return self._report(writes, condition, Appended(0, tuple(1 for _ in writes)))
        sent = None if "ignore-condition" in faults else condition
        result = await self._append_with_retry(log, writes, sent)
        if result is None:
            return None
        self._report(writes, condition, result)
        if isinstance(result, Appended) and self._random.random() < REPEAT_RATIO:
            repeated = await self._append_with_retry(log, writes, sent)
            if repeated not in (None, msgspec.structs.replace(result, repeated=True)):
                send("violation", Violation.WRONG_RESULT, f"{result}; the repeated append returned {repeated}")
        return None

    async def _append_with_retry(
        self, log: Log, writes: Sequence[StreamWrite], condition: AppendCondition | None
    ) -> AppendResult | None:
        """Append, and retry while the outcome is unknown: the event ids make the append idempotent.

        Returns:
            The result, or None if there is none.
        """
        unknown = False
        while True:
            try:
                return await log.append(writes, condition)
            except StoreUnavailable as error:
                send("error", type(error).__name__, str(error))
                unknown = unknown or error.outcome == "unknown"
                if not unknown:
                    send("rejected", _ids(writes))
                if not unknown or self._messages.stopped:
                    return None
                await asyncio.sleep(RETRY_DELAY_S)

    def _report(self, writes: Sequence[StreamWrite], condition: AppendCondition | None, result: AppendResult) -> None:
        match result:
            case Appended(_, versions):  # also if it is repeated: the store sends an append again after a lost response
                for write, version in zip(writes, versions, strict=True):
                    self._versions[write.stream] = version
                    send("stored", time.monotonic(), write.stream, version, [each.id for each in write.events])
            case VersionConflict(stream, expected, actual) if expected not in (ANY, actual):
                self._versions[stream] = actual
                send("rejected", _ids(writes))
            case ConditionFailed(events) if condition and any(condition.queries[0].matches(each) for each in events):
                send("rejected", _ids(writes))
            case _:
                send("violation", Violation.WRONG_RESULT, repr(result))


def _event(type: str, *tags: str, data: Any = None) -> EncodedEvent:
    return EncodedEvent(type, 1, new_id(), msgspec.json.encode(data or {"amount": 1}).decode(), "{}", tags)


def _ids(writes: Sequence[StreamWrite]) -> list[str]:
    return [each.id for write in writes for each in write.events]


if __name__ == "__main__":
    main(lambda plan, messages: WriterProcess(plan, sys.argv[1], messages).run())
