"""Converts the placeholder `?` of fait's statements to the style of each library.

A statement contains the quoted name of a schema, in which every character is part of the name.
"""

import re
from collections.abc import Callable
from functools import cache
from itertools import count
from typing import Final

__all__ = ["colon_named", "dollar_numbered", "percent_s"]

_QUOTED_OR_PLACEHOLDER: Final = re.compile(
    r"""
    "[^"]*" | '[^']*'   # a doubled quote inside looks like two quoted texts
    | [?]
    """,
    re.VERBOSE,
)


@cache
def dollar_numbered(sql: str) -> str:
    """Return a statement with numbered placeholders: `$1`, `$2`."""
    return _convert(sql, lambda number: f"${number}")


@cache
def percent_s(sql: str) -> str:
    """Return a statement with positional placeholders, `%s`, in which other percent signs are doubled."""
    return _convert(sql.replace("%", "%%"), lambda _: "%s")


@cache
def colon_named(sql: str) -> str:
    """Return a statement with named placeholders, `:v1` and `:v2`, in which other colons are escaped."""
    return _convert(sql.replace(":", r"\:"), lambda number: f":v{number}")


def _convert(sql: str, placeholder: Callable[[int], str]) -> str:
    numbers = count(1)
    # fault: placeholder-in-a-name
    return _QUOTED_OR_PLACEHOLDER.sub(lambda match: placeholder(next(numbers)) if match[0] == "?" else match[0], sql)
