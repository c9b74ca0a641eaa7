"""A short run of the soundness search; `make soundness` runs it for as long as wanted."""

from collections import Counter

from tests.schema.soundness import search


def test_no_change_of_random_types_has_a_wrong_verdict() -> None:
    counts = Counter[str]()

    assert list(search(iter(range(120)), counts)) == []
    assert min(counts["backward readable"], counts["backward convert"], counts["forward readable"]) > 10
