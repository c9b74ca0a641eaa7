"""Lost-events probe on PostgreSQL: detects events that a live reader misses or reorders, for every subject.

Three processes of 16 callers append. fait and asyncpg also append in transactions that stay open for a while, half of
which are rolled back. Foreign transactions stay open that write to another table of the database. A reader in its own
process follows in the way that the subject documents, until three seconds after the last append.

    probe.py URL      run the foreign transactions until the end of the input
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
from postgres.crowd import Part, child, ready, wait_for_line
from postgres.goals import SUBJECTS
from postgres.servers import positions_in

__all__ = ["compared", "probe"]

WRITERS = 3
FOREIGN_CLIENTS = 4
OPEN_S = 0.1
IDLE_S = 3.0


def probe(subject: str, appends: int, url: str, direct: str) -> dict[str, int]:
    """Run the probe on a new database.

    Args:
        subject: The subject that appends and reads.
        appends: Number of appends of each writer.
        url: URL of the database.
        direct: The same without latency.
    """
    module = importlib.import_module(f"postgres.subjects.{SUBJECTS[subject].module}")
    reader = Part(child(subject, "probe-read", 0, url))
    parts = [reader]
    try:
        reader.wait_until_ready()
        writers = list[Part]()
        for _ in range(WRITERS):  # one after another: some libraries cannot be opened concurrently
            parts.append(writer := Part(child(subject, "probe-write", appends, url)))
            writers.append(writer)
            writer.wait_until_ready()
        if direct.startswith("postgresql"):
            parts.append(foreign_clients := Part([sys.executable, "-m", "postgres.probe", direct]))
            foreign_clients.wait_until_ready()
        for writer in writers:
            writer.send_line()
        acknowledged = sum(writer.finish()["acknowledged"] for writer in writers)
        transactions = _end(foreign_clients) if direct.startswith("postgresql") else 0
        time.sleep(IDLE_S)
        reader.send_line("stop")
        seen = reader.finish()["seen"]
    finally:
        for part in parts:
            part.kill()
    table = module.table(url) if hasattr(module, "table") else module.TABLE
    log = positions_in(direct, table, module.POSITION)
    return {**compared(seen, log, acknowledged), "transactions_of_others": transactions}


def _end(foreign_clients: Part) -> int:
    foreign_clients.send_line("stop")
    return foreign_clients.finish()["transactions"]


def compared(seen: Sequence[int], log: Sequence[int], acknowledged: int) -> dict[str, int]:
    """Count the errors of a reader, given positions in the order received, and of the log."""
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


async def foreign_clients(url: str) -> dict[str, Any]:
    over, done = asyncio.create_task(asyncio.to_thread(_begin_and_wait)), 0

    async def keep_open(number: int, connection: Any) -> None:
        nonlocal done
        rng = random.Random(number)
        while not over.done():
            transaction = connection.transaction()
            await transaction.start()
            await connection.execute("INSERT INTO others VALUES ($1)", number)
            await asyncio.sleep(rng.uniform(0, OPEN_S))
            await (transaction.commit() if rng.random() < 0.5 else transaction.rollback())
            done += 1

    connections = [await asyncpg.connect(url) for _ in range(FOREIGN_CLIENTS)]
    await connections[0].execute("CREATE TABLE others (number integer)")
    await asyncio.gather(*(keep_open(number, each) for number, each in enumerate(connections)))
    return {"transactions": done}


def _begin_and_wait() -> None:
    ready()
    wait_for_line()


if __name__ == "__main__":
    print(json.dumps(asyncio.run(foreign_clients(sys.argv[1]))))
