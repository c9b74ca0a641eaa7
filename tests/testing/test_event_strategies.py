"""`events_of` generates events that can be stored, of any class that has a description."""

from datetime import datetime
from decimal import Decimal
from random import Random
from typing import Annotated, Any, Literal

import hypothesis
import msgspec
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from msgspec import Meta

import fait
from fait._events.event import event_type
from fait.testing.strategies import events_of, histories
from tests.schema.random_types import ROOTS, event_class, random_record
from tests.testing.bank import Account, Add, Counted, Deposited, Opened, Withdrawn, counter

FEW = settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)


class Line(msgspec.Struct, frozen=True):
    sku: Annotated[str, Meta(pattern=r"^[A-Z]{2}-\d{3}$")]
    count: Annotated[int, Meta(gt=0, le=10)]
    parts: "list[Line]" = []


@fait.event("strategies.placed")
class Placed:
    lines: Annotated[list[Line], Meta(min_length=1, max_length=3)]
    total: Decimal
    at: datetime
    way: Literal["post", "van"]
    rate: Annotated[float, Meta(gt=0.5, lt=2, multiple_of=0.25)]
    by: Line | str | None = None


@hypothesis.given(events_of(Placed))
@FEW
def test_generated_events_respect_limits_patterns_and_nested_records(event: Placed) -> None:
    assert 1 <= len(event.lines) <= 3
    assert all(0 < line.count <= 10 and len(line.sku.strip()) == 6 for line in event.lines)
    assert 0.5 < event.rate < 2
    assert event.way in ("post", "van")
    assert event_type(Placed).decode(event_type(Placed).encode(event).decode()) == event  # type: ignore[union-attr]


def test_generated_events_shrink_to_the_simplest() -> None:
    found = hypothesis.find(events_of(Counted), lambda event: event.amount > 100)

    assert found == Counted(101)


@pytest.mark.parametrize("seed", range(30))
def test_events_of_random_classes_can_be_stored(seed: int) -> None:
    random = Random(seed)
    try:
        cls = event_class(random_record(random, random.choice(ROOTS)))
        events = events_of(cls)
    except (fait.DeclarationError, TypeError):
        return  # JSON cannot store it, or the library cannot make it
    declared: Any = event_type(cls)

    @hypothesis.given(events)
    @settings(FEW, max_examples=5)
    def check(event: object) -> None:
        assert type(event) is cls
        declared.encode(event)

    check()


@fait.event("strategies.even")
class Even(msgspec.Struct, frozen=True):
    number: int

    def __post_init__(self) -> None:
        if self.number % 2:
            raise ValueError("odd")


@hypothesis.given(events_of(Even, Counted))
@FEW
def test_values_that_the_class_refuses_are_left_out(event: Even | Counted) -> None:
    assert isinstance(event, Counted) or event.number % 2 == 0


@hypothesis.given(histories(Account, arguments={Account.deposit: st.tuples(st.integers(1, 9))}))
@FEW
def test_histories_are_those_that_commands_can_decide(history: list[Any]) -> None:
    account = fait.fold(Account, history)

    assert [type(each) for each in history].count(Opened) <= 1
    assert account.balance >= 0
    assert {type(each) for each in history} <= {Opened, Deposited, Withdrawn}


@hypothesis.given(histories(counter, arguments={Add: st.tuples(st.builds(Add, st.integers(0, 5)))}))
@FEW
def test_histories_of_deciders_follow_their_rules(history: list[Any]) -> None:
    assert sum(each.amount for each in history) <= 10


def test_class_that_is_no_event_is_refused() -> None:
    with pytest.raises(fait.UsageError):
        events_of(Line)
