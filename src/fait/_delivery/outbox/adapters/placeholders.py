"""Converts the placeholder `?` of fait's statements to the style of each library."""

import re

__all__ = ["colon_named", "dollar_numbered", "percent_s"]


def dollar_numbered(sql: str) -> str:
    """Return a statement with numbered placeholders: `$1`, `$2`."""
    numbers = iter(range(1, 100))
    return re.sub(r"\?", lambda _: f"${next(numbers)}", sql)


def percent_s(sql: str) -> str:
    """Return a statement with positional placeholders: `%s`. The statements contain no other percent sign."""
    return sql.replace("?", "%s")


def colon_named(sql: str) -> str:
    """Return a statement with named placeholders: `:v1`, `:v2`."""
    numbers = iter(range(1, 100))
    return re.sub(r"\?", lambda _: f":v{next(numbers)}", sql)
