"""Quotes SQL identifiers, and provides the statements of the `sql` folder for one schema."""

import re
from functools import lru_cache
from typing import Final

from fait._store.sql import load_statements

__all__ = ["in_schema", "literal", "quote", "statements"]

_SQL: Final = load_statements("fait._store.postgres")


def quote(name: str) -> str:
    """Return a name as a SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """Return a text as a SQL literal."""
    return "'" + text.replace("'", "''") + "'"


def in_schema(sql: str, schema: str) -> str:
    """Replace `{schema}` by the quoted name of the schema, also inside a literal."""
    name = quote(schema)
    in_literal = literal(name)[1:-1]
    return re.sub(r"'?\{schema\}", lambda match: "'" + in_literal if match[0][0] == "'" else name, sql)


@lru_cache
def statements(schema: str) -> dict[str, str]:
    """Return every statement of the `sql` folder by its name, for one schema."""
    return {name: in_schema(sql, schema) for name, sql in _SQL.items()}
