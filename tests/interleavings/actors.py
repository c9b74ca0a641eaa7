"""The sessions of a schedule: writers that call the append functions, a reader that polls, and their results."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from uuid import uuid4

import asyncpg
from msgspec import Struct

from fait._events.append import AppendCondition, Appended, AppendResult, StreamWrite
from fait._events.envelope import EncodedEvent
from fait._events.query import Query
from fait._store.postgres.append_protocol import batch_arguments, is_single_event, read_results, single_arguments
from fait._store.postgres.identifiers import statements
from fait._store.postgres.tail_cache import MAX_CACHED_BYTES, MAX_CACHED_EVENTS
from tests.interleavings.schedules import Free, Part, Touches

__all__ = [
    "ANY",
    "EXISTS",
    "Log",
    "Poll",
    "Reading",
    "Row",
    "To",
    "Writer",
    "WriterResult",
    "by_mark",
    "by_tail",
    "reader",
    "writer",
]

ANY, EXISTS = -1, -2
Pause = Callable[[str], Awaitable[None]]


class Log(Struct):
    """A log under test.

    Attributes:
        schema: its schema.
        sql: its statements.
        start: the mark at the beginning of the schedule; events up to it belong to earlier schedules.
    """

    schema: str
    sql: dict[str, str]
    start: int = 0

    @classmethod
    def at(cls, schema: str) -> "Log":
        return cls(schema, statements(schema))


class To(Struct, frozen=True):
    """The events of an append for one stream. Each schedule uses its own streams."""

    stream: str = "a"
    expected: int = ANY
    events: int = 1
    type: str = "moved"
    tags: tuple[str, ...] = ()


class Writer(Struct, frozen=True):
    """One append in a transaction.

    Attributes:
        to: the streams.
        unless: the queries of the append's condition, after the mark at the beginning of the schedule.
        rolls_back: whether the transaction is rolled back.
        works: whether it writes something else before it appends, as an external transaction does.
        log: index of the log.
    """

    to: tuple[To, ...] = (To(),)
    unless: tuple[Query, ...] = ()
    rolls_back: bool = False
    works: bool = False
    log: int = 0


class WriterResult(Struct):
    """The result of a writer's append and transaction."""

    writer: Writer
    writes: tuple[StreamWrite, ...]
    append_result: AppendResult | None = None
    error: str = ""
    committed: bool = False


class Row(Struct, frozen=True):
    """An event as it was read."""

    position: int
    stream: str
    version: int
    type: str
    tags: tuple[str, ...]
    id: str


class Reading(Struct):
    """The marks that a reader read after a position, and the events in the order of delivery."""

    start: int
    after: int
    marks: list[int]
    rows: list[Row]


Poll = Callable[[Any, Pause, Log, Reading], Awaitable[None]]
"""Reads the next events, given a connection and a function to call before each statement that is a step."""


def new_writes(plan: Writer, number: int) -> tuple[StreamWrite, ...]:
    return tuple(
        StreamWrite(
            f"{to.stream}-{number}",
            tuple(EncodedEvent(to.type, 1, str(uuid4()), "{}", tags=to.tags) for _ in range(to.events)),
            to.expected,
        )
        for to in plan.to
    )


def writer(name: str, plan: Writer, log: Log, number: int, order: list[WriterResult]) -> tuple[Part, WriterResult]:
    """Return a writer's part and its result, which the part fills; a committed result is appended to `order`."""
    result = WriterResult(plan, new_writes(plan, number))

    async def script(session: Free) -> None:
        await session.connection.execute("BEGIN")  # explicit, so that the session can pause before the commit
        if plan.works:
            await session.pause("work")
            await session.connection.fetchval("SELECT pg_current_xact_id()")
        try:
            await _append(session.connection, log, result)
        except (asyncpg.SerializationError, asyncpg.DeadlockDetectedError) as problem:
            result.error = type(problem).__name__
        ends = "ROLLBACK" if plan.rolls_back or result.error else "COMMIT"
        if isinstance(result.append_result, Appended):
            await session.pause(ends.lower())
        await session.connection.execute(ends)
        if ends == "COMMIT":
            result.committed = True
            order.append(result)

    return Part(name, writer_steps(plan), script), result


async def _append(connection: Any, log: Log, result: WriterResult) -> None:
    condition = AppendCondition(result.writer.unless, log.start) if result.writer.unless else None
    append = (result.writes, condition)
    if is_single_event([append]):
        rows = await connection.fetch(log.sql["append_one"], *single_arguments(append, None, lock_timeout_ms=None))
    else:
        rows = await connection.fetch(
            log.sql["append"], *batch_arguments([append], None, check_ids=False, lock_timeout_ms=None)
        )
    try:
        result.append_result = read_results([append], rows)[0]
    except AssertionError as problem:
        result.error = str(problem)


def writer_steps(plan: Writer) -> dict[str, Touches]:
    """Return the steps in order. Condition locks are shared for appends without a condition, otherwise exclusive."""
    locks = ("locks", "write" if plan.unless else "add")
    streams = {(f"stream {to.stream} of {plan.log}", "write") for to in plan.to}
    tickets, positions = f"tickets of {plan.log}", f"positions of {plan.log}"
    ends = frozenset({locks, *streams, (tickets, "add")})
    steps = {"work": Touches()} if plan.works else {}
    steps["locks"] = frozenset({locks})
    if plan.unless:
        steps["check"] = frozenset({("events", "read")})
    steps["streams"] = frozenset(
        {locks, *streams} if len(plan.to) > 1 else streams
    )  # with several streams, the append may fail here
    steps["last value"] = frozenset({(positions, "read")})
    steps["ticket"] = frozenset({(tickets, "add")})
    steps["insert"] = frozenset({(positions, "write")})
    if plan.unless or any(to.expected != ANY for to in plan.to):
        steps["rejected"] = frozenset({locks, *streams, ("events", "read")})
    steps["rollback" if plan.rolls_back else "commit"] = ends if plan.rolls_back else ends | {("events", "add")}
    return steps


async def by_mark(connection: Any, pause: Pause, log: Log, reading: Reading) -> None:
    """Read the mark, then the events up to it."""
    mark = await connection.fetchval(log.sql["high_water_mark"], None)
    await pause("rows")
    rows = await connection.fetch(log.sql["read_log"], reading.after, mark, 1000, None, None)
    reading.marks.append(mark)
    reading.rows += [as_row(row) for row in rows]
    reading.after = max(reading.after, mark)


async def by_tail(connection: Any, _pause: Pause, log: Log, reading: Reading) -> None:
    """Read as a reader at the end of the log does: one call returns the mark and the events up to it."""
    rows = await connection.fetch(log.sql["read_tail"], reading.after, MAX_CACHED_EVENTS, MAX_CACHED_BYTES, None)
    mark = rows[0]["mark"]
    reading.marks.append(mark)
    reading.rows += [as_row(row) for row in rows if row["position"] is not None]
    reading.after = max(reading.after, mark)


def as_row(row: Any) -> Row:
    return Row(row["position"], row["stream"], row["version"], row["type"], tuple(row["tags"] or ()), row["id"])


def reader(polls: int, poll: Poll, steps: Mapping[str, Touches], log: Log) -> tuple[Part, Reading]:
    """Return a reader's part, and the reading that it fills."""
    reading = Reading(log.start, log.start, [], [])

    async def script(session: Free) -> None:
        for _ in range(polls):
            await poll(session.connection, session.pause, log, reading)

    return Part("reader", steps, script, repeats=polls > 1), reading
