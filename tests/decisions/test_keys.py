"""Idempotency keys: one intention under each key, at every entrance and on every backend."""

import asyncio
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from itertools import count
from pathlib import Path
from typing import Any, Self

import pytest

import fait
from fait._events.event import NOTHING_DECIDED
from fait._store.open import backend_names
from fait._system import System
from tests.decisions.intentions import INTENTIONS, Emptied, Fill, Filled, Wallet, app, boundary


@pytest.fixture
def clock() -> fait.ManualClock:
    return fait.ManualClock(fait.now())


@pytest.fixture(params=sorted(backend_names()))
async def s(
    request: pytest.FixtureRequest, store_url: Callable[[str], str], clock: fait.ManualClock
) -> AsyncIterator[System]:
    async with app.open(store_url(request.param), clock=clock) as system:
        yield system


async def stored_types(s: System) -> list[str]:
    return [each.type for each in (await s.store.log.read(0)).events]


@pytest.mark.parametrize("first", INTENTIONS)
async def test_key_is_answered_for_the_same_intention_and_refused_for_every_other(s: System, first: str) -> None:
    keys = count(1)
    original = INTENTIONS[first][0]
    for second, calls in INTENTIONS.items():
        for call in calls:
            client = s.using(key=f"{next(keys)}")
            stored = await original(client)
            head = await s.store.log.last_position()
            if second == first:
                again = await call(client)
                assert (again.repeated, again.position) == (True, stored.position)
            else:
                with pytest.raises(fait.KeyReused, match="Nothing was written"):
                    await call(client)
            assert await s.store.log.last_position() == head, (first, second)


@pytest.mark.parametrize(
    "argument", [Path("a"), Fraction(1, 2), range(3), {(1, 2): 3}, [re.compile("a")], UTC, len], ids=repr
)
async def test_argument_that_cannot_be_compared_is_refused_under_a_key(s: System, argument: Any) -> None:
    class Shelf(fait.Aggregate, category="shelf"):
        def put(self, thing: object) -> None:
            self.emit(Filled(1))

        def evolve(self, event: Filled) -> None:
            pass

    await s.transact(Shelf.put, "1", argument)
    with pytest.raises(fait.InvalidValue, match="a repeated call could not be recognized"):
        await s.using(key="k").transact(Shelf.put, "1", argument)
    assert await stored_types(s) == ["wallet.filled"]


ZONE = timezone(timedelta(hours=2))
MOMENT = datetime(2024, 1, 15, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("first", "same", "other"),
    [
        (MOMENT, MOMENT.astimezone(ZONE), MOMENT.replace(tzinfo=ZONE)),
        (Decimal("1.0"), Decimal("1.00"), Decimal("1.01")),
        ({"due": [MOMENT]}, {"due": [MOMENT.astimezone(ZONE)]}, {"due": [MOMENT.replace(tzinfo=None)]}),
        (MOMENT.replace(tzinfo=None), MOMENT.replace(tzinfo=None), MOMENT),
        ("1.0", "1.0", "1.00"),
        (Decimal("1.0"), Decimal("1"), "one"),
    ],
    ids=["instant", "decimal", "nested", "naive", "text", "decimal and text"],
)
async def test_arguments_under_a_key_are_compared_as_values(s: System, first: Any, same: Any, other: Any) -> None:
    client = s.using(key="k")
    await client.transact(Wallet.look, "1", first)

    assert (await client.transact(Wallet.look, "1", same)).repeated
    with pytest.raises(fait.KeyReused, match="look with other arguments"):
        await client.transact(Wallet.look, "1", other)


async def test_key_reused_after_a_decision_without_events_names_its_command_and_no_internal_stream(s: System) -> None:
    await s.using(key="k").decide(boundary, Fill(0))
    await s.using(key="l").transact(Wallet.look, "1")

    for key, original in {"k": "fill-both.Fill", "l": "wallet.look"}.items():
        with pytest.raises(fait.KeyReused, match=f"'{key}' was already used for {original}") as error:
            await s.using(key=key).publish(Filled(1), stream="wallet-1")
        assert error.value.stream == ""
    with pytest.raises(fait.KeyReused, match=r"'k' was already used for fill-both\.Fill"):
        await s.using(key="k").transact(Wallet.look, "1")


async def test_scope_makes_a_key_another_key(s: System) -> None:
    for scope in ("", "a", "b"):
        for repeated in (False, True):
            client = s.using(key="k", scope=scope)
            assert (await client.publish(Filled(1), stream=f"wallet-{scope}")).repeated is repeated

    assert [each.metadata.scope for each in [e async for e in s.events()]] == ["", "a", "b"]


@pytest.mark.parametrize(
    ("stored", "again"),
    [
        ({"stream": "wallet-1"}, {"stream": "wallet-2"}),
        ({"stream": "wallet-1"}, {"stream": "wallet-1", "tags": ["a:1"]}),
    ],
)
@pytest.mark.parametrize("event", [Filled(5), Filled(6), Emptied(5)])
async def test_id_of_another_event_raises_duplicate_event_id(
    s: System, event: object, stored: dict[str, Any], again: dict[str, Any]
) -> None:
    event_id = fait.new_id()
    await s.publish(Filled(5), id=event_id, **stored)

    with pytest.raises(fait.DuplicateEventId):
        await s.publish(event, id=event_id, **again)
    if event != Filled(5):
        with pytest.raises(fait.DuplicateEventId):
            await s.publish(event, id=event_id, **stored)
    assert (await s.publish(Filled(5), id=event_id, **stored)).repeated
    assert await s.store.log.last_position() == 1


async def test_key_together_with_an_id_is_refused(s: System) -> None:
    with pytest.raises(fait.UsageError, match="pass one"):
        await s.using(key="k").publish(Filled(5), stream="wallet-1", id=fait.new_id())

    assert await s.store.log.last_position() == 0


@pytest.mark.parametrize("options", [{"key": 7}, {"key": b"k"}, {"key": "k", "scope": 7}, {"key": ""}])
async def test_key_or_scope_that_is_no_text_is_refused(s: System, options: dict[str, Any]) -> None:
    with pytest.raises(fait.UsageError, match=r"idempotency key.* must"):
        s.using(**options)


# Decisions without events


async def test_repeated_decision_without_events_returns_the_value_of_then(s: System, clock: fait.ManualClock) -> None:
    await s.transact(Wallet.fill, "1", 5)
    first = await s.using(key="k").transact(Wallet.look, "1")
    await s.transact(Wallet.fill, "1", 2)
    clock.advance(days=1)
    again = await s.using(key="k").transact(Wallet.look, "1")

    assert again == fait.WriteResult(5.0, "wallet-1", 1, first.position, repeated=True)
    assert (first.value, first.version, first.repeated, first.attempts) == (5.0, 1, False, 1)


async def test_key_of_a_decision_without_events_does_not_move_the_stream(s: System) -> None:
    await s.using(key="k").transact(Wallet.look, "1")

    assert (await s.transact(Wallet.look, "1")).version == 0
    assert (await s.using(expected="no_stream").transact(Wallet.fill, "1", 1)).version == 1


async def test_decision_without_events_and_key_writes_nothing(s: System) -> None:
    await s.transact(Wallet.look, "1")
    await s.decide(boundary, Fill(0))

    assert await s.store.log.last_position() == 0


async def test_concurrent_calls_under_one_key_with_and_without_events_store_one_intention(s: System) -> None:
    for number in range(20):
        client = s.using(key=f"k{number}")
        results = await asyncio.gather(
            client.transact(Wallet.fill_once, f"{number}"),
            s.transact(Wallet.fill_once, f"{number}"),
            client.transact(Wallet.fill_once, f"{number}"),
        )
        [first] = [each for each in (results[0], results[2]) if not each.repeated]
        assert {results[0].value, results[2].value} == {first.value}
        assert len(await s.read(f"wallet-{number}")) == 1


async def test_reserved_event_is_invisible_to_readers(s: System) -> None:
    nothing = await s.query(fait.Query())
    await s.using(key="k").transact(Wallet.look, "1")
    stored = (await s.store.log.read(0)).events
    appended = await s.append(fait.NewEvents("wallet-1", [Filled(1)]), only_if=nothing)

    assert [each.type for each in stored] == [NOTHING_DECIDED]
    assert [each.event async for each in s.events()] == [Filled(1)]
    assert [each.event for each in (await s.query(fait.Query())).events] == [Filled(1)]
    assert await s.read(stored[0].stream) == []
    assert appended.version == 1
    with pytest.raises(fait.AppendConditionFailed) as error:
        await s.append(fait.NewEvents("wallet-1", [Filled(1)]), only_if=nothing)
    assert error.value.types == ("wallet.filled",)


async def test_reserved_event_is_not_handled_by_subscriptions_to_all_types(store_url: Callable[[str], str]) -> None:
    handled: list[object] = []

    class Everything(fait.ReadModel, key="id"):
        id: str
        events: int = 0

        @staticmethod
        def key_of(event: object, envelope: fait.Envelope) -> str:
            return "all"

        @classmethod
        def evolve(cls, row: Self | None, event: Filled | fait.Untyped, envelope: fait.Envelope) -> Self:
            return cls(id="all", events=1 + (row.events if row else 0))

    watched = fait.App("purses")
    watched.include(Wallet)
    watched.include(Everything)

    @watched.on(fait.Untyped, Filled, Emptied, start="beginning")
    def handle(event: object) -> None:
        handled.append(event)

    async with watched.open(store_url("memory")) as system:
        await system.using(key="k").transact(Wallet.look, "1")
        last = await system.publish(Filled(1), stream="wallet-1")
        await system.wait(last)
        row = await system.get(Everything, "all", after=last)

    assert handled == [Filled(1)]
    assert row is not None
    assert row.events == 1


async def test_reserved_type_can_be_neither_declared_nor_appended(s: System) -> None:
    with pytest.raises(fait.DeclarationError, match="reserved"):
        fait.event(NOTHING_DECIDED)
    with pytest.raises(fait.InvalidValue, match="reserved"):
        await s.publish(fait.Untyped(NOTHING_DECIDED, {}), stream="wallet-1")


def test_log_with_a_key_of_a_decision_without_events_can_be_exported_and_imported(
    store_url: Callable[[str], str], tmp_path: Path
) -> None:
    async def look(url: str) -> list[str]:
        async with app.open(url) as system:
            await system.using(key="k").transact(Wallet.look, "1")
            await system.transact(Wallet.fill, "1", 1)
            return await stored_types(system)

    async def types(url: str) -> list[str]:
        async with app.open(url) as system:
            return await stored_types(system)

    source, copy, file = store_url("sqlite"), f"sqlite:///{tmp_path}/copy.db", str(tmp_path / "events.jsonl")
    stored = asyncio.run(look(source))
    for command in (["export", "-s", source, "-o", file], ["import", file, "-s", copy]):
        program = [sys.executable, "-c", "from fait._tools.cli.main import run; run()", *command]
        subprocess.run(program, check=True, capture_output=True)

    assert stored == [NOTHING_DECIDED, "wallet.filled"]
    assert asyncio.run(types(copy)) == stored


# Processes

PROGRAM = """
import asyncio, sys
import fait
from tests.decisions.intentions import Filled, Wallet, app

async def main(url):
    marks = frozenset({"alpha", "beta", "gamma", "delta", "epsilon"})
    async with app.open(url) as system:
        results = [
            await system.using(key="publish").publish(Filled(1, marks), stream="wallet-1", tags=set(marks)),
            await system.using(key="command").transact(Wallet.fill, "2", 1, marks=marks),
            await system.using(key="append").append(fait.NewEvents("wallet-3", [Filled(2, marks)] * 2)),
        ]
        print([each.repeated for each in results])

asyncio.run(main(sys.argv[1]))
"""


def test_event_with_a_set_is_the_same_in_a_process_with_other_hashes(store_url: Callable[[str], str]) -> None:
    url = store_url("sqlite")
    answers = [
        subprocess.run(
            [sys.executable, "-c", PROGRAM, url],
            env={"PYTHONHASHSEED": str(seed), "PYTHONPATH": ":".join(sys.path)},
            check=True,
            capture_output=True,
            text=True,
        ).stdout.strip()
        for seed in (1, 2, 3)
    ]

    assert answers == [str([False] * 3), str([True] * 3), str([True] * 3)]
