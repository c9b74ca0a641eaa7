"""Every order of the steps of two appends and a reader: guarantees hold, and planted faults are detected."""

import contextlib
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from fait._events.query import Query
from tests.interleavings.actors import EXISTS, Log, To, Writer
from tests.interleavings.cases import BY_MARK, BY_TAIL, Case, Outcome, Reader, World, violations
from tests.interleavings.schedules import Arena, Beginning, explore
from tests.interleavings.stepped import Edit, schema_script
from tests.interleavings.variants import VARIANTS, Variant
from tests.servers.postgres import PostgresServer

ARENAS = 3

MOVED = Query(types=("moved",))
TEA = Query(tags=("tea",))

PLAIN = Writer()
PLAIN_B = Writer((To("b"),))
FIRST = Writer((To(expected=0),))
SECOND = Writer((To(expected=1),))
TWO = Writer((To(events=2),))
BOTH = Writer((To("a", 0), To("b", 0)))
TAGGED = Writer((To("b", tags=("tea",)),))
TWO_B = Writer((To("b", events=2),))
TWO_TAGGED = Writer((To("b", events=2, tags=("tea",)),))
BY_TYPE = Writer(unless=(MOVED,))
BY_TAG = Writer((To(tags=("tea", "milk")),), unless=(TEA,))


def external(writer: Writer, rolls_back: bool = False) -> Writer:
    return Writer(writer.to, writer.unless, rolls_back, works=True)


def elsewhere(writer: Writer, stream: str = "b") -> Writer:
    to = tuple(To(stream, each.expected, each.events, each.type, each.tags) for each in writer.to)
    return Writer(to, writer.unless, writer.rolls_back, writer.works)


CASES = [
    Case("plain, two streams", (PLAIN, PLAIN_B)),
    Case("plain, one stream", (PLAIN, PLAIN)),
    Case("plain, one stream, several events", (TWO, PLAIN)),
    Case("exact, one stream", (FIRST, FIRST), polls=2),
    Case("exact, one stream with history", (SECOND, SECOND), seed=PLAIN),
    Case("exact and any, one stream", (FIRST, PLAIN)),
    Case("exists, while the stream begins", (Writer((To(expected=EXISTS),)), FIRST)),
    Case("two streams at once and one of them", (BOTH, Writer((To("b", 0),)))),
    Case("external with several events and plain, two streams", (external(TWO), PLAIN_B)),
    Case("external rolls back and plain, two streams", (external(PLAIN, rolls_back=True), PLAIN_B)),
    Case("external and plain, one stream", (external(PLAIN), PLAIN)),
    Case("external rolls back and exact, one stream", (external(FIRST, rolls_back=True), FIRST)),
    Case("conditions by tag", (BY_TAG, elsewhere(BY_TAG))),
    Case("conditions by type", (BY_TYPE, elsewhere(BY_TYPE))),
    Case("condition by tag and an append without", (BY_TAG, TAGGED)),
    Case("condition by type and an append without", (BY_TYPE, PLAIN_B)),
    Case("condition by tag and several without", (BY_TAG, TWO_TAGGED)),
    Case("condition by type and several without", (BY_TYPE, TWO_B)),
    Case("condition by type and one that rolls back", (BY_TYPE, external(PLAIN_B, rolls_back=True))),
    Case("condition that rolls back and one by tag", (external(BY_TAG, rolls_back=True), elsewhere(BY_TAG))),
    Case("two logs", (PLAIN, Writer((To("b"),), log=1)), seed=Writer((To("seed"),))),
]

AT_THE_END = {"plain, two streams", "exact, one stream", "external rolls back and plain, two streams"}


@contextlib.asynccontextmanager
async def worlds(
    server: PostgresServer, case: Case, how: Reader = BY_MARK, edits: Sequence[Edit] = ()
) -> AsyncGenerator[list[World]]:
    """Open several arenas on one server; each runs schedules concurrently with the others."""

    async def connect() -> Any:
        return await asyncpg.connect(server.url)

    made: list[World] = []
    try:
        for number in range(ARENAS):
            arena = await Arena.open(connect, 3, number)
            logs = [Log.at(f"interleavings_{uuid4().hex}") for _ in range(case.logs)]
            made.append(World(arena, logs, how))
            for log in logs:
                await arena.controller.execute(schema_script(log.schema, edits))
        yield made
    finally:
        for world in made:
            await world.arena.close()


async def explored(
    worlds: Sequence[World], case: Case, until: Callable[[Outcome], bool] = lambda _: False
) -> list[Outcome]:
    """Run all schedules of a case, or until an outcome satisfies `until`."""
    by_arena = {id(world.arena): world for world in worlds}
    outcomes: list[Outcome] = []

    async def run(arena: Arena, beginning: Beginning) -> tuple[list[Beginning], bool]:
        outcome, others = await by_arena[id(arena)].run(case, beginning)
        if outcome is not None:
            outcomes.append(outcome)
        return others, outcome is not None and until(outcome)

    await explore([world.arena for world in worlds], run)
    return outcomes


def trace(outcome: Outcome) -> str:
    return "\n".join(["", *map(str, outcome.schedule.lines), *(f"=> {each}" for each in violations(outcome)), ""])


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_no_schedule_violates_a_guarantee(postgres_servers: Callable[[], PostgresServer], case: Case) -> None:
    await _hold(postgres_servers(), case, BY_MARK)


@pytest.mark.parametrize("case", [case for case in CASES if case.name in AT_THE_END], ids=lambda case: case.name)
async def test_no_schedule_of_read_tail_violates_a_guarantee(
    postgres_servers: Callable[[], PostgresServer], case: Case
) -> None:
    await _hold(postgres_servers(), case, BY_TAIL)


async def _hold(server: PostgresServer, case: Case, how: Reader) -> None:
    async with worlds(server, case, how) as arenas:
        outcomes = await explored(arenas, case)
    print(f"{case.name}: {len(outcomes)} schedules")
    bad = [outcome for outcome in outcomes if violations(outcome)]
    if bad:
        pytest.fail(f"{len(bad)} of {len(outcomes)} schedules:" + "".join(map(trace, bad[:3])), pytrace=False)


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.name)
async def test_planted_fault_is_detected(postgres_servers: Callable[[], PostgresServer], variant: Variant) -> None:
    [case] = [case for case in CASES if case.name == variant.case]

    def shows(outcome: Outcome) -> bool:
        return any(variant.shows in each for each in violations(outcome))

    async with worlds(postgres_servers(), case, variant.how, variant.edits) as arenas:
        outcomes = await explored(arenas, case, until=shows)
    found = [outcome for outcome in outcomes if shows(outcome)]
    assert found, f"{len(outcomes)} schedules of {case.name} show nothing"
    print(f"{variant.name}: found in {len(outcomes)} schedules of {case.name}", trace(found[0]))


async def test_mark_may_be_lower_than_earlier_mark(postgres_servers: Callable[[], PostgresServer]) -> None:
    # A writer has read the sequence's last value and not acquired its ticket yet, while others append and are read. No
    # guarantee is violated: the writer has yet to draw its position. A reader keeps the highest mark.
    case = Case("plain, two polls", (PLAIN, PLAIN_B), polls=2)

    def sinks(outcome: Outcome) -> bool:
        return outcome.reading.marks != sorted(outcome.reading.marks)

    async with worlds(postgres_servers(), case) as arenas:
        outcomes = await explored(arenas, case, until=sinks)
    [found, *_] = [outcome for outcome in outcomes if sinks(outcome)]
    assert violations(found) == []
    print(f"marks {found.reading.marks} after {len(outcomes)} schedules", trace(found))
