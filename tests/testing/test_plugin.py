"""The pytest plugin: fixtures, and the explanation of a failed comparison."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

import fait
from fait.testing import running
from fait.testing.differences import different_fields, explain
from tests.testing.bank import Account, Balance, Counted, Deposited, with_time

pytest_plugins = ("pytester",)


def test_clock_stands_still_until_it_is_advanced(fait_clock: fait.ManualClock) -> None:
    fait_clock.advance(days=1)

    assert fait_clock.now() == datetime(2024, 1, 2, tzinfo=UTC)


async def test_url_names_a_new_store(fait_url: str) -> None:
    app = fait.App("bank")
    app.include(Account, Balance, with_time)
    async with running(app, fait_url) as t:
        assert (await t.publish(Deposited(1), stream="account-1")).version == 1


@pytest.mark.parametrize(("store", "start"), [("memory", "memory:"), ("sqlite", "sqlite:///")])
def test_option_chooses_the_kind_of_store(pytester: pytest.Pytester, store: str, start: str) -> None:
    pytester.makepyfile(f"def test_it(fait_url): assert fait_url.startswith({start!r})")

    pytester.runpytest_inprocess("-p", "no:anyio", f"--fait-store={store}").assert_outcomes(passed=1)


def test_failed_comparison_of_events_shows_the_fields_that_differ(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        from tests.testing.bank import Counted, Deposited

        def test_it():
            assert [Counted(1), Deposited(2)] == [Counted(1), Deposited(3)]
        """
    )

    result = pytester.runpytest_inprocess("-p", "no:anyio")

    result.stdout.fnmatch_lines(
        ["*the left side (got) differs from the right side (expected):*", "*= Counted(amount=1*", "*! Deposited*"]
    )
    result.stdout.fnmatch_lines(["*amount: expected 3, got 2*"])


def test_other_values_are_not_explained() -> None:
    assert explain([1], [2]) is None
    assert explain([], []) is None
    assert explain([Counted(1), 1], [Counted(2), 1]) is None
    assert explain(Counted(1), Counted(1)) is None
    assert explain(Balance(id="1"), Balance(id="2")) is not None


def test_differences_have_the_path_of_the_value() -> None:
    one, other = {"a": [(1, 2)], "b": 1}, {"a": [(1, 3)], "b": 1}

    assert list(different_fields(one, other)) == ["['a'][0][1]: expected 2, got 3"]
    assert list(different_fields([1], [1, 2])) == ["value: expected [1], got [1, 2]"]
    assert list(different_fields({"a": 1}, {"b": 1})) == ["value: expected {'a': 1}, got {'b': 1}"]
    assert list(different_fields(1, True)) == ["value: expected 1, got True"]


def test_plugin_adds_no_fixture_to_tests_that_do_not_ask() -> None:
    text = (Path(__file__).parents[2] / "src" / "_fait_pytest.py").read_text()

    assert "autouse" not in text
