"""Lost-events probe on SQLite: detects events that a live reader misses, repeats or reorders.

Writers append from many concurrent callers, conflict with each other, have appends to several streams rejected, and
are killed. Another process opens write transactions and rolls them back. At the same time a reader in its own process
follows the log. Afterwards the events that it read are compared with the log, and the log with the acknowledged events.

    lost_events.py write|read|disturb FILE SEED COUNT     the parts, each in its own process
"""

import asyncio
import json
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from itertools import pairwise
from typing import IO, Any

import apsw
from subjects.fait_system import Order, new_events, opened, placed, updated
from subjects.raw_sqlite import INSERT, event, row

import fait

__all__ = ["compared", "probe"]

CALLERS = 16
CONTENDED = 8
END = "the end"
ACKNOWLEDGED = "acknowledged "
ENDLESS = 1_000_000
"""Number of appends of a writer that is killed before it can finish them."""

NEVER = 1 << 40


async def write(path: str, seed: int, count: int) -> None:
    """Append, print the order id of each acknowledged event, and finally the number of rejected appends."""
    refused = 0

    async def call(caller: int) -> None:
        nonlocal refused
        rng = random.Random(f"{seed}/{caller}")
        for turn in range(count // CALLERS):
            number = (seed * CALLERS + caller) * 100_000 + turn
            new = placed(number)
            try:
                match rng.randrange(4):
                    case 0:
                        await s.publish(new, stream=f"order-{number}")
                    case 1:
                        contended = f"order-{rng.randrange(CONTENDED)}"
                        await s.append(fait.NewEvents(contended, [new], rng.choice([0, turn, "exists"])))
                    case 2:  # the second stream never has that version, so both writes are rejected
                        wrong = fait.NewEvents("order-0", [placed(NEVER + number)], 1 << 30)
                        await s.append(fait.NewEvents(f"order-{number}", [placed(NEVER + number)], "no_stream"), wrong)
                    case _:
                        await s.transact(Order.update, str(rng.randrange(CONTENDED)), updated(number))
            except fait.WrongExpectedVersion:
                refused += 1
            else:
                print(ACKNOWLEDGED + new.order_id, flush=True)

    async with opened(path) as s:
        await asyncio.gather(*(call(caller) for caller in range(CALLERS)))
    print(json.dumps({"refused": refused}), flush=True)


async def read(path: str, _seed: int, _count: int) -> None:
    """Follow the log up to the end marker; print positions and order ids in the order received."""
    seen = list[tuple[int, str]]()
    async with opened(path) as s:
        print("ready", flush=True)
        async for each in s.events(follow_on=True):
            seen.append((each.position, each.event.order_id))
            if each.event.order_id == END:
                break
    print(json.dumps(seen))


async def disturb(path: str, _seed: int, count: int) -> None:
    """Insert events in foreign transactions that stay open and are rolled back."""
    db = apsw.Connection(path)
    db.set_busy_timeout(30_000)
    for number in range(count):
        db.execute("BEGIN IMMEDIATE")
        db.execute(INSERT, row(event(NEVER + number, f"order-{NEVER + number}", 1)))
        await asyncio.sleep(0.01)
        db.execute("ROLLBACK")
        await asyncio.sleep(0.02)
    print(json.dumps({"rolled_back": count}))


class _Part:
    """A process of the probe, and the lines that it has printed."""

    def __init__(self, what: str, path: str, seed: int, count: int) -> None:
        command = [sys.executable, __file__, what, path, str(seed), str(count)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.lines = list[str]()
        assert self.process.stdout is not None
        self._reader = threading.Thread(target=self._collect, args=(self.process.stdout,))
        self._reader.start()

    def _collect(self, output: IO[str]) -> None:
        for line in output:
            if line.endswith("\n"):  # a killed writer may leave an incomplete line
                self.lines.append(line.strip())

    def wait_for(self, lines: int) -> None:
        while len(self.lines) < lines and self.process.poll() is None:
            time.sleep(0.002)

    def finish(self) -> Any:
        """Wait for its end; return its last line."""
        if self.process.wait(600) != 0:
            raise RuntimeError("a process of the lost-events probe failed; see its message above")
        self._reader.join()
        return json.loads(self.lines.pop())

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self._reader.join()


def probe(path: str, appends: int) -> dict[str, int]:
    """Run the probe on a new file; `missed`, `repeated`, `reordered`, `lost` and `phantom` must be 0.

    Args:
        path: Path of the file, which does not exist yet.
        appends: Number of appends that each writer attempts.
    """
    asyncio.run(_prepare(path))
    parts = list[_Part]()

    def start(what: str, seed: int, count: int) -> _Part:
        parts.append(_Part(what, path, seed, count))
        return parts[-1]

    try:
        reader = start("read", 0, 0)
        reader.wait_for(1)
        victims = [start("write", seed, ENDLESS) for seed in (1, 2)]
        disturber = start("disturb", 0, max(5, appends // 100))
        writers = [start("write", seed, appends) for seed in (3, 4)]
        for victim in victims:
            victim.wait_for(appends // 8)
            victim.kill()
        refused = sum(writer.finish()["refused"] for writer in writers)
        rolled_back = disturber.finish()["rolled_back"]
        asyncio.run(_end(path))
        seen = [(position, order_id) for position, order_id in reader.finish()]
    finally:
        for part in parts:
            part.kill()
    log = asyncio.run(_settled(path))
    lines = [line for part in (*victims, *writers) for line in part.lines if line.startswith(ACKNOWLEDGED)]
    acknowledged = {line.removeprefix(ACKNOWLEDGED) for line in lines}
    killed = sum(victim.process.returncode < 0 for victim in victims)
    return {**compared(seen, log, acknowledged), "refused": refused, "killed": killed, "rolled_back": rolled_back}


def compared(seen: list[tuple[int, str]], log: list[tuple[int, str]], acknowledged: set[str]) -> dict[str, int]:
    """Count the errors of a reader and of the log. Events are pairs of position and order id, in the order received."""
    times = Counter(seen)
    stored = {order_id for _, order_id in log}
    return {
        "events": len(log),
        "acknowledged": len(acknowledged),
        "missed": len(set(log) - times.keys()),
        "repeated": sum(count - 1 for count in times.values()),
        "reordered": sum(one > next_one for (one, _), (next_one, _) in pairwise(seen)),
        "phantom": len(times.keys() - set(log)) + len(_rolled_back(stored)),
        "lost": len(acknowledged - stored),
    }


def _rolled_back(stored: set[str]) -> set[str]:
    """Return the order ids of stored events that had been rolled back or rejected."""
    return {each for each in stored if each != END and int(each.removeprefix("order-")) >= NEVER}


async def _prepare(path: str) -> None:
    async with opened(path) as s:
        await s.append(*[new_events(number, 1) for number in range(CONTENDED)])


async def _end(path: str) -> None:
    async with opened(path) as s:
        await s.publish(fait.replace(placed(0), order_id=END), stream="order-end")


async def _settled(path: str) -> list[tuple[int, str]]:
    async with opened(path) as s:
        return [(each.position, each.event.order_id) async for each in s.events()]


PARTS = {"write": write, "read": read, "disturb": disturb}

if __name__ == "__main__":
    asyncio.run(PARTS[sys.argv[1]](sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
