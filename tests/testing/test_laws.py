"""Each law holds for the bank, and fails for code that breaks it, with the commands or events that show it."""

import random
from collections.abc import Callable
from typing import Any

import pytest

import fait
from fait.testing.laws import check_projection_idempotent, check_rebuild, check_replay, check_snapshot_equals_replay
from tests.testing.bank import Account, Add, Balance, Counted, Deposited, Opened, Owner, counter


def failure(law: Callable[[], object]) -> str:
    with pytest.raises(AssertionError) as caught:
        law()
    return "\n".join([str(caught.value), *getattr(caught.value, "__notes__", [])])


def test_laws_hold_for_code_that_depends_only_on_events() -> None:
    check_replay(Account)
    check_replay(Account, arguments={Account.deposit: [(1,), (5,)], Account.withdraw: [(1,), (2,)]})
    check_replay(counter, arguments={Add: [(Add(1),), (Add(3),)]})
    check_rebuild(Balance)
    check_projection_idempotent(Owner)


class Lottery(fait.Aggregate, category="lottery", snapshot_every=1):
    drawn: int = 0

    def draw(self) -> None:
        self.emit(Counted(random.randint(1, 1 << 40)))

    def evolve(self, event: Counted) -> None:
        self.drawn += event.amount


def test_decision_that_draws_random_numbers_is_found() -> None:
    text = failure(lambda: check_replay(Lottery))

    assert "draw decided other events in the same state:" in text
    assert text.endswith("after:\n  draw()") or text.split("after:")[1].count("draw") == 1


class Rolling(fait.Aggregate, category="rolling"):
    roll: int = 0

    def deposit(self, amount: int) -> None:
        self.emit(Deposited(amount))

    def evolve(self, event: Deposited) -> None:
        self.roll = random.randint(1, 1 << 40)


def test_fold_that_draws_random_numbers_is_found() -> None:
    assert "the states of two replays of the same events differ" in failure(lambda: check_replay(Rolling))


class Hidden(fait.Aggregate, category="hidden"):
    total: int = 0
    calls: int = 0

    def deposit(self, amount: int) -> None:
        self.calls += 1
        self.emit(Deposited(amount))

    def evolve(self, event: Deposited) -> None:
        self.total += event.amount


def test_state_that_no_event_changes_is_found() -> None:
    assert "the command changed the state other than by its events" in failure(lambda: check_replay(Hidden))


class Shared(fait.Aggregate, category="shared", snapshot_every=1):
    """Two fields are one list, which a snapshot restores as two."""

    all: list[int] = fait.field(default_factory=list[int])
    open: list[int] = fait.field(default_factory=list[int])

    def deposit(self, amount: int) -> None:
        self.emit(Deposited(amount))

    def evolve(self, event: Deposited) -> None:
        if not self.all:
            self.open = self.all
        self.all.append(event.amount)


class Saved(Account, category="saved", snapshot_every=1):
    pass


def test_snapshots_of_complete_states_equal_the_replay() -> None:
    check_snapshot_equals_replay(Saved)


def test_snapshot_that_lacks_a_part_of_the_state_is_found() -> None:
    text = failure(lambda: check_snapshot_equals_replay(Shared))

    assert "the state from the snapshot at version 1 (got) differs from the replayed one:\nopen: expected" in text
    assert text.split("after:")[1].count("deposit") == 2


def test_law_of_snapshots_needs_snapshots() -> None:
    with pytest.raises(fait.UsageError, match="set snapshot_every="):
        check_snapshot_equals_replay(Account)


def test_sum_is_not_idempotent_and_the_shortest_history_is_shown() -> None:
    text = failure(lambda: check_projection_idempotent(Balance))

    assert "the rows differ if each event is delivered twice:" in text
    assert text.split("after:")[1].count("NewEvents") == 1


calls = 0


class Numbered(fait.ReadModel, key="id"):
    id: str
    number: int

    @classmethod
    def evolve(cls, row: "Numbered | None", event: Opened, envelope: fait.Envelope) -> "Numbered | None":
        global calls  # noqa: PLW0603
        calls += 1
        return cls(id=envelope.stream_id, number=calls)


def test_read_model_that_a_rebuild_changes_is_found() -> None:
    assert "the rows differ after a rebuild" in failure(lambda: check_rebuild(Numbered))


class Broken(fait.Aggregate, category="broken"):
    total: int = 0

    def deposit(self, amount: int) -> None:
        self.emit(Deposited(amount))

    def evolve(self, event: Deposited) -> None:
        self.total = 10 // event.amount


def test_exception_of_evolve_is_raised_with_the_commands() -> None:
    with pytest.raises(ZeroDivisionError) as caught:
        check_replay(Broken)
    assert [line.strip() for line in "".join(caught.value.__notes__).splitlines()][-1].startswith("deposit(amount=0)")


class Closed(fait.Aggregate, category="closed"):
    def deposit(self, amount: int) -> None:
        raise fait.Rejected("never")

    def evolve(self, event: Deposited) -> None: ...


def test_law_that_checked_nothing_fails() -> None:
    assert "nothing was checked" in failure(lambda: check_replay(Closed))


class Bare(fait.Aggregate, category="bare"):
    def deposit(self, amount) -> None:  # type: ignore[no-untyped-def]
        self.emit(Deposited(amount))

    def evolve(self, event: Deposited) -> None: ...


def test_argument_without_annotation_is_refused() -> None:
    with pytest.raises(fait.DeclarationError, match="annotate 'amount'"):
        check_replay(Bare)


def test_commands_of_decider_get_values_of_their_classes() -> None:
    amounts: Any = {Add: [(Add(4),)]}

    check_replay(counter, arguments=amounts, runs=5)
    check_replay(counter)
