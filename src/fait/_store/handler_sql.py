"""The SQL text of handlers: what both databases check before they run a statement of `ctx.execute`."""

import re
from functools import lru_cache
from typing import Final

__all__ = ["NO_STATEMENT", "code_of", "has_reserved_name"]

_LITERALS: Final = re.compile(
    r"""
      \bE'(?:[^'\\]|\\.|'')*'             # PostgreSQL's string with escapes
    | '(?:[^']|'')*'
    | --[^\r\n]*
    | /\*.*?\*/
    | "(?:[^"]|"")*"                      # an identifier
    | \$(?P<tag>(?:[a-z_]\w*)?)\$.*?\$(?P=tag)\$  # the body of a function or of DO
    """,
    re.IGNORECASE | re.DOTALL | re.VERBOSE,
)
_RESERVED_NAME: Final = re.compile(r"\bfait_", re.IGNORECASE)
_QUOTED_NAME: Final = re.compile(r"'\s*fait_\w*\s*'", re.IGNORECASE)
"""A string that is a reserved name: SQLite takes a string for a name where only a name can be."""

NO_STATEMENT: Final = (
    "ctx.execute(...) of a handler was called with a text without a statement. Nothing was recorded. Pass "
    "one statement, or do not call it."
)


@lru_cache(256)
def code_of(sql: str) -> str:
    """Return a SQL text without comments and strings. Names in quotes, and code in dollar quotes, remain.

    It is empty if the text has no statement.
    """
    return _LITERALS.sub(_code_in, sql).strip("; \t\r\n\f")


def has_reserved_name(sql: str) -> bool:
    """Return whether the code of a SQL text has a name that begins with `fait_`."""
    return _RESERVED_NAME.search(code_of(sql)) is not None


def _code_in(literal: re.Match[str]) -> str:
    text = literal[0]
    return text if text[0] in '"$' or _QUOTED_NAME.fullmatch(text) else " "
