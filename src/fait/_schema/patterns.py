"""Generates strings that match a regular expression, for samples.

It reads the syntax tree of `re`. What it does not know, such as a look-ahead, yields strings that do not match; the
caller checks every string.
"""

import re
from collections.abc import Callable
from typing import Any, Final

__all__ = ["matching_text"]

Choose = Callable[[int], int]


def matching_text(pattern: str, choose: Choose) -> str:
    """Return a string that probably matches a regular expression.

    Args:
        pattern: the regular expression.
        choose: returns a number from 0 to below its argument.
    """
    parser: Any = getattr(re, "_parser")  # noqa: B009 - private, and without types
    return "".join(_text_of(part, choose) for part in parser.parse(pattern))


def _text_of(part: Any, choose: Choose) -> str:
    name, argument = str(part[0]), part[1]
    match name:
        case "LITERAL":
            return chr(argument)
        case "NOT_LITERAL":
            return "a" if argument != ord("a") else "b"
        case "ANY":
            return "a"
        case "IN":
            return _character_of(argument, choose)
        case "BRANCH":
            return _join(argument[1][choose(len(argument[1]))], choose)
        case "SUBPATTERN":
            return _join(argument[3], choose)
        case "MAX_REPEAT" | "MIN_REPEAT" | "POSSESSIVE_REPEAT":
            low, high, repeated = argument
            count = low + choose(min(int(high) - low, 2) + 1)
            return "".join(_join(repeated, choose) for _ in range(count))
        case _:
            return ""


def _join(parts: Any, choose: Choose) -> str:
    return "".join(_text_of(part, choose) for part in parts)


def _character_of(options: Any, choose: Choose) -> str:
    if str(options[0][0]) == "NEGATE":
        excluded = re.compile("|".join(re.escape(_option_text(each, choose)) for each in options[1:]))
        return next(each for each in "aB1 -_" if not excluded.match(each))
    return _option_text(options[choose(len(options))], choose)


def _option_text(option: Any, choose: Choose) -> str:
    name, argument = str(option[0]), option[1]
    if name == "RANGE":
        return chr(argument[0] + choose(argument[1] - argument[0] + 1))
    return chr(argument) if name == "LITERAL" else _CATEGORIES.get(str(argument), "")


_CATEGORIES: Final = {"CATEGORY_DIGIT": "7", "CATEGORY_WORD": "w", "CATEGORY_SPACE": " ", "CATEGORY_NOT_DIGIT": "x"}
