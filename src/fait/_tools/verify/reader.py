"""A process that follows the log live, as a subscription does, until it has reached the position in its stop message.

It records each delivered event in a file: position, time and key.
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
from fait._tools.verify.fault_injection import ReadableLog, inject_faults
from fait._tools.verify.order import OrderCheck
from fait._tools.verify.plan import Plan, event_key
from fait._tools.verify.process import RETRY_DELAY_S, ParentMessages, main, open_when_available, send
from fait._tools.verify.report import Violation

__all__ = ["READERS", "ReaderProcess", "read_deliveries"]

READERS: Final = ("listening", "polling")
"""The readers: one waits for notifications, the other polls and never listens."""

POLL_INTERVAL_S: Final = 0.02
"""Interval between the queries of the polling reader."""

MAX_OUTAGE_S: Final = 5.0
"""How long a store may be unavailable until it is opened again."""

REPORT_INTERVAL_S: Final = 0.3
"""Minimum interval between reports to the parent."""

_DELIVERY: Final = struct.Struct("<qd16s")


class ReaderProcess:
    """Reads the log and reports the number of events, and violations: how many, and the first one, by kind."""

    def __init__(self, plan: Plan, name: str, file: Path, messages: ParentMessages) -> None:
        self._plan = plan
        self._listens = name == READERS[0]
        self._file = file
        self._messages = messages
        self._order = OrderCheck()
        self._count = 0
        self._violations: dict[Violation, tuple[int, str]] = {}
        self._reported_at = time.monotonic()

    async def run(self) -> None:
        """Read until the last position is reached. After a long outage, open the store again, as after a restart."""
        position = 0
        with self._file.open("wb") as out:
            while position < self._last_position():
                store = await open_when_available(self._plan, self._messages)
                log = await inject_faults(store.log, self._plan)
                send("ready")
                position = await self._follow(log, position, out)
                await store.close()
        self._report()

    async def _follow(self, log: ReadableLog, position: int, out: BinaryIO) -> int:
        """Read until the last position is reached, or until an outage lasts long. Return the position."""
        read_at = time.monotonic()
        while position < self._last_position() and time.monotonic() - read_at < MAX_OUTAGE_S:
            try:
                page = await log.read(position, limit=1000 if self._listens else 50)
            except FaitError as error:
                send("error", type(error).__name__, str(error))
                await asyncio.sleep(RETRY_DELAY_S)
                continue
            self._record(page, out)
            position, read_at = page.position, time.monotonic()
            if page.more or position >= self._last_position():
                continue
            if self._listens:
                new_events = None if self._messages.stopped else log.wait_for_events(position)
                await self._messages.wait(new_events, timeout_s=1.0)
            else:
                await asyncio.sleep(POLL_INTERVAL_S)
        return position

    def _last_position(self) -> float:
        return float(self._messages.argument or 0) if self._messages.stopped else math.inf

    def _record(self, page: Page, out: BinaryIO) -> None:
        now = time.monotonic()
        for event in page.events:
            if violation := self._order.add(event):
                first = f"position {event.position}, {event.stream} version {event.version}"
                count, example = self._violations.get(violation, (0, first))
                self._violations[violation] = (count + 1, example)
            out.write(_DELIVERY.pack(event.position, now, bytes.fromhex(event_key(event).replace("-", ""))))
        self._count += len(page.events)
        if now - self._reported_at > REPORT_INTERVAL_S:
            self._report()
            self._reported_at = now

    def _report(self) -> None:
        send("delivered", self._count, self._violations)


def read_deliveries(file: Path) -> Iterator[tuple[int, float, bytes]]:
    """Read a reader's file. Yields position, time and key of each delivered event."""
    data = file.read_bytes() if file.exists() else b""
    return _DELIVERY.iter_unpack(data[: len(data) // _DELIVERY.size * _DELIVERY.size])


if __name__ == "__main__":
    main(lambda plan, messages: ReaderProcess(plan, sys.argv[1], Path(sys.argv[2]), messages).run())
