"""No loss of confirmed messages, and no rewind after it, loses or reorders an event; faulty designs do."""

from typing import get_args

import pytest

from tests.models.rewind import Variant, check

FAULTY = [each for each in get_args(Variant) if each]


def test_no_interleaving_of_loss_and_rewind_loses_or_reorders_an_event() -> None:
    exploration = check()

    print(f"{exploration.states:,} states")
    assert exploration.problem is None, "\n".join((exploration.problem, *exploration.schedule))
    assert exploration.states > 10_000


@pytest.mark.parametrize("variant", FAULTY)
def test_faulty_design_is_detected(variant: Variant) -> None:
    exploration = check(variant)

    print(f"{exploration.problem}:", *exploration.schedule, sep="\n  ")
    assert exploration.problem is not None
