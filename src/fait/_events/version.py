"""Versions count the events of one stream from 1, positions those of the whole log; both only grow.

An append says which version it expects: a number (0: there is no such stream yet), or one of three words.
Inside, the words are numbers, so that they pass through SQL unchanged.
"""

from typing import Final, Literal

from fait._errors import UsageError

__all__ = ["ANY", "EXISTS", "NO_STREAM", "Expected", "expected_name", "expected_number", "is_expected"]

ExpectedWord = Literal["no_stream", "exists", "any"]
Expected = int | ExpectedWord
"""What an append may expect of its stream."""

NO_STREAM: Final = 0
ANY: Final = -1
EXISTS: Final = -2

_NUMBERS = {"no_stream": NO_STREAM, "any": ANY, "exists": EXISTS}
_NAMES = {number: word for word, number in _NUMBERS.items()}


def expected_number(expected: Expected) -> int:
    """The number a store is given: `n >= 0` exactly n, `ANY`, `EXISTS`."""
    if isinstance(expected, int) and not isinstance(expected, bool) and expected >= 0:
        return expected
    if isinstance(expected, str) and expected in _NUMBERS:
        return _NUMBERS[expected]
    raise UsageError(f"expected is a version >= 0, 'no_stream', 'exists' or 'any', not {expected!r}")


def expected_name(number: int) -> int | str:
    """How a person reads that number."""
    return number if number > 0 else _NAMES[number]


def is_expected(number: int, actual: int) -> bool:
    """Whether a stream at version `actual` fulfils the expectation `number`."""
    # fault: exists-as-any-in-reference
    return number in (actual, ANY) or (number == EXISTS and actual > 0)
