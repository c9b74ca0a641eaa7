"""Cases of two writers and a reader, and the guarantees that must hold after every schedule."""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise

from msgspec import Struct

from fait._events.append import Appended, ConditionFailed, VersionConflict
from fait._events.query import Query
from fait._events.version import is_expected
from fait._store.postgres.identifiers import in_schema
from tests.interleavings.actors import (
    Log,
    Poll,
    Reading,
    Row,
    Writer,
    WriterResult,
    as_row,
    by_mark,
    by_tail,
    reader,
    writer,
)
from tests.interleavings.schedules import Arena, Beginning, Free, Part, Schedule, Touches

__all__ = ["BY_MARK", "BY_TAIL", "Case", "Outcome", "Reader", "World", "violations"]

_STORED = """
    SELECT position, stream, version, type, tags, id::text
    FROM {schema}.fait_all_events WHERE position > $1 ORDER BY position
"""
_VERSIONS = "SELECT stream, version FROM {schema}.fait_streams WHERE stream = ANY ($1)"


class Reader(Struct, frozen=True):
    """A way to read a log.

    Attributes:
        poll: reads the next events.
        steps: the steps of a poll, in order, with the things that they touch.
    """

    poll: Poll
    steps: Mapping[str, Touches]


BY_MARK = Reader(
    by_mark,
    {
        "sequence": frozenset({("positions of 0", "read")}),
        "tickets": frozenset({("tickets of 0", "read")}),
        "visible": frozenset({("events", "read")}),
        "rows": frozenset({("events", "read")}),
    },
)


BY_TAIL = Reader(by_tail, {"new": frozenset({("events", "read")})} | dict(BY_MARK.steps))


class Case(Struct, frozen=True):
    """Two writers and a reader.

    Attributes:
        name: name of the case, in messages.
        writers: the two appends.
        polls: number of polls during the schedule. After one more at the end the reader must have all events.
        seed: an append before the schedule.
    """

    name: str
    writers: tuple[Writer, ...]
    polls: int = 1
    seed: Writer | None = None

    @property
    def logs(self) -> int:
        """The number of logs that the case needs."""
        return 1 + max(writer.log for writer in self.writers)


class Outcome(Struct):
    """The results of one schedule; `stored` has the events that were stored during it, in order, for each log."""

    schedule: Schedule
    results: list[WriterResult]
    order: list[WriterResult]
    reading: Reading
    stored: list[list[Row]]
    versions: dict[str, int]


class World:
    """An arena and its logs, in which schedules run one after another."""

    def __init__(self, arena: Arena, logs: Sequence[Log], how: Reader = BY_MARK) -> None:
        self.arena = arena
        self.logs = logs
        self.how = how
        self._number = 0

    async def run(self, case: Case, beginning: Beginning) -> tuple[Outcome | None, list[Beginning]]:
        """Run one schedule of a case. Return its outcome (None if it equals an earlier one) and further beginnings."""
        self._number += 1
        controller = self.arena.controller
        results, order = list[WriterResult](), list[WriterResult]()
        if case.seed is not None:
            await self._seed(case.seed)
        for log in self.logs:
            log.start = await controller.fetchval(log.sql["high_water_mark"], None)
        parts: list[Part] = []
        for name, plan in zip("AB", case.writers, strict=True):
            part, result = writer(name, plan, self.logs[plan.log], self._number, order)
            parts.append(part)
            results.append(result)
        part, reading = reader(case.polls, self.how.poll, self.how.steps, self.logs[0])
        schedule, others = await self.arena.run([*parts, part], beginning)
        if schedule.equal:
            return None, others
        await self.how.poll(controller, Free(controller).pause, self.logs[0], reading)
        return Outcome(schedule, results, order, reading, *await self._stored(results)), others

    async def _seed(self, plan: Writer) -> None:
        part, _ = writer("seed", plan, self.logs[0], self._number, [])
        await part.script(Free(self.arena.controller))

    async def _stored(self, results: Sequence[WriterResult]) -> tuple[list[list[Row]], dict[str, int]]:
        streams = [write.stream for result in results for write in result.writes]
        stored, versions = list[list[Row]](), dict[str, int]()
        for log in self.logs:
            rows = await self.arena.controller.fetch(in_schema(_STORED, log.schema), log.start)
            stored.append([as_row(row) for row in rows])
            versions |= dict(await self.arena.controller.fetch(in_schema(_VERSIONS, log.schema), streams))
        return stored, versions


def violations(outcome: Outcome) -> list[str]:
    """Return the violated guarantees."""
    found = ["deadlock"] if outcome.schedule.deadlock else []
    for check in (_delivery, _marks, _streams, _append_results, _conditions):
        found += check(outcome)
    return found


def _delivery(outcome: Outcome) -> list[str]:
    stored = {row.position: row for row in outcome.stored[0]}
    got = [row.position for row in outcome.reading.rows]
    counted = Counter(got)
    found = [f"missed: {row.stream} v{row.version} at {at}" for at, row in stored.items() if at not in counted]
    found += [f"delivered {times} times: {at}" for at, times in counted.items() if times > 1]
    found += [f"delivered, but not stored: {at}" for at in counted if at not in stored]
    found += [f"delivered {later} after {earlier}" for earlier, later in pairwise(got) if later < earlier]
    last: dict[str, int] = {}
    for row in outcome.reading.rows:
        if row.version <= last.get(row.stream, 0):
            found.append(f"delivered {row.stream} v{row.version} after v{last[row.stream]}")
        last[row.stream] = row.version
    return found


def _marks(outcome: Outcome) -> list[str]:
    start = outcome.reading.start
    return [f"the mark fell from {start} to {mark}" for mark in outcome.reading.marks if mark < start]


def _streams(outcome: Outcome) -> list[str]:
    found: list[str] = []
    for stream, version in outcome.versions.items():
        versions = [row.version for rows in outcome.stored for row in rows if row.stream == stream]
        if versions != list(range(version - len(versions) + 1, version + 1)):
            found.append(f"{stream} is at version {version} and has {versions}")
    return found


def _append_results(outcome: Outcome) -> list[str]:
    found: list[str] = []
    stored = {row.id: row for rows in outcome.stored for row in rows}
    for name, result in zip("AB", outcome.results, strict=True):
        for write in result.writes:
            rows = [stored[event.id] for event in write.events if event.id in stored]
            if not (result.committed and isinstance(result.append_result, Appended)):
                found += [f"{name} was not appended, but there is {row}" for row in rows]
            elif len(rows) < len(write.events):
                found.append(f"{name} was appended and committed, but events are missing")
            elif not is_expected(write.expected, rows[0].version - 1):
                found.append(f"{name} expected {write.expected} and became version {rows[0].version}")
        if isinstance(result.append_result, Appended) and result.committed:
            found += _appended(name, result, result.append_result, stored)
        if isinstance(result.append_result, VersionConflict) and is_expected(
            result.append_result.expected, result.append_result.actual
        ):
            found.append(f"{name} was rejected without a reason: {result.append_result}")
        if result.error and not (result.error == "SerializationError" and len(result.writes) > 1):
            found.append(f"{name} failed: {result.error}")
    return found


def _appended(name: str, result: WriterResult, append_result: Appended, stored: Mapping[str, Row]) -> list[str]:
    last = [stored[write.events[-1].id] for write in result.writes if write.events[-1].id in stored]
    actual = (append_result.position, list(append_result.versions))
    expected = (max((row.position for row in last), default=0), [row.version for row in last])
    return [] if actual == expected else [f"{name} returned {actual} instead of {expected}"]


def _conditions(outcome: Outcome) -> list[str]:
    found: list[str] = []
    for name, result in zip("AB", outcome.results, strict=True):
        rows = outcome.stored[result.writer.log]
        own = {event.id for write in result.writes for event in write.events}
        if isinstance(result.append_result, Appended) and result.committed:
            first = min((row.position for row in rows if row.id in own), default=0)
            earlier = _committed_before(outcome, result)
            for row in rows:
                if row.id not in own and _meant(result, row) and (row.position < first or row.id in earlier):
                    where = "before it in the log" if row.position < first else "committed before it"
                    found.append(f"{name} at {first} although it depends on {row.position}, {where}")
        if isinstance(result.append_result, ConditionFailed):
            told = [event.position for event in result.append_result.events]
            expected = [
                row.position for row in rows if _meant(result, row) and row.position <= result.append_result.position
            ]
            if told != expected:
                found.append(
                    f"{name} returned the conflicting events {told} up to {result.append_result.position}, "
                    f"not {expected}"
                )
    return found


def _committed_before(outcome: Outcome, result: WriterResult) -> set[str]:
    earlier = outcome.order[: outcome.order.index(result)]
    return {event.id for other in earlier for write in other.writes for event in write.events}


def _meant(result: WriterResult, row: Row) -> bool:
    return any(_means(query, row) for query in result.writer.unless)


def _means(query: Query, row: Row) -> bool:
    category = query.category is None or row.stream.split("-")[0] == query.category
    return category and (not query.types or row.type in query.types) and set(query.tags) <= set(row.tags)
