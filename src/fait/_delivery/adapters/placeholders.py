"""The marks that stand for values: our statements have `?`, each library has its own."""

import re

__all__ = ["colon_named", "dollar_numbered", "percent_s"]


def dollar_numbered(sql: str) -> str:
    """Marks with the number of the value: `$1`."""
    places = iter(range(1, 100))
    return re.sub(r"\?", lambda _: f"${next(places)}", sql)


def percent_s(sql: str) -> str:
    """Marks without a number: `%s`; our statements have no other percent sign."""
    return sql.replace("?", "%s")


def colon_named(sql: str) -> str:
    """Marks with a name: `:v1`."""
    places = iter(range(1, 100))
    return re.sub(r"\?", lambda _: f":v{next(places)}", sql)
