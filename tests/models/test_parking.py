"""Every interleaving of failures, requests and take-overs handles each event once; faulty designs break a promise."""

from typing import get_args

import pytest

from tests.models.parking import Variant, check

FAULTY = [each for each in get_args(Variant) if each]


@pytest.mark.parametrize("keys", ["aab", "aaba"])
def test_no_interleaving_loses_doubles_or_reorders_an_event_of_a_failed_key(keys: str) -> None:
    exploration = check(keys=keys)

    print(f"{exploration.states:,} states")
    assert exploration.problem is None, "\n".join((exploration.problem, *exploration.schedule))
    assert exploration.states > 1_000


@pytest.mark.parametrize("variant", FAULTY)
def test_faulty_design_is_detected(variant: Variant) -> None:
    exploration = check(variant, keys="aaba")

    print(f"{exploration.problem}:", *exploration.schedule, sep="\n  ")
    assert exploration.problem is not None
