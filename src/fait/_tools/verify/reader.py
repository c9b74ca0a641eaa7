"""A process that follows the log live, as a subscription does, until it has reached the position it is told.

What it was given is left in a file: position, moment and name of each event.
"""

import asyncio
import math
import struct
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final

from fait._errors import FaitError
from fait._events.append import Page
from fait._store.open import open_store
from fait._tools.verify.fault_injection import ReadableLog, inject_faults
from fait._tools.verify.order import OrderCheck
from fait._tools.verify.plan import Plan, name_of
from fait._tools.verify.process import FLUSH_INTERVAL_S, ParentMessages, main, report
from fait._tools.verify.report import Fault

__all__ = ["KINDS", "ReaderProcess", "given"]

KINDS: Final = ("listening", "looking")
"""One waits to be woken; the other hears nothing, and looks."""

POLL_INTERVAL_S: Final = 0.02
REPORT_INTERVAL_S: Final = 0.3

_RECORD: Final = struct.Struct("<qd16s")


class ReaderProcess:
    """Says now and then how much it was given, and what was wrong with it: how often, and the first of it."""

    def __init__(self, plan: Plan, kind: str, file: Path, orders: ParentMessages) -> None:
        self._plan = plan
        self._listens = kind == KINDS[0]
        self._file = file
        self._orders = orders
        self._order = OrderCheck()
        self._count = 0
        self._faults: dict[Fault, tuple[int, str]] = {}
        self._told_at = time.monotonic()

    async def run(self) -> None:
        """Read until the goal is reached."""
        store = await open_store(self._plan.url, create=False)
        log = await inject_faults(store.log, self._plan)
        report("ready")
        with self._file.open("wb") as out:
            await self._follow(log, out)
        self._tell()
        await store.close()

    async def _follow(self, log: ReadableLog, out: BinaryIO) -> None:
        position = 0
        while position < self._goal():
            try:
                page = await log.read(position, limit=1000 if self._listens else 50)
            except FaitError as problem:
                report("error", type(problem).__name__, str(problem))
                await asyncio.sleep(FLUSH_INTERVAL_S)
                continue
            self._take(page, out)
            position = page.position
            if page.more or position >= self._goal():
                continue
            if self._listens:
                await self._orders.wait(None if self._orders.arrived else log.wait_for_events(position), timeout_s=1.0)
            else:
                await asyncio.sleep(POLL_INTERVAL_S)

    def _goal(self) -> float:
        return float(self._orders.last or 0) if self._orders.arrived else math.inf

    def _take(self, page: Page, out: BinaryIO) -> None:
        moment = time.monotonic()
        for each in page.events:
            if fault := self._order.add(each):
                count, example = self._faults.get(fault, (0, f"position {each.position}, {each.stream} {each.version}"))
                self._faults[fault] = (count + 1, example)
            out.write(_RECORD.pack(each.position, moment, bytes.fromhex(name_of(each).replace("-", ""))))
        self._count += len(page.events)
        if moment - self._told_at > REPORT_INTERVAL_S:
            self._tell()
            self._told_at = moment

    def _tell(self) -> None:
        report("given", self._count, self._faults)


def given(file: Path) -> Iterator[tuple[int, float, bytes]]:
    """What is in a reader's file: positions, moments and names."""
    data = file.read_bytes() if file.exists() else b""
    return _RECORD.iter_unpack(data[: len(data) // _RECORD.size * _RECORD.size])


if __name__ == "__main__":
    main(lambda plan, orders: ReaderProcess(plan, sys.argv[1], Path(sys.argv[2]), orders).run())
