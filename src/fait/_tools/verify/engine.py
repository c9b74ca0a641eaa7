"""Runs a verification: starts the processes, kills some of them, stops the others, and has the results compared."""

import asyncio
import random
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, Protocol

from msgspec import Struct

from fait._clock import new_id
from fait._errors import FaitError, StoreUnavailable
from fait._events.append import Appended, StreamWrite
from fait._events.envelope import EncodedEvent
from fait._events.version import ANY
from fait._store.open import open_store
from fait._store.ports.store import Finding, Store
from fait._tools.verify.checker import Checker
from fait._tools.verify.child import PROCESS_TIMEOUT_S, ChildProcess
from fait._tools.verify.plan import END, Plan
from fait._tools.verify.reader import READERS, read_deliveries
from fait._tools.verify.report import ReaderReport, VerifyReport, Violation
from fait._tools.verify.sessions import has_driver

__all__ = ["Hostility", "RunProgress", "VerifyRun"]

POLL_INTERVAL_S: Final = 0.2
"""Interval between checks of the processes, and between reads at the end of the log."""


class RunProgress(Struct, frozen=True):
    """The progress of a verification.

    Attributes:
        seconds: how long the writers have been running.
        acknowledged: number of events acknowledged so far.
        delivered: number of events delivered to every reader so far.
        violations: number of violations so far.
    """

    seconds: float
    acknowledged: int
    delivered: int
    violations: int


class Hostility(Protocol):
    """What a caller adds to the load of a run."""

    @property
    def roles(self) -> Sequence[tuple[str, ...]]:
        """Further processes that work while the writers do, and are killed and replaced like them."""
        ...

    async def disturb(self, run: "VerifyRun") -> None:
        """Disturb the processes and the server until canceled; then leave them as they were, before returning."""
        ...

    async def check(self, checker: Checker) -> None:
        """Check what the further processes stored, and report violations. All writers have ended."""
        ...


class VerifyRun:
    """One run of a plan.

    Args:
        plan: what to do; its log must exist and be empty.
        stop: when set, ends the run early and compares what has happened so far.
        show_progress: called regularly with the progress.
        hostility: what is added to the load of the plan.

    Attributes:
        writers: the processes that append, and those that `hostility` adds.
        others: the other processes: readers, and a program with a transaction of its own.
    """

    def __init__(
        self,
        plan: Plan,
        stop: asyncio.Event,
        show_progress: Callable[[RunProgress], None],
        hostility: Hostility | None = None,
    ) -> None:
        self.writers: list[ChildProcess] = []
        self.others: list[ChildProcess] = []
        self._hostility = hostility
        self._plan = plan
        self._stop = stop
        self._show_progress = show_progress
        self._random = random.Random(plan.seed)  # noqa: S311 - reproducible, not secret
        self._checker = Checker()
        self._children: list[ChildProcess] = []
        self._has_transactions = has_driver(plan.url)
        outboxes = max(1, plan.processes // 2) if self._has_transactions else 0
        self._roles = [
            *[("writer",)] * plan.processes,
            *[("transactions", "outbox")] * outboxes,
            *(hostility.roles if hostility else ()),
        ]
        self._replacing = asyncio.Lock()
        self._started = 0
        self._killed = 0
        self._seconds = 0.0
        self._directory = Path()  # set while it runs

    async def run(self) -> VerifyReport:
        """Run the plan. All processes have ended when it returns or raises."""
        with TemporaryDirectory(prefix="fait-verify-") as directory:
            self._directory = Path(directory)
            try:
                return await self._run()
            finally:
                await asyncio.gather(*(child.kill() for child in self._children))

    async def _run(self) -> VerifyReport:
        foreign = [await self._start("transactions", "foreign")] if self._has_transactions else []
        await self._wait_until_ready(foreign)
        files = {name: self._directory / name for name in READERS}
        readers = [await self._start("reader", name, str(file)) for name, file in files.items()]
        self.writers = [await self._start_writer(role) for role in self._roles]
        self.others = [*foreign, *readers]
        await self._wait_until_ready([*readers, *self.writers])
        await self._run_writers()
        async with _open_existing(self._plan.url) as store:
            await self._read_to_end(store, readers)
            await self._stop_children(foreign)
            if self._has_transactions:
                await self._stop_children([await self._start("transactions", "rows")])
            unsafe_settings = [*await _examine(store), *self._find_unverified()]
        if self._hostility:
            await self._hostility.check(self._checker)
        self._checker.finish()
        reports = {name: self._checker.finish_reader(name, read_deliveries(file)) for name, file in files.items()}
        return self._report(reports, unsafe_settings)

    def _find_unverified(self) -> list[Finding]:
        detail = "not verified: fait verify-store has no driver for the transactions of a program on this database"
        return [] if self._has_transactions else [Finding("outbox", "unknown", detail)]

    async def _start(self, module: str, *arguments: str) -> ChildProcess:
        reader = arguments[0] if module == "reader" else ""
        child = await ChildProcess.start(
            self._plan, lambda message: self._checker.add_message(message, reader),
            self._directory, module, *arguments,
        )  # fmt: skip
        self._children.append(child)
        return child

    async def _start_writer(self, role: Sequence[str]) -> ChildProcess:
        self._started += 1
        return await self._start(*role, str(self._started))

    async def _wait_until_ready(self, children: Sequence[ChildProcess]) -> None:
        try:
            async with asyncio.timeout(PROCESS_TIMEOUT_S):
                await asyncio.gather(*(child.ready.wait() for child in children))
        except TimeoutError:
            late = ", ".join(child.name for child in children if not child.ready.is_set())
            raise StoreUnavailable(
                f"processes did not start within {PROCESS_TIMEOUT_S:g} s: {late}. Check the load of this machine and "
                "of the server."
            ) from None

    @property
    def _has_failed_process(self) -> bool:
        return not (self._replacing.locked() or all(child.is_running for child in (*self.writers, *self.others)))

    async def replace(self, number: int) -> None:
        """Kill a writer and start another in its place, even if the caller is canceled in the meantime."""
        replacing = asyncio.ensure_future(self._replace(number))
        try:
            await asyncio.shield(replacing)
        except asyncio.CancelledError:
            await asyncio.wait([replacing])
            raise

    async def _replace(self, number: int) -> None:
        async with self._replacing:
            await self.writers[number].kill()
            self._killed += 1
            self.writers[number] = await self._start_writer(self._roles[number])

    async def _run_writers(self) -> None:
        """Let the writers run, undisturbed in the end."""
        disturbance = asyncio.create_task(self._hostility.disturb(self)) if self._hostility else None
        try:
            await self._kill_writers(disturbance)
        finally:
            if disturbance:
                disturbance.cancel()
                await asyncio.wait([disturbance])
        if disturbance and not disturbance.cancelled() and (error := disturbance.exception()):
            raise error
        await self._stop_children(self.writers)
        self._update_progress(self._seconds)

    async def _kill_writers(self, disturbance: asyncio.Task[None] | None) -> None:
        """At intervals, kill a writer and start another in its place, until the time is up or a process has failed."""
        started_at = time.monotonic()
        kill_at = started_at + self._random_kill_interval()
        while (now := time.monotonic()) - started_at < self._plan.seconds and not self._stop.is_set():
            self._update_progress(now - started_at)
            if self._has_failed_process or (disturbance and disturbance.done()):
                break  # _stop_children reports why
            if now >= kill_at:
                kill_at = now + self._random_kill_interval()
                number = self._random.randrange(len(self.writers))
                if self.writers[number].ready.is_set():
                    await self.replace(number)
            await self._sleep(POLL_INTERVAL_S)
        self._seconds = time.monotonic() - started_at

    def _random_kill_interval(self) -> float:
        return self._plan.kill_interval_s * (0.5 + self._random.random())

    async def _sleep(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._stop.wait()
        except TimeoutError:
            return

    async def _stop_children(self, children: Sequence[ChildProcess], argument: str = "") -> None:
        for child in children:
            child.stop(argument)
        for child in children:
            if failure := await child.wait():
                self._checker.report(Violation.FAILED_PROCESS, failure)

    async def _read_to_end(self, store: Store, readers: Sequence[ChildProcess]) -> None:
        """Append a last event. Read the log up to it, here and in the readers."""
        last = EncodedEvent(END, 1, new_id(), "{}")
        result = await store.log.append([StreamWrite("end", (last,), ANY)])
        assert isinstance(result, Appended)
        read_task = asyncio.create_task(self._read_log(store, result.position))
        await self._stop_children(readers, str(result.position))
        if not await read_task:
            self._checker.report(
                Violation.FAILED_PROCESS,
                f"no event of the log could be read for {PROCESS_TIMEOUT_S:g} s before its end",
            )

    async def _read_log(self, store: Store, end: int) -> bool:
        position, deadline = 0, time.monotonic() + PROCESS_TIMEOUT_S
        while position < end and time.monotonic() < deadline:
            page = await store.log.read(position)
            for event in page.events:
                self._checker.add_recorded(event)
            if page.events:
                deadline = time.monotonic() + PROCESS_TIMEOUT_S
            elif position < end:
                await asyncio.sleep(POLL_INTERVAL_S)
            position = page.position
        return position >= end

    def _update_progress(self, seconds: float) -> None:
        checker = self._checker
        delivered = min((checker.delivered.get(name, 0) for name in READERS), default=0)
        self._show_progress(RunProgress(seconds, checker.acknowledged, delivered, checker.violation_count))

    def _report(self, readers: dict[str, ReaderReport], unsafe_settings: list[Finding]) -> VerifyReport:
        checker = self._checker
        if not (checker.acknowledged and checker.stored):
            checker.report(Violation.FAILED_PROCESS, "the writers stored no event")
        return VerifyReport(
            seed=self._plan.seed,
            seconds=round(self._seconds, 1),
            stored=checker.stored,
            acknowledged=checker.acknowledged,
            rejected=checker.rejected,
            rolled_back=checker.rolled_back,
            killed=self._killed,
            errors=checker.errors,
            readers=readers,
            violations=dict(checker.violations),
            examples=dict(checker.examples),
            unsafe_settings=[*unsafe_settings, *checker.unsafe_settings],
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
    """Run the backend's checks. Return those that are not ok."""
    try:
        return [each for each in await store.examine() if each.status != "ok"]
    except FaitError as error:
        return [Finding("settings", "unknown", str(error))]
