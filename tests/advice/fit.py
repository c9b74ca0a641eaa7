"""Fits the minimum scores of the advisor: `python -m tests.advice.fit FILE...`.

Prints for each fold of a cross-validation the scores that are best on the other folds, and the share of acceptable
headlines of all folds. The figure covers the choice of the scores, not the words, which were written with knowledge of
the files.
"""

import sys
from itertools import product
from pathlib import Path

from fait._advice.reading import read as reading
from fait._advice.reading import weigh
from tests.advice.score import answer, is_acceptable, is_forbidden, load

FOLDS = 5
MINIMUM = (1.1, 1.2, 1.3, 1.4, 1.5)
MAXIMUM = (2.1, 2.5, 3.0)


def main(files: list[str]) -> None:
    cases = [case for file in files for case in load(Path(file))]
    points = {setting: _points(cases, *setting) for setting in product(MINIMUM, MAXIMUM)}
    total = 0
    for fold in range(FOLDS):
        best = max(points, key=lambda each: sum(p for i, (p, _) in enumerate(points[each]) if i % FOLDS != fold))
        right = [acceptable for i, (_, acceptable) in enumerate(points[best]) if i % FOLDS == fold]
        total += sum(right)
        print(f"fold {fold + 1}: minimum {best[0]}, maximum {best[1]}: {sum(right)} of {len(right)}")
    print(f"all folds: {total} of {len(cases)} ({100 * total / len(cases):.1f} %)")


def _points(cases: list[dict[str, object]], minimum: float, maximum: float) -> list[tuple[int, bool]]:
    """Return for each case 1 if the headline is acceptable, less if it is forbidden, and whether it is acceptable."""
    reading.MIN_SCORE = minimum
    weigh._MAX_MIN_SCORE = maximum
    results = [(case, answer(case)) for case in cases]
    return [(is_acceptable(*each) - is_forbidden(*each), is_acceptable(*each)) for each in results]


if __name__ == "__main__":
    main(sys.argv[1:])
