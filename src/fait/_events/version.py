"""Expected versions: the condition that an append puts on the version of its stream.

Applications write a version number (0: the stream does not exist yet) or one of three words. Stores get
one integer, which can be passed to SQL: a version, or a negative number for `any` and `exists`.
"""

from typing import Final, Literal

from fait._arguments import MAX_INTEGER, described
from fait._errors import UsageError

__all__ = ["ANY", "EXISTS", "NO_STREAM", "Expected", "expected_name", "expected_number", "is_expected"]

ExpectedWord = Literal["no_stream", "exists", "any"]
Expected = int | ExpectedWord
"""Expected version of a stream: a version, "no_stream", "exists" or "any"."""

NO_STREAM: Final = 0
ANY: Final = -1
EXISTS: Final = -2

_NUMBERS = {"no_stream": NO_STREAM, "any": ANY, "exists": EXISTS}
_NAMES = {number: word for word, number in _NUMBERS.items()}


def expected_number(expected: Expected) -> int:
    """Return the number that stores use: exactly this version if >= 0, else `ANY` or `EXISTS`."""
    if type(expected) is int and 0 <= expected <= MAX_INTEGER:
        return expected
    if isinstance(expected, str) and expected in _NUMBERS:
        return _NUMBERS[expected]
    given = described(expected, show_text=True)
    raise UsageError(
        f"expected= must be a version >= 0, 'no_stream', 'exists' or 'any', not {given}. Nothing was written."
    )


def expected_name(number: int) -> int | str:
    """Return the number as applications write it: a version, or a word."""
    return number if number > 0 else _NAMES[number]


def is_expected(number: int, actual: int) -> bool:
    """Return whether a stream at version `actual` has the expected version `number`."""
    # fault: exists-as-any-in-reference
    return number in (actual, ANY) or (number == EXISTS and actual > 0)
