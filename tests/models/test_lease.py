"""Every interleaving of a small range keeps the promises about a handler's events; every faulty design breaks one."""

from typing import get_args

import pytest

from tests.models.lease import Variant, check

FAULTY = [each for each in get_args(Variant) if each]


@pytest.mark.parametrize(("events", "names"), [(1, 3), (2, 2)])
def test_no_interleaving_loses_doubles_or_outdates_an_event_of_a_handler(events: int, names: int) -> None:
    exploration = check(events=events, names=names)

    print(f"{exploration.states:,} states")
    assert exploration.problem is None, "\n".join((exploration.problem, *exploration.schedule))
    assert exploration.states > 5_000


@pytest.mark.parametrize("variant", FAULTY)
def test_faulty_design_is_detected(variant: Variant) -> None:
    exploration = check(variant)

    print(f"{exploration.problem}:", *exploration.schedule, sep="\n  ")
    assert exploration.problem is not None
