"""Does a live reader miss or reorder an event while others append? For every subject alike.

Three processes of 16 callers append. fait and asyncpg also append in transactions that stand open for a while, half of
which are rolled back. Others keep transactions open that write to another table of the same database. A reader in a
process of its own follows, by the way that the subject documents, and has three more seconds after the last append.

    probe.py URL      the transactions of others, until its input ends
"""

import asyncio
import importlib
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import asyncpg
from postgres.crowd import Part, child, ready, wait_for_word
from postgres.goals import SUBJECTS
from postgres.servers import positions_in

__all__ = ["compared", "probe"]

WRITERS = 3
STRANGERS = 4
OPEN_S = 0.1
IDLE_S = 3.0


def probe(subject: str, appends: int, url: str, direct: str) -> dict[str, int]:
    """Run it on a fresh place.

    Args:
        subject: who appends and reads.
        appends: of each writer.
        url: of the place.
        direct: the same without latency.
    """
    module = importlib.import_module(f"postgres.subjects.{SUBJECTS[subject].module}")
    reader = Part(child(subject, "probe-read", 0, url))
    parts = [reader]
    try:
        reader.wait_until_ready()
        writers = list[Part]()
        for _ in range(WRITERS):  # one after another: not every library can be opened by several at once
            parts.append(writer := Part(child(subject, "probe-write", appends, url)))
            writers.append(writer)
            writer.wait_until_ready()
        if direct.startswith("postgresql"):
            parts.append(strangers := Part([sys.executable, "-m", "postgres.probe", direct]))
            strangers.wait_until_ready()
        for writer in writers:
            writer.tell()
        acknowledged = sum(writer.finish()["acknowledged"] for writer in writers)
        foreign = _end(strangers) if direct.startswith("postgresql") else 0
        time.sleep(IDLE_S)
        reader.tell("stop")
        seen = reader.finish()["seen"]
    finally:
        for part in parts:
            part.kill()
    table = module.table(url) if hasattr(module, "table") else module.TABLE
    log = positions_in(direct, table, module.POSITION)
    return {**compared(seen, log, acknowledged), "transactions_of_others": foreign}


def _end(strangers: Part) -> int:
    strangers.tell("stop")
    return strangers.finish()["transactions"]


def compared(seen: Sequence[int], log: Sequence[int], acknowledged: int) -> dict[str, int]:
    """What is wrong with the positions that a reader saw, as they came; and with the number that the log holds."""
    times = Counter(seen)
    stored = set(log)
    return {
        "events": len(log),
        "acknowledged": acknowledged,
        "missed": len(stored - times.keys()),
        "repeated": sum(count - 1 for count in times.values()),
        "reordered": sum(one > next_one for one, next_one in pairwise(seen)),
        "phantom": len(times.keys() - stored),
        "lost": max(0, acknowledged - len(log)),
    }


async def strangers(url: str) -> dict[str, Any]:
    over, done = asyncio.create_task(asyncio.to_thread(_begin_and_wait)), 0

    async def keep_open(number: int, connection: Any) -> None:
        nonlocal done
        chance = random.Random(number)
        while not over.done():
            transaction = connection.transaction()
            await transaction.start()
            await connection.execute("INSERT INTO others VALUES ($1)", number)
            await asyncio.sleep(chance.uniform(0, OPEN_S))
            await (transaction.commit() if chance.random() < 0.5 else transaction.rollback())
            done += 1

    connections = [await asyncpg.connect(url) for _ in range(STRANGERS)]
    await connections[0].execute("CREATE TABLE others (number integer)")
    await asyncio.gather(*(keep_open(number, each) for number, each in enumerate(connections)))
    return {"transactions": done}


def _begin_and_wait() -> None:
    ready()
    wait_for_word()


if __name__ == "__main__":
    print(json.dumps(asyncio.run(strangers(sys.argv[1]))))
