"""Services on each broker are disturbed for a minute; and proofs that wrong results are noticed."""

import asyncio
import random

import pytest
from msgspec.structs import replace

from tests.conftest import missing
from tests.delivery.checker import Delivered, Results, Stored, by_key, history, violations
from tests.delivery.naive import RELAYS
from tests.delivery.report import Plan
from tests.delivery.round import run_round
from tests.delivery.servers import BROKERS
from tests.servers.postgres import installations

SECONDS = 60.0
TIMEOUT_S = 600
"""Timeout for a round of `SECONDS`, with the start of the servers, and everything that is waited for at its end."""

NAIVE_SECONDS = 2.5


@pytest.mark.timeout(TIMEOUT_S)
@pytest.mark.parametrize("broker", BROKERS)
def test_disturbed_services_lose_repeat_and_reorder_nothing(broker: str, request: pytest.FixtureRequest) -> None:
    _require(broker, request)
    databases = ("postgresql", "sqlite") if list(BROKERS).index(broker) % 2 else ("sqlite", "postgresql")

    report = asyncio.run(run_round(Plan(broker, databases, SECONDS, random.randrange(1 << 30))))

    print(report.summary)
    assert not report.violations, report.failure
    assert report.disturbances.total() > 10
    assert report.events > 20 * SECONDS


@pytest.mark.parametrize("naive", RELAYS)
def test_naive_relay_is_found(naive: str, request: pytest.FixtureRequest) -> None:
    _require("redis", request)

    report = asyncio.run(run_round(Plan("redis", ("postgresql", "sqlite"), NAIVE_SECONDS, seed=1, naive=naive)))

    problem = "broker: lost" if naive == "id cursor" else "broker: out of order"
    assert any(each.startswith(problem) for found in report.violations.values() for each in found)


EVENTS = [Stored("order-1", n, n, position=10 * n) for n in (1, 2, 3)]
MESSAGES = [Delivered("order-1", n, 10 * n, place=f"{n}") for n in (1, 2, 3)]
EFFECTS = [("order-1", n) for n in (1, 2, 3)]
RIGHT = Results(EVENTS, {"order-1": 3}, {}, frozenset(), MESSAGES, False, EFFECTS, EFFECTS)


@pytest.mark.parametrize(
    "right",
    [
        RIGHT,
        replace(RIGHT, messages=None),
        replace(RIGHT, messages=[*MESSAGES[:2], *MESSAGES], repeats=True),
        replace(RIGHT, messages=[*MESSAGES[:2], *MESSAGES], refused=frozenset({"order-1"})),
        replace(RIGHT, parked={"order-1": 20}, messages=MESSAGES[:1], effects=EFFECTS[:1], reservations=EFFECTS[:1]),
    ],
    ids=["all", "messages not kept", "repeated messages", "repeated messages of a refused key", "parked key"],
)
def test_right_results_have_no_violation(right: Results) -> None:
    assert violations(right) == {}


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        ({"events": EVENTS[:2], "messages": MESSAGES[:2], "effects": EFFECTS[:2], "reservations": EFFECTS[:2]},
         "log: acknowledged version 3 is lost"),
        ({"messages": MESSAGES[:2]}, "broker: lost: Arrival(key='order-1', position=3)"),
        ({"messages": [*MESSAGES, MESSAGES[0]]}, "broker: repeated: Arrival(key='order-1', position=1)"),
        ({"messages": MESSAGES[::-1]}, "broker: out of order: Arrival(key='order-1', position=2) after 3"),
        ({"messages": [MESSAGES[1], *MESSAGES], "repeats": True}, "broker: gap: order-1 1 before 2"),
        ({"messages": [*MESSAGES[:2], MESSAGES[2]._replace(position=31)]}, "broker: wrong position: Delivered("),
        ({"parked": {"order-1": 20}, "effects": EFFECTS[:1], "reservations": EFFECTS[:1]}, "broker: not in the log"),
        ({"effects": EFFECTS[:2]}, "effect: lost: Arrival(key='order-1', position=3)"),
        ({"effects": [*EFFECTS, EFFECTS[2]]}, "effect: repeated: Arrival(key='order-1', position=3)"),
        ({"effects": EFFECTS[::-1]}, "effect: out of order: Arrival(key='order-1', position=2) after 3"),
        ({"reservations": EFFECTS[:2]}, "event of the consumer: lost: Arrival(key='order-1', position=3)"),
        ({"effects": [*EFFECTS, ("order-2", 1)]}, "effect: not in the log: Arrival(key='order-2', position=1)"),
    ],
)  # fmt: skip
def test_wrong_result_is_noticed(wrong: dict[str, object], problem: str) -> None:
    [key, *_] = found = violations(replace(RIGHT, **wrong))

    assert any(each.startswith(problem) for each in found[key])


def test_history_of_a_key_says_what_became_of_each_event() -> None:
    results = replace(RIGHT, parked={"order-1": 30}, messages=MESSAGES[:2], effects=EFFECTS[:2], reservations=[])

    assert history("order-1", by_key(results)["order-1"]) == [
        "order-1: 3 events, version 3 acknowledged, parked from position 30",
        "  log     1 at position 10",
        "  log     2 at position 20",
        "  log     3 at position 30",
        "  broker  1 at position 10 in 1",
        "  broker  2 at position 20 in 2",
        "  effects [1, 2]",
        "  events of the consumer []",
    ]


def _require(broker: str, request: pytest.FixtureRequest) -> None:
    """Skip the test if a server is not installed."""
    request.getfixturevalue(f"{broker.partition('-')[0]}_servers")
    if 18 not in installations():
        missing("PostgreSQL 18")
