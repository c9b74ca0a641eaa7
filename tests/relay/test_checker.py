"""The checker finds each naive relay, and accepts what a consumer with marks can recognize."""

import pytest

from tests.relay.checker import problems
from tests.relay.naive_relays import (
    ROWS,
    Relay,
    id_cursor,
    marks_after,
    marks_before,
    marks_without_order,
    ordered,
    skip_locked,
)

LOG = [each.arrival for each in ROWS]


@pytest.mark.parametrize(
    ("relay", "problem"),
    [
        (id_cursor, "lost: Arrival(key='k1', position=10)"),
        (skip_locked, "out of order: Arrival(key='k2', position=2) after 8"),
        (marks_without_order, "out of order: Arrival(key='k1', position=1) after 4"),
        (marks_before, "lost: Arrival(key='k1', position=7)"),
    ],
)
def test_naive_relay_is_found(relay: Relay, problem: str) -> None:
    assert problem in problems(LOG, relay(ROWS), repeats=True)


def test_messages_in_order_have_no_problem() -> None:
    assert problems(LOG, ordered(ROWS)) == []


def test_repeated_prefix_is_a_problem_only_where_nothing_may_be_repeated() -> None:
    assert problems(LOG, marks_after(ROWS), repeats=True) == []
    assert [each.split(":")[0] for each in problems(LOG, marks_after(ROWS))] == ["repeated"] * 6


def test_message_that_is_not_in_the_log_is_found() -> None:
    assert problems(LOG[:3], LOG[:4]) == ["not in the log: Arrival(key='k1', position=4)"]
