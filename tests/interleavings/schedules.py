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

__all__ = ["Arena", "Beginning", "Free", "Line", "Part", "Schedule", "Session", "Touches", "are_dependent", "explore"]

STEP_TIMEOUT_S: Final = 0.002
"""Timeout for a step, after which the controller queries which sessions block it."""

Touches = frozenset[tuple[str, str]]
"""The things that a step touches, each with "read", "write" or "add". Two reads of a thing commute, as do two adds."""


def are_dependent(one: Touches, other: Touches) -> bool:
    """Return whether the order of two steps can make a difference."""
    return any(thing == same and not (how == too and how != "write") for thing, how in one for same, too in other)


class Line(Struct, frozen=True):
    """One step of a schedule: session, step, and which sessions were then blocked or unblocked."""

    who: str
    step: str
    then: str

    def __str__(self) -> str:
        return f"{self.who:>8}  {self.step:<10} {self.then}".rstrip()


class Part(Struct, frozen=True):
    """The steps of one session.

    Attributes:
        name: name of the session, in traces.
        steps: all possible steps, in order, with the things that they touch.
        script: runs the steps; it pauses before each step that is not inside a function of the database.
        repeats: whether the first step may follow the last.
    """

    name: str
    steps: Mapping[str, Touches]
    script: "Callable[[Free], Coroutine[Any, Any, None]]"
    repeats: bool = False

    def ahead(self, step: str) -> list[Touches]:
        """Return the things that this step and all later steps may touch."""
        names = list(self.steps)
        return [self.steps[name] for name in names[0 if self.repeats else names.index(step) :]]


class Free:
    """A connection that runs its steps without pauses."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection

    async def pause(self, step: str) -> None:
        """Return immediately."""


class Session(Free):
    """One connection, and the state of its part.

    Attributes:
        at: the step before which it pauses; None while it runs one, and after its end.
        taking: the last step that it started.
        waits: whether it waits for a lock of another session.
        stopped: set while it pauses, and after its end.
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
        connection.add_log_listener(self._on_notice)

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Start the part; it runs up to its first pause."""
        self.waits = False
        self.stopped.clear()
        self._task = asyncio.create_task(work)
        self._task.add_done_callback(lambda _: self.stopped.set())

    async def end(self) -> None:
        """Wait for the end; raise the error of the part."""
        assert self._task is not None
        await self._task

    @property
    def ended(self) -> bool:
        """Whether the part has ended."""
        return self._task is None or self._task.done()

    async def pause(self, step: str) -> None:
        """Pause between two statements."""
        if self.free:
            return
        self._gate = asyncio.get_running_loop().create_future()
        self._stop(step)
        await self._gate

    def go(self) -> int | None:
        """End the pause. Return the gate to open if the session pauses in the database."""
        assert self.at is not None
        self.taking, self.at = self.at, None
        self.stopped.clear()
        if self._gate is None:
            return self.gates + STEPS.index(self.taking)
        self._gate.set_result(None)
        self._gate = None
        return None

    def _on_notice(self, _connection: Any, message: Any) -> None:
        if message.message.startswith("before "):
            self._stop(message.message.removeprefix("before "))

    def _stop(self, step: str) -> None:
        self.at = step
        self.stopped.set()


class Schedule(Struct):
    """The indexes of the chosen sessions, the steps, and whether it was abandoned because it equals another."""

    choices: list[int]
    lines: list[Line]
    deadlock: bool = False
    equal: bool = False


class Beginning(Struct, frozen=True):
    """The first choices of a schedule to be run; `asleep`: the sessions that need not be tried again after them."""

    choices: tuple[int, ...] = ()
    asleep: frozenset[int] = frozenset()


class Arena:
    """Sessions, and a controller that lets one of them run a step at a time."""

    def __init__(self, controller: Any, sessions: Sequence[Session]) -> None:
        self.controller = controller
        self.sessions = sessions
        self._pids = {session.pid for session in sessions}
        self._opened = sessions[0].gates - 1  # initially no session's gate

    @classmethod
    async def open(cls, connect: Callable[[], Awaitable[Any]], sessions: int, number: int) -> "Arena":
        """Open the connections. The number makes the gates of several arenas different."""
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
        """Close the connections."""
        for connection in (self.controller, *(session.connection for session in self.sessions)):
            connection.terminate()

    async def run(self, parts: Sequence[Part], beginning: Beginning) -> tuple[Schedule, list[Beginning]]:
        """Run one schedule to its end. Return it, and the beginnings of the schedules that remain to be tried."""
        for session, part in zip(self.sessions, parts, strict=True):
            session.start(part.script(session))
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
            asleep = frozenset(each for each in asleep if not are_dependent(self._next(parts, each), touched))
        for session in self.sessions:
            await session.end()
        return schedule, others

    async def _leave(self) -> None:
        """Let all sessions run to their end without pauses."""
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
        """Return whether later steps can wake all sleeping sessions; otherwise all continuations were run before."""
        sleeping = {index for index in asleep if not are_dependent(self._next(parts, index), self._next(parts, choice))}
        awake = {index for index, session in enumerate(self.sessions) if not session.ended} - sleeping
        ahead = list[Touches]()
        while awake:
            for index in awake:
                steps = parts[index].ahead(self.sessions[index].at or self.sessions[index].taking or "")
                ahead += steps[index == choice and not parts[index].repeats :]
            awake = {
                each for each in sleeping if any(are_dependent(self._next(parts, each), touched) for touched in ahead)
            }
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
        """Wait until a session pauses, ends, or waits for a lock of another session."""
        while not session.stopped.is_set():
            if patience:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(STEP_TIMEOUT_S):
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
    """Beginnings to be run, shared by several arenas; the last one added is taken first."""

    def __init__(self) -> None:
        self._left = [Beginning()]
        self._running = 0
        self._changed = asyncio.Condition()
        self._closed = False

    async def take(self) -> Beginning | None:
        """Return the next beginning; None at the end."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._left or not self._running or self._closed)
            if self._closed or not self._left:
                return None
            self._running += 1
            return self._left.pop()

    async def done(self, found: Iterable[Beginning], stop: bool) -> None:
        """Report that a beginning has been run, and add the beginnings that it found."""
        async with self._changed:
            self._left += found
            self._running -= 1
            self._closed = self._closed or stop
            self._changed.notify_all()


async def explore(
    arenas: Sequence[Arena], run: Callable[[Arena, Beginning], Awaitable[tuple[list[Beginning], bool]]]
) -> None:
    """Run all schedules, one per arena at a time. `run` returns further beginnings, and whether to stop."""
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
