"""Every interleaving of splits, merges and take-overs handles each event once; every faulty design breaks a promise."""

from typing import get_args

import pytest

from tests.models.ranges import Variant, check

FAULTY = [each for each in get_args(Variant) if each]


@pytest.mark.parametrize(("hashes", "changes"), [((0, 1), 3), ((1,), 5)])
def test_no_interleaving_loses_doubles_or_reorders_an_event(hashes: tuple[int, ...], changes: int) -> None:
    exploration = check(hashes=hashes, changes=changes)

    print(f"{exploration.states:,} states")
    assert exploration.problem is None, "\n".join((exploration.problem, *exploration.schedule))
    assert exploration.states > 5_000


@pytest.mark.parametrize("variant", FAULTY)
def test_faulty_design_is_detected(variant: Variant) -> None:
    """A token that is used again needs two splits, a merge and two take-overs between them."""
    token_is_reused = variant == "new half begins at token 1"
    exploration = check(variant, hashes=(1,), changes=5) if token_is_reused else check(variant, changes=3)

    print(f"{exploration.problem}:", *exploration.schedule, sep="\n  ")
    assert exploration.problem is not None
