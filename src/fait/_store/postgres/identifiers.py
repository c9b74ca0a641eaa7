"""Names in SQL: the only place where identifiers are quoted, and our statements with the schema's name in place."""

import re
from functools import lru_cache
from typing import Final

from fait._store.sql import load_statements

__all__ = ["in_schema", "literal", "quote", "statements"]

_SQL: Final = load_statements("fait._store.postgres")


def quote(name: str) -> str:
    """A name as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A text as an SQL literal."""
    return "'" + text.replace("'", "''") + "'"


def in_schema(sql: str, schema: str) -> str:
    """An SQL text of ours, with `{schema}` replaced by the schema's quoted name, also within a literal."""
    name = quote(schema)
    within = literal(name)[1:-1]
    return re.sub(r"'?\{schema\}", lambda found: "'" + within if found[0][0] == "'" else name, sql)


@lru_cache
def statements(schema: str) -> dict[str, str]:
    """Every statement of the `sql` folder by its name, for one schema."""
    return {name: in_schema(sql, schema) for name, sql in _SQL.items()}
