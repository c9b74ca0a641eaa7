"""Kills a process (-9) at each step of a scenario in turn.

Run as a program, `stepping.py scenario directory`, it starts child after child. Child n works on `<n>.db` and is killed
at its n-th step, until one survives. A step is the time before a statement, after a commit, or after an
acknowledgement, which is written to `<n>.acks`. The connection counts the steps: fait contains no code for them.
"""

import asyncio
import os
import signal
import sys
import threading
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any, Final, NamedTuple, cast

import apsw

import fait
from fait._events.append import AppendCondition, StreamWrite
from fait._events.query import Query
from fait._store.open import open_store
from fait._store.ports.registrations import RangeKey
from fait._store.ports.store import Store
from fait._store.sqlite.store import SqliteStore
from fait._tools.cli.transfer import import_file
from fait.testing.contract.store import added, new, write
from tests.crash.consistency import COUNTED, effecting_app
from tests.crash.counting import counting_app

STEPPING_THREADS = ("fait-sqlite-writer", "asyncio")  # the second thread opens the store


class Append(NamedTuple):
    writes: list[StreamWrite]
    condition: AppendCondition | None = None


BEFORE: Final = [write("a", [new(id="a1", tags=("seen",)), new(id="a2")], 0)]

APPENDS: Final = {
    "single": [Append([write("a", [new(id="1")], 2)])],
    "several streams": [Append([write("a", [new(id="1"), new(id="2")], 2), write("b", [new(id="3")], "no_stream")])],
    "tagged": [Append([write("b", [new(id="1", tags=("t", "u")), new(id="2", tags=("t",))])])],
    "conditional": [Append([write("b", [new(id="1")])], AppendCondition((Query(tags=("seen",)),), after=1))],
    # The writer is busy: the appends queued behind it are stored in batches.
    "batch": [Append([write(f"b-{n % 2}", [new(id=f"{n}"), new(id=f"{n}+", tags=("t",))])]) for n in range(5)],
}
"""Concurrent appends, by scenario, to a store that contains `BEFORE`."""

COUNTS: Final = [write(f"counter-{n % 2}", [new(COUNTED, id=f"c{n}", data=f'{{"by":{n + 1}}}')]) for n in range(3)]
ONE_MORE: Final = write("counter-0", [new(COUNTED, id="c3", data='{"by":9}')])


class _Steps:
    def __init__(self) -> None:
        self.last = self.passed = 0
        self.acks = Path()

    def step(self) -> None:
        if self.last:
            self.passed += 1
            if self.passed == self.last:
                os.kill(os.getpid(), signal.SIGKILL)

    def acknowledge(self, text: str) -> None:
        with self.acks.open("a") as file:
            file.write(f"{text}\n")
        self.step()


STEPS: Final = _Steps()


class Stepping(apsw.Connection):
    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.exec_trace = self._before

    def execute(self, statements: str, bindings: Any = None, **options: Any) -> apsw.Cursor:
        cursor = super().execute(statements, bindings, **options)
        if statements == "COMMIT":
            STEPS.step()
        return cursor

    def _before(self, *_: object) -> bool:
        if threading.current_thread().name.startswith(STEPPING_THREADS):
            STEPS.step()
        return True


@asynccontextmanager
async def writer_kept_busy(store: SqliteStore) -> AsyncGenerator[None]:
    """Block the writer thread, so that jobs submitted in the block wait in its queue."""
    started, resume = threading.Event(), threading.Event()

    def wait(connection: object) -> None:
        started.set()
        resume.wait()

    blocking = asyncio.create_task(store._writer.run(wait))
    await asyncio.to_thread(started.wait)
    try:
        yield
    finally:
        resume.set()
    await blocking


async def appending(path: Path, last: int, appends: list[Append]) -> None:
    store = await _store(path)
    await added(store.log, *BEFORE)

    async def append(number: int, request: Append) -> None:
        await store.log.append(request.writes, request.condition)
        STEPS.acknowledge(str(number))

    async with writer_kept_busy(store):
        tasks = [asyncio.create_task(append(*each)) for each in enumerate(appends)]
        await asyncio.sleep(0)  # they are queued
        await asyncio.sleep(0)  # and the first flush has submitted its job
        STEPS.last = last
    await asyncio.gather(*tasks)
    await store.close()


async def opening(path: Path, last: int) -> None:
    STEPS.last = last
    store = await _store(path)
    STEPS.acknowledge("open")
    await store.close()


async def subscribing(path: Path, last: int, app: fait.App, name: str) -> None:
    """Open an app, let it catch up with the stored events and with one more, and close it."""
    store = await _store(path)
    for each in COUNTS:
        await added(store.log, each)
    STEPS.last = last
    async with app.open(f"sqlite:///{path}") as system:
        await _done(system, name)
        await added(store.log, ONE_MORE)
        STEPS.acknowledge("one more")
        await _done(system, name)
    await store.close()


async def _done(system: fait.System, name: str) -> None:
    head = await system.store.log.head()
    await passed(system.store, name, head)
    STEPS.acknowledge(f"{name} {head}")


async def passed(store: Store, name: str, position: int) -> None:
    """Wait until the checkpoint of a subscription has reached a position."""
    while (found := await store.leases.range(RangeKey(name))) is None or found.position < position:  # noqa: ASYNC110
        await asyncio.sleep(0.001)


async def _store(path: Path) -> SqliteStore:
    return cast("SqliteStore", await open_store(f"sqlite:///{path}"))


def importing(path: Path, last: int) -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    STEPS.last = last
    import_file(path.with_name("facts.jsonl"), f"sqlite:///{path}", batch_size=4)
    STEPS.acknowledge("imported")


def scenario(name: str, path: Path, last: int) -> None:
    match name:
        case "open":
            asyncio.run(opening(path, last))
        case "projection":
            asyncio.run(subscribing(path, last, counting_app(), "totals"))
        case "reactor":
            asyncio.run(subscribing(path, last, effecting_app(), "effect"))
        case "import":
            importing(path, last)
        case _:
            asyncio.run(appending(path, last, APPENDS[name]))


def kill_until_one_survives(name: str, directory: Path) -> int:
    """Kill children at step after step until one survives; return how many were killed."""
    for number in count(1):
        child = os.fork()
        if child == 0:
            try:
                STEPS.acks = directory / f"{number}.acks"
                apsw.Connection = Stepping  # type: ignore[misc]
                scenario(name, directory / f"{number}.db", number)
            except BaseException:
                sys.excepthook(*sys.exc_info())
                os._exit(1)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if os.WIFEXITED(status):
            assert os.WEXITSTATUS(status) == 0
            return number - 1
        assert os.WTERMSIG(status) == signal.SIGKILL
    raise AssertionError


if __name__ == "__main__":
    print(kill_until_one_survives(sys.argv[1], Path(sys.argv[2])))
