"""`given`: decisions run as in an open system, and each check fails for what it is there to detect."""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

import fait
from fait.testing import given
from tests.testing.bank import (
    Account,
    Add,
    Balance,
    Counted,
    Deposited,
    Opened,
    Overdrawn,
    Owner,
    Withdrawn,
    counter,
    shared_counter,
)

DAY_1 = datetime(2024, 1, 1, tzinfo=UTC)
OPENED = Opened("ada", DAY_1)


def failure(test: Callable[[], object]) -> str:
    """Return the text with which a test fails."""
    with pytest.raises(AssertionError) as caught:
        test()
    return str(caught.value)


def test_command_of_aggregate_decides_events_returns_a_value_and_changes_the_state() -> None:
    case = given(Account, OPENED).when(Account.deposit, amount=100)

    case.then(Deposited(100)).returned(100).state(lambda account: (account.owner, account.balance) == ("ada", 100))


def test_commands_follow_one_another_and_time_passes() -> None:
    case = given(Account).when(Account.open, "ada").then(OPENED).when(Account.deposit, 100)

    case.when(Account.withdraw, 10).rejected("too new").after(days=1).when(Account.withdraw, 10).then(Withdrawn(10))


def test_clock_of_the_test_gives_the_time() -> None:
    given(Account, clock=fait.ManualClock(datetime(2025, 7, 1, tzinfo=UTC))).when(Account.open, "ada").then(
        Opened("ada", datetime(2025, 7, 1, tzinfo=UTC))
    )


@pytest.mark.parametrize("reason", ["balance is 0", re.compile("is [0-9]$"), Overdrawn, fait.Rejected])
def test_rejection_matches_part_of_the_reason_a_pattern_or_a_class(reason: Any) -> None:
    given(Account, OPENED).when(Account.withdraw, 10).rejected(reason)


@pytest.mark.parametrize("reason", ["balance is 7", re.compile("^balance"), Overdrawn])
def test_other_rejection_fails_the_test_with_its_reason(reason: Any) -> None:
    text = failure(lambda: given(Account, OPENED).when(Account.open, "bob").rejected(reason))

    assert "got: Rejected('the account is open')" in text


def test_accepted_command_that_should_be_rejected_fails_with_its_events() -> None:
    text = failure(lambda: given(Account, OPENED).when(Account.deposit, 7).rejected())

    assert text == "the command was not rejected; it decided:\n  Deposited(amount=7)"


@pytest.mark.parametrize(
    "check",
    [
        lambda case: case.then(),
        lambda case: case.nothing(),
        lambda case: case.returned(1),
        lambda case: case.state(lambda _: True),
        lambda case: case.when(Account.deposit, 1),
    ],
)
def test_rejection_that_was_not_expected_fails_every_check_and_the_next_command(check: Callable[[Any], object]) -> None:
    case = given(Account, OPENED).when(Account.open, "bob")

    assert failure(lambda: check(case)) == "the command was rejected: the account is open"


def test_other_events_fail_with_the_fields_that_differ() -> None:
    case = given(counter).when(Add(3))

    assert failure(lambda: case.then(Counted(4), Counted(5))).splitlines() == [
        "the new events differ from the expected ones:",
        "! Counted",
        "    amount: expected 4, got 3",
        "- Counted(amount=5, price=Decimal('0'))  (expected, and missing)",
    ]
    assert "+ Counted(amount=3, price=Decimal('0'))  (not expected)" in failure(case.nothing)
    case.then(Counted(3)).state(lambda total: total == 3).when(Add(0)).nothing()


def test_state_that_is_not_as_expected_fails_with_the_state() -> None:
    case = given(Account, OPENED).when(Account.deposit, 7)

    assert "balance=7" in failure(lambda: case.state(lambda account: account.balance == 8))


def test_returned_value_that_is_not_as_expected_fails_with_both() -> None:
    case = given(Account, OPENED).when(Account.deposit, 7)

    assert "value: expected 8, got 7" in failure(lambda: case.returned(8))


def test_event_that_cannot_be_stored_fails_the_test() -> None:
    with pytest.raises(fait.InvalidValue):
        given(counter, Counted(1 << 64))
    with pytest.raises(fait.InvalidValue):
        given(Account, OPENED).when(Account.deposit, 1 << 64)


def test_stored_event_of_an_earlier_version_is_upcast() -> None:
    case = given(Account, fait.Untyped("bank.opened", {"owner": "ada"}, 1)).when(Account.deposit, 1)

    case.state(lambda account: account.opened_at == datetime(2020, 1, 1, tzinfo=UTC))


class Careless(fait.Aggregate, category="careless"):
    total: int = 0
    note: str = ""

    def add(self, amount: int) -> None:
        self.emit(Deposited(amount))
        self.note = "lost"

    def evolve(self, event: Deposited) -> None:
        self.total += event.amount


def test_command_that_changes_the_state_without_an_event_fails_the_test() -> None:
    text = failure(lambda: given(Careless).when(Careless.add, 1))

    assert "the command changed the state other than by its events" in text
    assert "note: expected '', got 'lost'" in text


def test_boundary_decides_on_events_of_other_streams_with_its_tags() -> None:
    before = fait.NewEvents("counter-1", [Counted(3)], tags=["all:1"])
    unrelated = fait.NewEvents("counter-3", [Counted(9)])
    case = given(shared_counter, before, unrelated).when(Add(4))

    case.then(Counted(4)).state(lambda total: total == 7)
    case.then(fait.NewEvents("counter-2", [Counted(4)], tags=["all:1", "tens:0"]))
    case.when(Add(4)).rejected("at most 10")


def test_boundary_that_forgets_a_tag_fails_the_test() -> None:
    case = given(shared_counter).when(Add(4))

    assert "tags: expected" in failure(lambda: case.then(fait.NewEvents("counter-2", [Counted(4)], tags=["all:1"])))
    assert "stream: expected" in failure(
        lambda: case.then(fait.NewEvents("counter-1", [Counted(4)], tags=["all:1", "tens:0"]))
    )


def test_aggregate_with_expected_stream_and_tags_compares_both() -> None:
    case = given(Account, OPENED, Deposited(9), id="7").after(days=1).when(Account.withdraw, 9)

    case.then(fait.NewEvents("account-7", [Withdrawn(9)], tags=["kind:cash"]))
    assert "tags: expected [], got ['kind:cash']" in failure(
        lambda: case.then(fait.NewEvents("account-7", [Withdrawn(9)]))
    )


def test_event_of_boundary_without_stream_is_refused() -> None:
    with pytest.raises(fait.UsageError, match="a boundary has no stream"):
        given(shared_counter, Counted(1))


def test_subject_of_another_kind_is_refused() -> None:
    with pytest.raises(fait.UsageError, match="an aggregate, a decider, a boundary or a read model, not 7"):
        given(7)


def test_case_runs_within_a_running_event_loop() -> None:
    import asyncio

    async def main() -> None:
        given(Account, OPENED).when(Account.deposit, 1).then(Deposited(1))

    asyncio.run(main())


def test_rows_of_read_model_are_compared() -> None:
    case = given(Balance, OPENED, Deposited(7), fait.NewEvents("account-2", [Deposited(1)]), id="ada")

    case.rows(Balance(id="2", balance=1), Balance(id="ada", balance=7)).reordered().rows(
        Balance(id="ada", balance=7), Balance(id="2", balance=1)
    )
    assert "balance: expected 8, got 7" in failure(
        lambda: case.rows(Balance(id="2", balance=1), Balance(id="ada", balance=8))
    )
    assert "+ Balance(id='2', balance=1)  (not expected)" in failure(lambda: case.rows(Balance(id="ada", balance=7)))


def test_read_model_that_counts_fails_for_duplicated_events() -> None:
    case = given(Balance, Deposited(7))

    case.rows(Balance(id="1", balance=7))
    assert "if each event is delivered twice" in failure(lambda: case.duplicated().rows(Balance(id="1", balance=7)))


def test_read_model_that_depends_on_the_order_of_streams_fails_for_reordered_events() -> None:
    case = given(Owner, OPENED, fait.NewEvents("account-2", [Opened("bob", DAY_1)]))

    case.duplicated().rows(Owner(id=1, owner="bob"))
    assert "if the streams are delivered in another order" in failure(
        lambda: case.reordered().rows(Owner(id=1, owner="bob"))
    )


calls = 0


class CountsCalls(fait.ReadModel, key="id"):
    id: str
    calls: int

    @classmethod
    def evolve(cls, row: "CountsCalls | None", event: Deposited, envelope: fait.Envelope) -> "CountsCalls | None":
        global calls  # noqa: PLW0603
        calls += 1
        return cls(id=envelope.stream_id, calls=calls)


def test_read_model_whose_rebuild_gives_other_rows_fails() -> None:
    text = failure(lambda: given(CountsCalls, Deposited(1)).rows(CountsCalls(id="1", calls=calls + 1)))

    assert "after a rebuild, in which all events arrive at once" in text
