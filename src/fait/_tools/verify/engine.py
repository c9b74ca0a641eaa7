"""Carries a plan out: starts the processes, kills some, ends the others, and has everything compared."""

import asyncio
import random
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, cast

from msgspec import Struct

from fait._clock import new_id
from fait._errors import FaitError, StoreUnavailable
from fait._events.append import Appended, StreamWrite
from fait._events.envelope import EncodedEvent
from fait._events.version import ANY
from fait._store.health import Finding
from fait._store.open import Store, open_store
from fait._tools.verify.checker import Checker
from fait._tools.verify.child import EXIT_TIMEOUT_S, ChildProcess
from fait._tools.verify.plan import END, Plan
from fait._tools.verify.reader import KINDS, given
from fait._tools.verify.report import FAILED, FeedReport, VerifyReport

__all__ = ["Progress", "VerifyRun"]

POLL_INTERVAL_S: Final = 0.2


class Progress(Struct, frozen=True):
    """Where things are.

    Attributes:
        seconds: that writers have been writing.
        written: events acknowledged.
        delivered: events that every reader was given.
        faults: found so far.
    """

    seconds: float
    written: int
    delivered: int
    faults: int


class VerifyRun:
    """One run of a plan.

    Args:
        plan: what to do; its log exists, and is empty.
        stop: ends it before its time, in good order.
        show: is told now and then where things are.
    """

    def __init__(self, plan: Plan, stop: asyncio.Event, show: Callable[[Progress], None]) -> None:
        self._plan = plan
        self._stop = stop
        self._show = show
        self._chance = random.Random(plan.seed)  # noqa: S311 - to be repeated, not to be secret
        self._judge = Checker()
        self._children: list[ChildProcess] = []
        self._roles = [("writer",)] * plan.processes + [("transactions", "joined")] * max(1, plan.processes // 2)
        self._started = 0
        self._killed = 0
        self._seconds = 0.0

    async def run(self) -> VerifyReport:
        """Do it; no process of it is left afterwards, however it ends."""
        with TemporaryDirectory(prefix="fait-verify-") as directory:
            try:
                return await self._run(Path(directory))
            finally:
                await asyncio.gather(*(child.kill() for child in self._children))

    async def _run(self, directory: Path) -> VerifyReport:
        foreign = await self._start(directory, "transactions", "foreign")
        await self._ready([foreign])
        files = {kind: directory / kind for kind in KINDS}
        readers = [await self._start(directory, "reader", kind, str(file)) for kind, file in files.items()]
        writers = [await self._writer(directory, role) for role in self._roles]
        await self._ready([*readers, *writers])
        await self._write(directory, writers, [foreign, *readers])
        async with _open_existing(self._plan.url) as store:
            await self._read_out(store, readers)
            await self._end([foreign])
            await self._end([await self._start(directory, "transactions", "rows")])
            unsafe = await _examine(store)
        self._judge.finish()
        feeds = {kind: self._judge.finish_reader(kind, given(file)) for kind, file in files.items()}
        return self._report(feeds, unsafe)

    async def _start(self, directory: Path, module: str, *words: str) -> ChildProcess:
        reader = words[0] if module == "reader" else ""
        child = await ChildProcess.start(
            self._plan, lambda said: self._judge.add(said, reader), directory, module, *words
        )
        self._children.append(child)
        return child

    async def _writer(self, directory: Path, role: Sequence[str]) -> ChildProcess:
        self._started += 1
        return await self._start(directory, *role, str(self._started))

    async def _ready(self, children: Sequence[ChildProcess]) -> None:
        """Wait until they have begun."""
        try:
            async with asyncio.timeout(EXIT_TIMEOUT_S):
                await asyncio.gather(*(child.ready.wait() for child in children))
        except TimeoutError:
            late = ", ".join(child.name for child in children if not child.ready.is_set())
            raise StoreUnavailable(f"{late} did not begin within {EXIT_TIMEOUT_S:g} s.") from None

    async def _write(self, directory: Path, writers: list[ChildProcess], others: Sequence[ChildProcess]) -> None:
        """Let them write, and now and then kill one and start another in its place."""
        began = time.monotonic()
        kill_at = began + self._pause()
        while (now := time.monotonic()) - began < self._plan.seconds and not self._stop.is_set():
            self._show_progress(now - began)
            if not all(child.running for child in (*writers, *others)):
                break  # by itself: it says why when it is waited for
            if now >= kill_at:
                kill_at = now + self._pause()
                number = self._chance.randrange(len(writers))
                if writers[number].ready.is_set():
                    await writers[number].kill()
                    self._killed += 1
                    writers[number] = await self._writer(directory, self._roles[number])
            await self._sleep(POLL_INTERVAL_S)
        self._seconds = time.monotonic() - began
        await self._end(writers)
        self._show_progress(self._seconds)

    def _pause(self) -> float:
        return self._plan.kill_every_s * (0.5 + self._chance.random())

    async def _sleep(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._stop.wait()
        except TimeoutError:
            return

    async def _end(self, children: Sequence[ChildProcess], last: str = "") -> None:
        for child in children:
            child.send(last)
        for child in children:
            if problem := await child.ended():
                self._judge.report(FAILED, problem)

    async def _read_out(self, store: Store, readers: Sequence[ChildProcess]) -> None:
        """Append a last event, and read everything up to it; have the readers do the same."""
        last = EncodedEvent(END, 1, new_id(), "{}")
        verdict = await store.log.append([StreamWrite("end", (last,), ANY)])
        assert isinstance(verdict, Appended)
        reading = asyncio.create_task(self._read_all(store, verdict.position))
        await self._end(readers, str(verdict.position))
        if not await reading:
            self._judge.report(FAILED, f"the log's end was not to be read within {EXIT_TIMEOUT_S:g} s")

    async def _read_all(self, store: Store, end: int) -> bool:
        position, late = 0, time.monotonic() + EXIT_TIMEOUT_S
        while position < end and time.monotonic() < late:
            page = await store.log.read(position)
            for event in page.events:
                self._judge.add_recorded(event)
            if page.events:
                late = time.monotonic() + EXIT_TIMEOUT_S
            elif position < end:
                await asyncio.sleep(POLL_INTERVAL_S)
            position = page.position
        return position >= end

    def _show_progress(self, seconds: float) -> None:
        judge = self._judge
        delivered = min((judge.delivered.get(kind, 0) for kind in KINDS), default=0)
        self._show(Progress(seconds, judge.acknowledged, delivered, judge.faults))

    def _report(self, feeds: dict[str, FeedReport], unsafe: list[Finding]) -> VerifyReport:
        judge = self._judge
        if not (judge.acknowledged and judge.stored):
            judge.report(FAILED, "nothing was stored")
        return VerifyReport(
            seed=self._plan.seed,
            seconds=round(self._seconds, 1),
            stored=judge.stored,
            acknowledged=judge.acknowledged,
            refused=judge.refused,
            rolled_back=judge.rolled_back,
            killed=self._killed,
            errors=judge.errors,
            feeds=feeds,
            broken=dict(judge.broken),
            examples=dict(judge.examples),
            unsafe=[*unsafe, *judge.unsafe],
            interrupted=self._stop.is_set(),
        )


@asynccontextmanager
async def _open_existing(url: str) -> AsyncGenerator[Store]:
    store = await open_store(url, create=False)
    try:
        yield store
    finally:
        await store.close()


async def _examine(store: Store) -> list[Finding]:
    """What the backend finds against itself."""
    examine = cast("Callable[[], Awaitable[list[Finding]]] | None", getattr(store, "examine", None))
    try:
        found = [] if examine is None else await examine()
    except FaitError as problem:
        return [Finding("settings", "unknown", str(problem))]
    return [each for each in found if each.status != "ok"]
