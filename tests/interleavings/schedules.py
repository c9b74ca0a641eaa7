"""Runs sessions of a real server step by step, in every order that can make a difference.

A session pauses before each of its steps, inside a function of the database (it waits for a lock that the arena holds,
and reports the step by a notice) or between two statements. The arena lets one session run one step, waits until it
pauses again, ends, or is blocked by a lock of another session, and repeats: a schedule. A blocked session takes part
again when it is no longer blocked. Where several sessions can continue, each choice is tried, by running the schedule
again from the start.

Schedules that differ only in the order of independent steps have the same outcome, and only one of them is run (sleep
sets: once a choice has been tried, it is not tried again in sibling schedules, until a dependent step was run).
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from typing import Any, Final

from msgspec import Struct

from tests.interleavings.stepped import STEPS

__all__ = ["Arena", "Beginning", "Free", "Line", "Part", "Schedule", "Session", "Touches", "explore", "meet"]

MOMENT_S: Final = 0.002
"""Time for a step, after which the server is asked which sessions block it."""

Touches = frozenset[tuple[str, str]]
"""What a step touches, each thing with "read", "write", or "add": two that add can change places, as two that read."""


def meet(one: Touches, other: Touches) -> bool:
    """Whether the order of two steps can make a difference."""
    return any(thing == same and not (how == too and how != "write") for thing, how in one for same, too in other)


class Line(Struct, frozen=True):
    """One step of a schedule: session, step, and which sessions were then blocked or unblocked."""

    who: str
    step: str
    then: str

    def __str__(self) -> str:
        return f"{self.who:>8}  {self.step:<10} {self.then}".rstrip()


class Part(Struct, frozen=True):
    """What one session does.

    Attributes:
        name: for traces.
        steps: in order, all that it may take, with what they touch.
        play: does it; pauses by itself before steps that are no step of a function.
        repeats: whether the first step may follow the last.
    """

    name: str
    steps: Mapping[str, Touches]
    play: "Callable[[Free], Coroutine[Any, Any, None]]"
    repeats: bool = False

    def ahead(self, step: str) -> list[Touches]:
        """What is touched by this step and all that may follow."""
        names = list(self.steps)
        return [self.steps[name] for name in names[0 if self.repeats else names.index(step) :]]


class Free:
    """A connection that is not stepped."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection

    async def pause(self, step: str) -> None:
        """Nothing holds it up."""


class Session(Free):
    """One connection, and where it stands.

    Attributes:
        at: the step it is about to take; None while it takes one, and when it has ended.
        taking: the last step that it was let take.
        waits: whether it was found waiting for a lock of another session.
        stopped: set when it pauses or has ended.
        free: whether it no longer pauses between statements.
    """

    def __init__(self, connection: Any, pid: int, gates: int) -> None:
        super().__init__(connection)
        self.pid = pid
        self.gates = gates
        self.at: str | None = None
        self.taking: str | None = None
        self.waits = False
        self.stopped = asyncio.Event()
        self.free = False
        self._gate: asyncio.Future[None] | None = None
        self._task: asyncio.Task[None] | None = None
        connection.add_log_listener(self._hear)

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Go, up to the first pause."""
        self.waits = False
        self.stopped.clear()
        self._task = asyncio.create_task(work)
        self._task.add_done_callback(lambda _: self.stopped.set())

    async def end(self) -> None:
        """Raise what went wrong."""
        assert self._task is not None
        await self._task

    @property
    def ended(self) -> bool:
        """Whether there is nothing more to do."""
        return self._task is None or self._task.done()

    async def pause(self, step: str) -> None:
        """Pause between two statements."""
        if self.free:
            return
        self._gate = asyncio.get_running_loop().create_future()
        self._stop(step)
        await self._gate

    def go(self) -> int | None:
        """Leave the pause; returns the gate to open if it is one in the database."""
        assert self.at is not None
        self.taking, self.at = self.at, None
        self.stopped.clear()
        if self._gate is None:
            return self.gates + STEPS.index(self.taking)
        self._gate.set_result(None)
        self._gate = None
        return None

    def _hear(self, _connection: Any, message: Any) -> None:
        if message.message.startswith("before "):
            self._stop(message.message.removeprefix("before "))

    def _stop(self, step: str) -> None:
        self.at = step
        self.stopped.set()


class Schedule(Struct):
    """Choices of sessions by their index, what they led to, and whether it was left because it equals another."""

    choices: list[int]
    lines: list[Line]
    deadlock: bool = False
    equal: bool = False


class Beginning(Struct, frozen=True):
    """How a schedule begins that is still to be run; `asleep`: what need not be tried again at its last step."""

    choices: tuple[int, ...] = ()
    asleep: frozenset[int] = frozenset()


class Arena:
    """Some sessions, and a controller that lets them take their steps."""

    def __init__(self, controller: Any, sessions: Sequence[Session]) -> None:
        self.controller = controller
        self.sessions = sessions
        self._pids = {session.pid for session in sessions}
        self._opened = sessions[0].gates - 1  # initially no session's gate

    @classmethod
    async def open(cls, connect: Callable[[], Awaitable[Any]], sessions: int, number: int) -> "Arena":
        """Make the connections; the number keeps the gates of several arenas apart."""
        controller = await connect()
        made: list[Session] = []
        for each in range(sessions):
            connection = await connect()
            gates = (number * sessions + each + 1) * 100
            await connection.execute(
                f"SET interleavings.gates = {gates}; SET deadlock_timeout = '20ms'; SET lock_timeout = '20s'"
            )
            made.append(Session(connection, await connection.fetchval("SELECT pg_backend_pid()"), gates))
            gates_of_steps = [gates + step for step in range(len(STEPS))]
            await controller.fetch("SELECT pg_advisory_lock(gate) FROM unnest($1::bigint[]) AS gate", gates_of_steps)
        return cls(controller, made)

    async def close(self) -> None:
        """End the connections."""
        for connection in (self.controller, *(session.connection for session in self.sessions)):
            connection.terminate()

    async def run(self, parts: Sequence[Part], beginning: Beginning) -> tuple[Schedule, list[Beginning]]:
        """Run one schedule to its end; returns what else is to be tried, too."""
        for session, part in zip(self.sessions, parts, strict=True):
            session.start(part.play(session))
            await session.stopped.wait()
        schedule, others, asleep = Schedule([], []), list[Beginning](), frozenset[int]()
        while not all(session.ended for session in self.sessions):
            able = [index for index, session in enumerate(self.sessions) if session.at is not None]
            depth = len(schedule.choices)
            if not able:
                schedule.deadlock = True
                await self._outlast_deadlock()
                continue
            if depth < len(beginning.choices):
                choice = beginning.choices[depth]
                assert choice in able, (
                    f"not deterministic: {parts[choice].name} could continue here before: {schedule.lines}"
                )
                asleep = beginning.asleep if depth == len(beginning.choices) - 1 else asleep
            else:
                awake = [index for index in able if index not in asleep]
                tried = [asleep | frozenset(awake[:place]) for place in range(len(awake))]
                new = [
                    Beginning((*schedule.choices, index), before)
                    for index, before in zip(awake, tried, strict=True)
                    if self._is_new(parts, before, index)
                ]
                if not new:
                    schedule.equal = True
                    await self._leave()
                    break
                choice, asleep = new[0].choices[-1], new[0].asleep
                others += new[1:]
            touched = await self._step(parts, choice, schedule)
            asleep = frozenset(each for each in asleep if not meet(self._next(parts, each), touched))
        for session in self.sessions:
            await session.end()
        return schedule, others

    async def _leave(self) -> None:
        """Let all sessions run freely to their end."""
        gates = [session.gates + step for session in self.sessions for step in range(len(STEPS))]
        for session in self.sessions:
            session.free = True
            if session.at is not None:
                session.go()
        await self.controller.fetch("SELECT pg_advisory_unlock(gate) FROM unnest($1::bigint[]) AS gate", gates)
        for session in self.sessions:
            await session.end()
            session.free = False
        await self.controller.fetch("SELECT pg_advisory_lock(gate) FROM unnest($1::bigint[]) AS gate", gates)
        self._opened = self.sessions[0].gates - 1

    def _next(self, parts: Sequence[Part], index: int) -> Touches:
        step = self.sessions[index].at
        assert step is not None
        return parts[index].steps[step]

    def _is_new(self, parts: Sequence[Part], asleep: frozenset[int], choice: int) -> bool:
        """Whether all who sleep can be woken by what may follow a choice; else all that follows was run before."""
        sleeping = {index for index in asleep if not meet(self._next(parts, index), self._next(parts, choice))}
        awake = {index for index, session in enumerate(self.sessions) if not session.ended} - sleeping
        ahead = list[Touches]()
        while awake:
            for index in awake:
                steps = parts[index].ahead(self.sessions[index].at or self.sessions[index].taking or "")
                ahead += steps[index == choice and not parts[index].repeats :]
            awake = {each for each in sleeping if any(meet(self._next(parts, each), touched) for touched in ahead)}
            sleeping -= awake
        return not sleeping

    async def _step(self, parts: Sequence[Part], choice: int, schedule: Schedule) -> Touches:
        session = self.sessions[choice]
        waiting = [index for index, other in enumerate(self.sessions) if other.waits]
        touched = self._next(parts, choice)
        gate, step = session.go(), session.taking
        if gate is not None:
            await self.controller.fetchval("SELECT pg_advisory_lock($1), pg_advisory_unlock($2)", self._opened, gate)
            self._opened = gate
        await self._settle(session)
        then = "blocked" if session.waits else ""
        for index in waiting:
            await self._settle(self.sessions[index], patience=False)
            if not self.sessions[index].waits:
                then += f"→ {parts[index].name} continues "
                touched |= parts[index].steps[self.sessions[index].taking or ""]
        schedule.choices.append(choice)
        schedule.lines.append(Line(parts[choice].name, step or "", then))
        return touched

    async def _settle(self, session: Session, patience: bool = True) -> None:
        """Wait until a session pauses, has ended, or waits for another."""
        while not session.stopped.is_set():
            if patience:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(MOMENT_S):
                        await session.stopped.wait()
                        break
            blockers = await self.controller.fetchval("SELECT pg_blocking_pids($1)", session.pid)
            if self._pids.intersection(blockers):
                session.waits = True
                return
            patience = True
        session.waits = False

    async def _outlast_deadlock(self) -> None:
        waiting = [session for session in self.sessions if session.waits]
        stops = [asyncio.create_task(session.stopped.wait()) for session in waiting]
        await asyncio.wait(stops, return_when=asyncio.FIRST_COMPLETED)
        for stop in stops:
            stop.cancel()
        for session in waiting:
            await self._settle(session)


class _Frontier:
    """Beginnings that are still to be run, shared by several arenas: the longest first."""

    def __init__(self) -> None:
        self._left = [Beginning()]
        self._under_way = 0
        self._news = asyncio.Condition()
        self._closed = False

    async def take(self) -> Beginning | None:
        """The next one; None when there will be no more."""
        async with self._news:
            await self._news.wait_for(lambda: self._left or not self._under_way or self._closed)
            if self._closed or not self._left:
                return None
            self._under_way += 1
            return self._left.pop()

    async def done(self, found: Iterable[Beginning], stop: bool) -> None:
        """One that was taken has been run."""
        async with self._news:
            self._left += found
            self._under_way -= 1
            self._closed = self._closed or stop
            self._news.notify_all()


async def explore(
    arenas: Sequence[Arena], run: Callable[[Arena, Beginning], Awaitable[tuple[list[Beginning], bool]]]
) -> None:
    """Run all schedules, several at a time: `run` gives the beginnings that it found, and whether that is enough."""
    frontier = _Frontier()

    async def work(arena: Arena) -> None:
        while (beginning := await frontier.take()) is not None:
            found, stop = [], True  # if it raises, the others stop
            try:
                found, stop = await run(arena, beginning)
            finally:
                await frontier.done(found, stop)

    async with asyncio.TaskGroup() as workers:
        for arena in arenas:
            workers.create_task(work(arena))
