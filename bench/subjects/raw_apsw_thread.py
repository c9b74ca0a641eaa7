"""SQLite through apsw in a separate thread, which leaves the event loop free; one commit per append."""

import asyncio
import queue
import threading

from measure import Outcome, concurrently, outcome, timed_async
from subjects.raw_sqlite import INSERT, TABLE, Database, Event, events, opened, row

__all__ = ["TABLE", "WORKLOADS"]


class Writer:
    """The thread that owns the connection."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._loop = asyncio.get_running_loop()
        self._waiting: queue.SimpleQueue[tuple[Event, asyncio.Future[None]]] = queue.SimpleQueue()
        threading.Thread(target=self._serve, daemon=True).start()

    async def append(self, given: Event) -> None:
        done = self._loop.create_future()
        self._waiting.put((given, done))
        await done

    def _serve(self) -> None:
        while True:
            given, done = self._waiting.get()
            self._db.execute("BEGIN IMMEDIATE")
            self._db.execute(INSERT, row(given))
            self._db.execute("COMMIT")
            self._loop.call_soon_threadsafe(done.set_result, None)


async def _w1(db: Database, n: int) -> tuple[float, list[float]]:
    writer = Writer(db)
    await timed_async(writer.append, events(range(n, n + n // 10), 1))
    return await timed_async(writer.append, events(range(n), 1))


async def _w2(db: Database, n: int) -> tuple[float, list[float]]:
    writer = Writer(db)
    await concurrently(writer.append, events(range(n, n + n // 10), 1))
    return await concurrently(writer.append, events(range(n), 1))


def w1(path: str, n: int) -> Outcome:
    return outcome(n, *asyncio.run(_w1(opened(path, "apsw"), n)), stored=n + n // 10)


def w2(path: str, n: int) -> Outcome:
    return outcome(n, *asyncio.run(_w2(opened(path, "apsw"), n)), stored=n + n // 10)


WORKLOADS = {"W1": w1, "W2": w2}
